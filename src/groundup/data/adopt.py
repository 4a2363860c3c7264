"""Prepared data as the data of a build: taken over as it is, file by file, not prepared again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundup.data.config import DataConfig
from groundup.data.link import link_or_copy
from groundup.data.manifest import (
    COUNTS,
    DATASET,
    find_manifest,
    is_prepared,
    is_unfinished,
    read_manifest,
    verify,
)
from groundup.data.reading import SourceConfig
from groundup.data.shards import TokenShards
from groundup.runtime import DataError, read_json, write_json

TOKENIZER, TOKENS = "tokenizer", "tokens"
FOLDERS = ("documents", "chats", "preferences", "removed")


def prepared_source(sources: Sequence[SourceConfig]) -> Path | None:
    """The folder of prepared data that is the only source, or None if none is prepared.

    Raises DataError if there are others beside it: what is prepared is divided already, and was
    compared with nothing else.
    """
    for source in sources:
        check_finished(Path(source.path))
    found = [source for source in sources if is_prepared(Path(source.path))]
    if not found:
        return None
    if len(sources) > 1:
        raise DataError(
            f"{found[0].path} is prepared data and cannot be mixed with other sources; give it "
            "alone, or prepare all of them together"
        )
    return Path(found[0].path)


def check_finished(folder: Path) -> None:
    """Raise DataError for what a preparation left that has not come to its end."""
    if is_unfinished(folder):
        raise DataError(
            f"{folder} holds data that was not prepared to the end; run its groundup data prepare "
            "again first"
        )


def prepared_tokenizer(paths: Sequence[str]) -> Path | None:
    """The tokenizer that the only source was prepared with, if it is prepared data with one."""
    if len(paths) != 1 or not is_prepared(Path(paths[0])):
        return None
    found = find_manifest(Path(paths[0]))
    assert found is not None, "is_prepared has found it"
    folder = found.parent / TOKENIZER
    return folder if read_manifest(Path(paths[0]))["tokenizer"] and folder.is_dir() else None


def prepared_tokens(data: Path, name: str, tokenizer_fingerprint: str) -> list[Path]:
    """The files of data/tokens/NAME if that tokenizer made them, else none.

    Raises DataError if they are damaged.
    """
    folder = data / TOKENS / name
    if not folder.is_dir():
        return []
    made_by = TokenShards.open(folder).tokenizer_fingerprint
    return sorted(folder.iterdir()) if made_by == tokenizer_fingerprint else []


def adopt(prepared: Path, out: Path) -> dict[str, Any]:
    """Give all files of a prepared folder a place in `out`, with its manifest; gives its counts.

    Raises DataError if a file is not what the manifest says.
    """
    manifest = read_manifest(prepared)
    if faults := verify(prepared):
        raise DataError(
            f"{faults[0]}{f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''}; "
            f"prepare {prepared} again"
        )
    found = find_manifest(prepared)
    assert found is not None, "read_manifest has found it"
    place = found.parent
    for name in FOLDERS:  # one of them may be empty
        (out / name).mkdir(parents=True, exist_ok=True)
    for name in manifest["files"]:
        link_or_copy(place / name, out / name)
    write_json(out / DATASET, manifest)
    return {**read_json(out / COUNTS), "fingerprint": manifest["fingerprint"]}


def sources_of(config: DataConfig) -> DataConfig:
    """The settings with the sources of the prepared folder, where they name one.

    Weights and caps of epochs are those that the folder was prepared with.
    """
    prepared = prepared_source(config.sources)
    return config if prepared is None else DataConfig(sources=_sources(prepared))


def _sources(prepared: Path) -> tuple[SourceConfig, ...]:
    told = read_manifest(prepared)["parameters"]["sources"]
    return tuple(SourceConfig(**source) for source in told)
