"""`groundup data peek`: documents as they are at any stage."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundup.cli_tokenizer.options import Json, console
from groundup.runtime import DataError

if TYPE_CHECKING:
    from groundup.data.stage_files import Prepared

_ONE_OF = {"documents": "document", "chats": "chat", "preferences": "preference"}


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
    from groundup.data.stage_files import REMOVED, TALK, Prepared, drawn, drawn_lines

    if reason is not None and stage != REMOVED:
        raise DataError(f"--reason {reason} is about what was dropped; add --stage {REMOVED}")
    prepared = Prepared.open(folder)
    wanted = {"source": source, "reason": slug_of(reason) if reason is not None else None}
    equal = {name: value for name, value in wanted.items() if value is not None}
    if stage in TALK:
        rows, counts = drawn_lines(prepared.talk(stage), n, seed=seed, equal=equal, within=within)
    else:
        rows, counts = drawn(prepared.files(stage), n, seed=seed, equal=equal, within=within)
    if not counts:
        raise DataError(_nothing(prepared, stage, equal, within))
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    for row in rows:
        for line in _lines(row, characters):
            console.print(line)
    others = "; --seed shows others" if len(rows) < counts.total() else ""
    console.print(f"{len(rows):,} of {_counted(prepared, stage, counts)}{others}")


def slug_of(reason: str) -> str:
    """A reason as it is stored, however a person wrote it.

    >>> slug_of("Contaminated document"), slug_of("too many repeated 5-grams")
    ('contaminated_document', 'too_many_repeated_5_grams')
    """
    return re.sub(r"[\s_-]+", "_", reason.strip().lower())


def _counted(prepared: Prepared, stage: str, counts: Mapping[Path, int]) -> str:
    """How many rows of which kinds there are to draw from."""
    from groundup.data.stage_files import LAST, MAKE_THE_LAST, REMOVED, TALK
    from groundup.report.data_words import plural

    n = sum(counts.values())
    if stage in TALK:
        return plural(n, _ONE_OF[stage], stage)
    if stage == LAST or stage in MAKE_THE_LAST:
        return plural(n, "piece" if _is_cut(prepared) else "document")
    if stage == REMOVED:
        return f"{plural(n, 'row')} removed"
    kinds: Counter[str | None] = Counter()
    for file, n_rows in counts.items():
        kinds[prepared.kind_of(file)] += n_rows
    told = [plural(kinds[kind], one, kind) for kind, one in _ONE_OF.items() if kinds[kind]]
    if len(kinds) == 1 and told:
        return f"{told[0]} at {stage}"
    return f"{plural(n, 'row')} at {stage}{': ' if told else ''}{_listed(told)}"


def _is_cut(prepared: Prepared) -> bool:
    """Whether long documents were cut, so that what is published are pieces."""
    stages = {stage["name"]: stage for stage in prepared.manifest["stages"]}
    divide = stages.get("divide")
    return divide is not None and divide["documents_in"] != divide["documents_out"]


def _listed(told: list[str]) -> str:
    return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else "".join(told)


def _nothing(prepared: Prepared, stage: str, equal: Mapping[str, str], within: str | None) -> str:
    from groundup.data.stage_files import REMOVED

    if stage == REMOVED and not equal and not within:
        return f"nothing was removed from {prepared.folder}"
    asked = [f"{name} {value}" for name, value in equal.items()]
    asked += [f"{within} in the id"] if within else []
    sources = ", ".join(source["name"] for source in prepared.manifest["sources"])
    told = ""
    if "reason" in equal:
        reasons = sorted(prepared.reasons())
        near = get_close_matches(equal["reason"], reasons, n=1)
        told = f"; did you mean {near[0]}?" if near else f"; reasons are {', '.join(reasons)}"
        told = "" if equal["reason"] in reasons else told
    what = f" with {' and '.join(asked)}" if asked else ""
    return f"nothing at {stage}{what}; sources are {sources}{told}"


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
