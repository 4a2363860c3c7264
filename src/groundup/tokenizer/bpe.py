"""Byte-pair encoding, the readable way: learn merges from counted words, apply them to a word.

This is the plain path. Merges come out as Hugging Face tokenizers' BpeTrainer finds them, id for
id, and `Bpe.encode_word` is what the compiled encoder is held against.

Sennrich, Haddow and Birch 2016 (Neural Machine Translation of Rare Words with Subword Units)
brought byte-pair encoding to language; Radford et al. 2019 (GPT-2) ran it on bytes, so that no text
is unknown.

Legend
    word    a pre-token, as the ids that now spell it
    pair    two neighbouring ids in a word
    count   how often a word, or a pair in all words, occurs in the text
    merge   a pair that becomes one new id; merge number r makes id 256 + r, and r is its rank
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from groundup.runtime import TokenizerError

Pair = tuple[int, int]
Merge = tuple[int, int, int]

N_BYTES = 256
# GPT-2 writes each byte as one visible character: a byte that prints in Latin-1 stands for itself,
# the others take the characters from U+0100 on. Ids 0 to 255 follow the order of those characters.
_PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100))
BYTE_OF_ID: tuple[int, ...] = (
    *_PRINTABLE,
    *(byte for byte in range(N_BYTES) if byte not in _PRINTABLE),
)
CHARACTER_OF_ID: tuple[str, ...] = (
    *map(chr, _PRINTABLE),
    *map(chr, range(0x100, 0x100 + N_BYTES - len(_PRINTABLE))),
)
ID_OF_BYTE: tuple[int, ...] = tuple(BYTE_OF_ID.index(byte) for byte in range(N_BYTES))


def train_bpe(counts: Mapping[bytes, int], n_merges: int) -> list[Pair]:
    """Learn up to `n_merges` merges: over and over, join the pair that occurs most often.

    Of pairs that occur equally often the one with the smallest ids goes first. Fewer merges come
    back when every word has become a single token.

    The example of Sennrich et al., less the mark that theirs puts at each word's end: `e s` and
    `s t` both occur 6 + 3 times, and `e` has the smaller id; then `es t`; then `l o` and `o w` (5 +
    2 times), `l o` first, and `lo w`; then of `e w`, `n e` and `w est` (6 times) the first by id.

    >>> counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    >>> merges = train_bpe(counts, n_merges=5)
    >>> spelled = token_bytes(merges)
    >>> [(spelled[left].decode(), spelled[right].decode()) for left, right in merges]
    [('e', 's'), ('es', 't'), ('l', 'o'), ('lo', 'w'), ('e', 'w')]
    """
    words = [byte_ids(word) for word in counts]
    weights = list(counts.values())
    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # words that hold, or once held, the pair
    for index, word in enumerate(words):
        for pair in pairwise(word):
            pair_counts[pair] += weights[index]
            where[pair].add(index)
    merges: list[Pair] = []
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    while len(merges) < n_merges and (best := _pop_most_frequent(heap, pair_counts)):
        new_id = N_BYTES + len(merges)
        merges.append(best)
        new_pairs: set[Pair] = set()
        for index in where.pop(best):
            words[index], lost, gained = join_pair(words[index], best, new_id)
            for pair in lost:
                pair_counts[pair] -= weights[index]
            for pair in gained:  # new ones all, since each has the new id
                pair_counts[pair] += weights[index]
                where[pair].add(index)
                new_pairs.add(pair)
        for pair in new_pairs:
            heapq.heappush(heap, (-pair_counts[pair], pair))
    return merges


@dataclass(frozen=True)
class Bpe:
    """A byte-pair vocabulary, and how it spells a word.

    pieces       what each id stands for; b"" where no text may give the id
    merges       (left, right, the id they become), in the order in which they apply
    units        what a word is before any merge: its bytes or its characters
    byte_ids     the id of each of the 256 bytes; with characters, what spells one that has no id
    unk_id       the id of a character that nothing else spells
    fuse_unk     whether neighbouring unknown characters become one unk_id
    whole_words  a word that is itself a piece is that piece, whatever the merges would make of it
    end_of_word  what is written behind the last unit of a word to tell it from the others

    With the merges `e s`, `es t`, `l o`, `lo w` a word never seen is cut where they end:

    >>> counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    >>> model = byte_level_bpe(train_bpe(counts, n_merges=4))
    >>> [model.pieces[i].decode() for i in model.encode_word(b"slowest")]
    ['s', 'low', 'est']
    """

    pieces: tuple[bytes, ...]
    merges: tuple[Merge, ...]
    units: Literal["bytes", "characters"] = "bytes"
    byte_ids: tuple[int, ...] | None = None
    unk_id: int | None = None
    fuse_unk: bool = False
    whole_words: bool = False
    end_of_word: bytes = b""

    name = "bpe"

    def encode_word(self, word: bytes) -> list[int]:
        """Spell one word: join the pair whose merge comes first, and of those the leftmost."""
        if self.whole_words and (whole := self.id_of.get(word)) is not None:
            return [whole]
        ids = self.unit_ids(word)
        no_rank = len(self.merges)
        while len(ids) > 1:
            ranks = [self.ranks.get(pair, no_rank) for pair in pairwise(ids)]
            best = min(ranks)
            if best == no_rank:
                break
            place = ranks.index(best)
            ids[place : place + 2] = [self.merges[best][2]]
        return ids

    def unit_ids(self, word: bytes) -> list[int]:
        """The ids of a word's bytes or characters. Raises TokenizerError for what has none."""
        if self.units == "bytes" and self.byte_ids is not None:
            return [self.byte_ids[byte] for byte in word]
        ids: list[int] = []
        was_unknown = False
        for unit in self._units(word):
            found = self.id_of.get(unit)
            if found is not None:
                ids.append(found)
            elif self.byte_ids is not None:
                ids += [self.byte_ids[byte] for byte in unit]
            elif self.unk_id is None:
                raise TokenizerError(
                    f"{unit!r} is not in this vocabulary, which has no unknown token and no bytes "
                    "to spell it with; train a byte-level tokenizer"
                )
            elif not (was_unknown and self.fuse_unk):
                ids.append(self.unk_id)
            was_unknown = found is None
        return ids

    def _units(self, word: bytes) -> Iterator[bytes]:
        units = [character.encode() for character in word.decode()]
        for index, unit in enumerate(units):
            yield unit + self.end_of_word if index == len(units) - 1 else unit

    @cached_property
    def ranks(self) -> dict[Pair, int]:
        """The place of each pair's merge."""
        return {(left, right): rank for rank, (left, right, _) in enumerate(self.merges)}

    @cached_property
    def id_of(self) -> dict[bytes, int]:
        """The id of each piece that text may give."""
        return {piece: index for index, piece in enumerate(self.pieces) if piece}


def byte_level_bpe(pairs: Sequence[Pair]) -> Bpe:
    """What `train_bpe` found as a vocabulary: 256 bytes, then one id a merge."""
    merges = tuple((left, right, N_BYTES + rank) for rank, (left, right) in enumerate(pairs))
    return Bpe(tuple(token_bytes(pairs)), merges, byte_ids=ID_OF_BYTE)


def join_pair(
    word: Sequence[int], pair: Pair, new_id: int
) -> tuple[list[int], list[Pair], list[Pair]]:
    """Replace `pair` by `new_id`, from left to right; also which pairs the word loses and gains.

    The pair itself is not among the lost, but where two of its occurrences overlap. A pair that
    comes and goes while the word is read is among both.

    >>> join_pair([7, 1, 2, 8], (1, 2), 9)
    ([7, 9, 8], [(7, 1), (2, 8)], [(7, 9), (9, 8)])
    >>> joined, _, _ = join_pair([7, 7, 7, 1], (7, 7), 9)
    >>> joined
    [9, 7, 1]
    """
    left, right = pair
    joined: list[int] = []
    lost: list[Pair] = []
    gained: list[Pair] = []
    end = 0  # of what is copied
    while (place := _find_pair(word, pair, end)) >= 0:
        joined += word[end:place]
        end = place + 2
        if joined:
            lost.append((joined[-1], left))
            gained.append((joined[-1], new_id))
        if end < len(word):
            lost.append((right, word[end]))
            gained.append((new_id, word[end]))
        joined.append(new_id)
    joined += word[end:]
    return joined, lost, gained


def _find_pair(word: Sequence[int], pair: Pair, start: int) -> int:
    """Where `pair` next stands in the word, -1 if nowhere; `index` looks faster than a loop."""
    left, right = pair
    try:
        while word[(place := word.index(left, start)) + 1] != right:
            start = place + 1
    except (ValueError, IndexError):  # there is no other `left`, or it is the last id
        return -1
    return place


def byte_ids(word: bytes) -> list[int]:
    """The word's bytes as ids 0 to 255."""
    return [ID_OF_BYTE[byte] for byte in word]


def token_bytes(merges: Sequence[Pair]) -> list[bytes]:
    """The bytes each id stands for: 256 single bytes, then what each merge joins.

    >>> token_bytes([(ID_OF_BYTE[ord("h")], ID_OF_BYTE[ord("i")])])[-1]
    b'hi'
    """
    spelled = [bytes([byte]) for byte in BYTE_OF_ID]
    for left, right in merges:
        spelled.append(spelled[left] + spelled[right])
    return spelled


def _pop_most_frequent(
    heap: list[tuple[int, Pair]], pair_counts: Mapping[Pair, int]
) -> Pair | None:
    """Take the most frequent pair off the heap.

    Counts on the heap may be out of date, but only too high: a pair that is not new can only have
    lost occurrences. One that is out of date goes back at its count of now.
    """
    while heap:
        negative_count, pair = heapq.heappop(heap)
        count = pair_counts[pair]
        if count == -negative_count > 0:
            return pair
        if count > 0:
            heapq.heappush(heap, (-count, pair))
    return None
