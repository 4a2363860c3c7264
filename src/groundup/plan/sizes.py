"""One dial: from a number of parameters to a shape and the hyperparameters that go with it.

P  parameters, embeddings included        D  training tokens, 20 P (Hoffmann et al., 2022)

    d_model / n_layers  = ASPECT · (d_model / 128)^0.4        32 at 128, 66 at 768, 97 at 2048
    learning rate       = LR · (P / 10⁶)^-0.375               of Muon and of AdamW beside it
    tokens of a batch   = BATCH · (D / 2·10⁶)^0.6

The constants are those that `bench/sweep.py` found best at small sizes; the exponents join them to
what is usual at 10⁹ parameters (a learning rate of 3e-4, half a million tokens a batch), where
nobody here has trained. docs/decisions.md has the figures.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from groundup.model import ModelConfig, count_parameters

TOKENS_PER_PARAMETER = 20
ASPECT, ASPECT_EXPONENT = 32.0, 0.4
LR, LR_EXPONENT = 4e-3, -0.375
BATCH, BATCH_EXPONENT = 2048, 0.6
GROUPED_FROM = 8e8  # parameters; from here four query heads share keys and values
UNTIED_FROM = 8e8  # the embedding is then a small part
SUFFIXES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}


@dataclass(frozen=True)
class Sized:
    """What the dial decides, to be written into a recipe."""

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    tied_embeddings: bool
    tokens: int
    batch_tokens: int
    lr: float


def parse_size(text: str | float) -> float:
    """A number of parameters: 14M, 1.3b, 350_000_000.

    Raises ValueError if it is none.

    >>> parse_size("14M"), parse_size("1.3b"), parse_size(350_000_000)
    (14000000.0, 1300000000.0, 350000000.0)
    """
    found = re.fullmatch(r"([\d_]*\.?\d+(?:e\d+)?)\s*([kmb]?)", str(text).strip().lower())
    n_parameters = float(found[1]) * SUFFIXES[found[2]] if found else 0.0
    if not 1e4 <= n_parameters <= 1e12:
        raise ValueError(f"size={text!r} must be a number of parameters from 10k; try size=14M")
    return n_parameters


def sized(
    n_parameters: float, vocab_size: int, max_seq_len: int, tokens: int | None = None
) -> Sized:
    """The shape nearest to `n_parameters`, and what goes with it; `tokens` where D is given.

    Raises ValueError if the vocabulary alone is larger than that.

    >>> found = sized(124e6, vocab_size=50304, max_seq_len=1024)
    >>> found.d_model, found.n_layers, found.n_heads
    (768, 12, 12)
    """
    best = min(_shapes(), key=lambda shape: _distance(shape, n_parameters, vocab_size))
    d_model, n_layers = best
    config = _config(d_model, n_layers, n_parameters, vocab_size)
    found = count_parameters(config).total
    if not 0.5 <= found / n_parameters <= 2:
        raise ValueError(
            f"no model of about {n_parameters:.3g} parameters has a vocabulary of {vocab_size}: "
            f"the nearest has {found:,}; use a smaller tokenizer.vocab_size or a larger size"
        )
    tokens = tokens or TOKENS_PER_PARAMETER * found
    rows = max(1, round(BATCH * (tokens / 2e6) ** BATCH_EXPONENT / max_seq_len))
    return Sized(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        tied_embeddings=config.tied_embeddings,
        tokens=tokens,
        batch_tokens=rows * max_seq_len,
        lr=float(f"{LR * (found / 1e6) ** LR_EXPONENT:.2g}"),
    )


def _shapes() -> list[tuple[int, int]]:
    """Widths, in steps that leave a whole and, where grouped, divisible number of heads."""
    widths = [*range(64, 1024, 64), *range(1024, 2048, 128), *range(2048, 1 << 15, 512)]
    return [
        (width, max(2, round(width / (ASPECT * (width / 128) ** ASPECT_EXPONENT))))
        for width in widths
    ]


def _config(d_model: int, n_layers: int, n_parameters: float, vocab_size: int) -> ModelConfig:
    d_head = 32 if d_model < 256 else 64 if d_model < 1536 else 128
    n_heads = max(1, d_model // d_head)
    grouped = n_parameters >= GROUPED_FROM and n_heads % 4 == 0
    return ModelConfig(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=d_head,
        n_kv_heads=n_heads // 4 if grouped else n_heads,
        tied_embeddings=n_parameters < UNTIED_FROM,
    )


def _distance(shape: tuple[int, int], n_parameters: float, vocab_size: int) -> float:
    config = _config(*shape, n_parameters, vocab_size)
    return abs(math.log(count_parameters(config).total / n_parameters))
