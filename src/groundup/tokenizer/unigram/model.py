"""A Unigram vocabulary, and the most probable cut of a word with it.

This is the plain path: `Unigram.encode_word` gives the ids that Hugging Face tokenizers' Unigram
gives, and is what the compiled encoder is held against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from groundup.runtime import TokenizerError

Units = Literal["bytes", "characters"]

# What an unknown unit costs below the least probable piece. SentencePiece, unigram_model.cc.
_UNKNOWN_PENALTY = 10.0


@dataclass(frozen=True)
class Unigram:
    """A vocabulary of scored pieces, and how it cuts a word.

    pieces    what each id is matched as; b"" for an id that no text may give
    scores    log probabilities, one for each piece
    unk_id    the id of what no piece matches; None where nothing can be unknown
    byte_ids  256 ids that spell an unknown unit byte by byte; None to give unk_id
    fuse_unk  neighbouring unknown units are one unknown
    units     what is skipped as one unknown: a byte or a character; pieces hold whole units

    >>> model = Unigram((b"l", b"o", b"w", b"lo", b"ow", b"low"), (-3, -3, -3, -4, -4.5, -8), None)
    >>> model.encode_word(b"low"), model.encode_word(b"lowlow")
    ([3, 2], [3, 2, 3, 2])

    `lo w` costs 4 + 3, less than `low` (8), `l ow` (3 + 4.5) and `l o w` (3 + 3 + 3).
    """

    pieces: tuple[bytes, ...]
    scores: tuple[float, ...]
    unk_id: int | None
    byte_ids: tuple[int, ...] | None = None
    fuse_unk: bool = True
    units: Units = "characters"

    name = "unigram"

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.scores):
            raise TokenizerError(
                f"a Unigram vocabulary needs one score for each piece; got {len(self.pieces)} "
                f"pieces and {len(self.scores)} scores"
            )
        if not all(map(math.isfinite, self.scores)):
            position = [math.isfinite(score) for score in self.scores].index(False)
            raise TokenizerError(
                f"the score of piece {position} is {self.scores[position]}; every score must be a "
                "finite log probability"
            )
        if self.byte_ids is not None and len(self.byte_ids) != 256:
            raise TokenizerError(f"byte_ids needs 256 ids, one a byte; got {len(self.byte_ids)}")
        for token_id in (*(self.byte_ids or ()), *([] if self.unk_id is None else [self.unk_id])):
            if not 0 <= token_id < len(self.pieces):
                raise TokenizerError(
                    f"id {token_id} (unk_id or byte_ids) is not among {len(self.pieces)} pieces"
                )

    @cached_property
    def id_of(self) -> dict[bytes, int]:
        """The id of each piece; of pieces spelled alike, the last."""
        return {piece: piece_id for piece_id, piece in enumerate(self.pieces) if piece}

    @cached_property
    def unknown_score(self) -> float:
        """The score of a unit that no piece matches."""
        return min(self.scores, default=0.0) - _UNKNOWN_PENALTY

    def encode_word(self, word: bytes) -> list[int]:
        """The ids of the most probable cut of `word`; what no piece matches is unknown.

        Of cuts that are equally probable, the one whose last piece is longest; then the same for
        what stands before it.

        >>> model = Unigram((b"", b"a", b"aa", b"aaa"), (0, -1, -2, -3), unk_id=0)
        >>> model.encode_word(b"aaaa")  # every cut costs 4: a aaa
        [1, 3]
        >>> model.encode_word("aéüa".encode())  # two unknown characters, one unknown
        [1, 0, 1]

        Raises TokenizerError for a unit that no piece matches where `unk_id` is None.
        """
        ids: list[int] = []
        unknown = b""  # the run of unknown units that has not yet been given its ids
        for piece_id, span in self._best_cut(word):
            if piece_id == self.unk_id and self.fuse_unk:
                unknown += span
                continue
            ids += self._spell_unknown(unknown)
            unknown = b""
            ids += self._spell_unknown(span) if piece_id == self.unk_id else [piece_id]
        return ids + self._spell_unknown(unknown)

    def _best_cut(self, word: bytes) -> list[tuple[int, bytes]]:
        """Viterbi: the best path to each node is the best to an earlier node and one piece more."""
        best = [0.0] + [-math.inf] * len(word)  # the score of the best path to each node
        last_edge = [(0, 0)] * (len(word) + 1)  # id of that path's last piece, and its first node
        for start in range(len(word)):
            if best[start] == -math.inf:  # inside a character
                continue
            unit_end = start + self._unit_length(word, start)
            is_known = False
            for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                piece_id = self.id_of.get(word[start:end])
                if piece_id is None:
                    continue
                is_known = is_known or end == unit_end
                score = best[start] + self.scores[piece_id]
                if score > best[end]:
                    best[end], last_edge[end] = score, (piece_id, start)
            score = best[start] + self.unknown_score
            if not is_known and score > best[unit_end]:
                if self.unk_id is None:
                    raise TokenizerError(
                        f"no piece matches {word[start:unit_end]!r} in {word!r}, and this Unigram "
                        "vocabulary has no unknown token; give it unk_id"
                    )
                best[unit_end], last_edge[unit_end] = score, (self.unk_id, start)
        cut: list[tuple[int, bytes]] = []
        end = len(word)
        while end > 0:
            piece_id, start = last_edge[end]
            cut.append((piece_id, word[start:end]))
            end = start
        return cut[::-1]

    def _spell_unknown(self, run: bytes) -> list[int]:
        """The ids of a run of unknown units; it may spell a piece that was too improbable."""
        if not run:
            return []
        if run in self.id_of:
            return [self.id_of[run]]
        if self.byte_ids is not None:
            return [self.byte_ids[byte] for byte in run]
        assert self.unk_id is not None
        return [self.unk_id]

    def _unit_length(self, word: bytes, start: int) -> int:
        """How many bytes the unit has that begins at `start`; UTF-8's first byte says it."""
        if self.units == "bytes":
            return 1
        first = word[start]
        length = 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)
        return min(length, len(word) - start)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.pieces), default=0)
