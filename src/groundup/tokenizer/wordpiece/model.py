"""A WordPiece vocabulary, and the spelling of a word with it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import BYTE_OF_ID, CHARACTER_OF_ID

Units = Literal["bytes", "characters"]

# What marks a piece that continues a word. BERT's `##` may stand in a text as well, and then `###`
# is both a `#` that continues and the start of a heading. That is harmless where the cutter takes
# every `#` for a word, as BERT's does. A byte-level tokenizer must give every text back, so its
# mark is a character that stands for no byte.
PREFIXES: Mapping[Units, str] = MappingProxyType({"bytes": "…", "characters": "##"})
# github.com/google-research/bert, tokenization.py
UNKNOWN = "[UNK]"
BERT_MAX_WORD_CHARS = 100  # a longer word is unknown as a whole

_BYTE_OF_CHARACTER = dict(zip(CHARACTER_OF_ID, BYTE_OF_ID, strict=True))
_CHARACTER_OF_BYTE = dict(zip(BYTE_OF_ID, CHARACTER_OF_ID, strict=True))  # for str.translate


@dataclass(frozen=True)
class WordPiece:
    """The pieces, and the spelling of a word with them: always the longest that fits.

    `unaffable` is `un`, then the longest piece that continues there, `##aff`, then `##able`. If
    nothing fits at some place, the whole word is unknown: `unfit` has no piece for `##f`.

    >>> strings = ["[UNK]", "un", "unab", "##a", "##aff", "##able"]
    >>> model = WordPiece.from_spellings(strings, units="characters", unk_id=0)
    >>> [model.spelling(i) for i in model.encode_word(b"unaffable")]
    ['un', '##aff', '##able']
    >>> model.encode_word(b"unfit")
    [0]

    The longest first is not always the best: after `unab` nothing spells the rest of `unable`,
    though `un ##able` would have.

    >>> model.encode_word(b"unable")
    [0]

    pieces          what each id stands for, without prefix; b"" for an id no text may give
    continuing      whether the piece stands inside a word rather than at its start
    unk_id          the id of a word that cannot be spelled
    max_word_chars  a longer word is unknown as a whole; None lets any length pass. On bytes each is
                    a character, as it is in tokenizer.json
    units           what a word is made of; decides how a piece is written in tokenizer.json
    prefix          what tokenizer.json writes before a piece that continues a word
    """

    pieces: tuple[bytes, ...]
    continuing: tuple[bool, ...]
    unk_id: int | None = None
    max_word_chars: int | None = None
    units: Units = "characters"
    prefix: str = PREFIXES["characters"]

    name = "wordpiece"

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.continuing):
            raise TokenizerError(
                f"WordPiece got {len(self.pieces)} pieces and {len(self.continuing)} marks of "
                "which continue a word; give one mark for each piece"
            )
        if self.unk_id is not None and self.unk_id < 0:
            raise TokenizerError(
                f"unk_id={self.unk_id} is no id; give that of the token for unknown words, or None"
            )

    @classmethod
    def from_spellings(
        cls,
        spellings: Iterable[str],
        *,
        units: Units,
        prefix: str | None = None,
        unk_id: int | None = None,
        max_word_chars: int | None = None,
        special_ids: Container[int] = (),
    ) -> WordPiece:
        """The model of a vocabulary as tokenizer.json or vocab.txt spells it, in order of id.

        `prefix` is the units' own if it is None. `unk_id` and `special_ids` become pieces that no
        text gives. A string of the prefix and something more always continues a word.

        >>> model = WordPiece.from_spellings(["Ġa", "…Ġ", "…#"], units="bytes")
        >>> model.pieces, model.continuing
        ((b' a', b' ', b'#'), (False, True, True))
        """
        prefix = PREFIXES[units] if prefix is None else prefix
        pieces, continuing = [], []
        for token_id, spelling in enumerate(spellings):
            is_special = token_id == unk_id or token_id in special_ids
            is_inside = spelling.startswith(prefix) and len(spelling) > len(prefix)
            content = spelling.removeprefix(prefix) if is_inside else spelling
            pieces.append(b"" if is_special else as_bytes(content, units))
            continuing.append(is_inside and not is_special)
        return cls(tuple(pieces), tuple(continuing), unk_id, max_word_chars, units, prefix)

    def spelling(self, token_id: int) -> str:
        """One piece as tokenizer.json writes it; nothing for an id that no text gives."""
        prefix = self.prefix if self.continuing[token_id] else ""
        return prefix + as_text(self.pieces[token_id], self.units)

    def encode_word(self, word: bytes) -> list[int]:
        """Spell one pre-token.

        Raises TokenizerError for a word that cannot be spelled where there is no `unk_id`.
        """
        if self.max_word_chars is not None and self._n_chars(word) > self.max_word_chars:
            return self._unknown(word)
        ids: list[int] = []
        start, id_of = 0, self.start_ids
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                if (token_id := id_of.get(word[start:end])) is not None:
                    break
            else:
                return self._unknown(word)
            ids.append(token_id)
            start, id_of = end, self.inside_ids
        return ids

    @cached_property
    def start_ids(self) -> dict[bytes, int]:
        """What may stand at the start of a word, and its id.

        A word is looked up as it is spelled, so one that begins with the prefix finds a piece that
        continues: in BERT's vocabulary `##ing`, as a whole word of some text, is that piece. The
        original does so too.
        """
        starts = {
            piece: token_id
            for token_id, piece in enumerate(self.pieces)
            if piece and not self.continuing[token_id]
        }
        try:
            prefix = as_bytes(self.prefix, self.units)
        except TokenizerError:  # no bytes are spelled so
            return starts
        return {prefix + piece: token_id for piece, token_id in self.inside_ids.items()} | starts

    @cached_property
    def inside_ids(self) -> dict[bytes, int]:
        """What may continue a word, and its id."""
        return {
            piece: token_id
            for token_id, piece in enumerate(self.pieces)
            if piece and self.continuing[token_id]
        }

    @cached_property
    def _longest(self) -> int:
        """Bytes of the longest piece: nothing longer needs to be looked up."""
        return max(map(len, [*self.start_ids, *self.inside_ids]), default=0)

    def _n_chars(self, word: bytes) -> int:
        """How long a word is. In UTF-8 all bytes but 0x80 to 0xBF begin a character."""
        if self.units == "bytes":
            return len(word)
        return sum(byte & 0xC0 != 0x80 for byte in word)

    def _unknown(self, word: bytes) -> list[int]:
        if self.unk_id is None:
            raise TokenizerError(
                f"the word {_shortened(word)} cannot be spelled with this WordPiece vocabulary, "
                "which has no token for unknown words; name one as unk_token, "
                "or train on bytes, which spell every text"
            )
        return [self.unk_id]


def as_text(content: bytes, units: Units) -> str:
    """Bytes as tokenizer.json writes them."""
    if units == "bytes":
        return content.decode("latin-1").translate(_CHARACTER_OF_BYTE)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{_shortened(content)} is not UTF-8, so it has no characters; "
            "use units='bytes', which spell anything"
        ) from error


def as_bytes(spelling: str, units: Units) -> bytes:
    """The bytes that tokenizer.json writes so."""
    if units == "characters":
        return spelling.encode()
    try:
        return bytes([_BYTE_OF_CHARACTER[character] for character in spelling])
    except KeyError as error:
        raise TokenizerError(
            f"{spelling!r} holds {error.args[0]!r}, which stands for no byte; "
            "use units='characters' for a vocabulary that is not byte-level"
        ) from error


def _shortened(content: bytes) -> str:
    return repr(content) if len(content) <= 40 else f"{content[:40]!r}… ({len(content)} bytes)"
