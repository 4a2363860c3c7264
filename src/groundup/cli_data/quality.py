"""`groundup data quality`: train the classifier that tells good text from bad."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError, to_dict

if TYPE_CHECKING:
    from groundup.data.cleaning import QualityClassifier

_SHOWN = 12


def quality(
    good: Annotated[
        list[str],
        typer.Option("--good", help="Text as it should be: a file or folder."),
    ],
    bad: Annotated[list[str], typer.Option("--bad", help="Text to be rid of: a file or folder.")],
    out: Annotated[Path, typer.Option("--out", help="The classifier to write, a .json file.")],
    as_json: Json = False,
) -> None:
    """Train a quality classifier on examples; then --set cleaning.classifier=FILE uses it."""
    from groundup.data.cleaning import QualityClassifier

    if out.is_dir():
        raise DataError(f"--out {out} is a folder; give a file, such as quality.json")
    made = QualityClassifier.train(_texts(good), _texts(bad))
    made.save(out)
    if as_json:
        told = {"out": str(out), **to_dict(made.report), "strongest": made.strongest(_SHOWN)}
        print(json.dumps(told, ensure_ascii=False))
        return
    for line in _result_lines(out, made):
        console.print(line)


def _texts(paths: Iterable[str]) -> Iterator[str]:
    """The texts of all documents, repaired as they are before they are judged."""
    from groundup.data.cleaning import repair
    from groundup.data.reading import ReadingConfig, SourceConfig
    from groundup.data.reading.read import read_source
    from groundup.data.records import Document

    for path in paths:
        source = SourceConfig(path=path)
        for record in read_source(source, source.label, ReadingConfig()):
            if isinstance(record, Document):
                yield repair(record.text)


def _result_lines(out: Path, made: QualityClassifier) -> Iterator[str]:
    report = made.report
    n = report.n_good + report.n_bad
    yield f"on {n:,} examples that were held out ({report.n_good:,} good, {report.n_bad:,} bad):"
    yield (
        f"  of those it calls good, {report.precision:.1%} are "
        f"(95% interval {report.precision_low:.1%} to {report.precision_high:.1%})"
    )
    yield f"  of the good ones it keeps {report.recall:.1%}"
    yield f"  it is right about {report.accuracy:.1%}; by chance {report.chance:.1%}"
    for sign, side in ((1, "good"), (-1, "bad")):
        found = [name for name, weight in made.strongest(1000) if weight * sign > 0][:_SHOWN]
        yield f"speaks for {side}: {', '.join(found)}"
    yield f"classifier: {out}; use it with --set cleaning.classifier={out}"
