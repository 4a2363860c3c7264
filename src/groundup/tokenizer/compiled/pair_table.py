"""A hash table from pairs of ids to a number, in two arrays whose length is a power of two."""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.compiled.jit import kernel

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def empty_table(capacity):
    """Keys and values of a table with at least `capacity` slots."""
    size = 16
    while size < capacity:
        size *= 2
    keys = np.empty(size, dtype=np.uint64)
    keys[:] = _EMPTY
    return keys, np.zeros(size, dtype=np.int32)


@kernel
def pair_key(left, right):
    """Two ids as one number, which sorts as the pair does."""
    return (np.uint64(left) << np.uint64(32)) | np.uint64(right)


@kernel
def slot_of(keys, key):
    """Where a key is, or the empty slot where it would go."""
    mask = np.uint64(len(keys) - 1)
    hashed = key * np.uint64(0x9E3779B97F4A7C15)
    slot = (hashed ^ (hashed >> np.uint64(32))) & mask
    while keys[slot] != key and keys[slot] != _EMPTY:
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def value_of(keys, values, key):
    """The number of a key, or -1."""
    slot = slot_of(keys, key)
    if keys[slot] == key:
        return values[slot]
    return np.int32(-1)


@kernel
def grown(keys, values):
    """The same table with twice the slots."""
    new_keys, new_values = empty_table(2 * len(keys))
    for old in range(len(keys)):
        if keys[old] != _EMPTY:
            slot = slot_of(new_keys, keys[old])
            new_keys[slot] = keys[old]
            new_values[slot] = values[old]
    return new_keys, new_values


@kernel
def filled_table(lefts, rights):
    """The table that gives each pair its place; of equal pairs the last place counts."""
    keys, values = empty_table(2 * len(lefts) + 1)
    for place in range(len(lefts)):
        key = pair_key(lefts[place], rights[place])
        slot = slot_of(keys, key)
        keys[slot] = key
        values[slot] = place
    return keys, values
