"""Real texts: 2,000 pieces of books, Python's enhancement proposals and archived web pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3].parent / "shared" / "data"
_BOOK_CHARACTERS = 6_000


@dataclass(frozen=True)
class Text:
    """A text and where it is from."""

    kind: str
    name: str
    text: str


def data_folder(name: str) -> Path:
    """A folder of real data; skips the test where there is none."""
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data at {DATA / name}")
    return DATA / name


def read_books(n: int) -> list[Text]:
    """Pieces from the beginnings of as many books as there are, spread evenly over them."""
    found = []
    for path in sorted(data_folder("books_share").rglob("*.md")):
        text = path.read_text(encoding="utf-8")[: 10 * _BOOK_CHARACTERS]
        for start in range(0, len(text), _BOOK_CHARACTERS):
            piece = text[start : start + _BOOK_CHARACTERS]
            found.append(Text("book", f"{path.name}#{start}", piece))
    return [found[i * len(found) // n] for i in range(n)]


def read_peps() -> list[Text]:
    """All enhancement proposals, whole."""
    paths = sorted(data_folder("python_peps").glob("*.rst"))
    return [Text("pep", path.name, path.read_text(encoding="utf-8")) for path in paths]


def read_pages() -> list[Text]:
    """Archived web pages, their main text."""
    html2text = pytest.importorskip("resiliparse.extract.html2text")
    found = []
    folder = data_folder("html_mdn_archived")
    for path in sorted(p for p in folder.rglob("*.html") if p.is_file()):
        html = path.read_text(encoding="utf-8", errors="replace")
        text = html2text.extract_plain_text(html, main_content=True)
        found.append(Text("page", path.name, text))
    return found


@pytest.fixture(scope="session")
def real_texts() -> list[Text]:
    """2,000 texts as they are in their files."""
    others = read_peps() + read_pages()
    return read_books(2_000 - len(others)) + others
