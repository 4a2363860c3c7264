"""What decides a prepared corpus: its sources, and the settings of every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import BeforeValidator

from groundup.data.cleaning.config import CleaningConfig
from groundup.data.decontaminate.config import DecontaminationConfig
from groundup.data.dedup.config import LinesConfig, NearConfig, SubstringsConfig
from groundup.data.reading.config import ReadingConfig, SourceConfig
from groundup.runtime import config


def _as_sources(value: Any) -> Any:
    """Let a recipe write a source as its path alone, and a single source without a list."""
    entries = [value] if isinstance(value, str | Mapping | SourceConfig) else value
    if not isinstance(entries, list | tuple):
        return value
    return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


def _as_cleaning(value: Any) -> Any:
    """Settings of cleaning that name no preset drop nothing but what they say."""
    return {"preset": "none", **value} if isinstance(value, Mapping) else value


@config
class DedupConfig:
    """Which duplicates go; of each set the document with the smallest id stays.

    exact: documents, chats and pairs that are the same, byte for byte
    near: documents that are nearly the same; None is off
    lines: lines that stand in several documents are cut from them; None is off
    substrings: long stretches that stand in several documents are cut from them; None is off
    """

    exact: bool = True
    near: NearConfig | None = field(default_factory=NearConfig)
    lines: LinesConfig | None = None
    substrings: SubstringsConfig | None = None


@config
class DataConfig:
    """Where the data comes from, what is done to it and how it is divided.

    sources: paths, names of built-in sources, or mappings with path, name, weight and licence
    heldout_fraction: part of the documents, chats and pairs kept out of training, to measure on
    min_heldout: how many of each kind at least (where there are more than that)
    split_long_documents_bytes: longer documents are cut into pieces of at most this many bytes of
        UTF-8, so that one long file is spread over train and held-out; None never cuts
    reading: limits, and what happens at the first file that cannot be read
    cleaning: repair, and the rules that drop documents; by default none does. Built-in sources
        are not cleaned
    dedup: duplicates; built-in sources are not compared for near ones
    decontamination: evaluation sets whose items must not be in the data; by default there are none
    """

    sources: Annotated[
        tuple[SourceConfig, ...],
        BeforeValidator(
            _as_sources, json_schema_input_type=str | SourceConfig | list[str | SourceConfig]
        ),
    ] = (SourceConfig(path="demo"),)
    heldout_fraction: float = 0.02
    min_heldout: int = 1
    split_long_documents_bytes: int | None = 16384
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    cleaning: Annotated[
        CleaningConfig,
        BeforeValidator(_as_cleaning, json_schema_input_type=CleaningConfig),
    ] = field(default_factory=lambda: CleaningConfig(preset="none"))
    dedup: DedupConfig = field(default_factory=DedupConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)

    def __post_init__(self) -> None:
        if not 0 < self.heldout_fraction <= 0.5:
            raise ValueError(
                f"heldout_fraction={self.heldout_fraction} must lie above 0 and at most 0.5; "
                "try 0.02"
            )
        if self.min_heldout < 1:
            raise ValueError(f"min_heldout={self.min_heldout} must be at least 1")
        limit = self.split_long_documents_bytes
        if limit is not None and limit < 64:
            raise ValueError(
                f"split_long_documents_bytes={limit} must be at least 64, or null to never cut"
            )


def source_names(sources: Iterable[SourceConfig]) -> list[str]:
    """What each source is called: its label, and a number where two share one.

    Which of these has which number follows from their paths, not from the order they are given in.

    >>> source_names([SourceConfig(path="b/books"), SourceConfig(path="a/books")])
    ['books-2', 'books']
    """
    given = list(sources)
    names: dict[int, str] = {}
    for place in sorted(range(len(given)), key=lambda n: (given[n].label, given[n].path)):
        label = name = given[place].label
        n = 1
        while name in names.values():
            n += 1
            name = f"{label}-{n}"
        names[place] = name
    return [names[place] for place in range(len(given))]
