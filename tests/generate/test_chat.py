from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from groundup.generate import SamplingConfig
from groundup.generate import chat as chat_module
from groundup.generate.chat import ChatSession
from groundup.model import Decoder
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import Message, render_chat

SAMPLING = SamplingConfig(temperature=1.5, max_tokens=4, seed=3)


@pytest.fixture
def session(model: Decoder, tokenizer: Tokenizer) -> ChatSession:
    return ChatSession(model, tokenizer, SAMPLING)


class Scripted:
    """Stands in for the model: gives the replies in turn and keeps the prompts it was shown."""

    def __init__(self, *replies: list[str]) -> None:
        self.replies = list(replies)
        self.prompts: list[list[int]] = []
        self.seeds: list[int] = []

    def __call__(
        self, _model: Any, _tokenizer: Any, ids: list[int], **kwargs: Any
    ) -> Iterator[str]:
        self.prompts.append(ids)
        self.seeds.append(kwargs["config"].seed)
        yield from self.replies.pop(0)


def _script(monkeypatch: pytest.MonkeyPatch, *replies: list[str]) -> Scripted:
    scripted = Scripted(*replies)
    monkeypatch.setattr(chat_module, "stream_text", scripted)
    return scripted


def test_a_reply_is_streamed_and_remembered(session: ChatSession, monkeypatch) -> None:
    scripted = _script(monkeypatch, ["Hi", " you"], ["Yes"])
    assert list(session.say("Hello")) == ["Hi", " you"]
    assert session.turns == [Message("user", "Hello"), Message("assistant", "Hi you")]
    assert list(session.say("Sit?")) == ["Yes"]
    expected = render_chat(
        session.tokenizer,
        [Message("user", "Hello"), Message("assistant", "Hi you"), Message("user", "Sit?")],
        add_generation_prompt=True,
    )
    assert scripted.prompts[1] == expected.ids
    assert len(set(scripted.seeds)) == 2


def test_a_real_model_answers_the_same_every_time(model: Decoder, tokenizer: Tokenizer) -> None:
    conversations = []
    for _ in range(2):
        session = ChatSession(model, tokenizer, SAMPLING)
        conversations.append(["".join(session.say("Hi")) for _ in range(2)])
    assert conversations[0] == conversations[1]


def test_the_system_message_comes_first_and_stays(
    model: Decoder, tokenizer: Tokenizer, monkeypatch
) -> None:
    scripted = _script(monkeypatch, ["a"], ["b"], ["c"])
    session = ChatSession(model, tokenizer, SAMPLING, system="the dog")
    list(session.say("one"))
    session.reset()
    assert session.turns == []
    list(session.say("one"))
    assert scripted.prompts[0] == scripted.prompts[1]
    with_system = [Message("system", "the dog"), Message("user", "one")]
    rendered = render_chat(tokenizer, with_system, add_generation_prompt=True)
    assert scripted.prompts[0] == rendered.ids
    session.reset(system="")
    list(session.say("one"))
    without = render_chat(tokenizer, with_system[1:], add_generation_prompt=True)
    assert scripted.prompts[2] == without.ids


def test_the_oldest_exchange_is_forgotten_first(session: ChatSession, monkeypatch) -> None:
    letters = "abcdefghijkl"
    scripted = _script(monkeypatch, *[["ok"]] * len(letters))
    room = session.model.config.max_seq_len * 2 // 3
    shown = []
    for letter in letters:
        list(session.say(letter))
        assert len(scripted.prompts[-1]) <= room
        text = session.tokenizer.decode(scripted.prompts[-1])
        shown.append("".join(known for known in letters if f"user\n{known}\n" in text))
    assert session.n_forgotten > 0
    assert shown[:2] == ["a", "ab"]
    n_kept = len(shown[-1])
    assert 2 <= n_kept < len(letters)
    assert shown[-1] == letters[-n_kept:]
    assert [turn.role for turn in session.turns] == ["user", "assistant"] * (
        len(session.turns) // 2
    )


def test_a_message_too_long_is_refused_and_not_kept(session: ChatSession, monkeypatch) -> None:
    _script(monkeypatch, ["ok"])
    long = "the cat sat " * 40
    n_tokens = len(
        render_chat(session.tokenizer, [Message("user", long)], add_generation_prompt=True).ids
    )
    message = f"the message takes {n_tokens} tokens, the model can read 42; shorten it"
    with pytest.raises(DataError, match=message):
        list(session.say(long))
    assert session.turns == []
    assert list(session.say("short")) == ["ok"]


def test_a_refused_message_leaves_the_history(session: ChatSession, monkeypatch) -> None:
    _script(monkeypatch, ["ok"])
    list(session.say("Hi"))
    before = list(session.turns)
    with pytest.raises(DataError):
        list(session.say("the cat sat " * 40))
    assert session.turns == before


def test_an_empty_message_is_refused_and_not_kept(session: ChatSession, monkeypatch) -> None:
    _script(monkeypatch, ["ok"])
    with pytest.raises(DataError, match="is empty"):
        list(session.say("  "))
    assert session.turns == []
    assert list(session.say("Hi")) == ["ok"]


@pytest.mark.parametrize("pieces", [[], [" ", "\n"]])
def test_an_empty_reply_is_not_kept(session: ChatSession, monkeypatch, pieces) -> None:
    _script(monkeypatch, pieces, ["ok"])
    assert list(session.say("Hi")) == pieces
    assert session.turns == []
    assert list(session.say("Hi")) == ["ok"]


def test_what_was_said_before_an_interruption_is_kept(session: ChatSession, monkeypatch) -> None:
    _script(monkeypatch, ["one", " two", " three"], ["ok"])
    reply = session.say("Count")
    assert [next(reply), next(reply)] == ["one", " two"]
    reply.close()
    assert session.turns[-1] == Message("assistant", "one two")
    assert list(session.say("Go on")) == ["ok"]


def test_the_reply_ends_at_the_turns_end(session: ChatSession, monkeypatch) -> None:
    seen: dict[str, Any] = {}

    def stream(*_: Any, **kwargs: Any) -> Iterator[str]:
        seen.update(kwargs)
        yield "x"

    monkeypatch.setattr(chat_module, "stream_text", stream)
    list(session.say("Hi"))
    tokenizer = session.tokenizer
    assert set(seen["stop_ids"]) == {tokenizer.end_of_turn_id, tokenizer.end_of_text_id}
    assert seen["config"].max_tokens == SAMPLING.max_tokens
    assert seen["config"].temperature == SAMPLING.temperature
