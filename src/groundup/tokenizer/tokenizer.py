"""Text to token ids and back: the tokenizer every other part of groundup holds.

A tokenizer is `text -> normalizer -> cutter -> words -> model -> ids`. The model is one of three
algorithms (`bpe.Bpe`, `wordpiece.WordPiece`, `unigram.Unigram`), each with a readable
`encode_word`, which is the truth; long texts and batches go through `compiled`, which gives the
same ids. Special tokens are known to neither: no text can spell one. They enter as integers, in
`chat.py` and where documents are packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from groundup.runtime import TokenizerError, stable_hash
from groundup.tokenizer.bpe import CHARACTER_OF_ID, ID_OF_BYTE, Pair, byte_level_bpe
from groundup.tokenizer.normalize import Normalizer, library_part
from groundup.tokenizer.pretokenize import Cutter, PatternCutter, well_formed
from groundup.tokenizer.templates import CHAT_FORMATS

# Words that encode() has met and keeps the ids of; a text's words are few, and most come again.
_KEPT_WORDS = 100_000
# Up to here the readable path is as quick as the compiled one, which has to be loaded first.
_LONG_TEXT = 20_000
_LONG_WORD = 200


class WordModel(Protocol):
    """A vocabulary and the rule by which it spells a word."""

    @property
    def name(self) -> str:
        """The algorithm: bpe, wordpiece or unigram."""

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """What each id is matched as; b"" where no text may give the id."""

    @property
    def unk_id(self) -> int | None:
        """The id of what nothing else spells; None where that cannot be."""

    def encode_word(self, word: bytes) -> list[int]:
        """The ids of one word."""


@dataclass(frozen=True)
class Roles:
    """Which special tokens do what; None where a tokenizer has none for it.

    end_of_text  stands before each document and ends generation
    end_of_turn  closes a message of a conversation and ends generation
    pad          fills rows
    """

    end_of_text: str | None = None
    end_of_turn: str | None = None
    pad: str | None = None


@dataclass(frozen=True)
class LibraryDecoder:
    """Ids to text as a decoder of the tokenizers library does it, by that library.

    spec     its JSON, as tokenizer.json holds it
    strings  each id as tokenizer.json spells it
    """

    spec: str
    strings: tuple[str, ...]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`."""
        return str(self._library.decode([self.strings[token_id] for token_id in ids]))

    @cached_property
    def _library(self) -> Any:
        return library_part("decoder", self.spec)


class Tokenizer:
    """Encodes any text; without loss when it is byte-level and nothing is normalised.

    What is no Unicode: a surrogate pair in a text is read as its character and a lone surrogate as
    U+FFFD, by every way to encode. Byte-level models keep bytes that are no UTF-8
    (`model.encode_word`, `decode_bytes`); `decode` shows them, and a character cut in half, as
    U+FFFD. A StreamDecoder holds half a character back until the rest comes, or until `flush`.

    >>> from groundup.tokenizer.bpe import train_bpe
    >>> merges = train_bpe({b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}, n_merges=4)
    >>> tokenizer = Tokenizer.byte_level(merges)
    >>> tokenizer.vocab_size, tokenizer.special_tokens["<|im_end|>"]
    (263, 262)
    >>> ids = tokenizer.encode("lowest")
    >>> ids, [tokenizer.token_bytes(i) for i in ids], tokenizer.decode(ids)
    ([259, 257], [b'low', b'est'], 'lowest')
    """

    def __init__(
        self,
        model: WordModel,
        cutter: Cutter,
        *,
        special_tokens: Mapping[str, int],
        roles: Roles,
        normalizer: Normalizer | None = None,
        decoder: LibraryDecoder | None = None,
        chat_format: str | None = None,
    ) -> None:
        self.model, self.cutter = model, cutter
        self.normalizer, self.decoder = normalizer, decoder
        self.special_tokens, self.roles = dict(special_tokens), roles
        self.chat_format = chat_format
        self.vocab_size = max([len(model.pieces) - 1, *special_tokens.values()]) + 1
        self._special_names = {token_id: name for name, token_id in special_tokens.items()}
        self._kept: dict[bytes, list[int]] = {}
        spelled = [name for name, i in special_tokens.items() if i < len(model.pieces)]
        assert not any(model.pieces[special_tokens[name]] for name in spelled), "text could spell"

    @classmethod
    def byte_level(
        cls, merges: Sequence[Pair], pattern: str = "qwen2", *, chat_format: str = "chatml"
    ) -> Tokenizer:
        """What `train_bpe` found: ids 0 to 255 the bytes, the merges, then the special tokens."""
        return cls.with_chat_format(byte_level_bpe(merges), PatternCutter(pattern), chat_format)

    @classmethod
    def with_chat_format(
        cls,
        model: WordModel,
        cutter: Cutter,
        chat_format: str = "chatml",
        *,
        normalizer: Normalizer | None = None,
        decoder: LibraryDecoder | None = None,
    ) -> Tokenizer:
        """A tokenizer whose special tokens are those of a chat format, after all pieces."""
        layout = CHAT_FORMATS[chat_format]
        first = len(model.pieces)
        return cls(
            model,
            cutter,
            special_tokens={name: first + i for i, name in enumerate(layout.special_tokens)},
            roles=Roles(layout.opens_document, layout.ends_turn, layout.pads),
            normalizer=normalizer,
            decoder=decoder,
            chat_format=chat_format,
        )

    # --- text to ids ------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; never a special one, whatever the text says."""
        if len(text) > _LONG_TEXT:
            return self.encode_batch([text])[0]
        return [token_id for word in self._words(text) for token_id in self._encode_word(word)]

    def encode_batch(
        self, texts: Sequence[str], *, n_threads: int | None = None
    ) -> list[list[int]]:
        """`encode` for each of many texts, over `n_threads` (by default all that torch has)."""
        return [ids.tolist() for ids in self._compiled.encode_batch(texts, n_threads)]

    def encode_arrays(self, texts: Sequence[str], *, n_threads: int | None = None) -> list[Any]:
        """`encode_batch`, each text's ids as a numpy array of int32: (n_tokens,)."""
        arrays: list[Any] = self._compiled.encode_batch(texts, n_threads)
        return arrays

    def encode_with_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token, in bytes of the text's UTF-8.

        Where the tokenizer normalises, of the normalised text's. White space that a cutter leaves
        out belongs to no token. Raises TokenizerError where words cannot be found again in the
        text, since the library's cutter has rewritten them.

        >>> Tokenizer.byte_level([]).encode_with_offsets("né")
        [(77, 0, 1), (127, 1, 2), (102, 2, 3)]
        """
        text = well_formed(text)
        whole = (self.normalizer(text) if self.normalizer else text).encode()
        found: list[tuple[int, int, int]] = []
        position = 0
        for word in self.cutter.cut(whole.decode()):
            start = whole.find(word, position)
            if start < 0:
                raise TokenizerError(
                    f"the tokenizer's {type(self.cutter).__name__} rewrites words, so {word!r} has "
                    "no offset in the text; offsets need a cutter that only cuts"
                )
            position = start + len(word)
            found += self._word_offsets(word, start)
        return found

    def _word_offsets(self, word: bytes, start: int) -> list[tuple[int, int, int]]:
        ids = self._encode_word(word)
        end_of_word = getattr(self.model, "end_of_word", b"")
        lengths = [len(self.model.pieces[i].removesuffix(end_of_word)) for i in ids]
        unknown = [place for place, i in enumerate(ids) if i == self.model.unk_id]
        rest = len(word) - sum(
            n for n, i in zip(lengths, ids, strict=True) if i != self.model.unk_id
        )
        for place in unknown:  # of several unknown tokens the first is given what they share
            lengths[place] = rest
            rest = 0
        ends = list(accumulate(lengths, initial=start))[1:]
        return [(i, end - n, end) for i, n, end in zip(ids, lengths, ends, strict=True)]

    def _words(self, text: str) -> list[bytes]:
        text = well_formed(text)
        return self.cutter.cut(self.normalizer(text) if self.normalizer else text)

    def _encode_word(self, word: bytes) -> list[int]:
        ids = self._kept.get(word)
        if ids is None:
            if (
                len(word) > _LONG_WORD
            ):  # where the readable path would take the square of its length
                return list(self._compiled.encode_words([word])[0].tolist())
            ids = self.model.encode_word(word)
            if len(self._kept) >= _KEPT_WORDS:
                self._kept.clear()
            self._kept[word] = ids
        return ids

    @cached_property
    def _compiled(self) -> Any:
        from groundup.tokenizer.compiled import CompiledEncoder

        return CompiledEncoder(self.model, self.cutter, self.normalizer)

    # --- ids to text ------------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`: special tokens are left out, invalid UTF-8 becomes U+FFFD."""
        if self.decoder is not None:
            return self.decoder.decode(i for i in ids if not self._checked_special(i))
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, special tokens left out."""
        if self.decoder is not None:
            return self.decode(ids).encode()
        spelled = self._spelled
        try:
            return b"".join([spelled[int(i)] for i in ids])
        except KeyError as error:
            raise self._outside(error.args[0]) from None

    def token_bytes(self, token_id: int) -> bytes:
        """What one id stands for; for a special token, its name.

        Raises ValueError for an id outside the vocabulary.
        """
        if self._checked_special(token_id):
            return self._special_names[token_id].encode()
        return self.model.pieces[token_id] if token_id < len(self.model.pieces) else b""

    def token_string(self, token_id: int) -> str:
        """The id as tokenizer.json spells it: byte-level ones with a visible character a byte."""
        spelled = self.token_bytes(token_id)
        if self.is_special(token_id):
            return spelled.decode()
        if self.decoder is not None:
            return self.decoder.strings[token_id]
        return "".join(CHARACTER_OF_ID[ID_OF_BYTE[byte]] for byte in spelled)

    def is_special(self, token_id: int) -> bool:
        """Whether the id is one that text cannot spell."""
        return token_id in self._special_names

    def _checked_special(self, token_id: int) -> bool:
        if not 0 <= token_id < self.vocab_size:
            raise self._outside(token_id)
        return token_id in self._special_names

    def _outside(self, token_id: int) -> ValueError:
        return ValueError(
            f"token id {token_id} is outside this tokenizer's vocabulary of {self.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )

    @cached_property
    def _spelled(self) -> dict[int, bytes]:
        """What each id adds to a text: nothing for a special token."""
        return {
            i: b"" if i in self._special_names else self.token_bytes(i)
            for i in range(self.vocab_size)
        }

    # --- what it is -------------------------------------------------------------------------------

    @property
    def algorithm(self) -> str:
        """bpe, wordpiece or unigram."""
        return self.model.name

    @property
    def is_lossless(self) -> bool:
        """Whether `decode(encode(text))` is `text`, whatever the text (lone surrogates apart)."""
        return self.decoder is None and self.normalizer is None and self.cutter.is_lossless

    @property
    def end_of_text_id(self) -> int:
        """The id before each document. Raises TokenizerError where there is none."""
        return self._id_of_role("end_of_text")

    @property
    def end_of_turn_id(self) -> int:
        """The id that closes a message. Raises TokenizerError where there is none."""
        return self._id_of_role("end_of_turn")

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end generation."""
        names = (self.roles.end_of_text, self.roles.end_of_turn)
        return frozenset(self.special_tokens[name] for name in names if name is not None)

    def special_id(self, name: str) -> int:
        """The id of a special token. Raises TokenizerError if there is none of that name."""
        if name not in self.special_tokens:
            raise TokenizerError(
                f"this tokenizer has no special token {name!r}, only "
                f"{', '.join(self.special_tokens) or 'none at all'}; choose a chat format that it "
                "was made for, or train a tokenizer"
            )
        return self.special_tokens[name]

    def _id_of_role(self, role: str) -> int:
        name = getattr(self.roles, role)
        if name is None:
            raise TokenizerError(
                f"this tokenizer has no token for {role.replace('_', ' ')}, which training needs; "
                "train one with groundup, or one that has it"
            )
        return self.special_tokens[name]

    @cached_property
    def fingerprint(self) -> str:
        """128-bit hash, in hex, of all that decides the ids; equal on every machine."""
        return stable_hash(
            {
                "model": [type(self.model).__name__, *_values(self.model)],
                "cutter": [type(self.cutter).__name__, *_values(self.cutter)],
                "normalizer": [type(self.normalizer).__name__, *_values(self.normalizer)],
                "special_tokens": self.special_tokens,
                "chat_format": self.chat_format,
            }
        )

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files of a Hugging Face folder; AutoTokenizer reads them."""
        from groundup.tokenizer.formats import save_tokenizer

        save_tokenizer(self, folder)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a folder that holds a tokenizer, or a tokenizer's file in any format known here.

        Raises TokenizerError for a missing, damaged or foreign one.
        """
        from groundup.tokenizer.formats import open_tokenizer

        return open_tokenizer(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as its parts; what is derived is built again there."""
        return _rebuild, (
            self.model, self.cutter, self.special_tokens, self.roles,
            self.normalizer, self.decoder, self.chat_format,
        )  # fmt: skip


def _rebuild(
    model: WordModel,
    cutter: Cutter,
    special_tokens: dict[str, int],
    roles: Roles,
    normalizer: Normalizer | None,
    decoder: LibraryDecoder | None,
    chat_format: str | None,
) -> Tokenizer:
    return Tokenizer(
        model, cutter, special_tokens=special_tokens, roles=roles, normalizer=normalizer,
        decoder=decoder, chat_format=chat_format,
    )  # fmt: skip


def _values(part: Any) -> list[object]:
    """The fields of a frozen dataclass as JSON holds them; bytes become Latin-1."""
    if part is None:
        return []
    return [_as_json(getattr(part, field.name)) for field in fields(part)]


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [_as_json(item) for item in value] if isinstance(value, tuple) else value
