r"""How a conversation is laid out: the three chat formats, each as parts and as a Jinja template.

`chat.py` renders from the parts; the template is the same layout for other software (transformers,
vLLM, llama.cpp), written beside the tokenizer as chat_template.jinja. The two are held against each
other by a test. A tokenizer names its format, which also says the special tokens it needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from groundup.runtime import TokenizerError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class ChatFormat:
    r"""One layout of conversations.

    special_tokens   the special tokens it needs, in the order of their ids
    opens_document   which of them stands before each document
    ends_turn        which of them says that the assistant has finished
    pads             which of them fills rows
    start            what a conversation begins with
    before, after    what stands around the content of each role
    strips           white space around a content is left out
    template         the same layout as a Jinja template

    `start`, `before` and `after` are ours and may spell special tokens; a content may not.

    >>> CHATML.before["user"], CHATML.after["user"]
    ('<|im_start|>user\n', '<|im_end|>\n')
    >>> CHATML.split(CHATML.after["user"])
    [('<|im_end|>', True), ('\n', False)]
    """

    name: str
    special_tokens: tuple[str, ...]
    opens_document: str
    ends_turn: str
    pads: str
    start: str
    before: Mapping[Role, str]
    after: Mapping[Role, str]
    strips: bool
    template: str

    def split(self, layout: str) -> list[tuple[str, bool]]:
        """Cut a part of the layout into special tokens (True) and the text between them."""
        names = "|".join(map(re.escape, self.special_tokens))
        pieces = re.split(f"({names})", layout)
        return [(piece, piece in self.special_tokens) for piece in pieces if piece]


# github.com/openai/openai-python, chatml.md (2023), as Qwen uses it; the tool's is a turn like the
# others.
CHATML = ChatFormat(
    name="chatml",
    special_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    opens_document="<|endoftext|>",
    ends_turn="<|im_end|>",
    pads="<|endoftext|>",
    start="",
    before=MappingProxyType({role: f"<|im_start|>{role}\n" for role in ROLES}),
    after=MappingProxyType(dict.fromkeys(ROLES, "<|im_end|>\n")),
    strips=False,
    template=(
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
)

# github.com/meta-llama/llama3, llama/tokenizer.py, class ChatFormat. Llama 3.1 named the role of
# what a tool returns (github.com/meta-llama/llama-models, models/llama3_1/prompt_format.md); the
# dates and tool descriptions that its template adds to the system message are not added here, and
# a tool's text is not quoted as JSON.
_LLAMA3_ROLES: Mapping[Role, str] = {role: role for role in ROLES} | {"tool": "ipython"}

LLAMA3 = ChatFormat(
    name="llama3",
    special_tokens=(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ),
    opens_document="<|begin_of_text|>",
    ends_turn="<|eot_id|>",
    pads="<|end_of_text|>",
    start="<|begin_of_text|>",
    before=MappingProxyType(
        {
            role: f"<|start_header_id|>{name}<|end_header_id|>\n\n"
            for role, name in _LLAMA3_ROLES.items()
        }
    ),
    after=MappingProxyType(dict.fromkeys(ROLES, "<|eot_id|>")),
    strips=True,
    template=(
        "{{ '<|begin_of_text|>' }}"
        "{% for message in messages %}"
        "{% set role = 'ipython' if message['role'] == 'tool' else message['role'] %}"
        "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n'"
        " + message['content'] | trim + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
        "{% endif %}"
    ),
)

# github.com/tatsu-lab/stanford_alpaca, train.py (Taori et al. 2023), its turns repeated. The
# sentence that Alpaca's prompts open with ("Below is an instruction ...") is what a system message
# would say, and is put in only as one. `### Input:` is what Alpaca calls what an instruction works
# on; here a tool's text stands there.
ALPACA = ChatFormat(
    name="alpaca",
    special_tokens=("<|endoftext|>",),
    opens_document="<|endoftext|>",
    ends_turn="<|endoftext|>",
    pads="<|endoftext|>",
    start="",
    before=MappingProxyType(
        {
            "system": "",
            "user": "### Instruction:\n",
            "assistant": "### Response:\n",
            "tool": "### Input:\n",
        }
    ),
    after=MappingProxyType(
        {
            "system": "\n\n",
            "user": "\n\n",
            "assistant": "<|endoftext|>\n\n",
            "tool": "\n\n",
        }
    ),
    strips=False,
    template=(
        "{% for message in messages %}"
        "{% if message['role'] == 'user' %}"
        "{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
        "{% elif message['role'] == 'tool' %}"
        "{{ '### Input:\\n' + message['content'] + '\\n\\n' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '### Response:\\n' + message['content'] + '<|endoftext|>' + '\\n\\n' }}"
        "{% else %}"
        "{{ message['content'] + '\\n\\n' }}"
        "{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
    ),
)

CHAT_FORMATS: Mapping[str, ChatFormat] = MappingProxyType(
    {layout.name: layout for layout in (CHATML, LLAMA3, ALPACA)}
)


def chat_format(name: str | None) -> ChatFormat:
    """The format of that name.

    Raises TokenizerError for an unknown one and for None, a tokenizer without a format.

    >>> chat_format("llama3").special_tokens[-1]
    '<|eot_id|>'
    """
    if name is None:
        raise TokenizerError(
            "this tokenizer has no chat format, so it cannot render a conversation; "
            f"train one with one of {', '.join(CHAT_FORMATS)}"
        )
    if name not in CHAT_FORMATS:
        raise TokenizerError(
            f"chat_format={name!r} is not known; use one of {', '.join(CHAT_FORMATS)}"
        )
    return CHAT_FORMATS[name]
