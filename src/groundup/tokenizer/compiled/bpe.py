"""Byte-pair encoding, compiled: `bpe.train_bpe` and `bpe.Bpe.encode_word` over arrays.

Legend
    pair number  pairs are numbered as they are met; counts, heads ... are arrays over that number
    occurrence   an entry of a linked list: one word in which the pair stands, or once stood
"""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.bpe import ID_OF_BYTE, N_BYTES, Bpe, Pair
from groundup.tokenizer.compiled.heap import drop_top, push
from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.compiled.pair_table import (
    empty_table,
    filled_table,
    grown,
    pair_key,
    slot_of,
    value_of,
)
from groundup.tokenizer.counts import CountedWords

_SHORT = 96  # units up to which looking at every pair each time is quicker than a heap


class BpeSpeller:
    """Spells words as `model.encode_word` does, leaving `whole_words` to the caller."""

    def __init__(self, model: Bpe) -> None:
        self._model = model
        lefts, rights, becomes = np.array(model.merges, dtype=np.int32).reshape(-1, 3).T.copy()
        self._table = filled_table(lefts, rights)
        self._becomes = becomes
        self._by_bytes = model.units == "bytes" and model.byte_ids is not None
        byte_ids = model.byte_ids if model.byte_ids is not None else [-1] * N_BYTES
        self._byte_ids = np.array(byte_ids, dtype=np.int32)
        self._unk_id = -1 if model.unk_id is None else model.unk_id
        self._fuse_unk = model.fuse_unk
        self._inner, self._last = _ids_of_characters(model)

    def spell(
        self, arena: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of words one after the other, and how many are each word's.

        arena: (n_bytes,) uint8; starts, lengths: (n_words,) -> (n_ids,) int32, (n_words,) int32
        """
        model = self._model
        if model.end_of_word and model.byte_ids is not None:
            return self._spell_plainly(arena, starts, lengths)
        ids = np.empty(int(lengths.sum(dtype=np.int64)), dtype=np.int32)
        counts = np.empty(len(starts), dtype=np.int32)
        n_ids, failed = spell(
            arena, starts, lengths, *self._table, self._becomes, self._by_bytes, self._byte_ids,
            self._inner, self._last, self._unk_id, self._fuse_unk, ids, counts,
        )  # fmt: skip
        if failed >= 0:
            start = starts[failed]
            model.encode_word(arena[start : start + lengths[failed]].tobytes())  # says what
        return ids[:n_ids], counts

    def _spell_plainly(
        self, arena: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """By the readable path: an ending that is itself spelled in bytes, which no kernel does."""
        ends = (starts + lengths).tolist()
        words = [arena[a:b].tobytes() for a, b in zip(starts.tolist(), ends, strict=True)]
        found = [self._model.encode_word(word) for word in words]
        counts = np.array([len(ids) for ids in found], dtype=np.int32)
        return np.array([i for ids in found for i in ids], dtype=np.int32), counts


def _ids_of_characters(model: Bpe) -> tuple[np.ndarray, np.ndarray]:
    """The id of each code point inside a word and at its end; -1 where it has none."""
    if model.units == "bytes":
        nothing = np.empty(0, dtype=np.int32)
        return nothing, nothing
    inner = np.full(0x110000, -1, dtype=np.int32)
    last = np.full(0x110000, -1, dtype=np.int32)
    for piece, token_id in model.id_of.items():
        for ids, ending in ((inner, b""), (last, model.end_of_word)):
            if not piece.endswith(ending):
                continue
            try:
                character = piece[: len(piece) - len(ending)].decode()
            except UnicodeDecodeError:
                continue
            if len(character) == 1:
                ids[ord(character)] = token_id
    return inner, last


def train_bpe_compiled(words: CountedWords, n_merges: int) -> list[Pair]:
    """`bpe.train_bpe`, the same merges.

    >>> from groundup.tokenizer.bpe import token_bytes
    >>> words = CountedWords.of([b"low", b"lower", b"newest", b"widest"], [5, 2, 6, 3])
    >>> merges = train_bpe_compiled(words, n_merges=3)
    >>> [spelled.decode() for spelled in token_bytes(merges)[256:]]
    ['es', 'est', 'lo']
    """
    units = np.array(ID_OF_BYTE, dtype=np.int32)[words.text]
    lengths, weights = words.lengths.astype(np.int64), words.counts.astype(np.int64)
    merges = learn_merges(units, lengths, weights, N_BYTES, n_merges)
    return [(left, right) for left, right in merges.tolist()]


@kernel
def _units(arena, start, length, by_bytes, byte_ids, inner, last, unk_id, fuse_unk, ids):
    """Write the unit ids of one word to `ids`; returns how many, or -1 for an unknown one."""
    if by_bytes:
        for i in range(length):
            ids[i] = byte_ids[arena[start + i]]
        return length
    n_ids = 0
    at, stop = start, start + length
    was_unknown = False
    while at < stop:
        a = np.int64(arena[at])
        if a < 0x80:
            width, code_point = 1, a
        elif a < 0xE0:
            width, code_point = 2, a & 0x1F
        elif a < 0xF0:
            width, code_point = 3, a & 0x0F
        else:
            width, code_point = 4, a & 0x07
        for i in range(1, width):
            code_point = (code_point << 6) | (np.int64(arena[at + i]) & 0x3F)
        unit = last[code_point] if at + width == stop else inner[code_point]
        unknown = unit < 0
        if not unknown:
            ids[n_ids] = unit
            n_ids += 1
        elif byte_ids[0] >= 0:
            for i in range(width):
                ids[n_ids] = byte_ids[arena[at + i]]
                n_ids += 1
        elif unk_id < 0:
            return -1
        elif not (was_unknown and fuse_unk):
            ids[n_ids] = unk_id
            n_ids += 1
        was_unknown = unknown
        at += width
    return n_ids


@kernel
def _merge_short(ids, n_ids, ranks, keys, values, becomes):
    """Merge the ids of a short word in place; returns how many are left."""
    for i in range(n_ids - 1):
        ranks[i] = value_of(keys, values, pair_key(ids[i], ids[i + 1]))
    while n_ids > 1:
        best, place = np.int32(0x7FFFFFFF), -1
        for i in range(n_ids - 1):
            if 0 <= ranks[i] < best:
                best, place = ranks[i], i
        if place < 0:
            break
        ids[place] = becomes[best]
        n_ids -= 1
        for i in range(place + 1, n_ids):
            ids[i] = ids[i + 1]
            ranks[i - 1] = ranks[i]
        if place > 0:
            ranks[place - 1] = value_of(keys, values, pair_key(ids[place - 1], ids[place]))
        if place < n_ids - 1:
            ranks[place] = value_of(keys, values, pair_key(ids[place], ids[place + 1]))
    return n_ids


@kernel
def _merge_long(ids, n_ids, keys, values, becomes):
    """Merge the ids of a long word in place by a heap of (rank, place): n log n steps."""
    following = np.empty(n_ids, dtype=np.int64)
    preceding = np.empty(n_ids, dtype=np.int64)
    ranks = np.empty(n_ids, dtype=np.int64)
    firsts = np.empty(3 * n_ids, dtype=np.int64)
    seconds = np.empty(3 * n_ids, dtype=np.int64)
    size = 0
    for i in range(n_ids):
        following[i], preceding[i], ranks[i] = i + 1, i - 1, -1
        if i + 1 < n_ids:
            ranks[i] = value_of(keys, values, pair_key(ids[i], ids[i + 1]))
            if ranks[i] >= 0:
                size = push(firsts, seconds, size, ranks[i], i)
    while size:
        rank, place = firsts[0], seconds[0]
        size = drop_top(firsts, seconds, size)
        if ranks[place] != rank:  # what stood here has been merged since
            continue
        gone = following[place]
        ids[place] = becomes[rank]
        following[place] = following[gone]
        ranks[gone] = -1
        ranks[place] = -1
        ids[gone] = -1
        if following[place] < n_ids:
            preceding[following[place]] = place
            ranks[place] = value_of(keys, values, pair_key(ids[place], ids[following[place]]))
            if ranks[place] >= 0:
                size = push(firsts, seconds, size, ranks[place], place)
        before = preceding[place]
        if before >= 0:
            ranks[before] = value_of(keys, values, pair_key(ids[before], ids[place]))
            if ranks[before] >= 0:
                size = push(firsts, seconds, size, ranks[before], before)
    n_left = 0
    for i in range(n_ids):
        if ids[i] >= 0:
            ids[n_left] = ids[i]
            n_left += 1
    return n_left


@kernel
def spell(
    arena, starts, lengths, keys, values, becomes, by_bytes, byte_ids,
    inner, last, unk_id, fuse_unk, ids, counts,
):  # fmt: skip
    """Spell each word: the number of all ids, and the word that cannot be spelled or -1."""
    n_ids = 0
    ranks = np.empty(_SHORT, dtype=np.int32)
    for word in range(len(starts)):
        mine = ids[n_ids:]
        n = _units(
            arena, starts[word], lengths[word], by_bytes, byte_ids, inner, last, unk_id, fuse_unk,
            mine,
        )  # fmt: skip
        if n < 0:
            return n_ids, word
        if n <= _SHORT:
            n = _merge_short(mine, n, ranks, keys, values, becomes)
        else:
            n = _merge_long(mine, n, keys, values, becomes)
        counts[word] = n
        n_ids += n
    return n_ids, -1


# --- training -------------------------------------------------------------------------------------


@kernel
def learn_merges(units, lengths, weights, first_new_id, n_merges):
    """Merges of the most frequent pair, of equal ones the smallest: (up to n_merges, 2) int64.

    The steps are those of `bpe.train_bpe`. units: (n_units,) int32, the words one after the other,
    which are overwritten; lengths, weights: (n_words,) int64
    """
    sizes, starts = np.empty_like(lengths), np.empty_like(lengths)
    begin = 0
    for word in range(len(lengths)):
        sizes[word], starts[word] = lengths[word], begin
        begin += lengths[word]
    keys, values, pair_keys, counts, heads, n_pairs, words, nexts, n_places = count_pairs(
        units, starts, sizes, weights
    )
    firsts = np.empty(2 * n_pairs + 16, dtype=np.int64)
    seconds = np.empty(2 * n_pairs + 16, dtype=np.uint64)
    size = 0
    for number in range(n_pairs):
        size = push(firsts, seconds, size, -counts[number], pair_keys[number])
    merges = np.empty((n_merges, 2), dtype=np.int64)
    for n_done in range(n_merges):
        best, size = _take_best(firsts, seconds, size, keys, values, counts)
        if best < 0:
            return merges[:n_done]
        left = np.int32(pair_keys[best] >> np.uint64(32))
        right = np.int32(pair_keys[best] & np.uint64(0xFFFFFFFF))
        merges[n_done, 0], merges[n_done, 1] = left, right
        new_id = np.int32(first_new_id + n_done)
        n_before = n_pairs
        place = heads[best]
        while place >= 0:
            word = words[place]
            place = nexts[place]
            begin, n = starts[word], sizes[word]
            if n_pairs + n > len(counts):
                keys, values = grown(keys, values)
                pair_keys, counts, heads = _twice(pair_keys), _twice(counts), _twice(heads)
            if n_places + n > len(words):
                words, nexts = _twice(words), _twice(nexts)
            _add_to_counts(units, begin, n, -weights[word], keys, values, counts)
            n = _join(units, begin, n, left, right, new_id)
            sizes[word] = n
            n_pairs, n_places = _enter_word(
                units, begin, n, weights[word], word, new_id,
                keys, values, pair_keys, counts, heads, n_pairs, words, nexts, n_places,
            )  # fmt: skip
        while size + n_pairs - n_before > len(firsts):
            firsts, seconds = _twice(firsts), _twice(seconds)
        for number in range(n_before, n_pairs):
            size = push(firsts, seconds, size, -counts[number], pair_keys[number])
    return merges


@kernel
def count_pairs(units, starts, sizes, weights):
    """Number all pairs, count them, and note the words that each stands in.

    Returns the table from pairs to numbers (keys, values); each number's pair, count and first
    occurrence; how many there are; each occurrence's word and the next one; how many those are.
    """
    keys, values = empty_table(1 << 12)
    capacity = 1 << 11
    pair_keys = np.empty(capacity, dtype=np.uint64)
    counts = np.empty(capacity, dtype=np.int64)
    heads = np.empty(capacity, dtype=np.int32)
    words = np.empty(len(units) + 16, dtype=np.int32)
    nexts = np.empty(len(units) + 16, dtype=np.int32)
    n_pairs, n_places = 0, 0
    for word in range(len(starts)):
        while n_pairs + sizes[word] > len(counts):
            keys, values = grown(keys, values)
            pair_keys, counts, heads = _twice(pair_keys), _twice(counts), _twice(heads)
        n_pairs, n_places = _enter_word(
            units, starts[word], sizes[word], weights[word], word, -1,
            keys, values, pair_keys, counts, heads, n_pairs, words, nexts, n_places,
        )  # fmt: skip
    return keys, values, pair_keys, counts, heads, n_pairs, words, nexts, n_places


@kernel
def _enter_word(
    units, begin, n, weight, word, new_id,
    keys, values, pair_keys, counts, heads, n_pairs, words, nexts, n_places,
):  # fmt: skip
    """Count a word's pairs, and note the word at those with `new_id`, or at all if that is -1.

    The arrays must have room for n pairs more. Returns how many pairs and occurrences there are.
    """
    for i in range(begin, begin + n - 1):
        key = pair_key(units[i], units[i + 1])
        slot = slot_of(keys, key)
        if keys[slot] != key:
            keys[slot] = key
            values[slot] = n_pairs
            pair_keys[n_pairs] = key
            counts[n_pairs] = 0
            heads[n_pairs] = -1
            n_pairs += 1
        number = values[slot]
        counts[number] += weight
        if new_id >= 0 and units[i] != new_id and units[i + 1] != new_id:
            continue
        if heads[number] < 0 or words[heads[number]] != word:
            words[n_places] = word
            nexts[n_places] = heads[number]
            heads[number] = n_places
            n_places += 1
    return n_pairs, n_places


@kernel
def _add_to_counts(units, begin, n, weight, keys, values, counts):
    """Add to the counts of a word's pairs."""
    for i in range(begin, begin + n - 1):
        counts[value_of(keys, values, pair_key(units[i], units[i + 1]))] += weight


@kernel
def _join(units, begin, n, left, right, new_id):
    """Put `new_id` for each pair in a word, from left to right; returns how many units are left."""
    read, write, stop = begin, begin, begin + n
    while read < stop:
        if units[read] == left and read + 1 < stop and units[read + 1] == right:
            units[write] = new_id
            read += 2
        else:
            units[write] = units[read]
            read += 1
        write += 1
    return write - begin


@kernel
def _take_best(firsts, seconds, size, keys, values, counts):
    """Take the most frequent pair off the heap: its number, or -1, and the heap's new size.

    Counts on the heap may be out of date, but only too high.
    """
    while size:
        count, key = -firsts[0], seconds[0]
        size = drop_top(firsts, seconds, size)
        number = np.int64(value_of(keys, values, key))
        if counts[number] == count and count > 0:
            return number, size
        if counts[number] > 0:
            size = push(firsts, seconds, size, -counts[number], key)
    return np.int64(-1), size


@kernel
def _twice(array):
    """The array with as much room again."""
    longer = np.empty(2 * len(array), dtype=array.dtype)
    for i in range(len(array)):  # a slice would have numba compile its error messages, for seconds
        longer[i] = array[i]
    return longer
