from __future__ import annotations

import re

import pytest

from groundup.demo import DemoConfig, documents
from groundup.demo.sentences import QUESTIONS, STATEMENTS, state_fact
from groundup.demo.world import facts, find_held_out_pairs, is_held_out_sum


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(documents(3, DemoConfig(n_documents=3000)))


def added_numbers(text: str) -> set[tuple[int, int]]:
    """Operands of the sums, plain or told, in a text."""
    plain = re.findall(r"(\d+) (?:plus|\+|and) (\d+)", text)
    more = re.findall(r"(\d+) \w+(?: in a bag)?\. [^.]*? (\d+) more", text)
    both = re.findall(r"has (\d+) \w+\. \w+ has (\d+)", text)
    return {(int(first), int(second)) for first, second in plain + more + both}


def test_same_seed_gives_the_same_documents_and_another_seed_others() -> None:
    config = DemoConfig(n_documents=50)
    assert list(documents(1, config)) == list(documents(1, config))
    assert list(documents(1, config)) != list(documents(2, config))


def test_no_document_holds_a_held_out_pair(texts: list[str]) -> None:
    assert not [text for text in texts if find_held_out_pairs(text)]


def test_no_document_adds_held_out_numbers(texts: list[str]) -> None:
    added = set().union(*map(added_numbers, texts))
    assert len(added) > 90
    assert not [pair for pair in added if is_held_out_sum(*pair)]


def test_sums_are_right(texts: list[str]) -> None:
    for text in texts:
        for first, second, total in re.findall(r"(\d+) (?:plus|\+) (\d+) (?:is|=) (\d+)", text):
            assert int(first) + int(second) == int(total)


def test_held_out_facts_are_stated_and_never_asked(texts: list[str]) -> None:
    joined = "\n".join(texts)
    for person, attribute in facts(unseen=True):
        shapes = range(len(STATEMENTS[attribute]))
        assert any(state_fact(person, attribute, shape=shape) in joined for shape in shapes)
        for question in QUESTIONS[attribute]:
            assert question.format(n=person.name) not in joined


def test_documents_are_short_and_seldom_equal(texts: list[str]) -> None:
    assert max(len(text.split()) for text in texts) < 160
    assert len(set(texts)) > 0.99 * len(texts)


def test_the_lexicon_is_small(texts: list[str]) -> None:
    words = {word.lower() for text in texts for word in re.findall(r"[A-Za-z']+", text)}
    assert 450 <= len(words) <= 700


def test_articles_are_right(texts: list[str]) -> None:
    for text in texts:
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text
