"""Mend a text's characters: mojibake, line ends, control characters, composed forms.

Called by `stage.py` before anything is measured, and by whoever wants one text mended. ftfy (Speer
2019) knows which characters one encoding makes of another; only lines that look so are handed to
it, since it is slow, and nothing that a writer may have meant is changed: quotes, ligatures, wide
letters and HTML's entities stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np

_LINE_ENDS = re.compile("\r\n|[\r\v\f\u2028\u2029]")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# Controls but tab and newline; deprecated format characters, byte-order marks, interlinear marks,
# noncharacters and tags (unicode.org/reports/tr20, "Unicode in XML", table 3.1); halves of pairs.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u206a-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffc\ufffe\uffff"
    "\ud800-\udfff\U000e0000\U000e0001]"
)
_WINDOWS = re.compile("[\x80-\x9f]")
# UTF-8 read as a one-byte encoding gives two or more such characters in a row; its no-break space
# may since have become a plain one.
_SUSPECT = re.compile("[\x80-\u25ff\ufb01\ufb02\ufffd]{2}|[ÂÃâ] ")
_MOST_ROUNDS = 8


def repair(text: str) -> str:
    """The text mended; what is mended already stays as it is.

    In this order, until nothing changes: mojibake is undone where a line is surely that; C1
    controls become what Windows-1252 has in their place, as browsers read them; line ends become
    newlines, form feeds and vertical tabs too; terminals' escape sequences, control characters,
    noncharacters and stray byte-order marks go; the rest is composed (NFC).

    >>> repair("The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.\\r\\n")
    'The Mona Lisa doesn’t have eyebrows.\\n'
    """
    for _ in range(_MOST_ROUNDS):
        mended = _mend(text)
        if mended == text:
            break
        text = mended
    return text


def _mend(text: str) -> str:
    if not text.isascii() and _SUSPECT.search(text):
        from ftfy import fix_encoding as fix

        lines = text.split("\n")
        text = "\n".join([fix(line) if _SUSPECT.search(line) else line for line in lines])
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if _is_unclean()[points].any():
        text = _LINE_ENDS.sub("\n", _WINDOWS.sub(_as_windows, text))
        text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    return unicodedata.normalize("NFC", text)


@cache
def _is_unclean() -> np.ndarray:
    """Whether a character is a line end but \\n, or one that goes, bool: (0x110000,)."""
    unclean = np.zeros(0x110000, dtype=bool)
    characters = "".join(map(chr, range(len(unclean))))  # each at the place of its own number
    for pattern in (_LINE_ENDS, _CONTROLS):
        unclean[[match.start() for match in pattern.finditer(characters)]] = True
    return unclean


def _as_windows(match: re.Match[str]) -> str:
    """What Windows-1252 has in place of a C1 control; five places are empty there and stay."""
    return match[0].encode("latin-1").decode("windows-1252", errors="ignore")
