"""Which vocabulary to take: what each costs a model of a given size, and what the text bears.

The rule has three steps, and no threshold of our own but the tolerance.

1. *What the text bears.* Gowda and May 2020 (Finding the Optimal Vocabulary Size for Neural Machine
   Translation): take no vocabulary of which less than 95% of the tokens occur 100 times or more in
   the training text, since what a model has hardly seen it cannot know. Unlike theirs, our count
   leaves out tokens that the text has often enough but hardly outside of longer ones, such as
   `fortunat`: more text would not change that, and where they are rare no harm comes of them. In
   29 MB of English books a tenth of 8,192 BPE tokens is such, and all the rest occur 100 times.
2. *What costs least.* Of the others, the one with which a model reads a byte of this text with the
   least arithmetic. To double a vocabulary makes the text shorter, by less each time, and each
   token dearer, by more each time: the output projection grows with it. The least lies where the
   two balance. Tao et al. 2024 (Scaling Laws with Vocabulary, approach 2) find the best size so,
   where the derivative of C = 6 (N + V d) f(V) is zero; here f, tokens per byte of text, is not
   fitted but measured on the user's own, and the arithmetic of attention counts too.
3. *What makes no difference.* Of those within 1% of the least, BPE before the others, since most
   software knows it, then the smallest, since it needs the least memory.

The rule counts arithmetic. It does not see that some cuts are easier to learn from than others; for
that, models would have to be trained. Tao et al. did train them, on English web text, and
`tao_vocab_size` has what they found, to be set beside the rule.

Legend
    N  n_body        parameters outside the embedding and the output projection
    V  vocab_size    d  d_model
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundup.tokenizer.laboratory.measure import OFTEN, Measured, Support

SHARE_OFTEN = 0.95  # of tokens that must occur OFTEN times: Gowda and May 2020
TOLERANCE = 0.01  # of arithmetic; held-out texts of some megabytes differ by as much
ORDER = ("bpe", "wordpiece", "unigram")
# Tao et al. 2024, github.com/sail-sg/scaling-with-vocab, approach 2: the best embedding of a model
# with 33 million other parameters, and the power of their number with which it grows.
TAO_EMBEDDING, TAO_BODY, TAO_EXPONENT = 3_145_728, 33e6, 0.8354
WEIGHT_BYTES = 2  # in bfloat16, as models are used
TRAINING_BYTES = 16  # a float32 weight, its gradient and AdamW's two averages


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a vocabulary depends on in a model.

    name: its size as the user gave it
    n_body: parameters outside the embedding and the output projection
    body_flops: floating-point operations of training for each token, the output projection left out
    is_tied: whether the output projection is the embedding
    """

    name: str
    d_model: int
    n_layers: int
    n_body: int
    body_flops: float
    is_tied: bool

    def embedding_parameters(self, vocab_size: int) -> int:
        """Of the embedding and, where it is a matrix of its own, of the output projection."""
        return (1 if self.is_tied else 2) * vocab_size * self.d_model

    def flops_per_token(self, vocab_size: int) -> float:
        """Training: six operations for each weight of the output projection, and the body's."""
        return self.body_flops + 6.0 * vocab_size * self.d_model

    @property
    def tao_vocab_size(self) -> int:
        """What Tao et al. 2024 found best for a model with this body, on English web text.

        >>> round(ModelShape("3B", 3200, 24, 2_870_000_000, 1e10, False).tao_vocab_size, -3)
        41000
        """
        return round(TAO_EMBEDDING * (self.n_body / TAO_BODY) ** TAO_EXPONENT / self.d_model)


@dataclass(frozen=True)
class Cost:
    """What a vocabulary costs a model.

    flops_per_byte: floating-point operations of training for each byte of the text
    embedding_share: of all the model's parameters
    weight_bytes, training_bytes: memory of the embedding in bfloat16, and in training with AdamW
    """

    flops_per_token: float
    flops_per_byte: float
    embedding_parameters: int
    embedding_share: float
    weight_bytes: int
    training_bytes: int

    @classmethod
    def of(cls, shape: ModelShape, vocab_size: int, bytes_per_token: float) -> Cost:
        """The cost of a vocabulary in a model."""
        n_embedding = shape.embedding_parameters(vocab_size)
        flops = shape.flops_per_token(vocab_size)
        return cls(
            flops_per_token=flops,
            flops_per_byte=flops / bytes_per_token,
            embedding_parameters=n_embedding,
            embedding_share=n_embedding / (n_embedding + shape.n_body),
            weight_bytes=WEIGHT_BYTES * n_embedding,
            training_bytes=TRAINING_BYTES * n_embedding,
        )


@dataclass(frozen=True)
class Tried:
    """A vocabulary with all that was measured of it; support is None for one trained elsewhere."""

    name: str
    algorithm: str
    vocab_size: int
    is_lossless: bool
    measured: Measured
    cost: Cost
    support: Support | None

    @property
    def is_borne(self) -> bool:
        """Whether the text has enough of its tokens often enough."""
        return self.support is not None and self.support.share_often >= SHARE_OFTEN


@dataclass(frozen=True)
class Recommendation:
    """The vocabulary to take, and why, in sentences.

    least: the name of the one with the least arithmetic of those that the text bears
    is_at_edge: whether a size beyond those that were tried may be better still
    """

    name: str
    algorithm: str
    vocab_size: int
    least: str
    is_at_edge: bool
    reasons: tuple[str, ...]


def recommend(tried: Sequence[Tried], shape: ModelShape) -> Recommendation:
    """The vocabulary to take of those that were trained here; see the module's rule."""
    candidates = [one for one in tried if one.support is not None]
    assert candidates, "there is nothing to recommend"
    smallest = min(one.vocab_size for one in candidates)
    borne = [one for one in candidates if one.is_borne]
    allowed = borne or [one for one in candidates if one.vocab_size == smallest]
    least = min(allowed, key=_flops)
    alike = [one for one in allowed if _flops(one) <= (1 + TOLERANCE) * _flops(least)]
    chosen = min(alike, key=lambda one: (ORDER.index(one.algorithm), one.vocab_size))
    line = [one for one in candidates if one.algorithm == chosen.algorithm]
    line.sort(key=lambda one: one.vocab_size)
    place = line.index(chosen)
    smaller = line[place - 1] if place else None
    larger = line[place + 1] if place + 1 < len(line) else None
    reasons = [
        *_why_no_larger(chosen, larger, smaller, shape),
        *_why_no_smaller(chosen, smaller, larger, is_borne=bool(borne)),
        *_why_this_algorithm(chosen, candidates),
        *_against_references(chosen, [one for one in tried if one.support is None]),
    ]
    is_at_edge = not borne or larger is None or (smaller is None and len(line) > 1)
    return Recommendation(
        chosen.name, chosen.algorithm, chosen.vocab_size, least.name, is_at_edge, tuple(reasons)
    )


def _flops(one: Tried) -> float:
    return one.cost.flops_per_byte


def _why_no_larger(
    chosen: Tried, larger: Tried | None, smaller: Tried | None, shape: ModelShape
) -> list[str]:
    if larger is None:
        told = f"No size above {chosen.vocab_size:,} was tried that this text supports"
        if smaller is not None and _flops(smaller) > (1 + TOLERANCE) * _flops(chosen):
            return [f"{told}. Up to it the work becomes less: try larger ones too."]
        return [f"{told}."]
    shorter = 1 - larger.measured.whole.n_tokens / chosen.measured.whole.n_tokens
    dearer = larger.cost.flops_per_token / chosen.cost.flops_per_token - 1
    sentence = (
        f"With {larger.vocab_size:,} tokens the text would be {shorter:.1%} shorter, and each "
        f"token {dearer:.1%} dearer for a model of {shape.name} parameters"
    )
    gain = _flops(chosen) / _flops(larger) - 1
    if gain > TOLERANCE and larger.support is not None and not larger.is_borne:
        return [
            f"{sentence}: that would pay, but the text is too small for it. Only "
            f"{larger.support.share_often:.0%} of its tokens would occur {OFTEN} times, where "
            f"{SHARE_OFTEN:.0%} should, and a model hardly learns the others."
        ]
    if gain > 0:
        return [f"{sentence}: too small a gain for the memory it takes."]
    return [f"{sentence}: more than it saves."]


def _why_no_smaller(
    chosen: Tried, smaller: Tried | None, larger: Tried | None, *, is_borne: bool
) -> list[str]:
    assert chosen.support is not None
    if not is_borne:
        return [
            f"The text is small even for this one: {chosen.support.share_often:.0%} of its tokens "
            f"occur {OFTEN} times, where {SHARE_OFTEN:.0%} should. Add text, or try smaller "
            "sizes."
        ]
    if smaller is None:
        told = f"No size below {chosen.vocab_size:,} was tried"
        if larger is not None and _flops(larger) < _flops(chosen):
            return [f"{told}; since the work becomes less towards larger ones, none would pay."]
        return [f"{told}; try smaller ones too."]
    longer = smaller.measured.whole.n_tokens / chosen.measured.whole.n_tokens - 1
    cheaper = 1 - smaller.cost.flops_per_token / chosen.cost.flops_per_token
    return [
        f"With {smaller.vocab_size:,} the text would be {longer:.1%} longer, and each token only "
        f"{cheaper:.1%} cheaper."
    ]


def _why_this_algorithm(chosen: Tried, candidates: Sequence[Tried]) -> list[str]:
    others = [
        one
        for one in candidates
        if one.vocab_size == chosen.vocab_size and one.algorithm != chosen.algorithm
    ]
    if not others:
        return []
    told = [f"{_title(one)} {_tokens_beside(one, chosen)}" for one in others]
    best = min(others, key=_flops)
    why = ""
    if _flops(best) < _flops(chosen) and best.is_borne:
        why = f"; {_title(chosen)} is taken among equals, since most software knows it"
    elif _flops(best) < _flops(chosen):
        assert best.support is not None
        often = f"{best.support.share_often:.0%} would occur {OFTEN} times"
        why = f"; but of {_title(best)}'s only {often}"
    return [f"Of the same size, {' and '.join(told)}{why}."]


def _tokens_beside(one: Tried, chosen: Tried) -> str:
    more = one.measured.whole.n_tokens / chosen.measured.whole.n_tokens - 1
    return f"needs {abs(more):.1%} {'more' if more > 0 else 'fewer'} tokens"


def _against_references(chosen: Tried, references: Sequence[Tried]) -> list[str]:
    """What tokenizers that were trained elsewhere would cost, the cheapest first."""
    if not references:
        return []
    ratios = [
        (one.name, _flops(one) / _flops(chosen) - 1) for one in sorted(references, key=_flops)
    ]
    told = ", ".join(f"{name} {ratio:+.0%}".replace("-", "\u2212") for name, ratio in ratios[:4])
    sentence = f"The work with tokenizers that were trained elsewhere, beside it: {told}."
    if ratios[0][1] < -TOLERANCE:
        sentence += f" If any will do, take {ratios[0][0]}, which is there already."
    return [sentence]


def _title(one: Tried) -> str:
    return {"bpe": "BPE", "wordpiece": "WordPiece", "unigram": "Unigram"}[one.algorithm]
