"""Text to train on: a little of our own, and real text where the checkout has it beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL_TEXTS = {
    "books": ("books_share", "*.md"),
    "code": ("python_peps", "*.rst"),
    "chinese": ("chinese_poetry", "*.json"),
    "arabic": ("react_docs_multilingual/ar", "*.md"),
    "hindi": ("react_docs_multilingual/hi", "*.md"),
}
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


@pytest.fixture(scope="session")
def small_texts() -> list[str]:
    return SMALL_TEXTS


@pytest.fixture(scope="session", params=REAL_TEXTS)
def real_texts(request: pytest.FixtureRequest) -> list[str]:
    """About 200 kB of one kind of real text, as documents."""
    folder, glob = REAL_TEXTS[request.param]
    if not (DATA / folder).is_dir():
        pytest.skip(f"no real text at {DATA / folder}")
    texts: list[str] = []
    for path in sorted((DATA / folder).rglob(glob)):
        texts.append(path.read_text(encoding="utf-8")[:50_000])
        if sum(map(len, texts)) > (200_000 if texts[0].isascii() else 60_000):
            break
    assert texts
    return texts


@pytest.fixture(scope="session")
def real_tokenizer(real_texts: list[str]) -> Tokenizer:
    return train_tokenizer(real_texts, TokenizerConfig(vocab_size=2048))


@pytest.fixture(scope="session")
def tokenizer(small_texts: list[str]) -> Tokenizer:
    return train_tokenizer(small_texts, TokenizerConfig(vocab_size=400))
