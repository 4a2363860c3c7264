"""What of a row of an evaluation set is text: the fields of known sets, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from groundup.runtime import DataError

Row = Mapping[str, Any]


def texts_of_row(row: Row, fields: Sequence[str] | None = None) -> tuple[str, ...]:
    """The texts that an item could be: with each of its answers, and the question alone.

    Of the known shapes the fields may be written in capitals, of `fields` they are as given.

    >>> texts_of_row({"goal": "Boil an egg", "sol1": "in water", "sol2": "in sand"})
    ('Boil an egg in water', 'Boil an egg in sand', 'Boil an egg')
    >>> texts_of_row({"q": "Why?", "hints": ["a", "b"]}, fields=("q", "hints"))
    ('Why? a b',)
    """
    if fields is not None:
        missing = [name for name in fields if name not in row]
        if missing:
            raise DataError(f"there is no field {missing[0]!r}; fields found: {_names(row)}")
        return (" ".join(text for name in fields for text in strings_in(row[name])),)
    named = {**{str(name).lower(): value for name, value in row.items()}, **row}
    for needed, shape in SHAPES:
        if all(named.get(name) is not None for name in needed):
            return tuple(dict.fromkeys(text for text in shape(named) if text.strip()))
    raise DataError(
        f"the fields {_names(row)} are of no known shape; say which hold the text: fields=[...]"
    )


def strings_in(value: Any) -> list[str]:
    """All strings in a value of JSON, in order; numbers and names of fields are left out.

    >>> strings_in([{"index": 0, "turns": ["to", "be"]}])
    ['to', 'be']
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in strings_in(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings_in(item)]
    return []


def _names(row: Row) -> str:
    return ", ".join(sorted(map(str, row))) or "none"


def _answered(question: str, *answers: str) -> Callable[[Row], list[str]]:
    """A question with each string of its answers, then alone."""

    def texts(row: Row) -> list[str]:
        asked = " ".join(strings_in(row[question]))
        given = [text for name in answers for text in strings_in(row.get(name))]
        return [*(f"{asked} {text}" for text in given), asked]

    return texts


def _each(*fields: str) -> Callable[[Row], list[str]]:
    return lambda row: [text for name in fields for text in strings_in(row[name])]


def _passage(row: Row) -> list[str]:
    """
    >>> _passage({"article": "It rained.", "question": "Why?", "options": ["a b", "c d"]})
    ['It rained.', 'Why? a b', 'Why? c d', 'Why?']
    """
    told = [text for name in _TOLD for text in strings_in(row.get(name))]
    return [*told, *_answered("question", *_GIVEN)(row)]


_TOLD = ("passage", "article", "paragraph", "context")
_GIVEN = ("answer", "answers", "choices", "options", "answera", "answerb", "answerc")


# The fields that a row of each shape has, and its texts; the first that fits is taken.
SHAPES: tuple[tuple[tuple[str, ...], Callable[[Row], list[str]]], ...] = (
    (("sentence_good", "sentence_bad"), _each("sentence_good", "sentence_bad")),  # BLiMP
    (("goal", "sol1", "sol2"), _answered("goal", "sol1", "sol2")),  # PIQA
    (("passage", "question"), _passage),  # BoolQ, AGIEval
    (("article", "question"), _passage),  # RACE
    (("paragraph", "question"), _passage),  # MultiRC
    (("premise", "choice1", "choice2"), _answered("premise", "choice1", "choice2")),  # COPA
    (("question", "options"), _answered("question", "options")),  # MMLU-Pro
    (("query", "choices"), _answered("query", "choices")),  # LLM Foundry, multiple choice
    (("context", "continuation"), _answered("context", "continuation")),  # and language modelling
    (("context", "answer"), _answered("context", "answer", "aliases")),  # and generation
    (("ctx", "endings"), _answered("ctx", "endings")),  # HellaSwag
    (("sentence", "option1", "option2"), _answered("sentence", "option1", "option2")),  # WinoGrande
    (("context", "question"), _passage),  # SQuAD, SocialIQA
    (("question", "choices"), _answered("question", "choices")),  # ARC, MMLU
    (("question", "A", "B", "C", "D"), _answered("question", "A", "B", "C", "D")),  # MMLU, tables
    (("question", "answer"), _answered("question", "answer")),  # GSM8K
    (("problem", "solution"), _answered("problem", "solution")),  # MATH
    (("prompt", "canonical_solution"), _answered("prompt", "canonical_solution")),  # HumanEval
    (("turns",), _each("turns")),  # MT-Bench's questions
    (("choices", "question_id"), _each("choices")),  # and its answers
    (("prompt",), _each("prompt")),  # IFEval
    (("question",), _each("question")),
    (("text",), _each("text")),
)
