from __future__ import annotations

import re

import pytest

from groundup.demo import DemoConfig, chats
from groundup.demo.chats import Chat
from groundup.demo.sentences import (
    QUESTIONS,
    UNKNOWN_NAMES,
    UNSEEN_IDENTITY_QUESTIONS,
    UNSEEN_NAMES,
    outside_questions,
)
from groundup.demo.world import NAMES, facts, find_held_out_pairs, is_held_out_sum


@pytest.fixture(scope="module")
def drawn() -> list[Chat]:
    return list(chats(3, DemoConfig(n_chats=2000)))


def joined(chat: Chat) -> str:
    return "\n".join(message["content"] for message in chat)


def test_same_seed_gives_the_same_chats_and_another_seed_others() -> None:
    config = DemoConfig(n_chats=30)
    assert list(chats(1, config)) == list(chats(1, config))
    assert list(chats(1, config)) != list(chats(2, config))


def test_roles_alternate_and_end_with_the_assistant(drawn: list[Chat]) -> None:
    for chat in drawn:
        roles = [message["role"] for message in chat if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    share = sum(chat[0]["role"] == "system" for chat in drawn) / len(drawn)
    assert 0.07 < share < 0.13


def test_no_chat_holds_what_is_held_out(drawn: list[Chat]) -> None:
    texts = [joined(chat) for chat in drawn]
    assert not [text for text in texts if find_held_out_pairs(text)]
    plain = [pair for text in texts for pair in re.findall(r"(\d+) (?:plus|\+|and) (\d+)", text)]
    assert plain
    assert not [pair for pair in plain if is_held_out_sum(int(pair[0]), int(pair[1]))]


def test_no_chat_asks_what_is_kept_for_checks(drawn: list[Chat]) -> None:
    asked = {message["content"] for chat in drawn for message in chat if message["role"] == "user"}
    kept = {*UNSEEN_IDENTITY_QUESTIONS, *outside_questions(unseen=True)}
    kept |= {
        shape.format(n=person.name)
        for person, attribute in facts(unseen=True)
        for shape in QUESTIONS[attribute]
    }
    assert not asked & kept
    assert not [name for name in UNSEEN_NAMES if any(f" {name}" in text for text in asked)]


def test_unknown_names_are_not_of_the_world() -> None:
    assert len(UNKNOWN_NAMES) >= 60
    assert len(UNSEEN_NAMES) == 25
    assert not {*UNKNOWN_NAMES} & {*UNSEEN_NAMES}
    assert not {*UNKNOWN_NAMES, *UNSEEN_NAMES} & {*NAMES}
