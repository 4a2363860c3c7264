"""Put a text's ids together from the ids of its words."""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.compiled.jit import kernel


@kernel
def gather(numbers, ids, ends):
    """The ids of each numbered word in turn, and the place behind each word's.

    numbers: (n_words,) int32; ids: (n_ids,) int32 and ends: (n_known + 1,) int64, the ids of word w
    being `ids[ends[w]:ends[w + 1]]` -> (n_tokens,) int32, (n_words + 1,) int64 that begins with 0
    """
    places = np.empty(len(numbers) + 1, dtype=np.int64)
    places[0] = 0
    for i in range(len(numbers)):
        word = numbers[i]
        places[i + 1] = places[i] + ends[word + 1] - ends[word]
    found = np.empty(places[-1], dtype=np.int32)
    for i in range(len(numbers)):
        first = ends[numbers[i]]
        at = places[i]
        for k in range(places[i + 1] - at):
            found[at + k] = ids[first + k]
    return found, places
