from __future__ import annotations

from groundup.demo import DemoConfig, is_happy_ending, preferences
from groundup.demo.world import find_held_out_pairs


def test_pairs_differ_in_the_ending_alone() -> None:
    for pair in preferences(3, DemoConfig(n_preferences=300)):
        assert is_happy_ending(pair["chosen"]) is True
        assert is_happy_ending(pair["rejected"]) is False
        chosen, rejected = pair["chosen"].split(), pair["rejected"].split()
        n_shared = next(i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
        assert n_shared > 0.4 * len(chosen)
        assert pair["prompt"][-1]["role"] == "user"


def test_no_pair_holds_a_held_out_pair() -> None:
    for pair in preferences(4, DemoConfig(n_preferences=300)):
        text = f"{pair['prompt'][0]['content']} {pair['chosen']} {pair['rejected']}"
        assert not find_held_out_pairs(text)


def test_same_seed_gives_the_same_pairs_and_another_seed_others() -> None:
    config = DemoConfig(n_preferences=20)
    assert list(preferences(1, config)) == list(preferences(1, config))
    assert list(preferences(1, config)) != list(preferences(2, config))
