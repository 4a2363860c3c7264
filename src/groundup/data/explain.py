"""What happens to the documents of one file: each stage's verdict, with the scores behind it.

Reading, repair, scores, rules, masking and cutting follow from the file and the settings alone, and
are done here as the stages do them. Duplicates and evaluation sets depend on the other documents:
what prepared data did with a file of its own is looked up there, and a file that is none of its own
is held against it (`compare.py`). Called by `groundup data explain`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
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
from groundup.data.compare import compare
from groundup.data.config import DataConfig, source_names
from groundup.data.reading import InputFile, SourceConfig, read_input
from groundup.data.records import Document, Refusal
from groundup.data.split import cut_text
from groundup.data.stage_files import LAST, REMOVED, Prepared, rows_named, without_piece
from groundup.data.steps.shard import ROWS
from groundup.data.table import tables_of

_SHOWN = 60  # characters of what a repair changed


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


@dataclass(frozen=True)
class Step:
    """What a stage of prepared data did with a document, or would do with one that is new."""

    stage: str
    what: str


@dataclass
class Explained:
    """One document (or row, or refusal) of a file and its way through the stages.

    repaired: what changed, in words; None where repair is off
    reason: why the rules drop it; None where they do not
    masked: kind -> how many; None where masking is off, or it is dropped before
    done: by the stages of prepared data that the document is in
    would: by the stages of prepared data that it is not in
    text, unmasked: as cleaning leaves it, and as it was before masking
    """

    id: str
    read: str
    is_document: bool = False
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


def explain_file(
    file: Path,
    config: DataConfig,
    prepared: Prepared | None = None,
    *,
    first: int = 0,
    n: int = 1,
) -> list[Explained]:
    """The documents `first` to `first + n - 1` of a file, as far as there are so many."""
    source, relative = _source_of(file, config)
    found = InputFile(file, relative, licence=source.licence, column=source.column)
    notes: Counter[str] = Counter()
    records = read_input(found, source.name or source.label, config.reading, notes)
    scorer = Scorer(config.cleaning)
    explained = []
    for record in islice(records, first, first + n):
        if isinstance(record, Refusal):
            one = Explained(record.id, f"refused, {record.reason}: {record.detail}")
            one.verdict = f"dropped at read for {record.reason}"
        elif isinstance(record, Document):
            one = _document(record, config, scorer)
        else:
            kind = type(record).__name__.lower()
            one = Explained(record.id, f"a {kind}: neither cleaned nor judged")
            one.verdict = "kept, unless it is an exact duplicate or holds an evaluation item"
        if notes:
            one.read += f" (assumed: {', '.join(sorted(notes))})"
        explained.append(one)
    if prepared is not None:
        known = _look_up(explained, prepared) if _is_of(file, config) else set()
        for one in explained:
            if one.id not in known:
                _hold_against(one, prepared, config)
    return explained


def _is_of(file: Path, config: DataConfig) -> bool:
    """Whether a file lies in one of the sources."""
    path = file.resolve()
    tops = [Path(source.path).resolve() for source in config.sources]
    return any(path == top or path.is_relative_to(top) for top in tops)


def _source_of(file: Path, config: DataConfig) -> tuple[SourceConfig, str]:
    """The source that a file belongs to, with its name, and the file's path in it."""
    path = file.resolve()
    for source, name in zip(config.sources, source_names(config.sources), strict=True):
        top = Path(source.path).resolve()
        if path == top or path.is_relative_to(top):
            relative = path.name if path == top else path.relative_to(top).as_posix()
            return _named(source, name), relative
    return SourceConfig(path=str(path)), path.name


def _named(source: SourceConfig, name: str) -> SourceConfig:
    return SourceConfig(path=source.path, name=name, licence=source.licence, column=source.column)


def _document(record: Document, config: DataConfig, scorer: Scorer) -> Explained:
    cleaning, text = config.cleaning, record.text
    licence = f", licence {record.licence}" if record.licence else ""
    one = Explained(record.id, f"{len(text):,} characters{licence}", is_document=True)
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


def _look_up(explained: list[Explained], prepared: Prepared) -> set[str]:
    """Add what became of these documents in prepared data; gives the ids of those it holds."""
    by_id = {one.id: one for one in explained}
    known: set[str] = set()
    cut: dict[str, list[str]] = {id: [] for id in by_id}
    for file in prepared.files(REMOVED):
        for table in tables_of(file, ["id", "stage", "reason", "detail"]):
            for row, id in enumerate(table["id"].to_pylist()):
                if id not in by_id:
                    continue
                told = table.slice(row, 1).to_pylist()[0]
                stage, reason = told["stage"], told["reason"]
                detail = (told["detail"] or "").replace(f"{reason} with ", "scored ")
                is_drop = reason in _dropped(prepared, stage)
                verb = "dropped for" if is_drop else "cut for"
                by_id[id].done.append(Step(stage, f"{verb} {reason}: {detail}"))
                if is_drop:
                    by_id[id].verdict = f"dropped at {stage} for {reason}"
                    known.add(id)
                else:
                    cut[id].append(f"{stage} cut a part of it for {reason}")
    for id, splits in _kept(prepared, set(by_id)).items():
        told = _splits_told(splits)
        by_id[id].done.append(Step(LAST, told))
        by_id[id].verdict = "; ".join([f"kept, {told}", *cut[id]])
        known.add(id)
    for id in known:
        _compare_with_read(by_id[id], prepared)
    return known


def _dropped(prepared: Prepared, stage: str) -> Mapping[str, int]:
    """The reasons for which a stage dropped documents; others cut parts of them."""
    for told in prepared.manifest["stages"]:
        if told["name"] == stage:
            reasons: Mapping[str, int] = told["dropped"]
            return reasons
    return {}


def _kept(prepared: Prepared, ids: set[str]) -> dict[str, Counter[str]]:
    """For each of some documents that are left, in how many pieces of each split."""
    left: dict[str, Counter[str]] = {}
    for file in prepared.files(LAST):
        split = file.name.split("-")[0]
        for table in tables_of(file, ["id"]):
            for id in table["id"].to_pylist():
                whole = id if id in ids else without_piece(id)
                if whole in ids:
                    left.setdefault(whole, Counter())[split] += 1
    return left


def _splits_told(splits: Mapping[str, int]) -> str:
    """
    >>> _splits_told({"train": 2}), _splits_told({"train": 2, "heldout": 1})
    ('in 2 pieces to train on', 'in 3 pieces, 2 to train on and 1 held out')
    """
    words = {"train": "to train on", "heldout": "held out"}
    n = sum(splits.values())
    pieces = "whole" if n == 1 else f"in {n:,} pieces"
    told = [(split, splits[split]) for split in words if splits.get(split)]
    if len(told) == 1:
        return f"{pieces}{',' if n == 1 else ''} {words[told[0][0]]}"
    return f"{pieces}, {' and '.join(f'{k:,} {words[split]}' for split, k in told)}"


def _compare_with_read(one: Explained, prepared: Prepared) -> None:
    """Say so if the file is not what it was when the data was made."""
    if not one.is_document or "clean" not in prepared.names:
        return
    rows = rows_named([folder / ROWS for folder in prepared.artefacts("score")], {one.id})
    was = rows.get(one.id)
    if was is not None and was["text"] != one.unmasked:
        one.done.insert(0, Step("read", "the file has changed since: this was done to what it was"))


def _hold_against(one: Explained, prepared: Prepared, config: DataConfig) -> None:
    """Add what the stages behind cleaning would do with a document that is not in the data."""
    if not one.is_document or one.reason is not None:
        return
    last = None
    for last in compare(one.text, one.id, prepared, config):
        one.would.append(Step(last.stage, last.what))
    if last is not None and last.reason is not None:
        one.divided = ""
        one.verdict = f"it would be dropped at {last.stage} for {last.reason}"
        if last.instead_of:
            one.verdict = f"it would take the place of {last.instead_of} at {last.stage}"
    else:
        one.divided = _pieces(last.left if last else one.text, config)
        one.verdict = "it would be kept"
