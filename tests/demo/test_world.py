from __future__ import annotations

from collections import Counter

import pytest

from groundup.demo import DemoConfig
from groundup.demo.world import (
    ANIMALS,
    ATTRIBUTES,
    CHARACTERS,
    NAMES,
    OBJECTS,
    PLACES,
    facts,
    find_held_out_pairs,
    is_held_out_sum,
    sums,
    triples,
)


def test_kinds_share_no_word() -> None:
    values = {str(getattr(person, name)) for person in CHARACTERS for name in ATTRIBUTES}
    words = [*ANIMALS, *OBJECTS, *PLACES, *NAMES]
    assert len(words) == len(set(words))
    assert not values & {*ANIMALS, *OBJECTS}


def test_friends_are_other_characters() -> None:
    assert {person.friend for person in CHARACTERS} == set(NAMES)
    assert all(person.friend != person.name for person in CHARACTERS)


def test_every_word_is_in_seen_and_unseen_triples() -> None:
    for unseen in (False, True):
        words = {word for triple in triples(unseen=unseen) for word in triple.words}
        assert words == {*ANIMALS, *OBJECTS, *PLACES}
    assert 0.2 < len(triples(unseen=True)) / (20 * 24 * 16) < 0.35


def test_held_out_pairs_are_found_in_text() -> None:
    triple = triples(unseen=True)[0]
    assert find_held_out_pairs(f"The {triple.animal}, a {triple.object}: {triple.place}.")
    triple = triples(unseen=False)[0]
    assert not find_held_out_pairs(" ".join(triple.words))


def test_held_out_sums_do_not_depend_on_order() -> None:
    assert all(is_held_out_sum(second, first) for first, second in sums(unseen=True))
    assert 0.1 < len(sums(unseen=True)) / 121 < 0.2


def test_a_quarter_of_the_facts_is_held_out_for_each_attribute() -> None:
    counts = Counter(attribute for _, attribute in facts(unseen=True))
    assert set(counts) == set(ATTRIBUTES)
    assert set(counts.values()) == {3, 4}
    assert not set(facts(unseen=True)) & set(facts(unseen=False))


def test_config_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="n_chats=-1 must not be negative"):
        DemoConfig(n_chats=-1)
