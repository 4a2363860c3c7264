"""`groundup data peek`: documents as they are at any stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError

_MAKE_THE_LAST = ("divide", "tokenize")  # stages whose documents are those that are published


def peek(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of prepared data, or a run.")
    ],
    stage: Annotated[
        str,
        typer.Option(
            help="read, clean, dedup_exact, …; documents, chats, preferences (what is trained on); "
            "or removed."
        ),
    ] = "documents",
    n: Annotated[int, typer.Option("-n", min=1, help="How many documents.")] = 3,
    source: Annotated[str | None, typer.Option(help="Of this source alone.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Of --stage removed: dropped for this reason.")
    ] = None,
    within: Annotated[
        str | None, typer.Option("--id", help="Only documents whose id contains this.")
    ] = None,
    characters: Annotated[int, typer.Option(min=1, help="Of each document at most.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other documents.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a few documents of a stage, drawn by chance."""
    from groundup.data.stage_files import LAST, REMOVED, TALK, Prepared, drawn, drawn_lines

    if reason is not None and stage != REMOVED:
        raise DataError(f"--reason {reason} is about what was dropped; add --stage {REMOVED}")
    prepared = Prepared.open(folder)
    wanted = {"source": source, "reason": reason}
    equal = {name: value for name, value in wanted.items() if value is not None}
    if stage in _MAKE_THE_LAST:
        stage = LAST
    if stage in TALK:
        rows, n_rows = drawn_lines(prepared.talk(stage), n, seed=seed, equal=equal, within=within)
    else:
        rows, n_rows = drawn(prepared.files(stage), n, seed=seed, equal=equal, within=within)
    if not n_rows:
        raise DataError(_nothing(prepared, stage, equal, within))
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    for row in rows:
        for line in _lines(row, characters):
            console.print(line)
    others = "; --seed shows others" if len(rows) < n_rows else ""
    console.print(f"{len(rows):,} of {n_rows:,} {stage}{others}")


def _nothing(prepared: Any, stage: str, equal: Mapping[str, str], within: str | None) -> str:
    from groundup.data.stage_files import REMOVED

    if stage == REMOVED and not equal and not within:
        return f"nothing was removed from {prepared.folder}"
    asked = [f"{name} {value}" for name, value in equal.items()]
    asked += [f"{within} in the id"] if within else []
    sources = ", ".join(source["name"] for source in prepared.manifest["sources"])
    reasons = sorted({x for one in prepared.manifest["stages"] for x in one["dropped"]})
    told = f"; reasons are {', '.join(reasons)}" if "reason" in equal and reasons else ""
    what = f" with {' and '.join(asked)}" if asked else ""
    return f"no document at {stage}{what}; sources are {sources}{told}"


def _lines(row: Mapping[str, Any], characters: int) -> Iterator[str]:
    from groundup.data.stage_files import turns_of

    turns = turns_of(row)
    text = "\n".join(f"{who}: {what}" for who, what in turns) or row.get("text") or ""
    yield f"── {row['id']}"
    facts = [f"{len(turns)} turns"] if turns else []
    facts += [f"{len(text):,} characters"]
    facts += [str(row[name]) for name in ("licence",) if row.get(name)]
    if "reason" in row:
        facts = [f"{row['stage']}: {row['reason']}", row["detail"] or ""]
    yield f"   {', '.join(fact for fact in facts if fact)}"
    for line in text[:characters].splitlines():
        yield f"   {line}"
    if len(text) > characters:
        yield f"   … {len(text) - characters:,} more characters"
    yield ""
