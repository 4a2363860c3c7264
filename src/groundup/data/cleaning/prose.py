"""What of a text is prose, since rules on prose say nothing of code: fenced blocks, source files.

Gopher's, C4's and FineWeb's limits were set on running text. A program repeats its closing brackets
line for line and ends no sentence; a manual that shows programs has both. So source files are not
asked, and of other texts what stands in fenced blocks (CommonMark 0.31, section 4.5) is left out
before they are measured: fences of backticks alone, since reStructuredText underlines headings with
tildes. Code that is only indented is not known as such. Called by `scores.py`, `boilerplate.py` and
`stage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from groundup.data.reading.formats import CODE_ENDINGS, CODE_NAMES

Span = tuple[int, int]

_FENCE = re.compile(r"^[ \t>]*(?P<marks>`{3,})(?P<about>[^\n`]*)$", re.MULTILINE)
_WRITTEN = (".tex", ".org", ".lhs", ".bib")  # read as code, but their text is prose or none
_COMPRESSED = re.compile(r"\.(?:gz|zst|bz2|xz)$")


def is_source_code(path: str | None) -> bool:
    """Whether a file's name says that it is a program, a script or its settings.

    >>> [is_source_code(p) for p in ("a/b.py", "a.zip!/c.RS", "x.js.gz", "Makefile", "a.md", None)]
    [True, True, True, True, False, False]
    """
    if path is None:
        return False
    name = _COMPRESSED.sub("", path.rsplit("/", 1)[-1].lower())
    if name in CODE_NAMES:
        return True
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and dot + ending in CODE_ENDINGS and dot + ending not in _WRITTEN


def code_blocks(text: str) -> list[Span]:
    """Where each fenced block begins and ends, its fences included; one left open is none.

    A block may stand in a list or a quotation, so a fence may be indented as far as it likes.

    >>> text = "Say\\n```py\\nprint()\\n```\\nonce."
    >>> [text[begin:end] for begin, end in code_blocks(text)]
    ['```py\\nprint()\\n```\\n']
    """
    if "```" not in text:
        return []
    found: list[Span] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif _closes(fence, opened["marks"]):
            found.append((opened.start(), min(fence.end() + 1, len(text))))
            opened = None
    return found


def _closes(fence: re.Match[str], marks: str) -> bool:
    return len(fence["marks"]) >= len(marks) and not fence["about"].strip()


def prose_of(text: str) -> str:
    """A text without its fenced blocks.

    >>> prose_of("Say\\n```py\\nprint()\\n```\\nonce.")
    'Say\\nonce.'
    """
    blocks = code_blocks(text)
    return "".join(part for part, is_code in parts_of(text, blocks) if not is_code)


def parts_of(text: str, blocks: list[Span]) -> Iterator[tuple[str, bool]]:
    """The text between blocks and the blocks, in order, and whether a part is one."""
    done = 0
    for begin, end in blocks:
        yield text[done:begin], False
        yield text[begin:end], True
        done = end
    yield text[done:], False
