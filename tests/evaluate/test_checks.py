from __future__ import annotations

from pathlib import Path

import pytest

from groundup.demo import Check, DemoConfig, chance_level, checks
from groundup.evaluate.checks import chat_stop_ids, leaves_room, reply_to, score_checks
from groundup.evaluate.statistics import wilson_interval
from groundup.export import load_model
from groundup.generate import SamplingConfig, stream_text
from groundup.model import Decoder
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import render_chat

GREEDY = SamplingConfig(temperature=0.0, max_tokens=8)


@pytest.fixture(scope="module")
def model(tiny_run: Path) -> Decoder:
    return load_model(tiny_run / "sft" / "model")


def number_check(question: str, answer: str, split: str = "seen") -> Check:
    prompt = ({"role": "user", "content": question},)
    return Check("sum", split, prompt, "number", (answer,), (), f"It is {answer}.")  # type: ignore[arg-type]


def test_every_reference_of_the_demo_passes_its_own_check() -> None:
    for check in checks(1, DemoConfig(n_checks=5)):
        assert check.passes(check.reference), check


def test_scores_carry_interval_chance_and_count(model: Decoder, tiny_tokenizer: Tokenizer) -> None:
    asked = [number_check(f"What is {n}?", str(n)) for n in range(3)]
    asked += [number_check("What is 9?", "9", split="unseen")]
    chance = {("sum", "seen"): 0.25, ("sum", "unseen"): 0.5}
    scores = score_checks(model, tiny_tokenizer, asked, stage="sft", chance=chance, config=GREEDY)
    replies = reply_to(model, tiny_tokenizer, [check.prompt for check in asked], GREEDY)
    passed = [check.passes(reply) for check, reply in zip(asked, replies, strict=True)]
    assert [(s.name, s.split, s.stage, s.n, s.chance) for s in scores] == [
        ("sum", "seen", "sft", 3, 0.25),
        ("sum", "unseen", "sft", 1, 0.5),
    ]
    assert scores[0].score == wilson_interval(sum(passed[:3]), 3)
    row = scores[1].as_row()
    interval = wilson_interval(sum(passed[3:]), 1)
    assert row == {
        "name": "sum",
        "split": "unseen",
        "stage": "sft",
        "score": interval.value,
        "ci95": [interval.lo, interval.hi],
        "chance": 0.5,
        "n": 1,
    }


class AnyReply:
    """A check that every reply passes, or none."""

    skill, split, temperature = "any", "seen", None

    def __init__(self, question: str, *, passes: bool) -> None:
        self.prompt = [{"role": "user", "content": question}]
        self._passes = passes

    def passes(self, reply: str) -> bool:
        return self._passes


def test_the_score_is_the_share_that_passed(model: Decoder, tiny_tokenizer: Tokenizer) -> None:
    asked = [AnyReply(f"{n}?", passes=n < 3) for n in range(4)]
    (score,) = score_checks(
        model, tiny_tokenizer, asked, stage="sft", chance={("any", "seen"): 0.0}, config=GREEDY
    )
    assert score.score == wilson_interval(3, 4)


def test_a_check_that_the_context_cannot_hold_counts_as_failed(
    model: Decoder, tiny_tokenizer: Tokenizer
) -> None:
    """Its model cannot answer it; leaving it out would raise the score without a word."""
    asked = [AnyReply("Short?", passes=True), AnyReply("long " * 80, passes=True)]
    assert not leaves_room(model, tiny_tokenizer, asked[1].prompt)
    (score,) = score_checks(
        model, tiny_tokenizer, asked, stage="sft", chance={("any", "seen"): 0.0}, config=GREEDY
    )
    assert score.score == wilson_interval(1, 2)
    assert score.n == 2


def test_replies_are_those_of_the_chat_stream_one_by_one(
    model: Decoder, tiny_tokenizer: Tokenizer
) -> None:
    prompts = [[{"role": "user", "content": text}] for text in ("A cat?", "And a red fox, then?")]
    replies = reply_to(model, tiny_tokenizer, prompts, GREEDY)
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = render_chat(tiny_tokenizer, prompt, add_generation_prompt=True).ids
        stream = stream_text(
            model, tiny_tokenizer, ids, stop_ids=chat_stop_ids(tiny_tokenizer), config=GREEDY
        )
        assert "".join(stream) == reply


def test_a_reply_ends_at_the_end_of_a_turn_or_of_a_text(tiny_tokenizer: Tokenizer) -> None:
    assert chat_stop_ids(tiny_tokenizer) == {
        tiny_tokenizer.end_of_turn_id,
        tiny_tokenizer.end_of_text_id,
    }


def test_chance_is_what_replies_to_other_questions_score() -> None:
    asked = [number_check("1 + 1?", "2"), number_check("2 + 0?", "2"), number_check("2 + 2?", "4")]
    assert chance_level(asked) == pytest.approx(2 / 6)
