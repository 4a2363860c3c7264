"""What a tokenizer is: its parts, what its vocabulary holds, and which of its tokens are of no use.

Called by `groundup tokenizer inspect`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from groundup.runtime import TokenizerError
from groundup.tokenizer.compiled import CompiledEncoder
from groundup.tokenizer.laboratory.measure import TokenUse, longest_tokens, token_uses
from groundup.tokenizer.laboratory.text import OTHER, SIGNS, script_of
from groundup.tokenizer.pretokenize import PATTERNS, LibraryCutter, PatternCutter
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.wordpiece import WordPiece

# What may stand around a piece where a cutter would not leave it whole alone.
_BEFORE = ("", "a", " ", ".", "1", "\n", "A")
_AFTER = ("", "a", " ", ".", "1", "\n", "A", " a")
_PARTS_OF_CHARACTERS = "parts of characters"
_LONG_PATTERN = 100


@dataclass(frozen=True)
class Description:
    """What a tokenizer is.

    units: what a word is made of before any piece is found: bytes or characters
    cutter, normalization: in words; loses: what the normalisation changes for good
    roles: which special token opens a document, closes a turn, fills rows
    scripts: how many tokens stand for text of each script
    n_unreachable, unreachable: tokens that no text gives, and some of them
    """

    algorithm: str
    vocab_size: int
    n_text_tokens: int
    units: str
    cutter: str
    normalization: str
    loses: str
    is_lossless: bool
    chat_format: str | None
    special_tokens: dict[str, int]
    roles: dict[str, str | None]
    scripts: dict[str, int]
    longest: tuple[TokenUse, ...]
    n_unreachable: int
    unreachable: tuple[TokenUse, ...]
    fingerprint: str


def describe(tokenizer: Tokenizer) -> Description:
    """What a tokenizer is; takes some seconds for a vocabulary of a hundred thousand."""
    pieces, normalizer = tokenizer.model.pieces, tokenizer.normalizer
    unreachable = unreachable_ids(tokenizer)
    return Description(
        algorithm=tokenizer.algorithm,
        vocab_size=tokenizer.vocab_size,
        n_text_tokens=sum(map(bool, pieces)),
        units=_units(tokenizer),
        cutter=_cutter(tokenizer),
        normalization=type(normalizer).__name__ if normalizer else "none",
        loses=normalizer.loses if normalizer else "",
        is_lossless=tokenizer.is_lossless,
        chat_format=tokenizer.chat_format,
        special_tokens=dict(sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])),
        roles={role.name: getattr(tokenizer.roles, role.name) for role in fields(tokenizer.roles)},
        scripts=dict(Counter(map(_script_of_piece, filter(None, pieces))).most_common()),
        longest=longest_tokens(tokenizer),
        n_unreachable=len(unreachable),
        unreachable=token_uses(tokenizer, unreachable[:24], None),
        fingerprint=tokenizer.fingerprint,
    )


def unreachable_ids(tokenizer: Tokenizer) -> list[int]:
    """Tokens that no text gives.

    The model must spell a piece by that piece when it is a word of its own: in BPE what joins
    inside a piece does not depend on what stands around it, and in Unigram a better cut of the
    piece is better everywhere. And the cutter must leave it whole, alone or beside one of a few
    characters; of the second part one cannot be quite sure.

    Where `b c` joins first, `ab c` never meets:

    >>> from groundup.tokenizer.bpe import Bpe
    >>> from groundup.tokenizer.pretokenize import WholeText
    >>> from groundup.tokenizer.tokenizer import Roles
    >>> merges = ((1, 2, 3), (0, 1, 4), (4, 2, 5))
    >>> model = Bpe((b"a", b"b", b"c", b"bc", b"ab", b"abc"), merges, "characters")
    >>> unreachable_ids(Tokenizer(model, WholeText(), special_tokens={}, roles=Roles()))
    [5]
    """
    model = tokenizer.model
    pieces = [(token_id, piece) for token_id, piece in enumerate(model.pieces) if piece]
    if isinstance(model, WordPiece):
        failed = [token_id for token_id, _ in pieces if not _is_matched(model, token_id)]
    else:
        failed = _not_spelled(tokenizer, pieces)
    return sorted({*failed, *(i for i, piece in pieces if not _is_left_whole(tokenizer, piece))})


def _not_spelled(tokenizer: Tokenizer, pieces: Sequence[tuple[int, bytes]]) -> list[int]:
    """Those of some (id, piece) that are spelled otherwise when they are words."""
    model, end = tokenizer.model, getattr(tokenizer.model, "end_of_word", b"")
    if end:  # a piece without it is never a word by itself; that cannot be told here
        pieces = [(token_id, piece) for token_id, piece in pieces if piece.endswith(end)]
    words = [piece.removesuffix(end) for _, piece in pieces]
    try:
        spelled = CompiledEncoder(model, tokenizer.cutter, None).encode_words(words)
    except TokenizerError:  # a character that has no piece of its own
        return []
    return [
        token_id
        for (token_id, _), ids in zip(pieces, spelled, strict=True)
        if ids.tolist() != [token_id]
    ]


def _is_matched(model: WordPiece, token_id: int) -> bool:
    """Whether some word has the piece: alone, or behind a start that takes nothing of it."""
    piece = model.pieces[token_id]
    if not model.continuing[token_id]:
        return model.start_ids.get(piece) == token_id
    if model.inside_ids.get(piece) != token_id:
        return False
    starts = (i for i, n in enumerate(model.pieces) if n and not model.continuing[i])
    return any(model.encode_word(model.pieces[i] + piece) == [i, token_id] for i in starts)


def _is_left_whole(tokenizer: Tokenizer, piece: bytes) -> bool:
    """Whether the cutter lets a word hold the piece, in one of the surroundings that are tried."""
    if not isinstance(tokenizer.cutter, PatternCutter):
        return True
    try:
        text = piece.decode()
    except UnicodeDecodeError:  # stands for a part of a character, which no cutter cuts
        return True
    surroundings = ((before, after) for before in _BEFORE for after in _AFTER)
    return any(
        any(piece in word for word in tokenizer.cutter.cut(before + text + after))
        for before, after in surroundings
    )


def _script_of_piece(piece: bytes) -> str:
    """The script of a token's letters; signs if it has none."""
    try:
        scripts = set(map(script_of, piece.decode())) - {SIGNS}
    except UnicodeDecodeError:
        return _PARTS_OF_CHARACTERS
    if not scripts:
        return SIGNS
    return scripts.pop() if len(scripts) == 1 else OTHER


def _units(tokenizer: Tokenizer) -> str:
    return str(getattr(tokenizer.model, "units", "characters"))


def _cutter(tokenizer: Tokenizer) -> str:
    match tokenizer.cutter:
        case PatternCutter(pattern):
            if pattern in PATTERNS:
                return f"{pattern}'s pattern"
            return f"a pattern of its own: {_shortened(pattern)}"
        case LibraryCutter(spec):
            return f"as tokenizers does: {_shortened(spec)}"
        case _:
            return "none: a text is one word"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG_PATTERN else f"{text[:_LONG_PATTERN]}…"


def lines_of(description: Description) -> Iterator[tuple[str, str]]:
    """The description as names and values, in words."""
    one = description
    yield "algorithm", f"{one.algorithm}, on {one.units}"
    yield "tokens", f"{one.vocab_size:,}, of which text can give {one.n_text_tokens:,}"
    yield "words are cut by", one.cutter
    loses = f" (loses {one.loses})" if one.loses else ""
    yield "normalisation", f"{one.normalization}{loses}"
    yield "text comes back", "exactly" if one.is_lossless else "changed: this is not lossless"
    yield "chat format", one.chat_format or "none that groundup knows"
    named = [f"{name} {token_id}" for name, token_id in list(one.special_tokens.items())[:12]]
    more = len(one.special_tokens) - len(named)
    yield "special tokens", ", ".join(named) + (f" and {more} more" if more > 0 else "") or "none"
    for role, name in one.roles.items():
        yield role.replace("_", " "), name or "none"
    total = max(one.n_text_tokens, 1)
    scripts = [f"{name} {n / total:.1%}" for name, n in list(one.scripts.items())[:8]]
    yield "what they spell", ", ".join(scripts)
    yield "no text gives", f"{one.n_unreachable:,} of them"
    yield "fingerprint", one.fingerprint
