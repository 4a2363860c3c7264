"""The manifest of a prepared corpus: what it is made of, what each stage did, every file's hash.

    format        of this file
    sources       name, path, licence, weight, files, bytes, hash of the content, licences found,
                  what was assumed (such as an encoding), and unread: how many files of a kind that
                  is read gave nothing, and the largest of them
    stages        [{name, documents_in, documents_out, bytes_in, bytes_out, tokens_out,
                    dropped: {reason: count}}], and where there are chats or preferences the same
                    for these (chats_in, chats_out, chats_bytes_in, chats_bytes_out, chats_dropped).
                    What cannot be read counts as a document: nobody knows what it was.
                  masked: {kind: count} at clean, where personal data was looked for
    contamination for each evaluation set what was found of it, or null where none was looked for
    parameters    the whole configuration
    files_used    hashes of the word list, the classifier and the evaluation sets, if any
    versions      of the package, Python and the libraries that decide bytes
    tokenizer     hash and size, or null where nothing was tokenized
    files         {path: {hash, bytes}}
    fingerprint   of the corpus: 128-bit hash of all of the above but the paths of the sources

It holds no time and no host. The same input gives the same fingerprint wherever it lies.
Written last: a folder without one is not done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from groundup.data.engine import HEADER, read_artefact
from groundup.data.identity import without_places
from groundup.data.steps.shard import KINDS
from groundup.runtime import DataError, hash_file, read_json, stable_hash, write_json

FORMAT = 2  # 2: files_used, what chats and pairs lost, what gave nothing
MANIFEST = "manifest.json"
PAGE = "data.html"  # what `groundup data report` makes of it
PARTS = ("documents", "chats", "preferences", "removed", "tokens", "tokenizer")  # folders hashed
COUNTS = "counts.json"


def stage_entry(
    name: str,
    before: Mapping[str, Mapping[str, int]],
    after: Mapping[str, Mapping[str, int]],
    dropped: Mapping[str, Mapping[str, int]],
    *,
    n_tokens: int | None = None,
) -> dict[str, Any]:
    """One stage in the manifest.

    before, after: {kind: {n, n_bytes}}; dropped: {kind: {reason: n}}; n_tokens: what came out, null
    before there are tokens

    >>> before, after = ({"documents": {"n": n, "n_bytes": 9 * n}} for n in (2, 1))
    >>> entry = stage_entry("clean", before, after, {"documents": {"too_short": 1}})
    >>> entry["documents_out"], entry["bytes_in"], entry["dropped"]
    (1, 18, {'too_short': 1})
    """
    entry: dict[str, Any] = {"name": name}
    for field, figure in (("", "n"), ("bytes_", "n_bytes")):
        for side, counts in (("in", before), ("out", after)):
            key = f"{field}{side}" if field else f"documents_{side}"
            entry[key] = counts.get("documents", {}).get(figure, 0)
    entry |= {"tokens_out": n_tokens, "dropped": _sorted(dropped.get("documents", {}))}
    for kind in KINDS[1:]:
        if not any(counts.get(kind, {}).get("n", 0) for counts in (before, after)):
            continue
        for field, figure in (("", "n"), ("bytes_", "n_bytes")):
            for side, counts in (("in", before), ("out", after)):
                entry[f"{kind}_{field}{side}"] = counts.get(kind, {}).get(figure, 0)
        entry[f"{kind}_dropped"] = _sorted(dropped.get(kind, {}))
    return entry


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def write_manifest(
    folder: Path,
    *,
    sources: list[dict[str, Any]],
    stages: list[dict[str, Any]],
    parameters: Any,
    files_used: Mapping[str, Any],
    versions: Mapping[str, str | None],
    tokenizer: Mapping[str, Any] | None,
    contamination: Mapping[str, Any] | None = None,
    name: str = MANIFEST,
) -> dict[str, Any]:
    """Hash what is in `folder` and write its manifest; gives the manifest."""
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "sources": sources,
        "stages": stages,
        "contamination": contamination,
        "parameters": parameters,
        "files_used": files_used,
        "versions": dict(versions),
        "tokenizer": tokenizer,
        "files": {
            path.relative_to(folder).as_posix(): {
                "hash": hash_file(path),
                "bytes": path.stat().st_size,
            }
            for path in _files(folder)
        },
    }
    manifest["fingerprint"] = fingerprint_of(manifest)
    write_json(folder / name, manifest)
    return manifest


def fingerprint_of(manifest: Mapping[str, Any]) -> str:
    """The hash of a manifest without its fingerprint and the paths of the sources.

    >>> a, b = ({"sources": [{"name": "a", "path": f"/{place}/a"}]} for place in ("here", "there"))
    >>> fingerprint_of(a) == fingerprint_of(b)
    True
    """
    told = {key: value for key, value in manifest.items() if key != "fingerprint"}
    told["sources"] = [_placeless(source) for source in told["sources"]]
    told["parameters"] = without_places(told.get("parameters", {}))
    return stable_hash(told)


def _placeless(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key != "path"}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared folder. Raises DataError if there is none, or it was changed."""
    path = find_manifest(folder)
    if path is None:
        raise DataError(
            f"{folder} holds no prepared data (no {MANIFEST}); "
            "give the --out of a groundup data prepare that ended, or a run"
        )
    try:
        manifest: dict[str, Any] = read_json(path)
        fingerprint, version = manifest["fingerprint"], manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); prepare the data again") from error
    if version != FORMAT:
        raise DataError(
            f"{path} is of format {version}, this version reads {FORMAT}; prepare the data again"
        )
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in manifest["files"]):
        raise DataError(f"{path} names files outside its folder; it is not of groundup")
    if fingerprint != fingerprint_of(manifest):
        raise DataError(
            f"{path} was changed after it was written: its fingerprint is not its hash; "
            "prepare the data again"
        )
    return manifest


def find_manifest(folder: Path) -> Path | None:
    """The manifest in a prepared folder, or of a run's data (`RUN` or `RUN/data`), if there is one.

    A run's data stage has a manifest.json of its own, so that of the corpus is dataset.json there.
    """
    for place in (folder, folder / "data"):
        for name in (DATASET, MANIFEST):
            path = place / name
            if os.path.isfile(path) and (name == DATASET or _is_ours(path)):  # no one may look: no
                return path
    return None


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds prepared data, or is a run that does."""
    found = find_manifest(folder)
    return found is not None and (found.parent / COUNTS).is_file()


def is_unfinished(folder: Path) -> bool:
    """Whether data was begun to be prepared in a folder, and not to the end."""
    return not is_prepared(folder) and any((folder / "stages").glob(f"*/*/{HEADER}"))


DATASET = "dataset.json"


def _is_ours(path: Path) -> bool:
    try:
        found = read_json(path)
    except ValueError:
        return True  # damaged; whoever reads it says so
    return isinstance(found, dict) and "stages" in found


def verify(folder: Path) -> list[str]:
    """Every fault of a prepared folder: files that are missing, changed or too many.

    The artefacts in `stages/` are checked where they still are. Raises DataError if there is no
    manifest, or one that was changed.
    """
    manifest = read_manifest(folder)
    found = find_manifest(folder)
    assert found is not None
    place = found.parent
    faults: list[str] = []
    for name, told in manifest["files"].items():
        path = place / name
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif path.stat().st_size != told["bytes"]:
            faults.append(f"{path} has {path.stat().st_size} bytes, not {told['bytes']}")
        elif hash_file(path) != told["hash"]:
            faults.append(f"{path} is damaged: its hash is not the manifest's")
    known = {place / name for name in manifest["files"]}
    faults += [f"{path} is not in the manifest" for path in _files(place) if path not in known]
    for header in sorted((place / "stages").glob(f"*/*/{HEADER}")):
        if read_artefact(header.parent) is None:
            faults.append(f"{header.parent} is damaged: a file's hash is not its header's")
    return faults


def _files(folder: Path) -> Iterable[Path]:
    found = [path for part in PARTS for path in (folder / part).rglob("*") if path.is_file()]
    if (folder / COUNTS).is_file():
        found.append(folder / COUNTS)
    return sorted(found)
