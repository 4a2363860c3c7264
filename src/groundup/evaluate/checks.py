"""Scores of a chat model on checks that a program judges, with interval and level of chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from groundup.evaluate.statistics import Interval, wilson_interval
from groundup.generate import SamplingConfig, generate_batch
from groundup.model import Decoder
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import render_chat


class Check(Protocol):
    """A prompt and the rule its reply must meet."""

    @property
    def skill(self) -> str:
        """What is checked."""

    @property
    def split(self) -> str:
        """`seen` or `unseen` in training."""

    @property
    def prompt(self) -> Sequence[Mapping[str, str]]:
        """Messages, the last one the user's."""

    @property
    def temperature(self) -> float | None:
        """What to sample the reply with; None leaves it to the evaluation."""

    def passes(self, reply: str) -> bool:
        """Whether `reply` meets the rule."""


@dataclass(frozen=True)
class CheckScore:
    """The share of a skill's checks that a model passed."""

    name: str
    split: str
    stage: str
    score: Interval
    chance: float
    n: int

    def as_row(self) -> dict[str, Any]:
        """As the report has it."""
        return {
            "name": self.name,
            "split": self.split,
            "stage": self.stage,
            "score": round(self.score.value, 4),
            "ci95": [self.score.lo, self.score.hi],
            "chance": round(self.chance, 4),
            "n": self.n,
        }


def chat_stop_ids(tokenizer: Tokenizer) -> set[int]:
    """Tokens that end a reply: the end of a turn, the end of a text."""
    return set(tokenizer.stop_ids)


def reply_to(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[Mapping[str, str]]],
    config: SamplingConfig,
) -> list[str]:
    """What the model answers to each conversation."""
    ids = [
        render_chat(tokenizer, list(prompt), add_generation_prompt=True).ids for prompt in prompts
    ]
    answers = generate_batch(model, ids, stop_ids=chat_stop_ids(tokenizer), config=config)
    return [tokenizer.decode(answer.ids) for answer in answers]


def score_checks(
    model: Decoder,
    tokenizer: Tokenizer,
    checks: Sequence[Check],
    *,
    stage: str,
    chance: Mapping[tuple[str, str], float],
    config: SamplingConfig,
) -> list[CheckScore]:
    """Score every (skill, split) among the checks.

    A check whose prompt the context cannot hold counts as failed: the model cannot answer it.

    chance: the level of chance of each (skill, split).
    """
    passed: dict[tuple[str, str], list[bool]] = {}
    for temperature in dict.fromkeys(check.temperature for check in checks):
        group = [check for check in checks if check.temperature == temperature]
        fits = [leaves_room(model, tokenizer, check.prompt) for check in group]
        prompts = [
            check.prompt for check, can_be_asked in zip(group, fits, strict=True) if can_be_asked
        ]
        sampling = config if temperature is None else replace(config, temperature=temperature)
        replies = iter(reply_to(model, tokenizer, prompts, sampling))
        for check, can_be_asked in zip(group, fits, strict=True):
            is_right = can_be_asked and check.passes(next(replies))
            passed.setdefault((check.skill, check.split), []).append(is_right)
    return [
        CheckScore(
            name=skill,
            split=split,
            stage=stage,
            score=wilson_interval(sum(results), len(results)),
            chance=chance[skill, split],
            n=len(results),
        )
        for (skill, split), results in passed.items()
    ]


def leaves_room(model: Decoder, tokenizer: Tokenizer, prompt: Sequence[Mapping[str, str]]) -> bool:
    """Whether a prompt fits the model's context with a token to spare."""
    rendered = render_chat(tokenizer, list(prompt), add_generation_prompt=True)
    return len(rendered.ids) < model.config.max_seq_len
