"""What happens to the documents of one file: each stage's verdict, with the scores behind it.

Reading, repair, scores, rules, masking and cutting follow from the file and the settings alone, and
are done here as the stages do them. Duplicates and evaluation sets depend on the other documents:
what prepared data did with a file of its own is looked up there (`outcome.py`), and a file that is
none of its own is held against it (`compare.py`). Called by `groundup data explain`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from groundup.data.cleaning import (
    RULES,
    CleaningConfig,
    Scorer,
    drop_lines,
    judge,
    mask_pii,
    repair,
)
from groundup.data.cleaning.prose import is_source_code
from groundup.data.cleaning.scores import SCORE_SCHEMA, SCORES
from groundup.data.compare import compare, compare_talk
from groundup.data.config import DataConfig, source_names
from groundup.data.outcome import Step, outcomes
from groundup.data.reading import InputFile, SourceConfig, read_input
from groundup.data.records import Chat, Document, Preference, Refusal
from groundup.data.split import cut_text
from groundup.data.stage_files import TALK, Prepared, rows_named
from groundup.data.steps.mask_talk import mask_said
from groundup.data.steps.read import row_of
from groundup.data.steps.shard import ROWS

_SHOWN = 60  # characters of what a repair changed
_COUNTED = 10_000  # rows of a file that are counted behind those that are told
_COUNTED_CHARACTERS = 16 << 20


@dataclass(frozen=True)
class Held:
    """A score, held against the limit of a rule; `limit` None: no rule asks it."""

    score: str
    meaning: str
    value: float | None
    limit: float | None = None
    drops: str = ""
    rule: str = ""
    is_broken: bool = False


@dataclass
class Explained:
    """One document (or row, or refusal) of a file and its way through the stages.

    kind: documents, chats or preferences; empty of a refusal
    repaired: what changed, in words; None where repair is off
    reason: why the rules drop it; None where they do not
    masked: kind -> how many; None where masking is off, or it is dropped before
    done: by the stages of prepared data that the document is in
    would: by the stages of prepared data that it is not in
    text, unmasked: as cleaning leaves it, and as it was before masking; of chats and pairs JSON
    """

    id: str
    read: str
    kind: str = ""
    repaired: str | None = None
    language: str | None = None
    language_score: float | None = None
    scores: list[Held] = field(default_factory=list)
    reason: str | None = None
    masked: dict[str, int] | None = None
    divided: str = ""
    done: list[Step] = field(default_factory=list)
    would: list[Step] = field(default_factory=list)
    verdict: str = ""
    text: str = field(default="", repr=False)
    unmasked: str = field(default="", repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the text."""
        told = asdict(self)
        return {name: told[name] for name in told if name not in ("text", "unmasked")}


@dataclass(frozen=True)
class Told:
    """Some documents of a file, and how many it holds; where not `is_all`, more than `n`."""

    documents: list[Explained]
    n: int
    is_all: bool


def explain_file(
    file: Path,
    config: DataConfig,
    prepared: Prepared | None = None,
    *,
    first: int = 0,
    n: int = 1,
) -> Told:
    """The documents `first` to `first + n - 1` of a file, as far as there are so many.

    Those behind them are counted, but for a file of many.
    """
    place = _place_of(file, config)
    source = place.source
    found = InputFile(file, place.relative, licence=source.licence, column=source.column)
    notes: Counter[str] = Counter()
    reading = replace(config.reading, strict=False)  # a refusal is told, not raised
    scorer = Scorer(config.cleaning)
    explained: list[Explained] = []
    n_rows = n_characters = 0
    is_all = True
    for record in read_input(found, source.name or source.label, reading, notes):
        if n_rows >= max(first + n, _COUNTED) or n_characters > _COUNTED_CHARACTERS:
            is_all = False
            break
        if first <= n_rows < first + n:
            one = _explained(record, config, scorer)
            if notes:
                one.read += f" (assumed: {', '.join(sorted(notes))})"
            explained.append(one)
        elif n_rows >= first + n:
            n_characters += len(record.text) if isinstance(record, Document) else 0
        n_rows += 1
    if prepared is not None:
        known = _look_up(explained, prepared) if place.is_in_source else set()
        for one in explained:
            if one.id not in known:
                _hold_against(one, prepared, config)
    if prepared is None or not place.is_named:
        for one in explained:
            _tell_hidden(one, place)
    return Told(explained, n_rows, is_all)


@dataclass(frozen=True)
class _Place:
    """Where a file lies: in which source, under which path of it.

    is_named: it is a source itself, where else it lies in the folder that is
    """

    source: SourceConfig
    relative: str
    is_in_source: bool
    is_named: bool = False


def _place_of(file: Path, config: DataConfig) -> _Place:
    """The source that a file belongs to, by the path that is given or by where a link leads."""
    for path in (Path(os.path.abspath(file)), file.resolve()):
        for source, name in zip(config.sources, source_names(config.sources), strict=True):
            named = replace(source, name=name)
            for top in (Path(os.path.abspath(source.path)), Path(source.path).resolve()):
                if path == top:
                    return _Place(named, _storable(path.name), True, is_named=True)
                if path.is_relative_to(top):
                    return _Place(named, _storable(path.relative_to(top).as_posix()), True)
    path = file.resolve()
    return _Place(SourceConfig(path=str(path)), _storable(path.name), False)


def _storable(name: str) -> str:
    """A path as ids hold it: bytes that are no UTF-8 stand as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _tell_hidden(one: Explained, place: _Place) -> None:
    if any(part.startswith(".") for part in place.relative.split("/")):
        one.verdict = (
            f"a run on the folder leaves it out, for it is hidden; named by itself: {one.verdict}"
        )


def _explained(
    record: Document | Chat | Preference | Refusal, config: DataConfig, scorer: Scorer
) -> Explained:
    if isinstance(record, Refusal):
        one = Explained(record.id, f"refused, {record.reason}: {record.detail}")
        one.verdict = f"dropped at read for {record.reason}"
        return one
    if isinstance(record, Document):
        return _document(record, config, scorer)
    return _talk(record, config)


def _talk(record: Chat | Preference, config: DataConfig) -> Explained:
    kind, row = row_of(record)
    name = type(record).__name__.lower()
    one = Explained(record.id, f"a {name}: neither repaired nor judged", kind)
    one.text = one.unmasked = row["text"]
    one.verdict = "kept, unless it is an exact duplicate or holds an evaluation item"
    if config.cleaning.pii == "mask":
        one.text, masked = mask_said(row["text"])
        one.masked = dict(sorted(masked.items()))
        said = json.loads(one.text)
        if "chosen" in said and said["chosen"] == said["rejected"]:
            one.reason = "equal_sides"
            one.verdict = f"dropped at clean for {one.reason}: they are the same, masked"
    return one


def _document(record: Document, config: DataConfig, scorer: Scorer) -> Explained:
    cleaning, text = config.cleaning, record.text
    licence = f", licence {record.licence}" if record.licence else ""
    one = Explained(record.id, f"{len(text):,} characters{licence}", "documents")
    if cleaning.repair:
        mended = repair(text)
        one.repaired, text = _what_changed(text, mended), mended
    if cleaning.drop_lines and not is_source_code(record.path):
        text, dropped = drop_lines(text, cleaning.line_rules)
        told = ", ".join(f"{n} for {reason}" for reason, n in sorted(dropped.items()))
        one.repaired = f"{one.repaired or ''}; lines dropped: {told or 'none'}".lstrip("; ")
    one.unmasked = text
    scores = scorer.score(text, record.path)
    one.language, one.language_score = scores["language"], scores["language_score"]
    table = pa.Table.from_pylist([{"id": record.id, **scores}], schema=SCORE_SCHEMA)
    one.scores = list(held_scores(scores, table, cleaning))
    one.reason = judge(table, cleaning)[0][0]
    if one.reason is None and not text.strip():
        one.reason = "empty"
    if one.reason is None and cleaning.pii == "mask":
        text, masked = mask_pii(text)
        one.masked = dict(sorted(masked.items()))
    one.text = text
    one.divided = "" if one.reason else _pieces(text, config)
    one.verdict = f"dropped at clean for {one.reason}" if one.reason else "kept by the rules"
    return one


def _pieces(text: str, config: DataConfig) -> str:
    limit = config.split_long_documents_bytes
    n = 1 if limit is None else len(list(cut_text(text, limit)))
    return "stays whole" if n <= 1 else f"cut into {n} pieces of at most {limit:,} bytes"


def held_scores(
    scores: Mapping[str, Any], table: pa.Table, config: CleaningConfig
) -> Iterator[Held]:
    """Every score in the order of the rules, beside the limit of each rule that asks it."""
    asked = set()
    for rule in RULES:
        limit = rule.limit(config)
        if limit is not None:
            asked.add(rule.score)
            broken = bool(rule.breaks(table, config)[0])
            yield Held(
                rule.score, SCORES[rule.score], scores[rule.score], limit, rule.drops, rule.reason,
                broken,
            )  # fmt: skip
    for name, meaning in SCORES.items():
        if name not in asked and not name.startswith("language") and scores[name] is not None:
            yield Held(name, meaning, scores[name])


def _what_changed(before: str, after: str) -> str:
    if before == after:
        return "nothing to repair"
    place = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    was, is_now = (repr(text[place : place + _SHOWN]) for text in (before, after))
    return f"at character {place:,}: {was} became {is_now}"


# --- beside prepared data -------------------------------------------------------------------------


def _look_up(explained: Sequence[Explained], prepared: Prepared) -> set[str]:
    """Add what became of these documents in prepared data; gives the ids of those it holds."""
    found = outcomes([one.id for one in explained], prepared)
    held = [one for one in explained if one.id in found]
    for one in held:
        one.done, one.verdict = found[one.id].steps, found[one.id].verdict
    for kind in {one.kind for one in held if one.kind}:
        _compare_with_read([one for one in held if one.kind == kind], kind, prepared)
    return set(found)


def _compare_with_read(held: Sequence[Explained], kind: str, prepared: Prepared) -> None:
    """Say so where the file is not what it was when the data was made."""
    if kind not in TALK:
        files = [folder / ROWS for folder in prepared.artefacts("score")]
    else:
        files = prepared.files("read") if "read" in prepared.names else []
        files = [file for file in files if prepared.kind_of(file) == kind]
    rows = rows_named(files, {one.id for one in held})
    for one in held:
        if one.id in rows and rows[one.id]["text"] != one.unmasked:
            told = "the file has changed since: this was done to what it was"
            one.done.insert(0, Step("read", told))


def _hold_against(one: Explained, prepared: Prepared, config: DataConfig) -> None:
    """Add what the stages behind cleaning would do with a document that is not in the data."""
    if not one.kind or one.reason is not None:
        return
    verdicts = compare_talk if one.kind in TALK else compare
    last = None
    for last in verdicts(one.text, one.id, prepared, config):
        one.would.append(Step(last.stage, last.what))
    if last is not None and last.reason is not None:
        one.divided = ""
        one.verdict = f"it would be dropped at {last.stage} for {last.reason}"
        if last.instead_of:
            one.verdict = f"it would take the place of {last.instead_of} at {last.stage}"
    else:
        if one.kind not in TALK:
            one.divided = _pieces(last.left if last else one.text, config)
        one.verdict = "it would be kept"
