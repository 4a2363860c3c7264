"""The parts of a pipeline in tokenizer.json: normalizer, pre_tokenizer, decoder, either way.

Each is groundup's own where that does the same, and else the library's, kept as JSON. Called by the
reader and the writer of tokenizer.json, and by the readers of formats that are written as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from groundup.tokenizer.formats.gpt2 import PREFIX_SPACE
from groundup.tokenizer.formats.oniguruma import ONIGURUMA_PATTERNS, pattern_problem
from groundup.tokenizer.normalize import LibraryNormalizer, Nfc, Nfkc, Normalizer
from groundup.tokenizer.pretokenize import (
    PATTERNS,
    Cutter,
    LibraryCutter,
    PatternCutter,
    WholeText,
)
from groundup.tokenizer.tokenizer import LibraryDecoder
from groundup.tokenizer.wordpiece import PREFIXES

Part = Mapping[str, Any]
Units = Literal["bytes", "characters"]

# Joins tokens by a space, as the library does where there is no decoder: no token begins with this
# prefix.
SPACES_DECODER: Part = {"type": "WordPiece", "prefix": "\0\0", "cleanup": False}


def as_spec(part: Part) -> str:
    """A part as JSON, always in the same words."""
    return json.dumps(part, ensure_ascii=False, sort_keys=True)


def read_normalizer(part: Part | None) -> Normalizer | None:
    """The normalizer of a file: ours where it is NFC or NFKC, else the library's."""
    parts = flat(part, "normalizers")
    match [part["type"] for part in parts]:
        case []:
            return None
        case ["NFC"]:
            return Nfc()
        case ["NFKC"]:
            return Nfkc()
    assert part is not None
    return LibraryNormalizer(as_spec(part))


def normalizer_part(normalizer: Normalizer | None) -> Part | None:
    """A normalizer as tokenizer.json has it."""
    match normalizer:
        case None:
            return None
        case Nfc():
            return {"type": "NFC"}
        case Nfkc():
            return {"type": "NFKC"}
    part: Part = json.loads(normalizer.spec)
    return part


def flat(part: Part | None, inner: str) -> list[Part]:
    """The parts of a part, which may be a sequence of sequences."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [single for item in part[inner] for single in flat(item, inner)]


def read_pre_tokenizer(
    part: Part | None, normalizer: Normalizer | None
) -> tuple[Cutter, Units, Normalizer | None]:
    """What cuts the text, into what, and the normalizer, which may have to add a space."""
    parts = flat(part, "pretokenizers")
    is_byte_level = [part["type"] == "ByteLevel" for part in parts]
    if not any(is_byte_level):
        return _cutter(parts), "characters", normalizer
    assert part is not None
    *before, last = parts
    adds_space = last.get("add_prefix_space", True)
    if any(is_byte_level[:-1]) or (adds_space and before):
        return LibraryCutter(as_spec(part)), "characters", normalizer
    if last.get("use_regex", True):
        before = [*before, split_part(PATTERNS["gpt2"])]
    if adds_space:
        parts = [*flat(normalizer_part(normalizer), "normalizers"), PREFIX_SPACE]
        spec = as_spec({"type": "Sequence", "normalizers": parts} if parts[1:] else parts[0])
        normalizer = LibraryNormalizer(spec)
    return _cutter(before), "bytes", normalizer


def split_part(expression: str) -> Part:
    """The pre_tokenizer that cuts by a regular expression and keeps all of the text."""
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _cutter(parts: Sequence[Part]) -> Cutter:
    if not parts:
        return WholeText()
    if len(parts) > 1:
        return LibraryCutter(as_spec({"type": "Sequence", "pretokenizers": parts}))
    pattern = _own_pattern(parts[0])
    return LibraryCutter(as_spec(parts[0])) if pattern is None else PatternCutter(pattern)


def _own_pattern(part: Part) -> str | None:
    """The pattern with which PatternCutter does what this part does; None if there is none."""
    expression = part.get("pattern", {}).get("Regex") if part["type"] == "Split" else None
    if expression is None:
        return None
    keeps_all = part["behavior"] == "Isolated" and not part["invert"]
    keeps_matches = part["behavior"] == "Removed" and part["invert"]
    for name, published in ONIGURUMA_PATTERNS.items():
        if expression == published and (keeps_all or keeps_matches):  # which leave nothing between
            return name
    return expression if keeps_all and pattern_problem(expression) is None else None


def read_decoder(part: Part | None, strings: Sequence[str], units: Units) -> LibraryDecoder | None:
    """None where the bytes of the tokens, joined, are the text."""
    parts = flat(part, "decoders")
    types = [part["type"] for part in parts]
    if units == "bytes" and (types in ([], ["ByteLevel"]) or parts == byte_wordpiece_decoder()):
        return None
    return LibraryDecoder(as_spec(part or SPACES_DECODER), tuple(strings))


def byte_level_part() -> Part:
    """ByteLevel as it stands in each place: it spells bytes as visible characters, no more."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }


def byte_wordpiece_decoder() -> list[Part]:
    """The decoders that give a byte-level WordPiece's text: no prefixes, then bytes."""
    without = {"type": "Replace", "pattern": {"String": PREFIXES["bytes"]}, "content": ""}
    return [without, byte_level_part()]
