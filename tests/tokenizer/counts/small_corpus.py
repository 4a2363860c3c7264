"""A small corpus of made-up text, how it is counted, and the truth about it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from groundup.tokenizer.counts import CountConfig
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter

QWEN2 = PatternCutter("qwen2")
METASPACE = LibraryCutter(
    '{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}'
)
BERT = LibraryCutter('{"type": "BertPreTokenizer"}')
SMALL = CountConfig(
    document_bytes=2048, shard_bytes=12_000, table_bytes=600, max_in_document=None, n_workers=1
)


def changed(config: CountConfig, **fields: object) -> CountConfig:
    return CountConfig(**{**config.__dict__, **fields})  # type: ignore[arg-type]


def plain_counts(texts: Sequence[str], cutter=QWEN2, max_in_text: int | None = None) -> dict:
    """The truth: one Counter over all words of all texts."""
    total: Counter[bytes] = Counter()
    for text in texts:
        counts = Counter(cutter.cut(text))
        total.update(
            {w: n if max_in_text is None else min(n, max_in_text) for w, n in counts.items()}
        )
    return dict(sorted(total.items()))


def write_corpus(folder: Path, n_files: int = 12, n_sentences: int = 160) -> list[Path]:
    """Files of made-up text, some with many words of their own."""
    draw = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(n_files):
        lines = []
        for _ in range(n_sentences):
            own = "".join(draw.choices("abcdefgh", k=2 + number % 4))
            lines.append(f"It's a {own} of {draw.choice(['the mill', 'naïveté', '水の車'])}.")
        files.append(folder / f"{number:02}.txt")
        files[-1].write_text("\n".join(lines), encoding="utf-8")
    return files


def texts_of(files: Sequence[Path]) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in files]


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Said:
    """Keeps what it is told."""

    def __init__(self, said: list[str], on_progress: Callable[[int], None] = lambda n: None):
        self.said, self.on_progress = said, on_progress

    def progress(self, label, done, total, figures) -> None:
        self.on_progress(done)

    def message(self, text: str) -> None:
        self.said.append(text)
