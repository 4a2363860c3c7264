"""WordPiece, compiled: `wordpiece.WordPiece.encode_word` over arrays."""

from __future__ import annotations

import numpy as np

from groundup.tokenizer.bpe import CHARACTER_OF_ID, ID_OF_BYTE, N_BYTES
from groundup.tokenizer.compiled.bpe import learn_merges
from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.compiled.pair_table import pair_key, value_of
from groundup.tokenizer.compiled.trie import build_trie
from groundup.tokenizer.counts import CountedWords
from groundup.tokenizer.wordpiece import PREFIXES, WordPiece


class WordPieceSpeller:
    """Spells words as `model.encode_word` does."""

    def __init__(self, model: WordPiece) -> None:
        self._model = model
        self._trie = build_trie([model.start_ids, model.inside_ids])
        self._unk_id = -1 if model.unk_id is None else model.unk_id
        limit = model.max_word_chars
        self._max_characters = np.iinfo(np.int64).max if limit is None else limit

    def spell(
        self, arena: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of words one after the other, and how many are each word's.

        arena: (n_bytes,) uint8; starts, lengths: (n_words,) -> (n_ids,) int32, (n_words,) int32
        """
        ids = np.empty(int(lengths.sum(dtype=np.int64)), dtype=np.int32)
        counts = np.empty(len(starts), dtype=np.int32)
        n_ids, failed = spell(
            arena, starts, lengths, *self._trie, self._unk_id, self._max_characters,
            self._model.units == "bytes", ids, counts,
        )  # fmt: skip
        if failed >= 0:
            start = starts[failed]
            self._model.encode_word(arena[start : start + lengths[failed]].tobytes())  # says it
        return ids[:n_ids], counts


def train_wordpiece_compiled(words: CountedWords, n_pieces: int) -> WordPiece:
    """`wordpiece.train_wordpiece` on bytes, the same pieces.

    There, pairs join to a spelling that none had before, so byte-pair encoding's loop does it.

    >>> words = CountedWords.of([b"low", b"lower", b"newest", b"widest"], [5, 2, 6, 3])
    >>> model = train_wordpiece_compiled(words, 516)
    >>> [model.spelling(i) for i in range(512, 516)]
    ['…es', '…est', 'lo', 'low']
    """
    is_start = np.zeros(len(words.text), dtype=np.bool_)
    is_start[words.ends - words.lengths] = True
    units = np.array(ID_OF_BYTE, dtype=np.int32)[words.text]
    units[~is_start] += N_BYTES
    lengths, weights = words.lengths.astype(np.int64), words.counts.astype(np.int64)
    merges = learn_merges(units, lengths, weights, 2 * N_BYTES, n_pieces - 2 * N_BYTES)
    prefix = PREFIXES["bytes"]
    spellings = [*CHARACTER_OF_ID, *(prefix + character for character in CHARACTER_OF_ID)]
    for left, right in merges.tolist():
        spellings.append(spellings[left] + spellings[right].removeprefix(prefix))
    return WordPiece.from_spellings(spellings, units="bytes")


@kernel
def spell(
    arena, starts, lengths, keys, values, id_at, unk_id, max_characters, by_bytes, ids, counts
):  # fmt: skip
    """Spell each word: the number of all ids, and the word that cannot be spelled or -1."""
    n_ids = 0
    for word in range(len(starts)):
        first = n_ids
        at, stop = starts[word], starts[word] + lengths[word]
        n_characters = 0
        for i in range(at, stop):
            n_characters += by_bytes or (arena[i] & 0xC0) != 0x80
        fits = n_characters <= max_characters
        node = np.int32(0)  # the root of pieces that start a word
        while fits and at < stop:
            found, end = np.int32(-1), at
            reading = at
            while reading < stop:
                node = value_of(keys, values, pair_key(node, arena[reading]))
                if node < 0:
                    break
                reading += 1
                if id_at[node] >= 0:
                    found, end = id_at[node], reading
            if found < 0:
                fits = False
            else:
                ids[n_ids] = found
                n_ids += 1
                at = end
                node = np.int32(1)  # the root of those that continue one
        if not fits:
            if unk_id < 0:
                return n_ids, word
            n_ids = first
            ids[n_ids] = unk_id
            n_ids += 1
        counts[word] = n_ids - first
    return n_ids, -1
