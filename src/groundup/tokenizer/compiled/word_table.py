"""A table of distinct words: which word each stretch of a text is, exactly, and how often it came.

Training counts with it, and encoding spells only the words that are new to it. It is an
open-addressing hash table in plain arrays. Words of up to 16 bytes are their own keys; longer ones
are kept in an arena of bytes and compared byte by byte, so no two words are ever taken for one.
"""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.compiled.jit import kernel

_INLINE = 16  # bytes of a word that fit in its two keys


class WordTable:
    """Distinct words, numbered from 0 in the order in which they were first met.

    >>> table = WordTable()
    >>> text = np.frombuffer(b"to be or to be" + bytes(16), dtype=np.uint8)
    >>> table.intern(text, 0, np.array([2, 5, 8, 11, 14])).tolist()
    [0, 1, 2, 3, 1]
    >>> table.words()
    [b'to', b' be', b' or', b' to']
    """

    def __init__(self, capacity: int = 1 << 14) -> None:
        self.n_words, self.n_bytes = 0, 0
        self._slots = np.full(2 * capacity, -1, dtype=np.int32)
        self._keys = np.empty((capacity, 2), dtype=np.uint64)
        self._hashes = np.empty(capacity, dtype=np.uint32)
        self._lengths = np.empty(capacity, dtype=np.int32)
        self._starts = np.empty(capacity, dtype=np.int64)
        self._arena = np.empty(capacity * 16, dtype=np.uint8)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the table holds."""
        arrays = (self._slots, self._keys, self._hashes, self._lengths, self._starts, self._arena)
        return sum(array.nbytes for array in arrays)

    def intern(self, text: np.ndarray, begin: int, ends: np.ndarray) -> np.ndarray:
        """The number of each word of a text, new words entered.

        text: (n_bytes,) uint8, with at least 16 bytes behind the last word; ends: (n_words,) int64,
        the place behind each word, the first of which begins at `begin` -> (n_words,) int32
        """
        numbers = np.empty(len(ends), dtype=np.int32)
        done = 0
        while True:
            done, begin, self.n_words, self.n_bytes = intern(
                text, begin, ends, done, numbers,
                self._slots, self._keys, self._hashes, self._lengths, self._starts, self._arena,
                self.n_words, self.n_bytes,
            )  # fmt: skip
            if done == len(ends):
                return numbers
            self._grow(int(ends[done]) - begin)

    def words(self) -> list[bytes]:
        """All words, by number."""
        arena = self._arena.tobytes()
        starts, lengths = self._starts[: self.n_words], self._lengths[: self.n_words]
        return [
            arena[start : start + length]
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]

    def spelled(self, first: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Words from number `first` on: the arena of bytes, where each begins, how long it is."""
        return self._arena, self._starts[first : self.n_words], self._lengths[first : self.n_words]

    def _grow(self, n_bytes: int) -> None:
        """Make room for a word of `n_bytes`: for twice as many words, or bytes."""
        if self.n_words == len(self._lengths):
            capacity = 2 * len(self._lengths)
            self._keys = _longer(self._keys, capacity)
            self._hashes = _longer(self._hashes, capacity)
            self._lengths = _longer(self._lengths, capacity)
            self._starts = _longer(self._starts, capacity)
            self._slots = np.full(2 * capacity, -1, dtype=np.int32)
            place_again(self._slots, self._hashes, self.n_words)
        if self.n_bytes + n_bytes > len(self._arena):
            self._arena = _longer(self._arena, max(2 * len(self._arena), self.n_bytes + n_bytes))


def _longer(array: np.ndarray, length: int) -> np.ndarray:
    longer = np.empty((length, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


@kernel
def _eight_bytes(text, at):
    """Eight bytes as one number, the first the lowest; LLVM makes one load of it."""
    return (
        np.uint64(text[at])
        | (np.uint64(text[at + 1]) << np.uint64(8))
        | (np.uint64(text[at + 2]) << np.uint64(16))
        | (np.uint64(text[at + 3]) << np.uint64(24))
        | (np.uint64(text[at + 4]) << np.uint64(32))
        | (np.uint64(text[at + 5]) << np.uint64(40))
        | (np.uint64(text[at + 6]) << np.uint64(48))
        | (np.uint64(text[at + 7]) << np.uint64(56))
    )


@kernel
def _mix(a, b):
    """A 64-bit hash of two numbers (the finisher of MurmurHash3, Appleby 2011)."""
    h = a ^ (b * np.uint64(0x9E3779B97F4A7C15))
    h ^= h >> np.uint64(32)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(32))


@kernel
def _keys_of(text, begin, length):
    """Two numbers: up to 16 bytes, the word itself; beyond, a hash of 128 bits."""
    if length <= 8:
        low = _eight_bytes(text, begin)
        if length < 8:
            low &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
        return low, np.uint64(0)
    low = _eight_bytes(text, begin)
    high = _eight_bytes(text, begin + 8)
    if length < 16:
        high &= (np.uint64(1) << np.uint64(8 * (length - 8))) - np.uint64(1)
    at = begin + 16
    end = begin + length
    while at < end:
        more = _eight_bytes(text, at)
        if end - at < 8:
            more &= (np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1)
        low = _mix(low, more)
        high = (high ^ more) * np.uint64(0x9FB21C651E98DF25)
        high ^= high >> np.uint64(31)
        at += 8
    return low, high


@kernel
def _same_bytes(text, begin, arena, start, length):
    for i in range(length):
        if text[begin + i] != arena[start + i]:
            return False
    return True


@kernel
def intern(
    text, begin, ends, done, numbers,
    slots, keys, hashes, lengths, starts, arena, n_words, n_bytes,
):  # fmt: skip
    """`WordTable.intern` until it is done or has no room: (words done, begin, n_words, n_bytes)."""
    mask = np.uint32(len(slots) - 1)
    for index in range(done, len(ends)):
        length = ends[index] - begin
        low, high = _keys_of(text, begin, length)
        hashed = np.uint32(_mix(low ^ np.uint64(length), high) & np.uint64(0xFFFFFFFF))
        slot = hashed & mask
        found = -1
        while slots[slot] >= 0:
            word = slots[slot]
            if (
                keys[word, 0] == low
                and keys[word, 1] == high
                and lengths[word] == length
                and (length <= _INLINE or _same_bytes(text, begin, arena, starts[word], length))
            ):
                found = word
                break
            slot = (slot + np.uint32(1)) & mask
        if found < 0:
            if n_words == len(lengths) or n_bytes + length > len(arena):
                return index, begin, n_words, n_bytes
            found = n_words
            slots[slot] = found
            keys[found, 0] = low
            keys[found, 1] = high
            hashes[found] = hashed
            lengths[found] = length
            starts[found] = n_bytes
            for i in range(length):
                arena[n_bytes + i] = text[begin + i]
            n_words += 1
            n_bytes += length
        numbers[index] = found
        begin = ends[index]
    return len(ends), begin, n_words, n_bytes


@kernel
def place_again(slots, hashes, n_words):
    """Fill the empty `slots` of a grown table."""
    mask = np.uint32(len(slots) - 1)
    for word in range(n_words):
        slot = hashes[word] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint32(1)) & mask
        slots[slot] = word
