"""A binary heap of (first, second) pairs of numbers in two arrays, the smallest on top."""

from __future__ import annotations

from groundup.tokenizer.compiled.jit import kernel


@kernel
def push(firsts, seconds, size, first, second):
    """Put a pair on a heap of `size` pairs, which must have room; returns the new size."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if firsts[parent] < first or (firsts[parent] == first and seconds[parent] <= second):
            break
        firsts[at] = firsts[parent]
        seconds[at] = seconds[parent]
        at = parent
    firsts[at] = first
    seconds[at] = second
    return size + 1


@kernel
def drop_top(firsts, seconds, size):
    """Take the pair at index 0 off a heap; returns the new size."""
    size -= 1
    first, second = firsts[size], seconds[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            firsts[right] < firsts[child]
            or (firsts[right] == firsts[child] and seconds[right] < seconds[child])
        ):
            child = right
        if first < firsts[child] or (first == firsts[child] and second <= seconds[child]):
            break
        firsts[at] = firsts[child]
        seconds[at] = seconds[child]
        at = child
    firsts[at] = first
    seconds[at] = second
    return size
