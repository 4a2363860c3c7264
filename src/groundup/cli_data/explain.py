"""`groundup data explain`: what happens to the documents of one file at each stage, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError

if TYPE_CHECKING:
    from groundup.data.config import DataConfig
    from groundup.data.explain import Explained, Held, Told
    from groundup.data.stage_files import Prepared

_STAGE_WIDTH = 16  # characters of the column of stages


def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of any kind that is read.")],
    beside: Annotated[
        Path | None,
        typer.Option(
            "--in",
            metavar="DIR",
            help="Prepared data: its settings, and what it did with FILE, or would do.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Of a table or rows: which column holds the text, by name or number."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as cleaning.preset=web; repeatable."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Documents of the file that are told.")] = 1,
    number: Annotated[
        int, typer.Option("--document", min=0, help="The first of them, from 0.")
    ] = 0,
    all_scores: Annotated[
        bool, typer.Option("--scores", help="Scores that no rule asks for as well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take one file through the stages, with its scores beside their limits."""
    from groundup.data.explain import explain_file
    from groundup.data.stage_files import Prepared

    if not file.is_file():
        raise DataError(f"{file} is not a file; give one whose documents should be explained")
    if beside is not None and (sets or column is not None):
        raise DataError(
            "--in takes the settings of that data, and --set and --column give others; give one"
        )
    prepared = Prepared.open(beside) if beside is not None else None
    config = _config_of(file, prepared, sets or [], column)
    told = explain_file(file, config, prepared, first=number, n=n)
    if not told.documents:
        raise DataError(
            f"{file} has no document {number}: it holds {told.n:,}; count from 0"
            if told.n
            else f"{file} holds no document, chat or preference pair"
        )
    for one in told.documents:
        if as_json:
            n_in_file = told.n if told.is_all else None
            print(json.dumps({**one.as_dict(), "n_in_file": n_in_file}, ensure_ascii=False))
        else:
            for line in _lines(one, all_scores):
                console.print(line.rstrip())
    if as_json:
        return
    if others := _others(told):
        console.print(others)
    if prepared is None:
        console.print(
            "not asked: duplicates and evaluation sets; --in DIR holds it against prepared data"
        )


def _config_of(
    file: Path, prepared: Prepared | None, sets: list[str], column: str | None
) -> DataConfig:
    from groundup.data.config import DataConfig
    from groundup.data.reading.config import column_named
    from groundup.recipe import data_recipe

    if prepared is not None:
        return DataConfig(**prepared.manifest["parameters"])
    which = None if column is None else column_named(column)
    return data_recipe([{"path": str(file.resolve()), "column": which}], sets).data


def _others(told: Told) -> str:
    """How many more the file holds, and how they are told; empty if there are none."""
    n = len(told.documents)
    if told.is_all and n == told.n:
        return ""
    of = f"{told.n:,}" if told.is_all else f"more than {told.n:,}"
    everything = f"-n {told.n} tells of all, " if told.is_all else ""
    return f"{n:,} of {of} in this file; {everything}--document N begins at number N, from 0"


def _lines(one: Explained, all_scores: bool) -> Iterator[str]:
    yield f"── {one.id}"
    yield _line("read", one.read)
    if one.repaired is not None:
        yield _line("repair", one.repaired)
    if one.kind == "documents":
        yield from _judged(one, all_scores)
    if one.masked is not None:
        found = ", ".join(f"{n} × {kind}" for kind, n in one.masked.items())
        yield _line("mask", found or "nothing to mask")
    if one.done:
        yield "what was done with it:"
        for step in one.done:
            yield _line(step.stage, step.what)
    if one.would:
        yield "it is not in this data; what would be done with it:"
        for step in one.would:
            yield _line(step.stage, step.what)
    if one.divided and not one.done:
        yield _line("divide", one.divided)
    if one.verdict:
        yield _line("so", one.verdict)
    yield ""


def _line(stage: str, what: str) -> str:
    return f"{stage:{_STAGE_WIDTH}} {what}"


def _judged(one: Explained, all_scores: bool) -> Iterator[str]:
    from groundup.report.data_words import language_name, meaning

    if one.language:
        yield _line("language", f"{language_name(one.language)}, {one.language_score:.2f}")
    shown = [held for held in one.scores if all_scores or held.limit is not None]
    wide = max((len(held.score) for held in shown), default=0)
    for held in shown:
        yield f"  {_mark(held)} {held.score:{wide}} {_number(held.value):>9}  {_limit(held)}"
    if one.reason:
        limits = [held.limit for held in one.scores if held.rule == one.reason and held.is_broken]
        told = meaning(one.reason, limits[0] if limits else None)
        yield _line("judge", f"dropped: {one.reason}{f' ({told})' if told else ''}")
    elif any(held.limit is not None for held in one.scores):
        yield _line("judge", "kept: it breaks no rule")
    else:
        yield _line("judge", "kept: no rule is on; --set cleaning.preset=light or web")


def _mark(held: Held) -> str:
    if held.limit is None:
        return " "
    return "✗" if held.is_broken else "✓"


def _limit(held: Held) -> str:
    if held.limit is None:
        return ""
    told = f"{'at least' if held.drops == 'below' else 'at most'} {held.limit:,g}"
    return f"{told:18} {held.rule}" if held.is_broken else told


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
