from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from groundup.runtime import DataError, TokenizerError
from groundup.tokenizer import (
    Message,
    RenderedChat,
    Tokenizer,
    TokenizerConfig,
    check_conversation,
    fit_chat,
    render_chat,
    train_tokenizer,
)
from groundup.tokenizer.bpe import train_bpe
from groundup.tokenizer.pretokenize import PatternCutter, count_pretokens
from groundup.tokenizer.templates import CHAT_FORMATS, CHATML, ROLES, ChatFormat, chat_format

LETTER = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
SPELLINGS = sorted({name for layout in CHAT_FORMATS.values() for name in layout.special_tokens})
# What white space, headings, halves of special tokens and Jinja's own signs could go wrong with.
SNAGS = [
    "\n", "\n\n", "  \n", "\r\n", " ", "\t", "\x1c", "\x85", "\xa0", "\u2028", "\u3000", "\u200b",
    "x", "'s", "12", "###", "### Response:\n", "\n\n### Input:\n", "assistant", "tool\n",
    "<|", "|>", "<|im_end|", "im_end|>", "<|eot_id", "<|end", "{{ 1 }}", "{% endfor %}", "{#",
    "\\n", "\u0301", "\u0338", "\U0001f642", "天", "é",
]  # fmt: skip


# The rule of what is a conversation, said another way: who speaks, in order, up to seven messages.
_RULE = re.compile("s?(ua(t*a)*)*(u|ua(t*a)*t+)?")
ORDERS = [
    letters
    for n in range(8)
    for letters in map("".join, product("suat", repeat=n))
    if _RULE.fullmatch(letters) and letters not in ("", "s")
]


def texts(snags: list[str]) -> st.SearchStrategy[str]:
    parts = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(snags)), max_size=5)
    return parts.map("".join)


@st.composite
def conversations(draw: st.DrawFn, *, spells: bool = False) -> list[dict[str, str]]:
    """Any conversation of up to seven messages, of any content; it may end with anybody.

    spells: the contents spell special tokens now and then.
    """
    letters = draw(st.sampled_from(ORDERS))
    content = texts([*SNAGS, *SPELLINGS]) if spells else texts(SNAGS).filter(spells_none)
    filled = content.filter(lambda text: bool(text.strip()))
    return [
        {"role": LETTER[letter], "content": draw(content if letter == "s" else filled)}
        for letter in letters
    ]


def chat(*contents: str, system: str | None = None) -> list[Message]:
    turns = [
        Message(("user", "assistant")[index % 2], content)  # type: ignore[arg-type]
        for index, content in enumerate(contents)
    ]
    return [Message("system", system), *turns] if system is not None else turns


def turns(letters: str) -> list[Message]:
    """One message for each letter of s, u, a, t: a1, t2 and so on."""
    return [
        Message(LETTER[letter], f"{letter}{index}")  # type: ignore[arg-type]
        for index, letter in enumerate(letters)
    ]


def spells_none(text: str) -> bool:
    return not any(name in text for name in SPELLINGS)


def trained_bytes(tokenizer: Tokenizer, messages: list[Message]) -> list[bytes]:
    rendered = render_chat(tokenizer, messages)
    pairs = zip(rendered.ids, rendered.loss_mask, strict=True)
    return [tokenizer.token_bytes(token_id) for token_id, trained in pairs if trained]


@pytest.fixture(scope="module", params=CHAT_FORMATS)
def layout(request: pytest.FixtureRequest) -> ChatFormat:
    return CHAT_FORMATS[request.param]


@pytest.fixture(scope="module", params=["gpt2", "llama3", "qwen2"])
def pattern(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def bare(layout: ChatFormat) -> Tokenizer:
    """One token per byte, so that lengths can be counted by hand."""
    return Tokenizer.byte_level([], chat_format=layout.name)


@pytest.fixture(scope="module")
def chatml() -> Tokenizer:
    return Tokenizer.byte_level([])


def learn(small_texts: list[str], pattern: str, layout: ChatFormat) -> Tokenizer:
    merges = train_bpe(count_pretokens(small_texts, PatternCutter(pattern)), 150)
    return Tokenizer.byte_level(merges, pattern, chat_format=layout.name)


@pytest.fixture(scope="module")
def trained(layout: ChatFormat, small_texts: list[str]) -> Tokenizer:
    return learn(small_texts, "qwen2", layout)


@pytest.fixture(scope="module")
def ours(layout: ChatFormat, pattern: str, small_texts: list[str]) -> Tokenizer:
    return learn(small_texts, pattern, layout)


@pytest.fixture(scope="module")
def theirs(ours: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    ours.save(folder)
    return AutoTokenizer.from_pretrained(folder)


# --- the layout -----------------------------------------------------------------------------------


def test_chatml_layout_and_mask_by_hand(chatml: Tokenizer) -> None:
    rendered = render_chat(chatml, chat("q", "a", system="s"))
    start, end = [chatml.special_id("<|im_start|>")], [chatml.special_id("<|im_end|>")]
    text = chatml.encode
    assert rendered.ids == [
        *start, *text("system\ns"), *end, *text("\n"),
        *start, *text("user\nq"), *end, *text("\n"),
        *start, *text("assistant\na"), *end, *text("\n"),
    ]  # fmt: skip
    trained = [i for i, mark in enumerate(rendered.loss_mask) if mark]
    assert trained == [len(rendered.ids) - 3, len(rendered.ids) - 2]


# Every format's text, its special tokens spelled out; what is trained stands between ⟨ and ⟩.
BY_HAND = {
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n 6*7? <|im_end|>\n"
        "<|im_start|>assistant\n⟨Let me see.<|im_end|>⟩\n<|im_start|>assistant\n"
        "⟨calc(6*7)<|im_end|>⟩\n<|im_start|>tool\n42\n<|im_end|>\n<|im_start|>tool\nok<|im_end|>\n"
        "<|im_start|>assistant\n⟨42. <|im_end|>⟩\n<|im_start|>user\nThanks<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n6*7?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟨Let me see.<|eot_id|>⟩"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟨calc(6*7)<|eot_id|>⟩"
        "<|start_header_id|>ipython<|end_header_id|>\n\n42<|eot_id|>"
        "<|start_header_id|>ipython<|end_header_id|>\n\nok<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟨42.<|eot_id|>⟩"
        "<|start_header_id|>user<|end_header_id|>\n\nThanks<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "alpaca": (
        "Be brief.\n\n### Instruction:\n 6*7? \n\n### Response:\n⟨Let me see.<|endoftext|>⟩\n\n"
        "### Response:\n⟨calc(6*7)<|endoftext|>⟩\n\n### Input:\n42\n\n\n### Input:\nok\n\n"
        "### Response:\n⟨42. <|endoftext|>⟩\n\n### Instruction:\nThanks\n\n### Response:\n"
    ),
}


def test_every_layout_and_mask_by_hand(bare: Tokenizer, layout: ChatFormat) -> None:
    messages = [
        Message("system", "Be brief."),
        Message("user", " 6*7? "),
        Message("assistant", "Let me see."),
        Message("assistant", "calc(6*7)"),
        Message("tool", "42\n"),
        Message("tool", "ok"),
        Message("assistant", "42. "),
        Message("user", "Thanks"),
    ]
    rendered = render_chat(bare, messages, add_generation_prompt=True)
    spelled = ""
    before = False
    for token_id, is_trained in zip(rendered.ids, rendered.loss_mask, strict=True):
        spelled += ("⟨" if is_trained else "⟩") if is_trained != before else ""
        spelled += bare.token_bytes(token_id).decode()
        before = is_trained
    assert spelled == BY_HAND[layout.name]
    specials = [token_id for token_id in rendered.ids if bare.is_special(token_id)]
    names = "|".join(map(re.escape, layout.special_tokens))
    assert [bare.token_bytes(i).decode() for i in specials] == re.findall(names, spelled)


def test_the_generation_prompt_is_the_header_of_a_reply(
    bare: Tokenizer, layout: ChatFormat
) -> None:
    for prompt in ("u", "suau", "uat", "suaatt"):
        asked = render_chat(bare, turns(prompt), add_generation_prompt=True)
        answered = render_chat(bare, [*turns(prompt), Message("assistant", "yes")])
        first = len(asked.ids)
        assert asked.ids == answered.ids[:first]
        assert asked.loss_mask == answered.loss_mask[:first]
        assert bare.decode(answered.ids[first : first + 3]) == "yes"
        assert all(answered.loss_mask[first : first + 4])
        assert bare.token_bytes(answered.ids[first + 3]).decode() == layout.ends_turn
    for prompt in ("ua", "uata"):
        with pytest.raises(DataError, match="already ends with the assistant"):
            render_chat(bare, turns(prompt), add_generation_prompt=True)


def test_chatml_keeps_its_special_tokens_and_template(chatml: Tokenizer) -> None:
    assert CHATML.special_tokens == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert list(chatml.special_tokens.items()) == [
        ("<|endoftext|>", 256), ("<|im_start|>", 257), ("<|im_end|>", 258)
    ]  # fmt: skip
    assert CHATML.template == (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


def test_a_format_knows_every_role_and_only_its_own_tokens(layout: ChatFormat) -> None:
    assert set(layout.before) == set(layout.after) == set(ROLES)
    assert {layout.opens_document, layout.ends_turn, layout.pads} <= set(layout.special_tokens)
    assert layout.after["assistant"].startswith(layout.ends_turn)
    for part in (layout.start, *layout.before.values(), *layout.after.values()):
        spelled = {text for text, is_special in layout.split(part) if is_special}
        assert spelled == set(re.findall(r"<\|\w+\|>", part))
        assert "".join(text for text, _ in layout.split(part)) == part


def test_a_tokenizer_without_the_format_or_its_tokens_says_so(chatml: Tokenizer) -> None:
    foreign = Tokenizer(
        chatml.model, chatml.cutter, special_tokens={"</s>": 256}, roles=chatml.roles.__class__()
    )
    with pytest.raises(TokenizerError, match=r"has no chat format.*chatml, llama3, alpaca"):
        render_chat(foreign, chat("q"))
    with pytest.raises(TokenizerError, match="has no chat format"):
        fit_chat(foreign, chat("q", "a"), 100)
    with pytest.raises(TokenizerError, match="'vicuna' is not known; use one of chatml, llama3"):
        chat_format("vicuna")
    foreign = Tokenizer(
        chatml.model,
        chatml.cutter,
        special_tokens={"</s>": 256},
        roles=chatml.roles.__class__(),
        chat_format="alpaca",
    )
    with pytest.raises(TokenizerError, match=r"no special token '<\|endoftext\|>'"):
        render_chat(foreign, chat("q", "a"))


# --- what no content can do -----------------------------------------------------------------------


@given(messages=conversations(spells=True))
@settings(deadline=None, max_examples=40)
def test_a_message_cannot_give_a_special_token(
    trained: Tokenizer, layout: ChatFormat, messages: list[dict[str, str]]
) -> None:
    parts = [layout.start]
    for message in messages:
        parts += [layout.before[message["role"]], layout.after[message["role"]]]
    expected = re.findall("|".join(map(re.escape, layout.special_tokens)), "".join(parts))
    ids = render_chat(trained, messages).ids
    assert [trained.token_bytes(i).decode() for i in ids if trained.is_special(i)] == expected


@given(messages=conversations(spells=True))
@settings(deadline=None, max_examples=40)
def test_only_replies_and_their_ends_are_trained(
    trained: Tokenizer, layout: ChatFormat, messages: list[dict[str, str]]
) -> None:
    rendered = render_chat(trained, messages)
    end = trained.special_id(layout.ends_turn)
    replies: list[list[int]] = [[]]
    for token_id, is_trained in zip(rendered.ids, rendered.loss_mask, strict=True):
        if is_trained:
            replies[-1].append(token_id)
            if token_id == end:
                replies.append([])
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    assert len(replies) == len(said) + 1
    assert replies.pop() == []
    for ids, content in zip(replies, said, strict=True):
        content = content.strip() if layout.strips else content
        assert ids[-1] == end
        assert content.encode().endswith(trained.decode_bytes(ids))
        if not content[0].isspace():  # nothing of it went into a token with the header's newline
            assert trained.decode(ids) == content


def test_a_reply_that_begins_with_a_newline_loses_that_one_token_to_the_header(
    small_texts: list[str],
) -> None:
    tokenizer = learn(small_texts, "qwen2", CHATML)
    # "\n\n" is a token there; it is neither the header's nor the reply's alone
    assert len(tokenizer.encode("\n\n")) == 1
    assert trained_bytes(tokenizer, chat("q", "\n7 ")) == [b"7", b" ", b"<|im_end|>"]


def test_half_a_surrogate_pair_is_a_replacement_character(trained: Tokenizer) -> None:
    broken, whole = chat("q\udc00", "a\ud83d b"), chat("q\ufffd", "a\ufffd b")
    assert render_chat(trained, broken) == render_chat(trained, whole)


# --- transformers ---------------------------------------------------------------------------------


@given(messages=conversations(), prompt=st.booleans())
@settings(deadline=None, max_examples=40)
def test_transformers_gives_the_same_ids(
    ours: Tokenizer,
    theirs: PreTrainedTokenizerFast,
    messages: list[dict[str, str]],
    prompt: bool,
) -> None:
    asks = prompt and messages[-1]["role"] != "assistant"
    expected = theirs.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=asks, return_dict=False
    )
    assert render_chat(ours, messages, add_generation_prompt=asks).ids == expected


# The same templates with transformers' marks around what the assistant generates. A test below
# holds them against the exported ones.
MARKED = {
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
        "{% if message['role'] == 'assistant' %}"
        "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
        "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    ),
    "llama3": (
        "{{ '<|begin_of_text|>' }}{% for message in messages %}"
        "{% set role = 'ipython' if message['role'] == 'tool' else message['role'] %}"
        "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}"
        "{% if message['role'] == 'assistant' %}"
        "{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
        "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    ),
    "alpaca": (
        "{% for message in messages %}"
        "{% if message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] }}"
        "{% elif message['role'] == 'tool' %}{{ '### Input:\\n' + message['content'] }}"
        "{% elif message['role'] == 'assistant' %}{{ '### Response:\\n' }}"
        "{% generation %}{{ message['content'] + '<|endoftext|>' }}{% endgeneration %}"
        "{% else %}{{ message['content'] }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    ),
}


@given(messages=conversations())
@settings(deadline=None, max_examples=25)
def test_transformers_marks_the_same_tokens_as_generated(
    ours: Tokenizer,
    theirs: PreTrainedTokenizerFast,
    layout: ChatFormat,
    messages: list[dict[str, str]],
) -> None:
    marked = theirs.apply_chat_template(
        messages,
        chat_template=MARKED[layout.name],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    rendered = render_chat(ours, messages)
    assert marked["input_ids"] == rendered.ids
    # A token that spans header and content is header here and content there; it is the only one.
    for place, (theirs_says, ours_says) in enumerate(
        zip(marked["assistant_masks"], rendered.loss_mask, strict=True)
    ):
        if theirs_says != ours_says:
            assert theirs_says
            assert not ours_says
            assert not rendered.loss_mask[place - 1]
            assert ours.token_bytes(rendered.ids[place]).count(b"\n")


def test_transformers_lets_text_spell_a_special_token_and_we_do_not(
    ours: Tokenizer, theirs: PreTrainedTokenizerFast, layout: ChatFormat
) -> None:
    plain, spelled = chat("ab", "c"), chat(f"a{layout.ends_turn}b", "c")
    end = ours.special_id(layout.ends_turn)

    def n_ends(messages: list[Message]) -> tuple[int, int]:
        rows = [{"role": message.role, "content": message.content} for message in messages]
        given_there = theirs.apply_chat_template(rows, tokenize=True, return_dict=False)
        return given_there.count(end), render_chat(ours, messages).ids.count(end)

    n = n_ends(plain)[0]
    assert n_ends(plain) == (n, n)
    assert n_ends(spelled) == (n + 1, n)


# --- what is a conversation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "the conversation is empty"),
        ([{"role": "system", "content": "s"}], "the conversation is empty"),
        ([{"role": "bot", "content": "x"}], "message 0 is of role 'bot'; use one of system, user"),
        ([{"role": "user", "content": " \n"}], r"message 0 \(user\) is empty"),
        ([*chat("q", "a"), Message("tool", "")], r"message 2 \(tool\) is empty"),
        ([{"role": "user", "content": None}], "content of message 0 is of type NoneType"),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}],
            "content of message 0 is of type NoneType; give it as text .a tool call too",
        ),
        ([{"role": "user"}], "message 0 must have a role and a content"),
        (["hello"], "message 0 must have a role and a content"),
        (chat("q"), "has no assistant message"),
        ([Message("assistant", "a")], "message 0 is of role 'assistant' where 'user' must stand"),
        ([*chat("q", system="s"), Message("user", "q")], "message 2 is of role 'user' where 'ass"),
        (
            [*chat("q", "a"), Message("system", "s")],
            "message 2 is of role 'system' where 'user', 'assistant' or 'tool' must stand",
        ),
        (turns("ut"), "message 1 is of role 'tool' where 'assistant' must stand"),
        (turns("suatu"), "message 4 is of role 'user' where 'assistant' or 'tool' must stand"),
        (turns("t"), "message 0 is of role 'tool' where 'user' must stand"),
    ],
)
def test_what_is_no_conversation_says_why(messages, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_conversation(messages)


def test_of_all_short_orders_exactly_those_of_the_rule_pass() -> None:
    passed = []
    for n in range(7):
        for letters in map("".join, product("suat", repeat=n)):
            try:
                checked = check_conversation(turns(letters), needs_reply=False)
            except DataError:
                continue
            assert list(checked) == turns(letters)
            passed.append(letters)
    assert passed == [letters for letters in ORDERS if len(letters) < 7]
    assert {"u", "su", "uaa", "suatta", "uat", "uauau"} < set(passed)


def test_conversations_that_pass() -> None:
    assert check_conversation(chat("q"), needs_reply=False) == tuple(chat("q"))
    assert check_conversation(chat("q", "a", "q", system="")) == tuple(
        chat("q", "a", "q", system="")
    )
    extra = {"role": "user", "content": "q", "source": "somewhere"}
    assert check_conversation([extra], needs_reply=False) == (Message("user", "q"),)


# --- making it fit --------------------------------------------------------------------------------


def length(tokenizer: Tokenizer, messages: list[Message]) -> int:
    return len(render_chat(tokenizer, messages).ids)


def n_loose(layout: ChatFormat, message: Message) -> int:
    """Bytes after the token that ends the last turn."""
    return len(layout.after[message.role].partition(layout.ends_turn)[2])


def test_a_chat_that_fits_is_whole_with_or_without_its_last_newline(
    bare: Tokenizer, layout: ChatFormat
) -> None:
    for messages in (chat("q1", "a1", "q2", system="s"), chat("q1", "a1"), turns("suataatt")):
        expected = render_chat(bare, messages)
        n, loose = len(expected.ids), n_loose(layout, messages[-1])
        assert fit_chat(bare, messages, n).rendered == expected
        for n_cut in range(loose + 1):
            tight = fit_chat(bare, messages, n - n_cut)
            assert tight.outcome == "whole"
            assert tight.rendered is not None
            assert tight.rendered.ids == expected.ids[: n - n_cut]
        assert fit_chat(bare, messages, n - loose - 1).outcome != "whole"


def test_the_oldest_exchanges_go_first_and_the_system_message_stays(
    bare: Tokenizer, layout: ChatFormat
) -> None:
    messages = turns("suauataauata")
    for first in (3, 8):
        assert messages[first].role == "user"
        kept = [messages[0], *messages[first:]]
        for n in (length(bare, kept), length(bare, kept) - n_loose(layout, kept[-1])):
            fitted = fit_chat(bare, messages, n)
            assert fitted.outcome == "exchanges_dropped"
            assert fitted.rendered is not None
            assert fitted.rendered.ids == render_chat(bare, kept).ids[:n]
            assert fitted.rendered.loss_mask == render_chat(bare, kept).loss_mask[:n]


@pytest.mark.parametrize("letters", ["uau", "suau", "uat", "suauaatt"])
def test_what_has_no_reply_goes_before_any_exchange(bare: Tokenizer, letters: str) -> None:
    messages = turns(letters)
    answered = turns(letters.rstrip("ut"))
    fitted = fit_chat(bare, messages, length(bare, answered))
    assert fitted.outcome == "exchanges_dropped"
    assert fitted.rendered == render_chat(bare, answered)


def test_the_last_reply_is_cut_while_one_token_of_it_is_left(bare: Tokenizer) -> None:
    messages = chat("q1", "a1", "q2", "a long reply", system="s")
    last = render_chat(bare, [messages[0], *messages[3:]])
    first, end = last.loss_mask.index(True), len(last.ids) - last.loss_mask[::-1].index(True)
    for n in range(first + 1, end):
        fitted = fit_chat(bare, messages, n)
        assert fitted.outcome == "reply_cut"
        assert fitted.rendered is not None
        assert fitted.rendered.ids == last.ids[:n]
        assert fitted.rendered.loss_mask == last.loss_mask[:n]
        assert sum(fitted.rendered.loss_mask) == n - first
        assert bare.end_of_turn_id not in fitted.rendered.ids[first:]
    refused = fit_chat(bare, messages, first)
    assert (refused.outcome, refused.rendered) == ("refused", None)


def test_a_cut_exchange_ends_with_what_the_assistant_last_said_in_the_room(
    bare: Tokenizer,
) -> None:
    messages = [*turns("uata")[:2], Message("tool", "long " * 20), Message("assistant", "a3")]
    whole = render_chat(bare, messages)
    first_reply_ends = whole.ids.index(bare.end_of_turn_id, whole.loss_mask.index(True)) + 1
    second_reply = len(whole.loss_mask) - whole.loss_mask[::-1].index(True) - len("a3") - 1
    for n in (first_reply_ends, first_reply_ends + 30, second_reply):
        fitted = fit_chat(bare, messages, n)
        assert fitted.outcome == "reply_cut"
        assert fitted.rendered is not None
        assert fitted.rendered.ids == whole.ids[:first_reply_ends]
        assert fitted.rendered.loss_mask == whole.loss_mask[:first_reply_ends]
    one_more = fit_chat(bare, messages, second_reply + 1).rendered
    assert one_more is not None
    assert one_more.ids == whole.ids[: second_reply + 1]


def fit_plainly(
    tokenizer: Tokenizer, layout: ChatFormat, messages: list[Message], max_tokens: int
) -> tuple[str, RenderedChat | None]:
    """The rule of `fit_chat`, one rendering after the other."""
    n_system = int(messages[0].role == "system")
    last_reply = max(i for i, message in enumerate(messages) if message.role == "assistant")
    answered = messages[: last_reply + 1]
    starts = [i for i, message in enumerate(answered) if message.role == "user"]
    shorter = [[*messages[:n_system], *answered[start:]] for start in starts]
    for kept in (messages, *shorter):
        whole = render_chat(tokenizer, kept)
        if len(whole.ids) - n_loose_tokens(tokenizer, layout, kept[-1]) <= max_tokens:
            outcome = "whole" if kept is messages else "exchanges_dropped"
            return outcome, RenderedChat(whole.ids[:max_tokens], whole.loss_mask[:max_tokens])
    last = render_chat(tokenizer, shorter[-1])
    trained = [place for place in range(max_tokens) if last.loss_mask[place]]
    if not trained:
        return "refused", None
    n = trained[-1] + 1
    return "reply_cut", RenderedChat(last.ids[:n], last.loss_mask[:n])


def n_loose_tokens(tokenizer: Tokenizer, layout: ChatFormat, message: Message) -> int:
    return len(tokenizer.encode("\n" * n_loose(layout, message)))


@given(messages=conversations(spells=True), max_tokens=st.integers(1, 160))
@settings(deadline=None, max_examples=50)
def test_what_fits_is_what_the_rule_says(
    trained: Tokenizer, layout: ChatFormat, messages: list[dict[str, str]], max_tokens: int
) -> None:
    if all(message["role"] != "assistant" for message in messages):
        return
    fitted = fit_chat(trained, messages, max_tokens)
    checked = list(check_conversation(messages))
    assert (fitted.outcome, fitted.rendered) == fit_plainly(trained, layout, checked, max_tokens)
    if fitted.rendered is not None:
        assert len(fitted.rendered.ids) == len(fitted.rendered.loss_mask) <= max_tokens
        assert any(fitted.rendered.loss_mask)


# --- other tokenizers: of our own, and some that lose something ----------------------------------


def check_against(
    ours: Tokenizer, theirs: PreTrainedTokenizerFast, messages: list[dict[str, str]]
) -> None:
    """Equal ids in ChatML; trained is nothing but what lies, as transformers says, in replies."""
    spelled, replies = "", []
    for message in messages:
        spelled += f"<|im_start|>{message['role']}\n"
        end = len(spelled) + len(message["content"] + "<|im_end|>")
        if message["role"] == "assistant":
            replies.append((len(spelled), end))
        spelled += message["content"] + "<|im_end|>\n"
    expected = theirs(spelled, add_special_tokens=False, return_offsets_mapping=True)
    rendered = render_chat(ours, messages)
    assert rendered.ids == expected["input_ids"]
    n_ends = 0
    for token_id, is_trained, (first, last) in zip(
        rendered.ids, rendered.loss_mask, expected["offset_mapping"], strict=True
    ):
        if is_trained:
            assert any(start <= first and last <= end for start, end in replies)
            n_ends += token_id == ours.end_of_turn_id
    assert n_ends == len(replies)


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "nfc"])
def own(
    request: pytest.FixtureRequest, small_texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    choice: dict[str, Any] = {
        "wordpiece": {"algorithm": "wordpiece", "vocab_size": 600},
        "unigram": {"algorithm": "unigram", "vocab_size": 340},
        "nfc": {"normalization": "nfc", "vocab_size": 340},
    }[request.param]
    config = TokenizerConfig(trainer="readable", **choice)
    made = train_tokenizer(small_texts, config)
    folder: Path = tmp_path_factory.mktemp(request.param)
    made.save(folder)
    return made, AutoTokenizer.from_pretrained(folder)


@given(messages=conversations())
@settings(deadline=None, max_examples=25)
def test_every_algorithm_gives_what_transformers_gives(
    own: tuple[Tokenizer, PreTrainedTokenizerFast], messages: list[dict[str, str]]
) -> None:
    ours, theirs = own
    check_against(ours, theirs, messages)
    plain = [message | {"content": "x" + message["content"]} for message in messages]
    rendered = render_chat(ours, plain)
    pairs = zip(rendered.ids, rendered.loss_mask, strict=True)
    trained_bytes = b"".join(ours.token_bytes(i) for i, is_trained in pairs if is_trained)
    normalized = ours.normalizer or str
    assert trained_bytes.decode() == "".join(
        normalized(message["content"]) + "<|im_end|>"
        for message in plain
        if message["role"] == "assistant"
    )


def _library(kind: str, small_texts: list[str]) -> tokenizers.Tokenizer:
    """Other people's kinds of tokenizer, trained on a little text, with ChatML's special tokens."""
    special = ["[UNK]", *CHATML.special_tokens]
    if kind == "bert":
        cut = tokenizers.pre_tokenizers.BertPreTokenizer().pre_tokenize_str
        words = {word for text in small_texts for word, _ in cut(text.lower())}
        letters = sorted({letter for word in words for letter in word})
        inside = [f"##{letter}" for letter in letters]
        vocabulary = dict.fromkeys([*special, *letters, *inside, *sorted(words)])
        ids = {piece: token_id for token_id, piece in enumerate(vocabulary)}
        made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
        made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        made.decoder = tokenizers.decoders.WordPiece()
        made.add_special_tokens(special)
        return made
    if kind == "t5":
        made = tokenizers.Tokenizer(tokenizers.models.Unigram())
        made.normalizer = tokenizers.normalizers.NFKC()
        made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always")
        made.decoder = tokenizers.decoders.Metaspace(prepend_scheme="always")
        trainer = tokenizers.trainers.UnigramTrainer(
            vocab_size=300, special_tokens=special, unk_token="[UNK]", show_progress=False
        )
    else:
        made = tokenizers.Tokenizer(
            tokenizers.models.BPE(unk_token="[UNK]", byte_fallback=True, fuse_unk=True)
        )
        made.normalizer = tokenizers.normalizers.Sequence(
            [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
        )
        made.decoder = tokenizers.decoders.Sequence(
            [
                tokenizers.decoders.Replace("▁", " "),
                tokenizers.decoders.ByteFallback(),
                tokenizers.decoders.Fuse(),
                tokenizers.decoders.Strip(" ", 1, 0),
            ]
        )
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
            show_progress=False,
        )
    made.train_from_iterator(small_texts, trainer)
    return made


@pytest.fixture(scope="module", params=["bert", "t5", "llama2"])
def foreign(
    request: pytest.FixtureRequest, small_texts: list[str], tmp_path_factory
) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    content = json.loads(_library(request.param, small_texts).to_str())
    content["added_tokens"] = [  # the bytes are tokens of the model, not special ones
        token for token in content["added_tokens"] if not token["content"].startswith("<0x")
    ]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "unk_token": "[UNK]"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHATML.template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | names), encoding="utf-8")
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


@given(messages=conversations())
@settings(deadline=None, max_examples=25)
def test_with_loss_the_ids_are_the_same_and_only_replies_are_trained(
    foreign: tuple[Tokenizer, PreTrainedTokenizerFast], messages: list[dict[str, str]]
) -> None:
    ours, theirs = foreign
    assert not ours.is_lossless
    check_against(ours, theirs, messages)


def test_with_loss_a_reply_of_words_is_trained_from_its_first_word(
    foreign: tuple[Tokenizer, PreTrainedTokenizerFast],
) -> None:
    ours, _ = foreign
    rendered = render_chat(ours, chat("How late?", "The miller's daughter said late."))
    pairs = zip(rendered.ids, rendered.loss_mask, strict=True)
    trained_ids = [token_id for token_id, is_trained in pairs if is_trained]
    assert ours.decode(trained_ids).strip().lower().startswith("the miller")
    assert trained_ids[-1] == ours.special_id("<|im_end|>")
    fitted = fit_chat(
        ours, chat("How late?", "The miller's daughter said late."), len(rendered.ids)
    )
    assert fitted.rendered == rendered
