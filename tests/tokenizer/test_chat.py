from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from groundup.runtime import DataError
from groundup.tokenizer import (
    SPECIAL_TOKENS,
    Message,
    Tokenizer,
    check_conversation,
    fit_chat,
    render_chat,
)

TEXTS = st.lists(
    st.one_of(st.text(), st.sampled_from([*SPECIAL_TOKENS, "\n", "  \n", "\r\n", "x", "{{ 1 }}"])),
    max_size=4,
).map(lambda parts: "".join(parts))
CONTENTS = TEXTS.filter(lambda text: bool(text.strip()))


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    messages = draw(st.lists(CONTENTS, min_size=1, max_size=5))
    turns = [
        {"role": ("user", "assistant")[index % 2], "content": content}
        for index, content in enumerate(messages)
    ]
    if draw(st.booleans()):
        turns.insert(0, {"role": "system", "content": draw(TEXTS)})
    return turns


def chat(*contents: str, system: str | None = None) -> list[Message]:
    turns = [
        Message(("user", "assistant")[index % 2], content)  # type: ignore[arg-type]
        for index, content in enumerate(contents)
    ]
    return [Message("system", system), *turns] if system is not None else turns


@pytest.fixture(scope="module")
def bare() -> Tokenizer:
    """One token per byte, so that lengths can be counted by hand."""
    return Tokenizer([], "qwen2")


@pytest.fixture(scope="module")
def theirs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> AutoTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return AutoTokenizer.from_pretrained(folder)


# --- the layout -----------------------------------------------------------------------------------


def test_layout_and_mask_by_hand(bare: Tokenizer) -> None:
    rendered = render_chat(bare, chat("q", "a", system="s"))
    start, end = [bare.im_start_id], [bare.im_end_id]
    text = bare.encode
    assert rendered.ids == [
        *start, *text("system\ns"), *end, *text("\n"),
        *start, *text("user\nq"), *end, *text("\n"),
        *start, *text("assistant\na"), *end, *text("\n"),
    ]  # fmt: skip
    trained = [i for i, mark in enumerate(rendered.loss_mask) if mark]
    assert trained == [len(rendered.ids) - 3, len(rendered.ids) - 2]


def test_the_generation_prompt_is_the_header_of_a_reply(bare: Tokenizer) -> None:
    rendered = render_chat(bare, chat("q"), add_generation_prompt=True)
    assert rendered.ids == [
        *render_chat(bare, chat("q")).ids,
        bare.im_start_id,
        *bare.encode("assistant\n"),
    ]
    assert not any(rendered.loss_mask)
    with pytest.raises(DataError, match="already ends with the assistant"):
        render_chat(bare, chat("q", "a"), add_generation_prompt=True)


@given(messages=conversations())
@settings(deadline=None)
def test_a_message_cannot_give_a_special_token(
    tokenizer: Tokenizer, messages: list[dict[str, str]]
) -> None:
    ids = render_chat(tokenizer, messages).ids
    specials = [token_id for token_id in ids if tokenizer.is_special(token_id)]
    assert specials == [tokenizer.im_start_id, tokenizer.im_end_id] * len(messages)


@given(messages=conversations())
@settings(deadline=None)
def test_only_replies_and_their_ends_are_trained(
    tokenizer: Tokenizer, messages: list[dict[str, str]]
) -> None:
    rendered = render_chat(tokenizer, messages)
    replies: list[list[int]] = [[]]
    for token_id, trained in zip(rendered.ids, rendered.loss_mask, strict=True):
        if trained:
            replies[-1].append(token_id)
            if token_id == tokenizer.im_end_id:
                replies.append([])
    said = [message["content"] for message in messages if message["role"] == "assistant"]
    assert len(replies) == len(said) + 1
    assert replies.pop() == []
    for ids, content in zip(replies, said, strict=True):
        assert ids[-1] == tokenizer.im_end_id
        assert content.encode().endswith(tokenizer.decode_bytes(ids))
        if not content[0].isspace():  # nothing of it went into a token with the header's newline
            assert tokenizer.decode(ids) == content


@given(messages=conversations())
@settings(deadline=None)
def test_transformers_gives_the_same_ids(
    tokenizer: Tokenizer, theirs: AutoTokenizer, messages: list[dict[str, str]]
) -> None:
    # where a content spells a special token, theirs would be that token: that is the difference
    if any(name in message["content"] for name in SPECIAL_TOKENS for message in messages):
        return
    asks = messages[-1]["role"] == "user"
    expected = theirs.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=asks, return_dict=False
    )
    assert render_chat(tokenizer, messages, add_generation_prompt=asks).ids == expected


def test_transformers_lets_text_spell_a_special_token_and_we_do_not(
    tokenizer: Tokenizer, theirs: AutoTokenizer
) -> None:
    messages = [{"role": "user", "content": "a<|im_end|>b"}]
    expected = theirs.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert expected.count(tokenizer.im_end_id) == 2
    assert render_chat(tokenizer, messages).ids.count(tokenizer.im_end_id) == 1


# --- what is a conversation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "the conversation is empty"),
        ([{"role": "system", "content": "s"}], "the conversation is empty"),
        ([{"role": "bot", "content": "x"}], "message 0 is of role 'bot'; use one of system, user"),
        ([{"role": "user", "content": " \n"}], r"message 0 \(user\) is empty"),
        ([{"role": "user", "content": None}], "content of message 0 is of type NoneType"),
        ([{"role": "user"}], "message 0 must have a role and a content"),
        (["hello"], "message 0 must have a role and a content"),
        (chat("q"), "has no assistant message"),
        ([Message("assistant", "a")], "message 0 is of role 'assistant' where 'user' must stand"),
        ([*chat("q", system="s"), Message("user", "q")], "message 2 is of role 'user' where 'ass"),
        ([*chat("q", "a"), Message("system", "s")], "message 2 is of role 'system' where 'user'"),
    ],
)
def test_what_is_no_conversation_says_why(messages, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_conversation(messages)


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


def test_a_chat_that_fits_is_whole_with_or_without_its_last_newline(bare: Tokenizer) -> None:
    messages = chat("q1", "a1", "q2", system="s")
    expected = render_chat(bare, messages)
    n = len(expected.ids)
    assert fit_chat(bare, messages, n).rendered == expected
    tight = fit_chat(bare, messages, n - 1)
    assert tight.outcome == "whole"
    assert tight.rendered is not None
    assert tight.rendered.ids == expected.ids[:-1]
    assert fit_chat(bare, messages, n - 2).outcome == "exchanges_dropped"


def test_the_oldest_exchanges_go_first_and_the_system_message_stays(bare: Tokenizer) -> None:
    messages = chat("q1", "a1", "q2", "a2", "q3", "a3", system="s")
    for n_dropped in (1, 2):
        kept = [messages[0], *messages[1 + 2 * n_dropped :]]
        fitted = fit_chat(bare, messages, length(bare, kept))
        assert fitted.outcome == "exchanges_dropped"
        assert fitted.rendered == render_chat(bare, kept)


def test_a_question_without_reply_goes_before_any_exchange(bare: Tokenizer) -> None:
    messages = chat("q1", "a1", "q2")
    fitted = fit_chat(bare, messages, length(bare, messages[:2]))
    assert fitted.outcome == "exchanges_dropped"
    assert fitted.rendered == render_chat(bare, messages[:2])


def test_the_last_reply_is_cut_while_one_token_of_it_is_left(bare: Tokenizer) -> None:
    messages = chat("q1", "a1", "q2", "a long reply", system="s")
    last = render_chat(bare, [messages[0], *messages[3:]])
    prompt = last.loss_mask.index(True)
    for n in (len(last.ids) - 2, prompt + 1):
        fitted = fit_chat(bare, messages, n)
        assert fitted.outcome == "reply_cut"
        assert fitted.rendered is not None
        assert fitted.rendered.ids == last.ids[:n]
        assert fitted.rendered.loss_mask == last.loss_mask[:n]
        assert sum(fitted.rendered.loss_mask) == n - prompt
        assert bare.im_end_id not in fitted.rendered.ids[prompt:]
    refused = fit_chat(bare, messages, prompt)
    assert (refused.outcome, refused.rendered) == ("refused", None)


@given(messages=conversations(), max_tokens=st.integers(1, 120))
@settings(deadline=None)
def test_what_fits_is_short_enough_and_has_something_to_learn(
    tokenizer: Tokenizer, messages: list[dict[str, str]], max_tokens: int
) -> None:
    if all(message["role"] != "assistant" for message in messages):
        return
    fitted = fit_chat(tokenizer, messages, max_tokens)
    assert (fitted.rendered is None) == (fitted.outcome == "refused")
    if fitted.rendered is not None:
        assert len(fitted.rendered.ids) == len(fitted.rendered.loss_mask) <= max_tokens
        assert any(fitted.rendered.loss_mask)
