"""Normalisation: what is done to a text before it is cut, and what that loses.

By default nothing is done, so that every text comes back as it was. Called by Tokenizer.encode.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tokenizers


@dataclass(frozen=True)
class Nfc:
    """Unicode's canonical composition: e and a combining accent become one é.

    Loses how a character was written, which no reader sees.

    >>> Nfc()("e\u0301")
    'é'
    """

    loses = "how accented characters were composed"

    def __call__(self, text: str) -> str:
        return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Nfkc:
    """Unicode's compatibility composition: also ½, ﬁ, full-width letters and superscripts change.

    Loses distinctions that readers do see.

    >>> Nfkc()("x² ﬁ ｆｕｌｌ")
    'x2 fi full'
    """

    loses = "superscripts, ligatures, full-width forms and other looks of characters"

    def __call__(self, text: str) -> str:
        return unicodedata.normalize("NFKC", text)


@dataclass(frozen=True)
class LibraryNormalizer:
    """A normalizer of the tokenizers library, run by that library.

    spec  its JSON, as tokenizer.json holds it

    >>> LibraryNormalizer('{"type": "Lowercase"}')("ÀB")
    'àb'
    """

    spec: str

    loses = "what its normalizer changes"

    def __call__(self, text: str) -> str:
        return str(self._library.normalize_str(text))

    @cached_property
    def _library(self) -> tokenizers.normalizers.Normalizer:
        return library_part("normalizer", self.spec)


Normalizer = Nfc | Nfkc | LibraryNormalizer


def library_part(name: str, spec: str) -> Any:
    """Build a part of the tokenizers library from its JSON.

    The parts themselves take no JSON, but a whole tokenizer does.
    """
    whole = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {}, "merges": []},
        name: json.loads(spec),
    }
    return getattr(tokenizers.Tokenizer.from_str(json.dumps(whole)), name)
