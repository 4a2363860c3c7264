"""Sources as shards: small files share a job, a file or archive that is large has one of its own.

Documents, chats and preference pairs come out as rows of one schema; the text of the latter two is
the JSON of what is said. What could not be read stands in removed.parquet with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundup.data.engine import DO_AGAIN, Artefact, Engine, Job
from groundup.data.reading import (
    InputFile,
    ReadingConfig,
    SourceConfig,
    find_inputs,
    input_hash,
    read_input,
)
from groundup.data.reading.read import check_strict
from groundup.data.records import Chat, Document, Record, Refusal, messages_as_rows
from groundup.data.steps.divide import canonical
from groundup.data.steps.shard import KINDS, REMOVED, Shard, n_bytes_of
from groundup.data.table import (
    FILE_BYTES,
    REMOVED_SCHEMA,
    FilesWriter,
    TableWriter,
    document_row,
    removed_row,
    rows_of,
)
from groundup.runtime import DataError, stable_hash, to_dict

VERSION = 2
STAGE = "read"
_FEW_JOBS = 16
_MOST_UNREAD = 20
_SMALLEST_JOB_BYTES = 4 << 20
CHANGED = "changed_while_reading"
_LIBRARIES = ("resiliparse", "pypdfium2", "pyarrow", "datasets")


@dataclass(frozen=True)
class ReadSource:
    """A source that was read: its shards, what the manifest says of it, what was refused."""

    shards: list[Shard]
    about: dict[str, Any]
    artefacts: list[Artefact]


def read_source_into(
    engine: Engine, source: SourceConfig, name: str, config: ReadingConfig
) -> ReadSource:
    """Read the files of a source, a job for about `job_bytes` of them."""
    found, refusals = _hashed(source)
    n_bytes = sum(_size(file) for file, _ in found)
    file_bytes = job_bytes(n_bytes)
    jobs = []
    for files in _groups(found, file_bytes):
        params = {
            "name": name,
            "file_bytes": file_bytes,
            "reading": to_dict(replace(config, strict=False)),
            "files": [[_told(file), digest] for file, digest in files],
        }
        places = {
            "places": [[str(file.path), file.dataset] for file, _ in files],
            "strict": config.strict,  # decides only whether it comes to an end
        }
        jobs.append(Job(STAGE, VERSION, read_files, (), params, places, _LIBRARIES))
    if refusals:
        if config.strict:
            for refusal in refusals:
                check_strict(refusal)
        rows = [[r.id.removeprefix(f"{source.label}/"), r.reason, r.detail] for r in refusals]
        jobs.append(Job(STAGE, VERSION, write_refusals, (), {"name": name, "refusals": rows}))
    artefacts = engine.run(jobs, f"read {name}")
    if config.strict:
        _check_what_stood(artefacts)
    identity = stable_hash([[_told(file), digest] for file, digest in found])
    about = _about(source, name, artefacts, len(found), n_bytes, identity)
    return ReadSource(_shards(name, artefacts), about, artefacts)


def _check_what_stood(artefacts: Iterable[Artefact]) -> None:
    """Raise DataError for the first refusal, in what a run without `strict` has read too."""
    for artefact in artefacts:
        for row in rows_of(artefact.path(REMOVED)) if artefact.counts["dropped"] else ():
            check_strict(
                Refusal(row["id"], row["source"], row["stage"], row["reason"], row["detail"])
            )


def _hashed(source: SourceConfig) -> tuple[list[tuple[InputFile, str]], list[Refusal]]:
    """The files of a source with their hashes, and a Refusal for each that is not read."""
    inputs, refusals = find_inputs(source)
    found = []
    for file in inputs:
        try:
            found.append((file, input_hash(file)))
        except DataError as error:
            if file.dataset:
                raise
            id, cause = f"{source.label}/{file.relative}", error.__cause__
            detail = str(getattr(cause, "strerror", None) or error)
            refusals.append(Refusal(id, source.label, STAGE, "not_readable", detail))
    return found, sorted(refusals, key=lambda refusal: refusal.id)


def read_builtin_into(
    engine: Engine, source: SourceConfig, name: str, records: Callable[[], Iterable[Record]]
) -> ReadSource:
    """Take the records of a source that the caller makes."""

    def write(folder: Path) -> dict[str, Any]:
        return _write((replace(record, source=name) for record in records()), folder)

    artefact = engine.keep(STAGE, write)
    n_bytes = sum(counts["n_bytes"] for counts in artefact.counts["files"].values())
    about = _about(source, name, [artefact], 0, n_bytes, artefact.hash)
    shards = [replace(shard, is_builtin=True) for shard in _shards(name, [artefact])]
    return ReadSource(shards, {**about, "built_in": True}, [artefact])


def _about(
    source: SourceConfig,
    name: str,
    artefacts: Sequence[Artefact],
    n_files: int,
    n_bytes: int,
    identity: str,
) -> dict[str, Any]:
    licences: Counter[str] = Counter()
    assumed: Counter[str] = Counter()
    unread: list[dict[str, Any]] = []
    for artefact in artefacts:
        licences.update(artefact.counts["licences"])
        assumed.update(artefact.counts.get("assumed", {}))
        unread += artefact.counts.get("unread", [])
    largest = sorted(unread, key=lambda one: (-one["bytes"], one["path"]))
    return {
        "name": name,
        "path": source.path,
        "licence": source.licence,
        "weight": source.weight,
        "files": n_files,
        "bytes": n_bytes,
        "hash": identity,
        "licences": dict(sorted(licences.items())),
        "assumed": dict(sorted(assumed.items())),
        "unread": {
            "files": len(unread),
            "bytes": sum(one["bytes"] for one in unread),
            "largest": largest[:_MOST_UNREAD],
        },
        "built_in": False,
    }


def _shards(name: str, artefacts: Sequence[Artefact]) -> list[Shard]:
    return [
        Shard(name, file.split("-")[0], artefact, file=file, **counts)
        for artefact in artefacts
        for file, counts in sorted(artefact.counts["files"].items())
    ]


def job_bytes(n_bytes: int) -> int:
    """How much of a source of n_bytes one job works on: less where that would be few jobs.

    >>> [job_bytes(n << 20) >> 20 for n in (10, 255, 256, 1023, 1024, 10_000_000)]
    [4, 4, 16, 16, 64, 64]
    """
    found = FILE_BYTES
    while n_bytes < found * _FEW_JOBS and found // 4 >= _SMALLEST_JOB_BYTES:
        found //= 4
    return found


def _groups(
    files: Sequence[tuple[InputFile, str]], limit_bytes: int
) -> Iterator[list[tuple[InputFile, str]]]:
    """Files in their order, together up to a limit.

    A group also ends before a path whose hash says so, one in about as many as fill a group: a file
    that comes or goes then moves the borders near it alone, and the other jobs stand.
    """
    group: list[tuple[InputFile, str]] = []
    n_bytes = 0
    mean = sum(_size(file) for file, _ in files) / max(len(files), 1)
    one_in = 1 << round(math.log2(max(limit_bytes / max(mean, 1), 1)))
    for file, digest in files:
        size = _size(file)
        is_border = int(stable_hash(file.relative), 16) % one_in == 0
        if group and (is_border or n_bytes + size > limit_bytes):
            yield group
            group, n_bytes = [], 0
        group.append((file, digest))
        n_bytes += size
    if group:
        yield group


def _size(file: InputFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:  # a data set of the hub, or gone since; whoever reads it says so
        return 0


def _told(file: InputFile) -> dict[str, Any]:
    """What a file is to its reader, but for where it lies."""
    return {k: value for k, value in to_dict(file).items() if k not in ("path", "dataset")}


def read_files(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read a few files into FOLDER/KIND-00000.parquet and so on, and FOLDER/removed.parquet.

    Nothing is kept of a file that somebody wrote to since it was hashed: the others are read once
    more without it, and what is made is marked to be made again by the next run.
    """
    config = replace(ReadingConfig(**params["reading"]), strict=params["strict"])
    files = [
        (InputFile(path=Path(path), dataset=dataset, **told), digest)
        for (path, dataset), (told, digest) in zip(params["places"], params["files"], strict=True)
    ]
    changed: set[int] = set()
    while True:
        n_changed = len(changed)
        notes: Counter[str] = Counter()
        unread: list[dict[str, Any]] = []
        records = _records(files, params["name"], config, notes, changed, unread)
        counts = _write(records, folder, params["file_bytes"]) | {"unread": unread}
        changed |= {n for n, (file, digest) in enumerate(files) if not _is_as(file, digest)}
        if len(changed) == n_changed:
            again = changed or "not_readable" in counts["dropped"]  # the disk may give it later
            return {**counts, "assumed": dict(sorted(notes.items()))} | (
                {DO_AGAIN: True} if again else {}
            )
        for path in folder.iterdir():
            path.unlink()


def _records(
    files: Sequence[tuple[InputFile, str]],
    name: str,
    config: ReadingConfig,
    notes: Counter[str],
    changed: set[int],
    unread: list[dict[str, Any]],
) -> Iterator[Record | Refusal]:
    """What the files hold, but for those in `changed`, to which others seen to change are added.

    `unread` gets the files that give nothing, with the first reason.
    """
    for n, (file, _) in enumerate(files):
        if n in changed:
            detail = "was written to since it was hashed; run again when it is whole"
            refusal = Refusal(f"{name}/{file.relative}", name, STAGE, CHANGED, detail)
            if config.strict:
                check_strict(refusal)
            yield refusal
            unread.append(_unread(file, CHANGED))
            continue
        reason, gave = "empty", False
        for record in read_input(file, name, config, notes):
            if isinstance(record, Refusal):
                reason = reason if reason != "empty" else record.reason
                if record.reason == CHANGED:
                    changed.add(n)
            else:
                gave = True
            yield record
        if not gave:
            unread.append(_unread(file, reason))


def _unread(file: InputFile, reason: str) -> dict[str, Any]:
    return {"path": file.relative, "bytes": _size(file), "reason": reason}


def _is_as(file: InputFile, digest: str) -> bool:
    """Whether a file still is what it was when it was hashed."""
    try:
        return input_hash(file) == digest
    except DataError:  # gone
        if file.dataset:
            raise
        return False


def write_refusals(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Note what was refused before anything was opened."""
    name = params["name"]
    found = (Refusal(f"{name}/{i}", name, STAGE, r, d) for i, r, d in params["refusals"])
    return _write(found, folder)


def _write(
    records: Iterable[Record | Refusal], folder: Path, file_bytes: int = FILE_BYTES
) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = {}
    dropped: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    with ExitStack() as stack:
        removed = stack.enter_context(TableWriter(folder / REMOVED, REMOVED_SCHEMA))
        writers = {
            kind: stack.enter_context(FilesWriter(folder, kind, file_bytes=file_bytes))
            for kind in KINDS
        }
        for record in records:
            if isinstance(record, Refusal):
                dropped[record.reason] += 1
                row = {"id": record.id, "source": record.source, "text": ""}
                removed.add(removed_row(row, record.stage, record.reason, detail=record.detail))
                continue
            kind, row = row_of(record)
            path = writers[kind].add(row)
            n_bytes = n_bytes_of(row["text"])
            counts.setdefault(path.name, Counter()).update(n=1, n_bytes=n_bytes)
            if row["licence"]:
                licences[row["licence"]] += 1
    return {
        "files": {name: dict(found) for name, found in sorted(counts.items())},
        "dropped": dict(sorted(dropped.items())),
        "licences": dict(sorted(licences.items())),
    }


def row_of(record: Record) -> tuple[str, dict[str, Any]]:
    """(kind, row of DOCUMENT_SCHEMA); the text of a chat or a pair is JSON, the same for equals.

    >>> from groundup.tokenizer.chat import Message
    >>> chat = Chat((Message("user", "Hi"), Message("assistant", "Hello")), "a#0", "a")
    >>> row_of(chat)[1]["text"]
    '{"messages":[{"content":"Hi","role":"user"},{"content":"Hello","role":"assistant"}]}'
    """
    if isinstance(record, Document):
        return "documents", document_row(record)
    said: dict[str, Any]
    if isinstance(record, Chat):
        kind, said = "chats", {"messages": messages_as_rows(record.messages)}
    else:
        kind, said = "preferences", {"prompt": messages_as_rows(record.prompt)}
        said |= {"chosen": record.chosen, "rejected": record.rejected}
    row = document_row(Document(canonical(said), record.id, record.source, licence=record.licence))
    return kind, row
