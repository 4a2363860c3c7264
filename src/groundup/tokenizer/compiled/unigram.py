"""Unigram, compiled: `unigram.Unigram.encode_word`, and the loops over a lattice that train one."""

from __future__ import annotations

import math

import numpy as np

from groundup.tokenizer.compiled.jit import kernel
from groundup.tokenizer.compiled.pair_table import pair_key, value_of
from groundup.tokenizer.compiled.trie import build_trie
from groundup.tokenizer.counts import CountedWords
from groundup.tokenizer.unigram import Floats, Lattice, TrainingSteps, Unigram, train_unigram

_NOTHING = -1
_UNKNOWN = -2  # in a path: an edge of one unknown unit


class UnigramSpeller:
    """Spells words as `model.encode_word` does."""

    def __init__(self, model: Unigram) -> None:
        self._model = model
        self._trie = build_trie([model.id_of])
        self._scores = np.array(model.scores, dtype=np.float64)
        self._byte_ids = np.array(model.byte_ids or [_NOTHING] * 256, dtype=np.int32)
        self._unk_id = _NOTHING if model.unk_id is None else model.unk_id

    def spell(
        self, arena: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids of words one after the other, and how many are each word's.

        arena: (n_bytes,) uint8; starts, lengths: (n_words,) -> (n_ids,) int32, (n_words,) int32
        """
        ids = np.empty(int(lengths.sum(dtype=np.int64)), dtype=np.int32)
        counts = np.empty(len(starts), dtype=np.int32)
        model = self._model
        n_ids, failed = spell(
            arena, starts, lengths, *self._trie, self._scores, model.unknown_score, self._unk_id,
            self._byte_ids, model.fuse_unk, model.units == "bytes", ids, counts,
        )  # fmt: skip
        if failed >= 0:
            start = starts[failed]
            model.encode_word(arena[start : start + lengths[failed]].tobytes())  # says what
        return ids[:n_ids], counts


def train_unigram_compiled(words: CountedWords, vocab_size: int) -> Unigram:
    """`unigram.train_unigram` on bytes; sums differ in the last bits only."""
    counts = dict(zip(words.words(), words.counts.tolist(), strict=True))
    return train_unigram(counts, vocab_size, steps=COMPILED)


@kernel
def _unit_end(arena, at, stop, by_bytes):
    """The place behind the unit that begins at `at`."""
    lead = arena[at]
    if by_bytes or lead < 0xC0:
        return at + 1
    width = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    return min(at + width, stop)


@kernel
def _find_path(
    arena, begin, stop, keys, values, id_at, scores, unknown_score, unk_id, by_bytes,
    best, last_id, last_start,
):  # fmt: skip
    """Viterbi over one word, nodes counted from `begin`; False for a unit nothing matches."""
    n = stop - begin
    best[0] = 0.0
    for node in range(1, n + 1):
        best[node] = -np.inf
    for start in range(n):
        if best[start] == -np.inf:  # inside a character
            continue
        unit_end = _unit_end(arena, begin + start, stop, by_bytes) - begin
        is_known = False
        node = np.int32(0)
        for end in range(start + 1, n + 1):
            node = value_of(keys, values, pair_key(node, arena[begin + end - 1]))
            if node < 0:
                break
            piece = id_at[node]
            if piece < 0:
                continue
            if end == unit_end:
                is_known = True
            score = best[start] + scores[piece]
            if score > best[end]:
                best[end], last_id[end], last_start[end] = score, piece, start
        score = best[start] + unknown_score
        if not is_known and score > best[unit_end]:
            if unk_id < 0:
                return False
            best[unit_end], last_id[unit_end], last_start[unit_end] = score, _UNKNOWN, start
    return True


@kernel
def _spell_unknown(arena, begin, stop, keys, values, id_at, unk_id, byte_ids, ids, n_ids):
    """Write the ids of a run of unknown units; returns the new number of ids."""
    node = np.int32(0)
    at = begin
    while at < stop and node >= 0:
        node = value_of(keys, values, pair_key(node, arena[at]))
        at += 1
    if node >= 0 and id_at[node] >= 0:
        ids[n_ids] = id_at[node]
        return n_ids + 1
    if byte_ids[0] >= 0:
        for i in range(begin, stop):
            ids[n_ids] = byte_ids[arena[i]]
            n_ids += 1
        return n_ids
    ids[n_ids] = unk_id
    return n_ids + 1


@kernel
def spell(
    arena, starts, lengths, keys, values, id_at, scores, unknown_score, unk_id,
    byte_ids, fuse_unk, by_bytes, ids, counts,
):  # fmt: skip
    """Spell each word: the number of all ids, and the word that cannot be spelled or -1."""
    longest = 0
    for length in lengths:
        longest = max(longest, length)
    best = np.empty(longest + 1, dtype=np.float64)
    last_id = np.empty(longest + 1, dtype=np.int32)
    last_start = np.empty(longest + 1, dtype=np.int64)
    path = np.empty(longest + 1, dtype=np.int64)
    n_ids = 0
    for word in range(len(starts)):
        first = n_ids
        begin, stop = starts[word], starts[word] + lengths[word]
        found = _find_path(
            arena, begin, stop, keys, values, id_at, scores, unknown_score, unk_id, by_bytes,
            best, last_id, last_start,
        )  # fmt: skip
        if not found:
            return n_ids, word
        n_path = 0
        node = lengths[word]
        while node > 0:  # the ends of the path's edges, the last first
            path[n_path] = node
            n_path += 1
            node = last_start[node]
        run = np.int64(-1)  # where the run of unknown units began
        for i in range(n_path - 1, -1, -1):
            end = path[i]
            if last_id[end] == _UNKNOWN and fuse_unk:
                if run < 0:
                    run = begin + last_start[end]
                continue
            if run >= 0:
                n_ids = _spell_unknown(
                    arena, run, begin + last_start[end], keys, values, id_at, unk_id, byte_ids,
                    ids, n_ids,
                )  # fmt: skip
                run = np.int64(-1)
            if last_id[end] == _UNKNOWN:
                n_ids = _spell_unknown(
                    arena, begin + last_start[end], begin + end, keys, values, id_at, unk_id,
                    byte_ids, ids, n_ids,
                )  # fmt: skip
            else:
                ids[n_ids] = last_id[end]
                n_ids += 1
        if run >= 0:
            n_ids = _spell_unknown(
                arena, run, stop, keys, values, id_at, unk_id, byte_ids, ids, n_ids
            )
        counts[word] = n_ids - first
    return n_ids, -1


# --- training -------------------------------------------------------------------------------------


def expected_counts_compiled(lattice: Lattice, scores: Floats) -> tuple[Floats, float]:
    """`unigram.expected_counts`."""
    found: tuple[Floats, float] = add_up_paths(
        lattice.word_starts, lattice.word_counts, lattice.edges_into, lattice.edge_starts,
        lattice.edge_pieces, scores,
    )  # fmt: skip
    return found


def losses_compiled(lattice: Lattice, scores: Floats) -> Floats:
    """`unigram.losses`."""
    found: Floats = lose_each(
        lattice.word_starts, lattice.word_counts, lattice.edges_into, lattice.edge_starts,
        lattice.edge_pieces, lattice.piece_starts, lattice.piece_lengths, scores,
    )  # fmt: skip
    return found


@kernel
def add_up_paths(word_starts, word_counts, edges_into, edge_starts, edge_pieces, scores):
    """Expected counts of all pieces, and the log likelihood of the words."""
    expected = np.zeros(len(scores), dtype=np.float64)
    forward = np.zeros(word_starts[-1], dtype=np.float64)
    arrived = np.zeros(word_starts[-1], dtype=np.float64)
    shares = np.empty(len(edge_starts), dtype=np.float64)
    log_likelihood = 0.0
    for word in range(len(word_counts)):
        first, last = word_starts[word], word_starts[word + 1] - 1
        for node in range(first + 1, last + 1):
            highest = -np.inf
            for edge in range(edges_into[node], edges_into[node + 1]):
                shares[edge] = forward[edge_starts[edge]] + scores[edge_pieces[edge]]
                highest = max(highest, shares[edge])
            total = 0.0
            for edge in range(edges_into[node], edges_into[node + 1]):
                shares[edge] = math.exp(shares[edge] - highest)
                total += shares[edge]
            forward[node] = highest + math.log(total)
            for edge in range(edges_into[node], edges_into[node + 1]):
                shares[edge] /= total
        arrived[last] = 1.0
        for node in range(last, first, -1):
            for edge in range(edges_into[node], edges_into[node + 1]):
                share = shares[edge] * arrived[node]
                arrived[edge_starts[edge]] += share
                expected[edge_pieces[edge]] += share * word_counts[word]
        log_likelihood += word_counts[word] * forward[last]
    return expected, log_likelihood


@kernel
def _best_edges(first, last, edges_into, edge_starts, edge_pieces, scores, split, best, last_edge):
    """Viterbi from one node to a later one, all that lies before the first passed over."""
    best[first] = 0.0
    for node in range(first + 1, last + 1):
        best[node] = -np.inf
        last_edge[node] = -1
        for edge in range(edges_into[node], edges_into[node + 1]):
            start = edge_starts[edge]
            if start < first or (split and node == last and start == first):
                continue
            score = best[start] + scores[edge_pieces[edge]]
            if score > best[node]:
                best[node] = score
                last_edge[node] = edge


@kernel
def lose_each(
    word_starts, word_counts, edges_into, edge_starts, edge_pieces, piece_starts, piece_lengths,
    scores,
):  # fmt: skip
    """The loss of each piece."""
    n_nodes = word_starts[-1]
    best = np.empty(n_nodes, dtype=np.float64)
    last_edge = np.full(n_nodes, -1, dtype=np.int64)
    occurrences = np.zeros(len(scores), dtype=np.float64)
    for word in range(len(word_counts)):
        first, node = word_starts[word], word_starts[word + 1] - 1
        _best_edges(
            first, node, edges_into, edge_starts, edge_pieces, scores, False, best, last_edge
        )
        while node > first:
            occurrences[edge_pieces[last_edge[node]]] += word_counts[word]
            node = edge_starts[last_edge[node]]
    total = occurrences.sum()
    loss = np.full(len(scores), -np.inf)
    for piece in range(len(scores)):
        n = occurrences[piece]
        if n == 0 or piece_lengths[piece] == 1:
            continue
        first = piece_starts[piece]
        node = first + piece_lengths[piece]
        _best_edges(
            first, node, edges_into, edge_starts, edge_pieces, scores, True, best, last_edge
        )
        n_path = 0
        logs = 0.0
        while node > first:
            edge = last_edge[node]
            logs += math.log(occurrences[edge_pieces[edge]] + n)
            n_path += 1
            node = edge_starts[edge]
        after_total = total + n * (n_path - 1)
        loss[piece] = n * (math.log(n / total) - logs + n_path * math.log(after_total))
    return loss


COMPILED = TrainingSteps(expected_counts_compiled, losses_compiled)
