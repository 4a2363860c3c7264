"""Text to token ids and back: the tokenizer every other part of groundup holds.

A Tokenizer is made of two things, the merges and the name of the pre-tokenizer pattern; all else
follows from them. Ids 0 to 255 are the single bytes, then come the merges in the order they were
learnt, and the last three ids are the special tokens. Text is encoded by tiktoken from the same
ranks; `bpe.encode_word` is the plain path it is held against. The encoder knows no special tokens,
so no text can spell one: they enter as integers, in `chat.py` and where documents are packed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tiktoken

from groundup.runtime import stable_hash
from groundup.tokenizer import files
from groundup.tokenizer.bpe import Pair, token_bytes
from groundup.tokenizer.chat import SPECIAL_TOKENS
from groundup.tokenizer.pretokenize import PATTERNS, split_text, well_formed

# tiktoken's regular expressions panic on a run of white space of a million characters: they keep
# one entry per character to go back to. A run this long is cut by `split_text` instead.
_LONG_WHITE_SPACE = 100_000


class Tokenizer:
    """Byte-level BPE: encodes any text without loss.

    >>> from groundup.tokenizer.bpe import train_bpe
    >>> merges = train_bpe({"low": 5, "lower": 2, "newest": 6, "widest": 3}, n_merges=4)
    >>> tokenizer = Tokenizer(merges, "qwen2")
    >>> tokenizer.vocab_size, tokenizer.end_of_text_id, tokenizer.im_start_id, tokenizer.im_end_id
    (263, 260, 261, 262)
    >>> ids = tokenizer.encode("lowest")
    >>> ids, [tokenizer.token_bytes(i) for i in ids], tokenizer.decode(ids)
    ([259, 257], [b'low', b'est'], 'lowest')
    """

    def __init__(self, merges: Sequence[Pair], pattern: str) -> None:
        self.merges: tuple[Pair, ...] = tuple(merges)
        self.pattern = pattern
        self._spelled = token_bytes(self.merges)
        first_special = len(self._spelled)
        self.end_of_text_id = first_special
        self.im_start_id = first_special + 1
        self.im_end_id = first_special + 2
        self.vocab_size = first_special + len(SPECIAL_TOKENS)
        self._encoding = self._build_encoding(PATTERNS[pattern])

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; never a special one, whatever the text says.

        Lone surrogates, which UTF-8 cannot express, are read as U+FFFD.
        """
        text = well_formed(text)
        if len(text) > _LONG_WHITE_SPACE and re.search(rf"\s{{{_LONG_WHITE_SPACE}}}", text):
            pieces = split_text(text, self.pattern)
            return [
                i for piece in pieces for i in self._whole_piece_encoding.encode_ordinary(piece)
            ]
        return self._encoding.encode_ordinary(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each of many texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`: special tokens are left out, invalid UTF-8 becomes U+FFFD."""
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, special tokens left out."""
        return b"".join(
            self.token_bytes(token_id) for token_id in ids if not self.is_special(token_id)
        )

    def token_bytes(self, token_id: int) -> bytes:
        """What one id stands for; for a special token, its name.

        Raises ValueError for an id outside the vocabulary.
        """
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(
                f"token id {token_id} is outside this tokenizer's vocabulary of "
                f"{self.vocab_size}; use the tokenizer that the model was trained with"
            )
        if self.is_special(token_id):
            return SPECIAL_TOKENS[token_id - self.end_of_text_id].encode()
        return self._spelled[token_id]

    def is_special(self, token_id: int) -> bool:
        """Whether the id is one of the three that text cannot spell."""
        return self.end_of_text_id <= token_id < self.vocab_size

    @cached_property
    def fingerprint(self) -> str:
        """128-bit hash, in hex, of all that decides the ids; equal on every machine."""
        return stable_hash(
            {
                "pattern": PATTERNS[self.pattern],
                "merges": self.merges,
                "special_tokens": SPECIAL_TOKENS,
            }
        )

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files of a Hugging Face folder; AutoTokenizer reads them."""
        files.save(folder, self.merges, self.pattern)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read what `save` wrote. Raises TokenizerError for a missing, damaged or foreign one."""
        return cls(*files.load(folder))

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[tuple[Pair, ...], str]]:
        """Go to another process as merges and pattern; the encoder is rebuilt there."""
        return Tokenizer, (self.merges, self.pattern)

    @cached_property
    def _whole_piece_encoding(self) -> tiktoken.Encoding:
        return self._build_encoding(r"[\s\S]+")

    def _build_encoding(self, expression: str) -> tiktoken.Encoding:
        ranks = {spelling: token_id for token_id, spelling in enumerate(self._spelled)}
        return tiktoken.Encoding(
            "groundup", pat_str=expression, mergeable_ranks=ranks, special_tokens={}
        )


class StreamDecoder:
    """Text from ids that come one by one, never half a character.

    What `push` and `flush` return, joined, is `decode` of all the ids.

    >>> tokenizer = Tokenizer([], "qwen2")
    >>> stream = StreamDecoder(tokenizer)
    >>> [stream.push(token_id) for token_id in tokenizer.encode("né")], stream.flush()
    (['n', '', 'é'], '')
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """The characters that this id completes."""
        return self._decoder.decode(self._tokenizer.decode_bytes([token_id]))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
