"""Packing by cropping: every row begins with a document and is full.

The idea is that of nanochat's data loader (Karpathy 2025), which keeps a buffer of documents, puts
the largest that fits into the row again and again, and crops the shortest when none fits. Here the
buffer is the whole corpus, and what is cropped is known before training.
"""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.compiled.jit import kernel


def pack_cropping(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of whole documents, each filled up with the beginning of one more.

    lengths: (n,) from 1 -> which documents in the order of their places, (n,); the row of each,
    ascending, (n,); how much of each is kept, (n,). Into a row goes the longest document that fits
    into its space, over and over. When none fits, the shortest of those left is cut to the space,
    and its rest is never seen. Documents longer than a row are therefore the last to be used. Only
    the last row may have space left. Among equal lengths the first document comes first.

    >>> document, row, kept = pack_cropping(np.array([5, 3, 6, 2, 4]), 8)   # 6+2, 5+3, 4
    >>> document.tolist(), row.tolist(), kept.tolist()
    ([2, 3, 0, 1, 4], [0, 0, 1, 1, 2], [6, 2, 5, 3, 4])
    >>> [column.tolist() for column in pack_cropping(np.array([5, 6, 7]), 8)]   # 7 + 1 of 5, 6
    [[2, 0, 1], [0, 0, 1], [7, 1, 6]]
    """
    order = np.argsort(lengths, kind="stable")
    n_of_length = np.bincount(np.minimum(lengths, capacity + 1), minlength=capacity + 2)
    begins = np.cumsum(n_of_length) - n_of_length
    place, row, kept = _place(lengths[order].astype(np.int64), begins, n_of_length, capacity)
    return order[place], row, kept


@kernel
def _place(lengths, begins, n_of_length, capacity):  # type: ignore[no-untyped-def]
    """Places in the ascending `lengths`, (n,), their rows and how much of each is kept.

    Documents of length l stand at begins[l] and on, those longer than a row at
    begins[capacity + 1]; they are taken from the front. No length is ever refilled, so below[l],
    where to look when l is used up, only moves down, past what is used up as well (a union-find).
    """
    n = len(lengths)
    place, row, kept = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    next_of = begins.copy()
    below = np.maximum(np.arange(capacity + 2) - 1, 0)
    shortest, space, current = 1, capacity, 0
    for step in range(n):
        while (
            shortest <= capacity and next_of[shortest] == begins[shortest] + n_of_length[shortest]
        ):
            shortest += 1
        length = space
        while length > 0 and next_of[length] == begins[length] + n_of_length[length]:
            lower = below[length]
            if next_of[lower] == begins[lower] + n_of_length[lower]:
                below[length] = below[lower]
            length = lower
        if length == 0:
            length = shortest
        at = next_of[length]
        next_of[length] = at + 1
        taken = min(lengths[at], space)
        place[step], row[step], kept[step] = at, current, taken
        space -= taken
        if space == 0:
            space, current = capacity, current + 1
    return place, row, kept
