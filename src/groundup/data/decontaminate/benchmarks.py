"""Evaluation sets as texts: what of each item would stand in a document that gives it away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.data.decontaminate.config import BenchmarkConfig
from groundup.runtime import DataError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """One item of an evaluation set: its number in the file from 0, and the texts it could be."""

    benchmark: str
    number: int
    texts: tuple[str, ...]


def items_of(config: BenchmarkConfig) -> Iterator[Item]:
    """The items of an evaluation set. Raises DataError for what is no JSONL or of no known shape.

    Benchmarks of a folder are named by their path in it, `commonsense/copa`.
    """
    for path, name in benchmark_files(config):
        for number, (line, row) in enumerate(_rows(path)):
            try:
                texts = texts_of_row(row, config.fields)
            except DataError as error:
                raise DataError(f"{path}:{line}: {error}") from error
            yield Item(name, number, texts)


def benchmark_files(config: BenchmarkConfig) -> list[tuple[Path, str]]:
    """The files of an evaluation set and the name of each."""
    if config.path.is_file():
        return [(config.path, config.name or config.path.name.removesuffix(".jsonl"))]
    if not config.path.is_dir():
        raise DataError(f"{config.path} is no file and no folder; name a JSONL file of items")
    files = sorted(path for path in config.path.rglob("*.jsonl") if path.is_file())
    if not files:
        raise DataError(f"{config.path} has no .jsonl file; name the file that holds the items")
    prefix = f"{config.name}/" if config.name else ""
    names = (path.relative_to(config.path).as_posix().removesuffix(".jsonl") for path in files)
    return [(path, prefix + name) for path, name in zip(files, names, strict=True)]


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    yield line, _parsed(text, path, line)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error


def _parsed(text: str, path: Path, line: int) -> Row:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}:{line} is no JSON ({error}); a line must be one object") from error
    if not isinstance(row, Mapping):
        raise DataError(f"{path}:{line} is a {type(row).__name__}; a line must be one object")
    return row


def texts_of_row(row: Row, fields: Sequence[str] | None = None) -> tuple[str, ...]:
    """The texts that an item could be: with each of its answers, and the question alone.

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
    for needed, shape in SHAPES:
        if all(row.get(name) is not None for name in needed):
            return tuple(dict.fromkeys(text for text in shape(row) if text.strip()))
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
    return [*strings_in(row["passage"]), *_answered("question", "answer", "choices")(row)]


# The fields that a row of each shape has, and its texts; the first that fits is taken.
SHAPES: tuple[tuple[tuple[str, ...], Callable[[Row], list[str]]], ...] = (
    (("sentence_good", "sentence_bad"), _each("sentence_good", "sentence_bad")),  # BLiMP
    (("goal", "sol1", "sol2"), _answered("goal", "sol1", "sol2")),  # PIQA
    (("passage", "question"), _passage),  # BoolQ, RACE
    (("query", "choices"), _answered("query", "choices")),  # LLM Foundry, multiple choice
    (("context", "continuation"), _answered("context", "continuation")),  # and language modelling
    (("context", "answer"), _answered("context", "answer", "aliases")),  # and generation
    (("ctx", "endings"), _answered("ctx", "endings")),  # HellaSwag
    (("sentence", "option1", "option2"), _answered("sentence", "option1", "option2")),  # WinoGrande
    (("question", "choices"), _answered("question", "choices")),  # ARC, MMLU
    (("question", "answer"), _answered("question", "answer")),  # GSM8K
    (("problem", "solution"), _answered("problem", "solution")),  # MATH
    (("prompt", "canonical_solution"), _answered("prompt", "canonical_solution")),  # HumanEval
    (("turns",), _each("turns")),  # MT-Bench's questions
    (("choices", "question_id"), _each("choices")),  # and its answers
    (("prompt",), _each("prompt")),  # IFEval
    (("question",), _each("question")),
    (("text",), _each("text")),
)
