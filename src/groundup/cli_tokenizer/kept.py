"""What a comparison counted and learnt, kept for the next one of the same text.

Other sizes, references or a model of another size then cost no counting and no training of what
was trained before. Called by `compare.py` where `--keep` names a folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from groundup.cli_tokenizer.text import count_and_hold_out
from groundup.data.reading import SourceConfig, source_fingerprint
from groundup.runtime import (
    DataError,
    GroundupError,
    Listener,
    StorageError,
    TokenizerError,
    read_json,
    stable_hash,
    to_dict,
    write_json,
    write_text,
)
from groundup.tokenizer import Tokenizer, TokenizerConfig
from groundup.tokenizer.counts import WordCounts
from groundup.tokenizer.laboratory import Sample
from groundup.tokenizer.trainer import tokenizer_of_counts

FORMAT = 1  # of what is kept, and of how text is divided
_BEYOND_COUNTING = ("algorithm", "vocab_size", "chat_format", "trainer")


@dataclass(frozen=True)
class Kept:
    """A folder for one text and one way of cutting it."""

    folder: Path
    listener: Listener

    @classmethod
    def of(
        cls, folder: Path, data: Sequence[Path], config: TokenizerConfig, listener: Listener
    ) -> Kept:
        """The place for this text below `folder`; the text decides, not when it was written."""
        if folder.exists() and not folder.is_dir():
            raise GroundupError(f"--keep {folder} is a file; give a folder")
        way = {k: v for k, v in to_dict(config).items() if k not in _BEYOND_COUNTING}
        names = [path.resolve().name for path in data]
        text = source_fingerprint([SourceConfig(path=str(path)) for path in data])
        return cls(folder / stable_hash([FORMAT, way, names, text])[:16], listener)

    def counts(
        self, data: Sequence[Path], config: TokenizerConfig, n_bytes: float
    ) -> tuple[WordCounts, list[Sample]]:
        """The words of the text and what is held out of it, counted once."""
        try:
            found = WordCounts.load(self.folder / "counts"), self._held_out()
        except (StorageError, OSError, ValueError, TypeError):
            counts, samples = count_and_hold_out(data, config, n_bytes, self.listener)
            lines = [json.dumps(asdict(sample)) for sample in samples]
            write_text(self.folder / "held_out.jsonl", "\n".join(lines))
            counts.save(self.folder / "counts")
            return counts, samples
        self.listener.message("this text was counted before")
        return found

    def train(self, counts: WordCounts, config: TokenizerConfig) -> Tokenizer:
        """A vocabulary, trained once, as it is read from disk.

        Raises TokenizerError for too little text.
        """
        place = self.folder / f"{config.algorithm}-{config.vocab_size}-{config.chat_format}"
        try:
            found = Tokenizer.load(place)
            if read_json(place / "kept.json") == {"fingerprint": found.fingerprint}:
                return found
        except (TokenizerError, DataError, StorageError, OSError, ValueError):
            pass  # not there, or not whole
        tokenizer_of_counts(counts, config).save(place)
        found = Tokenizer.load(place)
        write_json(place / "kept.json", {"fingerprint": found.fingerprint})
        return found

    def _held_out(self) -> list[Sample]:
        lines = (self.folder / "held_out.jsonl").read_text(encoding="utf-8").split("\n")
        return [Sample(**json.loads(line)) for line in lines]
