"""Conversations to token ids, with the mask that says which of them are trained.

The layout is ChatML. Each message is `<|im_start|>`, its role, a newline, its content,
`<|im_end|>` and a newline; a reply is asked for with `<|im_start|>assistant` and a newline. The
special tokens are put in as ids and the text between them is encoded as plain text, so a user who
types `<|im_end|>` gets its letters and not the token. CHAT_TEMPLATE is the same layout for other
software, and gives the same ids in transformers for any content that spells no special token (where
it spells one, transformers makes it that token).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from groundup.runtime import DataError

if TYPE_CHECKING:
    from groundup.tokenizer.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

Role = Literal["system", "user", "assistant"]
Outcome = Literal["whole", "exchanges_dropped", "reply_cut", "refused"]


@dataclass(frozen=True)
class Message:
    """One turn: who speaks and what they say."""

    role: Role
    content: str


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as ids; `loss_mask` is true where the model learns to give that id."""

    ids: list[int]
    loss_mask: list[bool]


@dataclass(frozen=True)
class FittedChat:
    """A conversation made to fit, and what that took; `rendered` is None when it was refused."""

    rendered: RenderedChat | None
    outcome: Outcome


AnyMessages = Sequence[Message | Mapping[str, str]]


def check_conversation(messages: AnyMessages, *, needs_reply: bool = True) -> tuple[Message, ...]:
    """The messages, if they make a conversation: a system message or none, then user and assistant.

    With `needs_reply` at least one turn must be the assistant's, or there is nothing to learn;
    without, a prompt that ends with the user passes. Raises DataError.

    >>> check_conversation([{"role": "user", "content": "Hi"}], needs_reply=False)
    (Message(role='user', content='Hi'),)
    """
    checked = tuple(_check_message(message, index) for index, message in enumerate(messages))
    turns = checked[1:] if checked and checked[0].role == "system" else checked
    if not turns:
        raise DataError("the conversation is empty; it needs at least one user message")
    for index, turn in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise DataError(
                f"message {index + len(checked) - len(turns)} is of role {turn.role!r} where "
                f"{expected!r} must stand; after one system message or none, user and assistant "
                "take turns"
            )
    if needs_reply and len(turns) < 2:
        raise DataError(
            "the conversation has no assistant message, so nothing can be learnt from it; add one"
        )
    return checked


def render_chat(
    tokenizer: Tokenizer, messages: AnyMessages, *, add_generation_prompt: bool = False
) -> RenderedChat:
    """Ids and loss mask of a conversation.

    Trained are the content of the assistant's messages and the `<|im_end|>` that closes each; the
    headers, the other roles and the newline after a message are not. Where one token spans the
    header's newline and the content's beginning (a content that starts with a newline), it counts
    as header. With `add_generation_prompt` the header of the assistant's next message follows.
    Raises DataError.

    >>> from groundup.tokenizer.tokenizer import Tokenizer
    >>> tokenizer = Tokenizer([], "qwen2")
    >>> messages = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    >>> chat = render_chat(tokenizer, messages)
    >>> tokenizer.decode(chat.ids)
    'user\\na?\\nassistant\\nb\\n'
    >>> [tokenizer.token_bytes(i) for i, trained in zip(chat.ids, chat.loss_mask) if trained]
    [b'b', b'<|im_end|>']
    """
    checked = check_conversation(messages, needs_reply=False)
    parts = [_render_message(tokenizer, message) for message in checked]
    if add_generation_prompt:
        if checked[-1].role == "assistant":
            raise DataError(
                "the conversation already ends with the assistant; end it with a user message "
                "to ask for a reply"
            )
        header = [tokenizer.im_start_id, *tokenizer.encode("assistant\n")]
        parts.append(RenderedChat(header, [False] * len(header)))
    return _join(parts)


def fit_chat(tokenizer: Tokenizer, messages: AnyMessages, max_tokens: int) -> FittedChat:
    """Render a conversation into at most `max_tokens` ids with something left to learn.

    The first of these that fits: the whole; the system message and the newest exchanges (a user
    message and its reply), the oldest left out one by one; the system message and the last exchange
    with the end of its reply cut off. When even so not one token of a reply is left, the chat is
    refused: there is never a row without a trained token. A user message at the end that has no
    reply is left out before any exchange. That the newline at the very end is cut off counts as
    nothing lost.

    Raises DataError for what is no conversation or has no reply.
    """
    checked = check_conversation(messages)
    rendered = [_render_message(tokenizer, message) for message in checked]
    if _fits(rendered, max_tokens):
        return FittedChat(_join(rendered, max_tokens), "whole")
    system = rendered[:1] if checked[0].role == "system" else []
    turns = rendered[len(system) :]
    exchanges = turns[: len(turns) // 2 * 2]
    for first in range(0, len(exchanges), 2):
        kept = [*system, *exchanges[first:]]
        if _fits(kept, max_tokens):
            return FittedChat(_join(kept, max_tokens), "exchanges_dropped")
    cut = _join([*system, *exchanges[-2:]], max_tokens)
    return FittedChat(cut, "reply_cut") if any(cut.loss_mask) else FittedChat(None, "refused")


def _check_message(message: Message | Mapping[str, str], index: int) -> Message:
    if isinstance(message, Message):
        role, content = message.role, message.content
    elif isinstance(message, Mapping) and {"role", "content"} <= message.keys():
        role, content = cast(Role, message["role"]), message["content"]
    else:
        raise DataError(
            f"message {index} must have a role and a content, and is {message!r:.80}; "
            'write {"role": "user", "content": "..."}'
        )
    if role not in get_args(Role):
        raise DataError(
            f"message {index} is of role {role!r:.40}; use one of {', '.join(get_args(Role))}"
        )
    if not isinstance(content, str):
        raise DataError(
            f"the content of message {index} is of type {type(content).__name__}; give it as text"
        )
    if not content.strip() and role != "system":
        raise DataError(
            f"message {index} ({role}) is empty; give it a text or leave the conversation out"
        )
    return Message(role, content)


def _render_message(tokenizer: Tokenizer, message: Message) -> RenderedChat:
    """One message as ids and mask.

    Header and content are encoded as one string, as they are in the rendered template: the
    pre-tokenizer may make one piece of the header's newline and white space that follows it.
    """
    header = f"{message.role}\n"
    text_ids = tokenizer.encode(header + message.content)
    is_reply = message.role == "assistant"
    text_mask: list[bool] = []
    position = 0  # in bytes, from the header's start
    for token_id in text_ids:
        text_mask.append(is_reply and position >= len(header))
        position += len(tokenizer.token_bytes(token_id))
    after = tokenizer.encode("\n")
    return RenderedChat(
        [tokenizer.im_start_id, *text_ids, tokenizer.im_end_id, *after],
        [False, *text_mask, is_reply, *[False] * len(after)],
    )


def _fits(parts: Sequence[RenderedChat], max_tokens: int) -> bool:
    """Whether all but the newline at the end has room."""
    return sum(len(part.ids) for part in parts) - 1 <= max_tokens


def _join(parts: Sequence[RenderedChat], max_tokens: int | None = None) -> RenderedChat:
    """One after the other, up to `max_tokens` ids."""
    ids = [token_id for part in parts for token_id in part.ids]
    loss_mask = [trained for part in parts for trained in part.loss_mask]
    return RenderedChat(ids[:max_tokens], loss_mask[:max_tokens])
