from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict

import pytest

from groundup.demo import Check, DemoConfig, chance_level, checks
from groundup.demo.world import find_held_out_pairs

SKILLS = ("story", "story_question", "sum", "fact", "unknown", "identity", "happy_ending")


@pytest.fixture(scope="module")
def groups() -> dict[tuple[str, str], list[Check]]:
    grouped = defaultdict(list)
    for check in checks(5, DemoConfig(n_checks=60)):
        grouped[check.skill, check.split].append(check)
    return dict(grouped)


def test_every_skill_has_distinct_checks_of_both_splits(
    groups: dict[tuple[str, str], list[Check]],
) -> None:
    assert set(groups) == {(skill, split) for skill in SKILLS for split in ("seen", "unseen")}
    for group in groups.values():
        assert len(group) == 60
        assert len({json.dumps(check.prompt) for check in group}) == 60
        assert all(check.prompt[-1]["role"] == "user" for check in group)


def test_every_reference_passes(groups: dict[tuple[str, str], list[Check]]) -> None:
    for group in groups.values():
        assert not [check for check in group if not check.passes(check.reference)]


@pytest.mark.parametrize("reply", ["", "No.", "Yes, yes, yes.", "fox bear river lantern 7"])
@pytest.mark.parametrize("skill", ["story", "sum", "fact", "story_question", "happy_ending"])
def test_replies_without_sense_fail(
    groups: dict[tuple[str, str], list[Check]], skill: str, reply: str
) -> None:
    for split in ("seen", "unseen"):
        share = sum(check.passes(reply) for check in groups[skill, split]) / 60
        assert share <= 0.2


def test_wrong_answers_fail(groups: dict[tuple[str, str], list[Check]]) -> None:
    for check in groups["sum", "unseen"]:
        assert not check.passes(f"{check.reference} No, 21.")
        assert not check.passes(check.reference.replace(check.expected[0], "21"))
    for skill in ("fact", "story_question"):
        for check in groups[skill, "seen"]:
            assert not check.passes(f"{check.reference} Or {check.forbidden[0]}.")


def test_a_list_of_the_words_is_no_story(groups: dict[tuple[str, str], list[Check]]) -> None:
    for check in groups["story", "unseen"]:
        words = " ".join(check.expected)
        assert not check.passes(f"{words}.")
        assert not check.passes(f"A story about {words} is here. " * 6)


@pytest.mark.parametrize("skill", ["unknown", "identity"])
def test_one_reply_to_everything_scores_half(
    groups: dict[tuple[str, str], list[Check]], skill: str
) -> None:
    for split in ("seen", "unseen"):
        group = groups[skill, split]
        for reply in ("I do not know that.", "I am a small language model.", "Mia is a girl."):
            assert sum(check.passes(reply) for check in group) == len(group) / 2
        assert chance_level(group) == 0.5


def test_chance_levels(groups: dict[tuple[str, str], list[Check]]) -> None:
    limits = {"story": 0.02, "story_question": 0.15, "sum": 0.25, "fact": 0.15}
    for (skill, _), group in groups.items():
        if skill in limits:
            assert 0 <= chance_level(group) <= limits[skill]
        else:
            assert chance_level(group) == 0.5


def test_unseen_stories_use_held_out_pairs_and_seen_ones_do_not(
    groups: dict[tuple[str, str], list[Check]],
) -> None:
    for skill in ("story", "happy_ending", "story_question"):
        for split in ("seen", "unseen"):
            for check in groups[skill, split]:
                asked = " ".join(message["content"] for message in check.prompt)
                assert bool(find_held_out_pairs(asked)) == (split == "unseen")


def test_checks_are_deterministic_and_json() -> None:
    config = DemoConfig(n_checks=5)
    assert checks(1, config) == checks(1, config)
    assert checks(1, config) != checks(2, config)
    for check in checks(1, config):
        again = Check(**json.loads(json.dumps(asdict(check))))
        assert again.passes(check.reference)
