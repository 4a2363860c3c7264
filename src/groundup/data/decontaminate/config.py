"""What counts as contaminated, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from groundup.runtime import config


def _as_benchmarks(value: Any) -> Any:
    """Let a recipe write a set as its path alone, and a single one without a list."""
    entries = [value] if isinstance(value, str | Path | Mapping | BenchmarkConfig) else value
    if not isinstance(entries, list | tuple):
        return value
    return tuple({"path": one} if isinstance(one, str | Path) else one for one in entries)


@config
class BenchmarkConfig:
    """An evaluation set: a file of rows, or a folder of which each such file is a benchmark.

    path: the file (.jsonl, .json, .csv, .tsv or .parquet, also packed) or the folder; in it texts
        such as a README are passed over
    name: in reports; None for that of the file
    fields: the columns that together make an item's text, in order; None for those of the known
        shapes (`shapes.SHAPES`). A column may hold a string or a list of strings.
    """

    path: Path
    name: str | None = None
    fields: tuple[str, ...] | None = None


@config
class DecontaminationConfig:
    """Runs of words that a document shares with an evaluation set (Brown et al. 2020, appendix C).

    benchmarks: the sets, as paths or in full; none means nothing is looked for
    ngram_words: a shared run of so many words is a hit
    min_words: a question of fewer than `ngram_words` but at least so many words is a hit where the
        whole of it stands; shorter ones cannot be told from chance and are counted as too short
    template_items: a run that is in more items than this of one benchmark is that benchmark's
        wording, not an item of it, and no hit
    action: drop the `document`, or cut the `span` of the hits out of it
    margin_bytes: cut before and behind each hit as well
    min_piece_bytes: what is left between cuts and is shorter goes too
    max_pieces: a document that falls into more pieces is dropped
    """

    benchmarks: Annotated[
        tuple[BenchmarkConfig, ...],
        BeforeValidator(
            _as_benchmarks,
            json_schema_input_type=str | BenchmarkConfig | list[str | BenchmarkConfig],
        ),
    ] = ()
    ngram_words: int = 13
    min_words: int = 8
    template_items: int = 20
    action: Literal["document", "span"] = "document"
    margin_bytes: int = 200
    min_piece_bytes: int = 200
    max_pieces: int = 10

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if not self.min_words <= self.ngram_words <= _MOST_WORDS:
            raise ValueError(
                f"ngram_words={self.ngram_words} must lie between min_words={self.min_words} "
                f"and {_MOST_WORDS}; try ngram_words=13, min_words=8"
            )


_MOST_WORDS = 255  # a length is kept in a byte
_LEAST = {
    "min_words": 1,
    "template_items": 1,
    "margin_bytes": 0,
    "min_piece_bytes": 0,
    "max_pieces": 1,
}
