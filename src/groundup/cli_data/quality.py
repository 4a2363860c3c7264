"""`groundup data quality`: train the classifier that tells good text from bad."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError, to_dict

if TYPE_CHECKING:
    from groundup.data.cleaning import QualityClassifier

_SHOWN = 12
_FEW = 50  # examples; where each has many lines, every line may have been meant as one
_MANY_LINES = 20


def quality(
    good: Annotated[
        list[str],
        typer.Option("--good", help="Text as it should be: a file or folder."),
    ],
    bad: Annotated[list[str], typer.Option("--bad", help="Text to be rid of: a file or folder.")],
    out: Annotated[Path, typer.Option("--out", help="The classifier to write, a .json file.")],
    column: Annotated[
        str | None,
        typer.Option(
            help="Of tables and rows, good and bad: which column holds the text, by name or number."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a quality classifier on examples; then --set cleaning.classifier=FILE uses it."""
    from groundup.data.cleaning import QualityClassifier
    from groundup.data.cleaning.classifier import TooFewExamplesError
    from groundup.data.reading.config import column_named

    if out.is_dir():
        raise DataError(f"--out {out} is a folder; give a file, such as quality.json")
    which = column_named(column) if column is not None else None
    sides = {"good": _Side("--good", good, which), "bad": _Side("--bad", bad, which)}
    try:
        made = QualityClassifier.train(sides["good"].texts(), sides["bad"].texts())
    except TooFewExamplesError as error:
        told = "; ".join([str(error), *sides[error.side].remarks()])
        raise DataError(told) from error
    made.save(out)
    if as_json:
        told_sides = {name: side.as_dict() for name, side in sides.items()}
        told_all = {"out": str(out), **to_dict(made.report), "strongest": made.strongest(_SHOWN)}
        print(json.dumps({**told_all, "examples": told_sides}, ensure_ascii=False))
        return
    for line in _result_lines(out, made, list(sides.values())):
        console.print(line)


@dataclass
class _Side:
    """The examples of one side, and what was found on the way to them.

    n_talk: chats and preference pairs; n_lines: of the examples; refusals: the first of each reason
    """

    option: str
    paths: Sequence[str]
    column: str | int | None
    n: int = 0
    n_talk: int = 0
    n_lines: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, str] = field(default_factory=dict)

    def texts(self) -> Iterator[str]:
        """The texts of all documents, repaired as they are before they are judged."""
        from groundup.data.cleaning import repair
        from groundup.data.reading import ReadingConfig, SourceConfig
        from groundup.data.reading.read import read_source
        from groundup.data.records import Document, Refusal

        for path in self.paths:
            source = SourceConfig(path=path, column=self.column)
            for record in read_source(source, source.label, ReadingConfig()):
                if isinstance(record, Document):
                    self.n += 1
                    self.n_lines += record.text.rstrip().count("\n") + 1
                    yield repair(record.text)
                elif isinstance(record, Refusal):
                    self.refused[record.reason] += 1
                    self.refusals.setdefault(record.reason, f"{record.id}: {record.detail}")
                else:
                    self.n_talk += 1

    def remarks(self) -> Iterator[str]:
        """What of this side is no example, and what perhaps was meant as several."""
        from groundup.report.data_words import plain, plural

        if self.refused:
            told = ", ".join(f"{n:,} {plain(reason)}" for reason, n in self.refused.most_common(3))
            example = self.refusals[self.refused.most_common(1)[0][0]]
            yield f"refused of {self._names}: {told}, such as {example}"
        if self.n_talk:
            told = plural(self.n_talk, "chat or pair", "chats and pairs")
            yield f"{told} of {self._names} went unused: only documents are examples"
        if 0 < self.n < _FEW and self.n_lines >= _MANY_LINES * self.n:
            yield (
                f"{self._names} is {plural(self.n, 'example')} with {self.n_lines:,} lines; "
                'if each line is one, write it as {"text": "…"} to a .jsonl file'
            )

    @property
    def _names(self) -> str:
        return f"{self.option} {' '.join(self.paths)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"n": self.n, "n_talk": self.n_talk, "refused": dict(self.refused)}


def _result_lines(out: Path, made: QualityClassifier, sides: Sequence[_Side]) -> Iterator[str]:
    for side in sides:
        yield from side.remarks()
    report = made.report
    n = report.n_good + report.n_bad
    yield f"on {n:,} examples that were held out ({report.n_good:,} good, {report.n_bad:,} bad):"
    yield (
        f"  of those it calls good, {report.precision:.1%} are "
        f"(95% interval {report.precision_low:.1%} to {report.precision_high:.1%})"
    )
    yield f"  of the good ones it keeps {report.recall:.1%}"
    yield f"  it is right about {report.accuracy:.1%}; by chance {report.chance:.1%}"
    for sign, name in ((1, "good"), (-1, "bad")):
        found = [word for word, weight in made.strongest(1000) if weight * sign > 0][:_SHOWN]
        yield f"speaks for {name}: {', '.join(found)}"
    yield f"classifier: {out}; use it with --set cleaning.classifier={out}"
