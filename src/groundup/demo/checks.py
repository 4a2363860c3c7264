"""Checks of what a chat model learned: prompts whose replies a program can judge.

Each check carries a right reply as `reference`, so that every rule can be held against a reply that
must pass, and so that the level of chance can be computed: what replies to other questions score.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from groundup.demo import sentences
from groundup.demo.chats import (
    READ_REQUESTS,
    SYSTEM_MESSAGES,
    request_story,
    sum_turn,
    unknown_question,
    who_turn,
)
from groundup.demo.stories import Story, is_happy_ending, tell
from groundup.demo.world import NAMES, DemoConfig, attribute_values, facts, sums, triples
from groundup.runtime import derive_seed

Split = Literal["seen", "unseen"]
Rule = Literal["story", "answer", "number", "refusal", "known", "model", "not_model", "happy"]
SPLITS: tuple[Split, Split] = ("seen", "unseen")
Drawn = tuple[Sequence[dict[str, str]], Rule, tuple[str, ...], tuple[str, ...], str]

_MIN_SENTENCES = 4
_MIN_SENTENCE_WORDS = 5


@dataclass(frozen=True)
class Check:
    """A prompt and the rule that its reply must meet.

    prompt     messages, the last one the user's
    expected   words or a number that the rule asks for
    forbidden  words that no right answer holds
    reference  a reply that passes
    chance     the score of a reply that knows nothing, where the rule itself gives it
    temperature  to sample the reply with, where the check is of a share of all replies and not of
        the likeliest one; None leaves it to the evaluation

    >>> check = Check("sum", "seen", ({"role": "user", "content": "What is 3 plus 4?"},),
    ...               "number", ("7",), (), "3 plus 4 is 7.")
    >>> check.passes("3 plus 4 is 7."), check.passes("3 plus 4 is 8.")
    (True, False)
    """

    skill: str
    split: Split
    prompt: tuple[dict[str, str], ...]
    rule: Rule
    expected: tuple[str, ...]
    forbidden: tuple[str, ...]
    reference: str
    chance: float | None = None
    temperature: float | None = None

    def passes(self, reply: str) -> bool:
        """Whether `reply` meets the rule."""
        match self.rule:
            case "story":
                return _holds_all(reply, self.expected) and _is_told(reply)
            case "answer":
                return _holds_all(reply, self.expected) and not _holds_any(reply, self.forbidden)
            case "number":
                return re.findall(r"\d+", reply)[-1:] == list(self.expected)
            case "refusal" | "known":
                return _refuses(reply) == (self.rule == "refusal")
            case "model" | "not_model":
                return ("language model" in reply.lower()) == (self.rule == "model")
            case "happy":
                return is_happy_ending(reply) is True


def checks(seed: int, config: DemoConfig) -> list[Check]:
    """Draw the checks of every skill, on what training holds and on what it does not."""
    drawn: list[Check] = []
    for skill, draw in _SKILLS.items():
        for split in SPLITS:
            rng = Random(derive_seed(seed, "demo", "checks", skill, split))
            drawn += _distinct(rng, skill, split, draw, config.n_checks)
    return drawn


def chance_level(checks_of_one_skill: Sequence[Check]) -> float:
    """The score to expect without knowing the answer, for checks of one skill and split.

    Where a rule gives no chance of its own, it is the share of (check, other check) pairs in which
    the other's right reply passes too.
    """
    given = [check.chance for check in checks_of_one_skill if check.chance is not None]
    if given:
        return sum(given) / len(given)
    pairs = [
        check.passes(other.reference)
        for check in checks_of_one_skill
        for other in checks_of_one_skill
        if other is not check
    ]
    return sum(pairs) / len(pairs) if pairs else 0.0


# --- rules ----------------------------------------------------------------------------------------


def _holds_all(reply: str, words: Sequence[str]) -> bool:
    held = set(re.findall(r"\w+", reply.lower()))
    return all(word.lower() in held for word in words)


def _holds_any(reply: str, words: Sequence[str]) -> bool:
    held = set(re.findall(r"\w+", reply.lower()))
    return any(word.lower() in held for word in words)


def _is_told(reply: str) -> bool:
    """Whether a reply is told in sentences: a list of words or one repeated line is not."""
    told = [part.strip() for part in re.split(r"[.!?]+", reply) if re.search(r"\w", part)]
    n_words = sum(len(re.findall(r"\w+", part)) for part in told)
    return len(set(told)) >= _MIN_SENTENCES and n_words >= _MIN_SENTENCE_WORDS * len(told)


def _refuses(reply: str) -> bool:
    return bool(re.search(r"do not know|don't know|not in my world", reply.lower()))


# --- drawing --------------------------------------------------------------------------------------


def _distinct(
    rng: Random,
    skill: str,
    split: Split,
    draw: Callable[[Random, bool, int], Drawn],
    n_checks: int,
) -> Iterator[Check]:
    """Up to `n_checks` checks with different prompts; stops when no new ones come."""
    seen: set[str] = set()
    n_repeats = 0
    while len(seen) < n_checks and n_repeats < 300:
        prompt, rule, expected, forbidden, reference = draw(rng, split == "unseen", len(seen))
        asked = "\n".join(message["content"] for message in prompt)
        if asked in seen:
            n_repeats += 1
            continue
        seen.add(asked)
        n_repeats = 0
        chance = 0.5 if skill in _CHANCE_HALF else None
        temperature = 1.0 if rule == "happy" else None
        yield Check(
            skill, split, tuple(prompt), rule, expected, forbidden, reference, chance, temperature
        )


def _ask(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _in_context(rng: Random, question: str) -> list[dict[str, str]]:
    """A question alone, after a system message, or after a greeting."""
    match rng.randrange(3):
        case 0:
            return _ask(question)
        case 1:
            return [{"role": "system", "content": rng.choice(SYSTEM_MESSAGES)}, *_ask(question)]
        case _:
            greeting, reply = rng.choice(sentences.GREETINGS)
            return [*_ask(greeting), {"role": "assistant", "content": reply}, *_ask(question)]


def _draw_story(rng: Random, unseen: bool, index: int) -> Drawn:
    triple = rng.choice(triples(unseen=unseen))
    story = tell(rng, triple)
    return _ask(request_story(rng, triple)), "story", triple.words, (), story.text


def _draw_happy(rng: Random, unseen: bool, index: int) -> Drawn:
    triple = rng.choice(triples(unseen=unseen))
    story = tell(rng, triple, happy=True)
    return _ask(request_story(rng, triple)), "happy", (), (), story.text


def _draw_story_question(rng: Random, unseen: bool, index: int) -> Drawn:
    story = tell(rng, rng.choice(triples(unseen=unseen)))
    asked = story.questions(rng)[0]
    prompt = _prompt_with_story(rng, story, asked.question)
    return prompt, "answer", (asked.expected,), asked.forbidden, asked.answer


def _prompt_with_story(rng: Random, story: Story, question: str) -> list[dict[str, str]]:
    if rng.random() < 0.5:
        return _ask(rng.choice(READ_REQUESTS).format(story=story.text, question=question))
    told = {"role": "assistant", "content": story.text}
    return [*_ask(request_story(rng, story.triple)), told, *_ask(question)]


def _draw_sum(rng: Random, unseen: bool, index: int) -> Drawn:
    pair = rng.choice(sums(unseen=unseen))
    question, answer = sum_turn(rng, pair)
    return _ask(question), "number", (str(sum(pair)),), (), answer


def _draw_fact(rng: Random, unseen: bool, index: int) -> Drawn:
    person, attribute = rng.choice(facts(unseen=unseen))
    question = rng.choice(sentences.QUESTIONS[attribute]).format(n=person.name)
    expected = str(getattr(person, attribute))
    values = NAMES if attribute == "friend" else attribute_values(attribute)
    forbidden = tuple(value for value in values if value not in (expected, person.name))
    return _ask(question), "answer", (expected,), forbidden, sentences.state_fact(person, attribute)


def _draw_unknown(rng: Random, unseen: bool, index: int) -> Drawn:
    """Known and unknown in turn, so that neither always refusing nor never doing so pays."""
    if index % 2:
        prompt, *_, reference = _draw_fact(rng, unseen, index)
        return prompt, "known", (), (), reference
    question = unknown_question(rng, unseen=unseen)
    return _ask(question), "refusal", (), (), rng.choice(sentences.REFUSALS)


def _draw_identity(rng: Random, unseen: bool, index: int) -> Drawn:
    """Questions on the model and questions that look like them, in turn."""
    if index % 2:
        if rng.random() < 0.5:
            question, reference = who_turn(rng)
        else:
            prompt, *_, reference = _draw_fact(rng, unseen, index)
            question = prompt[-1]["content"]
        return _in_context(rng, question), "not_model", (), (), reference
    questions = sentences.UNSEEN_IDENTITY_QUESTIONS if unseen else sentences.IDENTITY_QUESTIONS
    question = rng.choice(questions)
    answer = sentences.answer_identity(rng, question)
    return _in_context(rng, question), "model", (), (), answer


_SKILLS: dict[str, Callable[[Random, bool, int], Drawn]] = {
    "story": _draw_story,
    "story_question": _draw_story_question,
    "sum": _draw_sum,
    "fact": _draw_fact,
    "unknown": _draw_unknown,
    "identity": _draw_identity,
    "happy_ending": _draw_happy,
}
# Half of these checks want one kind of reply and half the other, or half of training ends so.
_CHANCE_HALF = frozenset({"unknown", "identity", "happy_ending"})
