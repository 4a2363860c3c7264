"""What stands in SentencePiece's .model file: pieces with scores and types, and options.

The file is one protocol buffer message (sentencepiece_model.proto); the few fields that matter are
read here without the library. `sentencepiece_model.py` makes a tokenizer of them.

Kudo and Richardson 2018 (SentencePiece: A simple and language independent subword tokenizer).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from groundup.runtime import TokenizerError


class PieceType(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class ModelType(IntEnum):
    """How a text is spelled with the pieces."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its place is its id."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class SentencePieceModel:
    """What a .model file says, as far as encoding and decoding need it."""

    pieces: tuple[Piece, ...]
    model_type: ModelType
    byte_fallback: bool
    bos_id: int
    eos_id: int
    pad_id: int
    space_behind: bool  # spaces belong to the word before them
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool

    def ids_of(self, *types: PieceType) -> list[int]:
        """The ids of the pieces of some types."""
        return [token_id for token_id, piece in enumerate(self.pieces) if piece.type in types]


def parse_model(data: bytes) -> SentencePieceModel:
    """What stands in a .model file. Raises TokenizerError for a damaged one."""
    try:
        message = _fields(data)
        trainer = _fields(_last(message, 2, b""))
        normalizer = _fields(_last(message, 3, b""))
        pieces = tuple(_piece(piece) for piece in message.get(1, []))
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"it is damaged or no SentencePiece model ({error}); fetch it again"
        ) from error
    if not pieces:
        raise TokenizerError(
            "it is damaged or no SentencePiece model (it has no pieces); fetch it again"
        )
    return SentencePieceModel(
        pieces=pieces,
        model_type=ModelType(_last(trainer, 3, ModelType.UNIGRAM)),
        byte_fallback=bool(_last(trainer, 35, 0)),
        bos_id=_signed(_last(trainer, 41, 1)),
        eos_id=_signed(_last(trainer, 42, 2)),
        pad_id=_signed(_last(trainer, 43, -1)),
        space_behind=bool(_last(trainer, 24, 0)),
        charsmap=_last(normalizer, 2, b""),
        add_dummy_prefix=bool(_last(normalizer, 3, 1)),
        remove_extra_whitespaces=bool(_last(normalizer, 4, 1)),
        escape_whitespaces=bool(_last(normalizer, 5, 1)),
    )


def _piece(data: bytes) -> Piece:
    fields = _fields(data)
    # the shortest number that is this one in 32 bits, which every reader of JSON reads alike
    score = float(str(np.frombuffer(_last(fields, 2, b"\0\0\0\0"), dtype="<f4")[0]))
    return Piece(_last(fields, 1, b"").decode(), score, PieceType(_last(fields, 3, 1)))


def _fields(data: bytes) -> dict[int, list[Any]]:
    r"""The fields of a message by number: a number, or the bytes of what is not one.

    Each begins with a varint: its number, and in the lowest three bits its wire type: 0 a varint,
    1 eight bytes, 2 a length and that many bytes, 5 four bytes
    (protobuf.dev/programming-guides/encoding).

    >>> _fields(b"\x0a\x02hi\x18\x96\x01")
    {1: [b'hi'], 3: [150]}
    """
    fields: dict[int, list[Any]] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            fields.setdefault(number, []).append(value)
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + length > len(data):
            raise ValueError("it ends in the middle of a field")
        fields.setdefault(number, []).append(data[position : position + length])
        position += length
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number, seven bits a byte, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _last(fields: dict[int, list[Any]], number: int, default: Any) -> Any:
    """A field that stands once; of several the last counts."""
    values = fields.get(number)
    return default if values is None else values[-1]


def _signed(value: int) -> int:
    """A varint as int32: negative ones are written as 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value
