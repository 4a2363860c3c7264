"""Learn a Unigram vocabulary: begin with every substring that repeats, estimate, take out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundup.runtime import TokenizerError
from groundup.tokenizer.unigram.lattice import (
    Floats,
    Ints,
    Lattice,
    expected_counts,
    losses,
    sum_by,
)
from groundup.tokenizer.unigram.model import Unigram, Units

# A piece expected less often than this is dropped. SentencePiece, unigram_model_trainer.cc.
_LEAST_EXPECTED = 0.5
# A unit is never dropped, and taken to be expected once at least: another text may have it.
_LEAST_OF_UNITS = 1.0
# Pruning leaves this many times the vocabulary; the best of it are kept. SentencePiece, the same.
_OVERSHOOT = 1.1
_FEWEST = 2  # what occurs once does not repeat
_END = 0  # the unit that stands after each word's last


@dataclass(frozen=True)
class UnigramTraining:
    """How pieces are found and taken out; the defaults but for `least_count` are SentencePiece's.

    max_piece_length  units of the longest piece
    least_count       how often the text has a seed at least; if too few are so frequent, 2. Others
                      take 2, but what occurs twice fits the text learnt from, hardly any other
    n_seeds           pieces to begin with, at most
    n_em_steps        estimates of the probabilities between two prunings
    keep_share        share of the pieces that one pruning leaves
    like              whose choices where the two trainers differ. `hugging_face` counts a substring
                      once for each distinct word that has it, not as often as the text does, takes
                      all that repeat (`least_count` is 2) but those that only end words, and when
                      few pieces are left keeps those of the largest loss, not the most probable.
                      Its vocabularies cut text into more tokens; it is here so that the rest can be
                      compared
    """

    max_piece_length: int = 16
    least_count: int = 3
    n_seeds: int = 1_000_000
    n_em_steps: int = 2
    keep_share: float = 0.75
    like: Literal["sentencepiece", "hugging_face"] = "sentencepiece"

    def __post_init__(self) -> None:
        for name in ("max_piece_length", "least_count", "n_seeds", "n_em_steps"):
            if getattr(self, name) < 1:
                raise TokenizerError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.keep_share < 1:
            raise TokenizerError(f"keep_share={self.keep_share} must lie between 0 and 1; try 0.75")


def train_unigram(
    counts: Mapping[bytes, int],
    vocab_size: int,
    *,
    units: Units = "bytes",
    alphabet: Sequence[bytes] = (),
    training: UnigramTraining | None = None,
    steps: TrainingSteps | None = None,
) -> Unigram:
    """Learn `vocab_size` pieces and their scores from counted words.

    With units="bytes" all 256 bytes are pieces and nothing is unknown. With "characters" every
    character of the words is a piece, and id 0 is the unknown. `alphabet` names units that are
    pieces whether the words have them or not. Ids follow the scores, the most probable first.
    Fewer pieces come back when the words have fewer substrings that repeat. The order of `counts`
    does not matter. `steps` are the loops that do the work; None takes those of `lattice.py`.

    By hand, for `ab` eight times, `a` and `b` once each. Every unit is a seed, and `ab`, which
    repeats; each has the share of the text that it covers: 9, 9 and 8 * 2 of 34.

    >>> lattice, scores = find_seeds(["a", "ab", "b"], np.array([1, 8, 1]), UnigramTraining())
    >>> (34 * np.exp(scores)).round(9)
    array([ 9.,  9., 16.])

    Estimate: `ab` is `a b` with probability 9/34 * 9/34 = 81/1156, or whole with 16/34 = 544/1156.
    So 544 of 625 are whole: 8 * 544/625 = 6.96 in all, while `a` and `b` are expected 1 + 8 *
    81/625 = 2.04 times each. Over their sum, and but for `maximise`'s digamma, these counts are the
    next probabilities (Kudo 2018, section 3.2). Two such steps, then:

    >>> expected_counts(lattice, scores)[0].round(2)
    array([2.04, 2.04, 6.96])

    Take out: `losses` says what each piece is worth, and the quarter that is worth least goes (a
    fifth in the paper). Here there is `ab` alone, and it goes if there is no room.

    >>> counts = {b"a": 1, b"ab": 8, b"b": 1}
    >>> train_unigram(counts, 3, units="characters").pieces
    (b'', b'a', b'b')
    >>> train_unigram(counts, 4, units="characters").pieces
    (b'', b'ab', b'a', b'b')

    No two trainers find the same pieces. Of the same words of seven texts (600 kB each, 300 of
    Arabic), asked for 8,192 pieces with every byte among them, text that none had seen takes 0.83
    to 0.97 times the bits and 0.78 to 0.94 times the tokens of Hugging Face's, whose seeds leave
    out most whole words; and 0.94 to 1.00 times the bits and 0.91 to 1.00 times the tokens of
    sentencepiece 0.2.3's, which itself varies by 0.01 with the order of the words. This one has
    0.59 to 0.95 of Hugging Face's pieces, 0.51 to 0.88 of sentencepiece's. Both of theirs stop
    short of 8,192 where they drop what is hardly expected; this one fills up.

    Raises TokenizerError when `vocab_size` does not even hold the units.
    """
    training = training or UnigramTraining()
    words = sorted(word for word, count in counts.items() if word and count > 0)
    texts = _decode(words, units)
    seen = set("".join(texts))
    required = seen | _decode_alphabet(alphabet, units)
    n_unknown = int(units == "characters")
    _check_vocab_size(vocab_size, len(required), units)
    score_of = dict.fromkeys(required, 0.0)
    if words:
        n_left = vocab_size - n_unknown - len(required - seen)
        word_counts = np.array([counts[word] for word in words])
        lattice, scores = find_seeds(texts, word_counts, training)
        if len(scores) < n_left and training.least_count > _FEWEST:
            rarer = replace(training, least_count=_FEWEST)
            lattice, scores = find_seeds(texts, word_counts, rarer)
        plan = _Plan(
            n_left=n_left,
            n_enough=int(_OVERSHOOT * vocab_size),
            training=training,
            steps=steps or TrainingSteps(expected_counts, losses),
        )
        lattice, scores = _shrink(lattice, scores, plan)
        # A unit that never occurs is as improbable as the rarest piece.
        score_of = dict.fromkeys(required, float(scores.min()))
        score_of |= zip(_spell(lattice, texts), scores.tolist(), strict=True)
    ranked = sorted(score_of, key=lambda text: (-score_of[text], text))
    encoding = "latin-1" if units == "bytes" else "utf-8"
    return Unigram(
        pieces=(*[b""] * n_unknown, *(text.encode(encoding) for text in ranked)),
        scores=(*[0.0] * n_unknown, *(score_of[text] for text in ranked)),
        unk_id=0 if n_unknown else None,
        units=units,
    )


@dataclass(frozen=True)
class TrainingSteps:
    """The two loops that training spends its time in: `expected_counts` and `losses`, or faster."""

    expected_counts: Callable[[Lattice, Floats], tuple[Floats, float]]
    losses: Callable[[Lattice, Floats], Floats]


@dataclass(frozen=True)
class _Plan:
    """What training aims at: `n_left` pieces, chosen among `n_enough` that pruning leaves."""

    n_left: int
    n_enough: int
    training: UnigramTraining
    steps: TrainingSteps


def _shrink(lattice: Lattice, scores: Floats, plan: _Plan) -> tuple[Lattice, Floats]:
    """Estimate and take out by turns: by loss down to `n_enough` pieces, then the best `n_left`.

    Unlike both trainers it ends with an estimate: the scores are those of the pieces that are left.
    """
    while True:
        lattice, scores = _estimate(lattice, scores, plan)
        if len(scores) <= plan.n_left:
            return lattice, scores
        if len(scores) > plan.n_enough:
            worth = plan.steps.losses(lattice, scores)
            n_kept = max(plan.n_enough, int(plan.training.keep_share * len(scores)))
        else:
            worth, n_kept = scores, plan.n_left
            if plan.training.like == "hugging_face":  # pieces stand in the order of the last losses
                worth = -np.arange(len(scores), dtype=np.float64)
        kept = np.argsort(-_never_out(lattice, worth), kind="stable")[:n_kept]
        lattice, scores = lattice.keep(kept), scores[kept]


def _estimate(lattice: Lattice, scores: Floats, plan: _Plan) -> tuple[Lattice, Floats]:
    """Steps of expectation-maximisation; drops what is hardly expected, but leaves `n_left`."""
    for _step in range(plan.training.n_em_steps):
        expected, _ = plan.steps.expected_counts(lattice, scores)
        worth = _never_out(lattice, expected)
        n_kept = max(plan.n_left, np.count_nonzero(worth >= _LEAST_EXPECTED))
        kept = np.sort(np.argsort(-worth, kind="stable")[:n_kept])
        lattice = lattice.keep(kept)
        least = np.where(lattice.piece_lengths == 1, _LEAST_OF_UNITS, _LEAST_EXPECTED)
        scores = maximise(np.maximum(expected[kept], least))
    return lattice, scores


def _never_out(lattice: Lattice, worth: Floats) -> Floats:
    """What pieces are worth keeping for; those of one unit are never taken out."""
    return np.where(lattice.piece_lengths == 1, math.inf, worth)


def maximise(expected: Floats) -> Floats:
    """The maximisation step: scores from expected counts, digamma(count) - digamma(sum).

    The plain estimate would be log(count) - log(sum). Digamma is lower by about 1 / (2 count): it
    takes most from the pieces that are seldom expected, so they lose to others and die out.

    >>> (maximise(np.array([1.0, 100.0])) - np.log([1 / 101, 100 / 101])).round(5)
    array([-5.7226e-01, -5.0000e-05])
    """
    return digamma(expected) - digamma(expected.sum())


def digamma(x: Floats) -> Floats:
    """The derivative of log gamma: digamma(x) = digamma(x + 1) - 1/x, a series for large x.

    >>> (digamma(np.array([2.0, 0.5])) + np.euler_gamma).round(8)  # 1 and -2 log 2
    array([ 1.        , -1.38629436])
    """
    n_up = 10
    below = sum(1 / (x + i) for i in range(n_up))
    large = x + n_up
    square = 1 / large**2
    series = square * (
        1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132)))
    )
    return np.log(large) - 1 / (2 * large) - series - below


def find_seeds(
    texts: Sequence[str], counts: Ints, training: UnigramTraining
) -> tuple[Lattice, Floats]:
    """The pieces to begin with: every unit, and every substring that repeats often enough.

    A substring that the same unit always follows is left out: a longer one stands for it. Each is
    taken to be as probable as the share of the text that it covers. Of too many, those stay that
    cover most.

    In `banana`, `an` and `na` and `ana` occur twice; after `an` there is always `a`:

    >>> lattice, scores = find_seeds(["banana"], np.array([1]), UnigramTraining(least_count=2))
    >>> starts = lattice.piece_starts.tolist()
    >>> ["banana"[i:i+n] for i, n in zip(starts, lattice.piece_lengths.tolist(), strict=True)]
    ['a', 'n', 'b', 'ana', 'na']
    >>> np.exp(scores) * (3 + 2 + 1 + 2 * 3 + 2 * 2)
    array([3., 2., 1., 6., 4.])
    """
    n_nodes = np.array([len(text) + 1 for text in texts])
    word_starts = np.concatenate([[0], np.cumsum(n_nodes)])
    units = np.full(word_starts[-1], _END)  # the unit that follows each node
    has_unit = np.ones(len(units), dtype=bool)
    has_unit[word_starts[1:] - 1] = False
    code_points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    units[has_unit] = 1 + np.unique(code_points, return_inverse=True)[1]

    by_length = _repeated(units, np.repeat(counts, n_nodes), training)
    n_strings = [len(level.totals) for level in by_length]
    first_ids = np.cumsum([0, *n_strings[:-1]])
    lattice = Lattice.of_edges(
        word_starts,
        counts,
        np.concatenate([level.nodes for level in by_length]),
        np.concatenate(
            [level.strings + first for level, first in zip(by_length, first_ids, strict=True)]
        ),
        np.repeat(np.arange(1, len(by_length) + 1), n_strings),
    )
    coverage = lattice.piece_lengths * np.concatenate([level.totals for level in by_length])
    is_seed = np.concatenate([level.is_seed for level in by_length])
    ranked = np.lexsort((-coverage, lattice.piece_lengths > 1))  # the units, then by coverage
    seeds = ranked[is_seed[ranked]][: max(training.n_seeds, n_strings[0])]
    return lattice.keep(seeds), np.log(coverage[seeds] / coverage[seeds].sum())


@dataclass(frozen=True, eq=False)
class _Strings:
    """The strings of one length that repeat, and where.

    nodes, strings  (n_places) string `strings[i]` stands at node `nodes[i]`
    totals          (n_strings) how often each occurs
    is_seed         (n_strings) False for those that the same unit always follows
    """

    nodes: Ints
    strings: Ints
    totals: Floats
    is_seed: NDArray[np.bool_]


def _repeated(units: Ints, text_counts: Ints, training: UnigramTraining) -> list[_Strings]:
    """What repeats, by length: a string of n + 1 units that repeats begins with one of n.

    To repeat is to occur `least_count` times.

    units, text_counts: (n_nodes) the unit that follows each node, and how often the text has it.
    """
    by_word = training.like == "hugging_face"
    least_count = _FEWEST if by_word else training.least_count
    weights: NDArray[np.generic] = text_counts
    n_units = int(units.max()) + 1
    nodes = np.flatnonzero(units != _END)
    strings = units[nodes] - 1
    found: list[_Strings] = []
    while len(nodes) and len(found) < training.max_piece_length:
        totals = sum_by(strings, weights[nodes])
        weights = np.ones(len(units)) if by_word else text_counts
        next_units = units[nodes + len(found) + 1]
        longer, which = np.unique(strings * n_units + next_units, return_inverse=True)
        longer_totals = sum_by(which, weights[nodes])
        shorter, unit = np.divmod(longer, n_units)
        always_next = longer_totals == totals[shorter]
        if not by_word:
            always_next &= unit != _END  # the ends of two words are not the same unit
        is_seed = np.ones(len(totals), dtype=bool)
        is_seed[shorter[always_next]] = not found  # the single units always are
        found.append(_Strings(nodes, strings, totals, is_seed))
        repeats = (unit != _END) & (longer_totals >= least_count)
        new_id = np.where(repeats, np.cumsum(repeats) - 1, -1)[which]
        nodes, strings = nodes[new_id >= 0], new_id[new_id >= 0]
    return found


def _spell(lattice: Lattice, texts: Sequence[str]) -> list[str]:
    """Each piece as text: what stands in the words where it starts somewhere."""
    flat = "".join(text + " " for text in texts)  # a word's nodes are its units and one more
    ends = lattice.piece_starts + lattice.piece_lengths
    return [flat[start:end] for start, end in zip(lattice.piece_starts, ends, strict=True)]


def _decode(words: Sequence[bytes], units: Units) -> list[str]:
    """Each word as a string of one character a unit."""
    try:
        return [word.decode("latin-1" if units == "bytes" else "utf-8") for word in words]
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"the word {error.object!r} is not UTF-8 text, so it has no characters; "
            "use units='bytes'"
        ) from None


def _decode_alphabet(alphabet: Sequence[bytes], units: Units) -> set[str]:
    """The units that are pieces in any case."""
    decoded = _decode(alphabet, units)
    for given, unit in zip(alphabet, decoded, strict=True):
        if len(unit) != 1:
            raise TokenizerError(
                f"the alphabet holds {given!r}; each entry must be one "
                f"{'byte' if units == 'bytes' else 'character'}"
            )
    return set(decoded) | (set(map(chr, range(256))) if units == "bytes" else set())


def _check_vocab_size(vocab_size: int, n_required: int, units: Units) -> None:
    if units == "bytes" and vocab_size < n_required:
        raise TokenizerError(
            f"vocab_size={vocab_size} must be at least {n_required}: every byte is a piece"
        )
    if units == "characters" and vocab_size <= n_required:
        raise TokenizerError(
            f"vocab_size={vocab_size} must be at least {n_required + 1}: the {n_required} "
            "different characters are pieces, and the unknown has an id; or use units='bytes', "
            "which needs 256"
        )
