"""The words of a text with every piece that lies in them, and the two loops over it.

`expected_counts` is what estimating probabilities asks for, `losses` what taking out pieces does.
Called by `trainer.py`; `compiled/unigram.py` has the same two loops, faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Every piece as it lies in every word.

    Nodes are numbered through all the words: a word of n units has n + 1. Edges are sorted by the
    node they end at, and those by the node they start at.

    word_starts   (n_words + 1) the first node of each word, and where the next would start
    word_counts   (n_words) how often the text has the word
    edges_into    (n_nodes + 1) edges edges_into[i] to edges_into[i + 1] - 1 end at node i
    edge_starts   (n_edges) the node that each edge starts at
    edge_pieces   (n_edges) the piece that each edge is
    piece_starts  (n_pieces) a node at which the piece starts somewhere
    piece_lengths (n_pieces) its units; pieces of one unit are always kept
    """

    word_starts: Ints
    word_counts: Ints
    edges_into: Ints
    edge_starts: Ints
    edge_pieces: Ints
    piece_starts: Ints
    piece_lengths: Ints

    @classmethod
    def of_edges(
        cls,
        word_starts: Ints,
        word_counts: Ints,
        edge_starts: Ints,
        edge_pieces: Ints,
        piece_lengths: Ints,
    ) -> Lattice:
        """The lattice of edges in any order; each piece must be among them."""
        edge_ends = edge_starts + piece_lengths[edge_pieces]
        order = np.lexsort((edge_starts, edge_ends))
        piece_starts = np.empty_like(piece_lengths)
        piece_starts[edge_pieces] = edge_starts
        return cls(
            word_starts=word_starts,
            word_counts=word_counts,
            edges_into=np.searchsorted(edge_ends[order], np.arange(word_starts[-1] + 1)),
            edge_starts=edge_starts[order],
            edge_pieces=edge_pieces[order],
            piece_starts=piece_starts,
            piece_lengths=piece_lengths,
        )

    def keep(self, pieces: Ints) -> Lattice:
        """The lattice of these pieces alone, which are numbered anew in this order."""
        new_id = np.full(len(self.piece_starts), -1)
        new_id[pieces] = np.arange(len(pieces))
        edge_pieces = new_id[self.edge_pieces]
        stays = edge_pieces >= 0
        n_before = np.concatenate([[0], np.cumsum(stays)])
        return Lattice(
            word_starts=self.word_starts,
            word_counts=self.word_counts,
            edges_into=n_before[self.edges_into],
            edge_starts=self.edge_starts[stays],
            edge_pieces=edge_pieces[stays],
            piece_starts=self.piece_starts[pieces],
            piece_lengths=self.piece_lengths[pieces],
        )

    def stretch(self, first: int, last: int) -> tuple[slice, list[int], list[int]]:
        """The edges into nodes `first + 1` to `last`, as the loops below take them.

        Gives which edges they are, and edges_into and edge_starts counted from `first`; an edge
        that starts before `first` has a negative start.
        """
        edges = slice(int(self.edges_into[first + 1]), int(self.edges_into[last + 1]))
        into = self.edges_into[first : last + 2] - edges.start
        into[0] = 0
        return edges, into.tolist(), (self.edge_starts[edges] - first).tolist()


def expected_counts(lattice: Lattice, scores: Floats) -> tuple[Floats, float]:
    """The expectation step: how often each piece occurs, over all cuts of all words.

    Each cut counts as much as it is probable. Also gives the words' log likelihood.
    """
    edge_scores = scores[lattice.edge_pieces]
    edge_counts = np.empty_like(edge_scores)
    log_likelihood = 0.0
    bounds = pairwise(lattice.word_starts.tolist())
    for (first, after), count in zip(bounds, lattice.word_counts.tolist(), strict=True):
        edges, into, starts = lattice.stretch(first, after - 1)
        shares, log_probability = forward_backward(into, starts, edge_scores[edges].tolist())
        edge_counts[edges] = shares
        edge_counts[edges] *= count
        log_likelihood += count * log_probability
    return sum_by(lattice.edge_pieces, edge_counts, len(scores)), log_likelihood


def forward_backward(
    edges_into: Sequence[int], edge_starts: Sequence[int], edge_scores: Sequence[float]
) -> tuple[list[float], float]:
    """How probable it is that each edge is on the path, and the log probability of all paths.

    Forward: the probability of a node is the sum over the edges into it; each edge's part of that
    sum is its share. Backward: one path arrives at the last node; each node hands what arrived on
    to the edges into it, by their shares.

    `ab` with the pieces a, b (1/4 each) and ab (1/2): `a b` has 1/16, `ab` has 8/16, of 9/16.

    >>> shares, log_probability = forward_backward(
    ...     [0, 0, 1, 3], [0, 0, 1], [math.log(1/4), math.log(1/2), math.log(1/4)])
    >>> [round(9 * share, 12) for share in shares], round(16 * math.exp(log_probability), 12)
    ([1.0, 8.0, 1.0], 9.0)
    """
    last = len(edges_into) - 2
    forward = [0.0] * (last + 1)
    shares = [0.0] * len(edge_scores)
    for node in range(1, last + 1):
        edges = slice(edges_into[node], edges_into[node + 1])
        starts_and_scores = zip(edge_starts[edges], edge_scores[edges], strict=True)
        paths = [forward[start] + score for start, score in starts_and_scores]
        highest = max(paths)
        weights = [math.exp(path - highest) for path in paths]  # of the largest, so none overflows
        total = sum(weights)
        forward[node] = highest + math.log(total)
        shares[edges] = [weight / total for weight in weights]
    arrived = [0.0] * last + [1.0]
    for node in range(last, 0, -1):
        for edge in range(edges_into[node], edges_into[node + 1]):
            shares[edge] *= arrived[node]
            arrived[edge_starts[edge]] += shares[edge]
    return shares, forward[last]


def losses(lattice: Lattice, scores: Floats) -> Floats:
    """About how much log likelihood the words lose if a piece is taken out, for each piece.

    Each word is taken to be cut the best way, and each occurrence of the piece to be replaced by
    the best other cut of the piece, the `alternative`. With n occurrences of the piece among N, and
    m_i of the alternative's k pieces:

        loss = n (log(n / N) - sum over i of log((m_i + n) / (N + n (k - 1))))

    A piece that no word's best cut has loses nothing by going, and is given -inf: it goes first. So
    are the units, which never go.

    `ab` eight times, `a` and `b` once each: 8 of the 10 pieces are ab. Without it, 9 of 18 are a
    and 9 of 18 are b, so the loss is 8 log(8/10) - 16 log(9/18).

    >>> lattice = Lattice.of_edges(
    ...     word_starts=np.array([0, 2, 5, 7]),  # of the words a, ab, b, and behind them
    ...     word_counts=np.array([1, 8, 1]),
    ...     edge_starts=np.array([0, 2, 3, 2, 5]),
    ...     edge_pieces=np.array([0, 0, 1, 2, 1]),  # a; a and b and ab; b
    ...     piece_lengths=np.array([1, 1, 2]))
    >>> losses(lattice, np.log([1/4, 1/4, 1/2])).round(3)
    array([ -inf,  -inf, 9.305])
    >>> round(8 * math.log(8 / 10) - 16 * math.log(9 / 18), 3)
    9.305
    """
    edge_scores = scores[lattice.edge_pieces]
    occurrences = np.zeros(len(scores))
    bounds = pairwise(lattice.word_starts.tolist())
    for (first, after), count in zip(bounds, lattice.word_counts.tolist(), strict=True):
        edges, into, starts = lattice.stretch(first, after - 1)
        path = best_path(into, starts, edge_scores[edges].tolist())
        np.add.at(occurrences, lattice.edge_pieces[edges][path], count)
    total = occurrences.sum()
    loss = np.full(len(scores), -math.inf)
    for piece in np.flatnonzero((occurrences > 0) & (lattice.piece_lengths > 1)).tolist():
        first, n_units = int(lattice.piece_starts[piece]), int(lattice.piece_lengths[piece])
        edges, into, starts = lattice.stretch(first, first + n_units)
        path = best_path(into, starts, edge_scores[edges].tolist(), split=True)
        n = occurrences[piece]
        alternative = occurrences[lattice.edge_pieces[edges][path]] + n
        after_total = total + n * (len(path) - 1)
        loss[piece] = n * (math.log(n / total) - np.log(alternative / after_total).sum())
    return loss


def best_path(
    edges_into: Sequence[int],
    edge_starts: Sequence[int],
    edge_scores: Sequence[float],
    *,
    split: bool = False,
) -> list[int]:
    """Viterbi: the edges of the best path from node 0 to the last; `split`: of two or more edges.

    Edges that start before node 0 are passed over.

    With the scores of `forward_backward`'s example, `ab`, and the best that is not whole:

    >>> scores = [math.log(1/4), math.log(1/2), math.log(1/4)]
    >>> best_path([0, 0, 1, 3], [0, 0, 1], scores)
    [1]
    >>> best_path([0, 0, 1, 3], [0, 0, 1], scores, split=True)
    [0, 2]
    """
    last = len(edges_into) - 2
    best = [0.0] + [-math.inf] * last
    last_edge = [-1] * (last + 1)
    for node in range(1, last + 1):
        for edge in range(edges_into[node], edges_into[node + 1]):
            start = edge_starts[edge]
            if start < 0 or (split and node == last and start == 0):
                continue
            score = best[start] + edge_scores[edge]
            if score > best[node]:
                best[node], last_edge[node] = score, edge
    path: list[int] = []
    node = last
    while node > 0:
        path.append(last_edge[node])
        node = edge_starts[last_edge[node]]
    return path[::-1]


def sum_by(group: Ints, weights: NDArray[np.generic], n_groups: int = 0) -> Floats:
    """The sum of each group's weights: (n_groups)."""
    return np.bincount(group, weights, n_groups).astype(np.float64, copy=False)
