"""From logits to the next token: temperature, top-k, top-p, or simply the likeliest."""

from __future__ import annotations

import torch
from torch import Tensor

from groundup.runtime import config


@config
class SamplingConfig:
    """How the next token is chosen.

    temperature: logits are divided by it; 0 takes the likeliest token.
    top_k: only the k likeliest tokens; 0 allows all (Fan et al., 2018).
    top_p: only the fewest tokens whose probabilities sum to at least p; 1 allows all
        (nucleus sampling; Holtzman et al., 2020).
    max_tokens: most tokens to generate.
    seed: of the draws.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must not be negative")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k} must not be negative; 0 allows all tokens")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must lie in (0, 1]")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least 1")


def next_token_probabilities(logits: Tensor, config: SamplingConfig) -> Tensor:
    """The distribution that is drawn from: (batch, vocab_size) -> (batch, vocab_size).

    Temperature first, then top-k, then top-p, as transformers orders them.

    >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    >>> config = SamplingConfig(temperature=1.0, top_p=0.8)
    >>> [round(p, 3) for p in next_token_probabilities(logits, config)[0].tolist()]
    [0.625, 0.375, 0.0]
    """
    if config.temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    scaled = logits.float() / config.temperature
    if 0 < config.top_k < scaled.shape[-1]:
        least = scaled.topk(config.top_k).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, float("-inf"))
    probabilities = scaled.softmax(-1)
    if config.top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # mass of the likelier tokens
        dropped = (before >= config.top_p).scatter(-1, order, before >= config.top_p)
        probabilities = probabilities.masked_fill(dropped, 0.0)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities


def sample(logits: Tensor, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """Draw one token for each row: (batch, vocab_size) -> (batch,)."""
    probabilities = next_token_probabilities(logits, config)
    if config.temperature == 0:
        return probabilities.argmax(-1)
    drawn = torch.multinomial(probabilities.cpu(), 1, generator=generator)
    return drawn[:, 0].to(logits.device)
