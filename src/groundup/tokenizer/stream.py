"""Ids that come one by one to text, for whoever shows a reply while it is being written."""

from __future__ import annotations

import codecs
import re

from groundup.tokenizer.tokenizer import Tokenizer

# A byte of a character that has no token of its own, as SentencePiece and tokenizers spell it
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")


class StreamDecoder:
    """Text from ids that come one by one, never half a character.

    What `push` and `flush` return, joined, is `decode` of all the ids.

    >>> tokenizer = Tokenizer.byte_level([])
    >>> stream = StreamDecoder(tokenizer)
    >>> [stream.push(token_id) for token_id in tokenizer.encode("né")], stream.flush()
    (['n', '', 'é'], '')
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._given = ""
        self._in_bytes = False

    def push(self, token_id: int) -> str:
        """The characters that this id completes."""
        if self._tokenizer.decoder is None:
            return self._utf8.decode(self._tokenizer.decode_bytes([token_id]))
        self._ids.append(token_id)
        text = self._tokenizer.decode(self._ids)
        if not self._tokenizer.is_special(token_id):
            # of bytes one after the other the decoder makes all U+FFFD if one is wrong
            self._in_bytes = bool(_BYTE_TOKEN.fullmatch(self._tokenizer.token_string(token_id)))
        if self._in_bytes or text.endswith("\N{REPLACEMENT CHARACTER}"):  # may be half a character
            return ""
        return self._give(text)

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never completed."""
        if self._tokenizer.decoder is None:
            return self._utf8.decode(b"", final=True)
        return self._give(self._tokenizer.decode(self._ids))

    def _give(self, text: str) -> str:
        """The part of `text` that was not given yet."""
        new, self._given = text[len(self._given) :], text
        return new
