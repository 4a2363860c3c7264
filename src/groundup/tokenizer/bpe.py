"""Byte-pair encoding, the readable way: learn merges from counted words, apply them to a word.

This is the plain path. Merges come out as Hugging Face tokenizers' BpeTrainer finds them, id for
id, and `encode_word` is what the fast encoder is held against.

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
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]

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


def train_bpe(counts: Mapping[str, int], n_merges: int) -> list[Pair]:
    """Learn up to `n_merges` merges: over and over, join the pair that occurs most often.

    Of pairs that occur equally often the one with the smallest ids goes first. Fewer merges come
    back when every word has become a single token.

    The example of Sennrich et al.: `e s` and `s t` both occur 6 + 3 times, and `e` has the smaller
    id; then `es t`; then `l o` and `o w` (5 + 2 times), `l o` first, and `lo w`; then of `e w`,
    `n e` and `w est` (6 times) the first by id.

    >>> counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
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
            before, after = words[index], merge_pair(words[index], best, new_id)
            for pair in pairwise(before):
                pair_counts[pair] -= weights[index]
            for pair in pairwise(after):
                pair_counts[pair] += weights[index]
                if new_id in pair:
                    where[pair].add(index)
                    new_pairs.add(pair)
            words[index] = after
        for pair in new_pairs:
            heapq.heappush(heap, (-pair_counts[pair], pair))
    return merges


def encode_word(word: str, ranks: Mapping[Pair, int]) -> list[int]:
    """Spell one pre-token: join the pair with the lowest rank until no pair has one.

    With the merges `e s`, `es t`, `l o`, `lo w` a word never seen is cut where they end:

    >>> merges = train_bpe({"low": 5, "lower": 2, "newest": 6, "widest": 3}, n_merges=4)
    >>> spelled = token_bytes(merges)
    >>> [spelled[i].decode() for i in encode_word("slowest", rank_merges(merges))]
    ['s', 'low', 'est']
    """
    ids = byte_ids(word)
    while len(ids) > 1:
        best = min(pairwise(ids), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        ids = merge_pair(ids, best, N_BYTES + ranks[best])
    return ids


def merge_pair(word: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """Replace `pair` by `new_id`, from left to right.

    >>> merge_pair([7, 7, 7, 1], (7, 7), 256)
    [256, 7, 1]
    """
    left, right = pair
    merged: list[int] = []
    i = 0
    while i < len(word):
        if word[i] == left and i + 1 < len(word) and word[i + 1] == right:
            merged.append(new_id)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


def rank_merges(merges: Sequence[Pair]) -> dict[Pair, int]:
    """The rank of each merge: its place in the order in which they were learnt."""
    return {pair: rank for rank, pair in enumerate(merges)}


def byte_ids(word: str) -> list[int]:
    """The word's UTF-8 bytes as ids 0 to 255."""
    return [ID_OF_BYTE[byte] for byte in word.encode()]


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
        if count == -negative_count:
            return pair
        if count > 0:
            heapq.heappush(heap, (-count, pair))
    return None
