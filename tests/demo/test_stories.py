from __future__ import annotations

import re
from random import Random

import pytest

from groundup.demo.stories import PLOTS, Story, is_happy_ending, tell
from groundup.demo.world import find_held_out_pairs, triples


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    rng = Random(1)
    return [tell(rng, rng.choice(triples(unseen=False))) for _ in range(600)]


def test_every_plot_is_told(stories: list[Story]) -> None:
    assert {story.plot for story in stories} == set(PLOTS)


def test_both_endings_are_told_apart(stories: list[Story]) -> None:
    for story in stories:
        assert is_happy_ending(story.with_ending(happy=True)) is True, story.happy_end
        assert is_happy_ending(story.with_ending(happy=False)) is False, story.sad_end
    assert 0.4 < sum(story.is_happy for story in stories) / len(stories) < 0.6


def test_a_story_that_stops_early_has_no_ending(stories: list[Story]) -> None:
    assert all(is_happy_ending(story.body) is None for story in stories)


def test_slot_words_come_back_and_length_is_kept(stories: list[Story]) -> None:
    for story in stories:
        words = re.findall(r"\w+", story.text)
        assert 40 <= len(story.text.split()) <= 75
        assert all(words.count(word) >= 2 for word in story.triple.words), story.text


def test_seen_stories_hold_no_held_out_pair(stories: list[Story]) -> None:
    assert not [story.text for story in stories if find_held_out_pairs(story.text)]


def test_articles_and_capitals_are_right(stories: list[Story]) -> None:
    for story in stories:
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", story.text), story.text
        assert not re.search(r"(^|[.] )[a-z]", story.text), story.text
        assert not re.search(r"[{}]|  ", story.text), story.text


def test_answers_hold_what_is_expected_and_nothing_forbidden(stories: list[Story]) -> None:
    for story in stories[:200]:
        for asked in story.questions(Random(0)):
            words = re.findall(r"\w+", asked.answer)
            assert asked.expected in words, asked
            assert not set(asked.forbidden) & set(words), asked


def test_pronouns_of_the_animal_agree() -> None:
    rng = Random(2)
    fox = [triple for triple in triples(unseen=False) if triple.animal == "fox"]
    for _ in range(50):
        story = tell(rng, rng.choice(fox))
        first = re.search(r"\b(he|she)\b", story.body.lower())
        assert first is None or first.group() == "she" or story.slots["bhe"] == "he"


def test_unseen_triples_are_told_too() -> None:
    rng = Random(3)
    for triple in rng.sample(triples(unseen=True), 50):
        assert is_happy_ending(tell(rng, triple, happy=True).text) is True
