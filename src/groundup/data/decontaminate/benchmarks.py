"""Evaluation sets as texts: what of each item would stand in a document that gives it away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.data.decontaminate.config import BenchmarkConfig, DecontaminationConfig
from groundup.data.decontaminate.rows import ENDINGS, holds_rows, is_unread_data, rows_of_file
from groundup.data.decontaminate.shapes import texts_of_row
from groundup.data.reading.formats import ending_of
from groundup.data.reading.origin import storable
from groundup.runtime import DataError, hash_file

_ABOUT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json"})  # the Hub's


@dataclass(frozen=True)
class Item:
    """One item of an evaluation set: its number in the file from 0, and the texts it could be."""

    benchmark: str
    number: int
    texts: tuple[str, ...]


def items_of(config: BenchmarkConfig) -> Iterator[Item]:
    """The items of an evaluation set, in the order of its files.

    Raises DataError for a file that cannot be read, that has no rows, or one of no known shape.
    """
    for path, name in benchmark_files(config):
        yield from _items_in(path, name, config.fields)


def _items_in(path: Path, name: str, fields: Sequence[str] | None) -> Iterator[Item]:
    is_empty = True
    for number, (where, row) in enumerate(rows_of_file(path)):
        is_empty = False
        try:
            texts = texts_of_row(row, fields)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        yield Item(name, number, tuple(storable(text) for text in texts))
    if is_empty:
        raise DataError(f"{path} holds no rows; leave it out of the evaluation sets")


def benchmark_files(config: BenchmarkConfig) -> list[tuple[Path, str]]:
    """The files of an evaluation set and the name of each.

    Those of a folder are named by their path in it without the ending, `commonsense/copa`, unless
    two files would then have one name. Raises DataError where there are none, and for data of a
    kind that is not read: its items would not be looked for.
    """
    top = config.path
    if top.is_file():
        if not holds_rows(top.name):
            raise DataError(f"{top} ends in {_told(top)}, which is not read; save it as {ENDINGS}")
        return [(top, config.name or _stem(top.name))]
    if not top.is_dir():
        raise DataError(f"{top} is no file and no folder; name a file of items ({ENDINGS})")
    files = sorted(path for path in top.rglob("*") if _is_seen(path, top))
    for path in files:
        if is_unread_data(path.name):
            raise DataError(
                f"{path} ends in {_told(path)}, which is not read; save it as {ENDINGS}, or take "
                "it out of the folder"
            )
    sets = [path for path in files if holds_rows(path.name) and path.name not in _ABOUT]
    if not sets:
        found = ", ".join(f"{n} x {e}" for e, n in sorted(Counter(map(_told, files)).items()))
        raise DataError(f"{top} holds no items: needs {ENDINGS}; found {found or 'no files'}")
    prefix = f"{config.name}/" if config.name else ""
    paths = [path.relative_to(top).as_posix() for path in sets]
    n_named = Counter(map(_stem, paths))
    names = (_stem(path) if n_named[_stem(path)] == 1 else path for path in paths)
    return [(path, prefix + name) for path, name in zip(sets, names, strict=True)]


def _is_seen(path: Path, top: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
    return path.is_file() and not is_hidden


def _stem(name: str) -> str:
    """A path without what says how the file is read.

    >>> _stem("main/test.JSONL.gz"), _stem("v1.2/test-00000-of-00001.parquet")
    ('main/test', 'v1.2/test-00000-of-00001')
    """
    return name[: -len(ending_of(name))]


def _told(path: Path) -> str:
    return ending_of(path.name)


def named_files(config: DecontaminationConfig) -> dict[str, Path]:
    """The files of all evaluation sets by their names. Raises DataError for two of one name."""
    files: dict[str, Path] = {}
    for one in config.benchmarks:
        for path, name in benchmark_files(one):
            if name in files:
                raise DataError(
                    f"two evaluation sets are called {name!r}; give each a `name` of its own"
                )
            files[name] = path
    return files


def check_benchmarks(config: DecontaminationConfig) -> None:
    """Raise DataError if evaluation sets are not there, not read, or begin with no known row.

    Quick, since of each file one row is made into an item.
    """
    named_files(config)
    for one in config.benchmarks:
        for path, name in benchmark_files(one):
            next(_items_in(path, name, one.fields))


def benchmark_hashes(config: DecontaminationConfig) -> dict[str, str]:
    """The hash of each evaluation set's file, by name. Raises DataError if one cannot be read."""
    hashes: dict[str, str] = {}
    for name, path in named_files(config).items():
        try:
            hashes[name] = hash_file(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror or error}); change its permissions, or "
                "leave it out of the evaluation sets"
            ) from error
    return hashes
