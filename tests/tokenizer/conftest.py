"""Text to train on: a little of our own, and real text of seven kinds.

Python's code is that of the interpreter's own library. The other six are read from shared/data
where the checkout has it beside it; tests that want them skip where it has not.
"""

from __future__ import annotations

import json
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SMALL_TEXTS = [
    "The miller's daughter said: \"It's late, we'll go home.\" They'd walked 12,345 steps.\n\n",
    "def area(radius):\n    return 3.14159 * radius ** 2  # not exact\n\n\nprint(area(2))\n",
    "天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。寒来暑往,秋收冬藏。",
    "كان يا ما كان في قديم الزمان، ملك عادل يحب الناس.",
    "एक समय की बात है, एक गाँव में एक किसान रहता था।",
    "Ça va? ÉTÉ, naïve, Straße; IT'S İstanbul ſ's. \U0001f642 \U0001f469\u200d\U0001f467 ",
    "\u200b\ufeffx\u0301 \t\r\n  \r\n tail  ",
    "aaaaaaa aaaaaa abababab bababa " * 3,
]
_CORPUS_BYTES = 720_000
_DOCUMENT_CHARACTERS = 30_000
_HELD_OUT = 6  # every sixth document


@dataclass(frozen=True)
class Corpus:
    """Documents of one kind, about 600 kB to learn from and 120 kB that are held out."""

    kind: str
    train: list[str]
    held_out: list[str]

    def start(self, train_bytes: int, held_out_bytes: int) -> Corpus:
        """About the first so many bytes of both."""
        train, held_out = (_first(self.train, train_bytes), _first(self.held_out, held_out_bytes))
        return Corpus(self.kind, train, held_out)


def _first(texts: list[str], n_bytes: int) -> list[str]:
    kept: list[str] = []
    for text in texts:
        start = text.encode()[:n_bytes].decode(errors="ignore")
        if start:
            kept.append(start)
        n_bytes -= len(start.encode())
        if len(start) < len(text):
            break
    return kept


def _books() -> Iterator[str]:
    for path in sorted((DATA / "books_share").rglob("*.md")):
        yield path.read_text(encoding="utf-8")[:_DOCUMENT_CHARACTERS]


def _code() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield path.read_text(encoding="utf-8")[:_DOCUMENT_CHARACTERS]


def _chinese() -> Iterator[str]:
    """Tang poems, without the names of their JSON's fields."""
    for path in sorted((DATA / "chinese_poetry").rglob("poet.tang.*.json")):
        poems = json.loads(path.read_text(encoding="utf-8"))
        text = "\n\n".join("\n".join([p["title"], *p["paragraphs"]]) for p in poems)
        yield from _cut(text)


def _japanese() -> Iterator[str]:
    yield from _cut((DATA / "sentencepiece_texts/wagahaiwa_nekodearu.txt").read_text("utf-8"))


def _react_docs(language: str, letters: str) -> Callable[[], Iterator[str]]:
    """The lines in which that alphabet prevails: most of the pages are English or JavaScript."""
    own, latin = re.compile(f"[{letters}]"), re.compile("[A-Za-z]")

    def read() -> Iterator[str]:
        for path in sorted((DATA / "react_docs_multilingual" / language).rglob("*.md")):
            lines = path.read_text(encoding="utf-8").splitlines()
            lines = [line for line in lines if not line.isascii()]
            kept = [line for line in lines if len(own.findall(line)) > len(latin.findall(line))]
            yield from _cut("\n".join(kept))

    return read


def _cut(text: str) -> Iterator[str]:
    for start in range(0, len(text), _DOCUMENT_CHARACTERS):
        yield text[start : start + _DOCUMENT_CHARACTERS]


READERS: dict[str, Callable[[], Iterator[str]]] = {
    "books": _books,
    "code": _code,
    "chinese": _chinese,
    "japanese": _japanese,
    "russian": _react_docs("ru", "\u0400-\u04ff"),
    "arabic": _react_docs("ar", "\u0600-\u06ff"),
    "hindi": _react_docs("hi", "\u0900-\u097f"),
}


def read_corpus(kind: str) -> Corpus:
    """One kind of real text; skips the test where there is none."""
    if kind != "code" and not DATA.is_dir():
        pytest.skip(f"no real text at {DATA}")
    texts: list[str] = []
    n_bytes = 0
    for text in READERS[kind]():
        texts.append(text)
        n_bytes += len(text.encode())
        if n_bytes > _CORPUS_BYTES:
            break
    held_out = texts[_HELD_OUT - 1 :: _HELD_OUT]
    train = [text for i, text in enumerate(texts) if i % _HELD_OUT != _HELD_OUT - 1]
    assert sum(len(text.encode()) for text in train) > 250_000
    assert sum(len(text.encode()) for text in held_out) > 30_000
    return Corpus(kind, train, held_out)


@pytest.fixture(scope="session")
def small_texts() -> list[str]:
    return SMALL_TEXTS


@pytest.fixture(scope="session", params=READERS)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    """Each of the seven kinds of real text in turn."""
    return read_corpus(request.param)


@pytest.fixture(scope="session")
def real_texts(corpus: Corpus) -> list[str]:
    """About 80 kB of one kind of real text, as documents."""
    return corpus.start(80_000, 0).train


@pytest.fixture(scope="session")
def real_tokenizer(real_texts: list[str]) -> Tokenizer:
    return train_tokenizer(real_texts, TokenizerConfig(vocab_size=1024))


@pytest.fixture(scope="session")
def tokenizer(small_texts: list[str]) -> Tokenizer:
    return train_tokenizer(small_texts, TokenizerConfig(vocab_size=400))
