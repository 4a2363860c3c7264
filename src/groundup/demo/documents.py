"""Pretraining documents: titled stories, facts, sums, what things are, and what the model is."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from groundup.demo import sentences
from groundup.demo.stories import Story, tell, title
from groundup.demo.world import (
    ANIMALS,
    ATTRIBUTES,
    CHARACTERS,
    LARGEST_OPERAND,
    OBJECTS,
    PLACES,
    Character,
    DemoConfig,
    facts,
    is_held_out_sum,
    sums,
    triples,
)
from groundup.runtime import derive_seed

# Shares of the documents; they sum to one.
_STORY, _FACTS, _SUMS, _THINGS, _ABOUT = 0.54, 0.20, 0.18, 0.04, 0.04
_ANSWERS_SHAPE = 0.6  # how often a fact is stated as its answer will be


def documents(seed: int, config: DemoConfig) -> Iterator[str]:
    """Draw pretraining documents, kinds mixed; none holds anything that is held out."""
    rng = Random(derive_seed(seed, "demo", "documents"))
    kinds = (_story, _facts, _sums, _things, _about)
    weights = (_STORY, _FACTS, _SUMS, _THINGS, _ABOUT)
    for _ in range(config.n_documents):
        yield rng.choices(kinds, weights)[0](rng)


def _story(rng: Random) -> str:
    story = tell(rng, rng.choice(triples(unseen=False)))
    lines = [title(rng, story.triple), story.text]
    if rng.random() < 0.5:
        lines += _question_lines(rng, story)
    return "\n".join(lines)


def _question_lines(rng: Random, story: Story) -> list[str]:
    asked = story.questions(rng)[: rng.choice((2, 3))]
    return [f"{item.question} {item.answer}" for item in asked]


# --- facts ----------------------------------------------------------------------------------------


def _facts(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return _portrait(rng)
    if kind < 0.8:
        return _comparison(rng)
    return _fact_questions(rng)


def _portrait(rng: Random) -> str:
    """Three to five facts about one character."""
    person = rng.choice(CHARACTERS)
    chosen = rng.sample(ATTRIBUTES, rng.choice((3, 4, 5)))
    told = [_statement(rng, person, chosen[0], pronoun=False)]
    if rng.random() < 0.4:
        told.insert(0, f"{person.name} is a {person.kind}.")
    told += [_statement(rng, person, name, pronoun=rng.random() < 0.3) for name in chosen[1:]]
    return " ".join(told)


def _comparison(rng: Random) -> str:
    """The same facts about two or three characters."""
    people = rng.sample(CHARACTERS, rng.choice((2, 3)))
    chosen = rng.sample(ATTRIBUTES, 2)
    return " ".join(
        _statement(rng, person, name, pronoun=False) for name in chosen for person in people
    )


def _fact_questions(rng: Random) -> str:
    """Facts asked and answered, one to a line; only those that may be asked in training."""
    lines = []
    for person, attribute in rng.sample(facts(unseen=False), rng.choice((3, 4, 5))):
        question = rng.choice(sentences.QUESTIONS[attribute]).format(n=person.name)
        lines.append(f"{question} {sentences.state_fact(person, attribute)}")
    return "\n".join(lines)


def _statement(rng: Random, person: Character, attribute: str, *, pronoun: bool) -> str:
    others = range(1, len(sentences.STATEMENTS[attribute]))
    shape = 0 if rng.random() < _ANSWERS_SHAPE else rng.choice(others)
    return sentences.state_fact(person, attribute, shape=shape, pronoun=pronoun)


# --- sums -----------------------------------------------------------------------------------------


def _sums(rng: Random) -> str:
    makers = (_sum_questions, _sum_problems, _sum_runs, _counting)
    return rng.choices(makers, (8, 6, 3, 3))[0](rng)


def _sum_runs(rng: Random) -> str:
    """One operand stays, the other counts up or down: `3 plus 4 is 7. 3 plus 5 is 8.`"""
    lines = []
    for fixed in rng.sample(range(LARGEST_OPERAND + 1), 2):
        start = rng.randrange(0, 6)
        steps = range(start, min(start + rng.choice((4, 5, 6)), LARGEST_OPERAND + 1))
        counted = steps if rng.random() < 0.7 else reversed(steps)
        swap = rng.random() < 0.5
        pairs = [(other, fixed) if swap else (fixed, other) for other in counted]
        lines.append(_join_sums(pairs, symbols=rng.random() < 0.2))
    return "\n".join(lines)


def _sum_problems(rng: Random) -> str:
    told = []
    pairs = [pair for pair in sums(unseen=False) if min(pair) > 0]
    for first, second in rng.sample(pairs, 2):
        setting, question, answer = sentences.word_problem(rng, first, second)
        told.append(f"{setting} {question} {answer}" if rng.random() < 0.5 else
                    f"{setting} {answer}")  # fmt: skip
    return "\n".join(told)


def _sum_questions(rng: Random) -> str:
    return "\n".join(
        f"{rng.choice(sentences.SUM_QUESTIONS).format(a=first, b=second)} "
        f"{sentences.answer_sum(first, second)}"
        for first, second in rng.sample(sums(unseen=False), rng.choice((2, 3)))
    )


def _counting(rng: Random) -> str:
    start = rng.randrange(0, 12)
    numbers = list(range(start, start + rng.choice((6, 7, 8, 9))))
    asked = rng.sample(numbers[:-1], 3)
    counted = ", ".join(map(str, numbers))
    return f"{counted}.\n" + " ".join(f"After {n} comes {n + 1}." for n in asked)


def _join_sums(pairs: list[tuple[int, int]], *, symbols: bool) -> str:
    seen = [pair for pair in pairs if not is_held_out_sum(*pair)]
    if symbols:
        return " ".join(f"{first} + {second} = {first + second}." for first, second in seen)
    return " ".join(sentences.state_sum(first, second) for first, second in seen)


# --- what things are ------------------------------------------------------------------------------


def _things(rng: Random) -> str:
    """What is true of an animal, an object and a place."""
    triple = rng.choice(triples(unseen=False))
    told = [
        f"{article} {triple.animal} {trait}."
        for article, trait in zip(
            (f"A{'n' if triple.animal[0] in 'aeiou' else ''}", "The"),
            rng.sample(ANIMALS[triple.animal].traits, 2),
            strict=True,
        )
    ]
    article = f"A{'n' if triple.object[0] in 'aeiou' else ''}"
    told += [f"{article} {triple.object} {trait}." for trait in OBJECTS[triple.object]]
    told += [f"The {triple.place} {trait}." for trait in PLACES[triple.place][1:]]
    rng.shuffle(told)
    return " ".join(told[: rng.choice((4, 5, 6))])


def _about(rng: Random) -> str:
    """What a language model is, and that this is one."""
    told = rng.sample(sentences.ABOUT_GROUNDUP, rng.choice((3, 4)))
    question = rng.choice(sentences.IDENTITY_QUESTIONS)
    asked = f"{question} {sentences.answer_identity(rng, question)}"
    return " ".join(told) + (f"\n{asked}" if rng.random() < 0.5 else "")
