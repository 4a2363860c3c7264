"""A page to play with a tokenizer: type text, see its tokens in colours, replay their merges.

The page holds the whole tokenizer and needs nothing beside it. Its script, in `play.html`, cuts and
spells as the readable path does; a test holds its ids against ours. Called by `groundup tokenizer
play --out`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from groundup.report.tokenizer_page import read_page, report_style
from groundup.runtime import GroundupError, TokenizerError, write_text
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.bpe import Bpe
from groundup.tokenizer.normalize import LibraryNormalizer, Nfc, Nfkc
from groundup.tokenizer.pretokenize import PATTERNS, LibraryCutter, PatternCutter
from groundup.tokenizer.unigram import Unigram
from groundup.tokenizer.wordpiece import WordPiece

FIRST_TEXT = "The miller's daughter said: \"We'll walk 12,345 steps.\" Ça va? 春眠不觉晓 🙂"
# Letters whose other case is in a published pattern's (?i:…), and what else Unicode folds to them
_FOLDED = {"s": "sSſ", "k": "kKK"}


def write_play(tokenizer: Tokenizer, path: Path, *, name: str, text: str | None = None) -> None:
    """Write the page. Raises TokenizerError for a tokenizer whose parts the page cannot do."""
    if path.is_dir():
        raise GroundupError(f"{path} is a folder; give a file, such as {path / 'play.html'}")
    held = page_data(tokenizer)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(read_page("play.html")).render(
        name=name,
        style=report_style(),
        tokenizer=_script_json(held),
        text=FIRST_TEXT if text is None else text,
        notes=held["notes"],
        facts=[
            {"bpe": "BPE", "wordpiece": "WordPiece", "unigram": "Unigram"}[tokenizer.algorithm],
            f"{tokenizer.vocab_size:,} tokens",
            *([f"{len(held['merges']) // 3:,} merges"] if held["merges"] else []),
        ],
    )
    write_text(path, page)


def page_data(tokenizer: Tokenizer) -> dict[str, Any]:
    """All that the page's script needs of a tokenizer; bytes as Latin-1."""
    model = tokenizer.model
    notes: list[str] = []
    held: dict[str, Any] = {
        "algorithm": tokenizer.algorithm,
        "pieces": [piece.decode("latin-1") for piece in model.pieces],
        "prefix": getattr(model, "prefix", ""),
        "unk": model.unk_id,
        "normalizer": _normalizer(tokenizer, notes),
        "cutter": _cutter(tokenizer),
        "merges": [],
        "notes": notes,
    }
    match model:
        case Bpe():
            held |= {
                "merges": [number for merge in model.merges for number in merge],
                "units": model.units,
                "byteIds": model.byte_ids,
                "fuse": model.fuse_unk,
                "whole": model.whole_words,
                "end": model.end_of_word.decode("latin-1"),
            }
        case WordPiece():
            held |= {
                "continuing": [int(mark) for mark in model.continuing],
                "most": model.max_word_chars,
                "units": model.units,
            }
        case Unigram():
            held |= {
                "scores": list(model.scores),
                "unknownScore": model.unknown_score,
                "byteIds": model.byte_ids,
                "fuse": model.fuse_unk,
                "units": model.units,
            }
    return held


def _normalizer(tokenizer: Tokenizer, notes: list[str]) -> list[dict[str, Any]]:
    """What is done to a text, as steps that the script knows."""
    match tokenizer.normalizer:
        case None:
            return []
        case Nfc():
            return [{"do": "NFC"}]
        case Nfkc():
            return [{"do": "NFKC"}]
        case LibraryNormalizer(spec):
            return _steps(json.loads(spec), notes)


def _steps(spec: Any, notes: list[str]) -> list[dict[str, Any]]:
    match spec:
        case {"type": "Sequence", "normalizers": parts}:
            return [step for part in parts for step in _steps(part, notes)]
        case {"type": "NFC" | "NFKC" | "NFD" | "NFKD" as form}:
            return [{"do": form}]
        case {"type": "Lowercase"}:
            return [{"do": "lower"}]
        case {"type": "Prepend", "prepend": text}:
            return [{"do": "prepend", "text": text}]
        case {"type": "Replace", "pattern": {"String": text}, "content": content}:
            return [{"do": "replace", "text": text, "by": content}]
        case {"type": "Replace", "pattern": {"Regex": expression}, "content": content}:
            return [{"do": "expression", "text": javascript(expression), "by": content}]
        case {"type": "Strip", "strip_left": left, "strip_right": right}:
            return [{"do": "strip", "left": left, "right": right}]
        case {"type": "BertNormalizer"}:
            strips = spec.get("strip_accents")
            lower = bool(spec.get("lowercase"))
            notes.append(
                "The library that this tokenizer is of knows the characters of an older Unicode; "
                "in those that were added since, the page may differ."
            )
            return [{"do": "bert", "lower": lower, "strip": lower if strips is None else strips}]
        case {"type": "Precompiled"}:
            notes.append(
                "In place of this tokenizer's own table of characters the page takes what "
                "SentencePiece calls nmt_nfkc; in rare characters the two may differ."
            )
            return [{"do": "nmt"}, {"do": "NFKC"}]
    raise TokenizerError(
        f"the page does not know the normalizer {spec.get('type')}; play without --out, "
        "on the terminal, which knows all"
    )


def _cutter(tokenizer: Tokenizer) -> dict[str, Any]:
    match tokenizer.cutter:
        case PatternCutter(pattern):
            return {"do": "pattern", "pattern": javascript(PATTERNS.get(pattern, pattern))}
        case LibraryCutter(spec):
            if json.loads(spec).get("type") == "BertPreTokenizer":
                return {"do": "bert"}
            raise TokenizerError(
                f"the page does not know the pre-tokenizer {json.loads(spec).get('type')}; play "
                "without --out, on the terminal, which knows all"
            )
        case _:
            return {"do": "whole"}


def javascript(expression: str) -> str:
    r"""A regular expression as JavaScript reads it, with its `u` flag.

    JavaScript counts other characters as white space, knows no possessive quantifiers (which in
    the published patterns only spare time), and in older browsers no part without case.

    >>> javascript(r"(?i:'s|'l[lm])| ?[^\s+*+]++|\p{N}{1,3}+|\s+$")
    "(?:'[sSſ]|'[lL][lLmM])| ?[^\\p{White_Space}+*+]+|\\p{N}{1,3}|\\p{White_Space}+$"
    """
    parts: list[str] = []
    in_class, folded_depth, depth = False, 0, 0
    was_quantifier = False
    for found in _PART.finditer(expression):
        part = found[0]
        is_quantifier = not in_class and bool(_QUANTIFIER.fullmatch(part))
        if part == "+" and was_quantifier:
            was_quantifier = False
            continue
        was_quantifier = is_quantifier
        if in_class:
            in_class = part != "]"
        elif part == "[":
            in_class = True
        elif part.startswith("("):
            depth += 1
            if part == "(?i:":
                folded_depth, part = depth, "(?:"
        elif part == ")":
            folded_depth = 0 if depth == folded_depth else folded_depth
            depth -= 1
        elif part in _ANCHORS:
            part = _ANCHORS[part]
        if folded_depth and len(part) == 1 and part.isalpha():
            both = _FOLDED.get(part.lower(), part.lower() + part.upper())
            part = both if in_class else f"[{both}]"
        parts.append({r"\s": r"\p{White_Space}", r"\S": r"\P{White_Space}"}.get(part, part))
    return "".join(parts)


# An escape, the beginning of a group, a quantifier, or one character
_PART = re.compile(r"\\[pPN]\{[^}]*\}|\\.|\((?:\?(?:i:|:|=|!|<=|<!))?|\{\d+,?\d*\}|.", re.DOTALL)
_QUANTIFIER = re.compile(r"[?*+]|\{\d+,?\d*\}")
_ANCHORS = {r"\A": "^", r"\Z": "$", r"\z": "$"}


def _script_json(value: Any) -> Markup:
    """JSON that may stand in a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
