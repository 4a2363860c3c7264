from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from groundup.generate.sampling import SamplingConfig, next_token_probabilities, sample


@pytest.fixture
def logits() -> torch.Tensor:
    """(16, 50)"""
    return 3 * torch.randn(16, 50, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 7, 50, 1000])
@pytest.mark.parametrize("top_p", [1e-6, 0.5, 0.9, 0.999, 1.0])
def test_transformers_gives_the_same_distribution(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float
) -> None:
    warpers = LogitsProcessorList()
    if temperature != 1:
        warpers.append(TemperatureLogitsWarper(temperature))
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    theirs = warpers(torch.zeros(16, 1, dtype=torch.long), logits).softmax(-1)
    config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    ours = next_token_probabilities(logits, config)
    assert torch.equal(ours > 0, theirs > 0)
    torch.testing.assert_close(ours, theirs)


def test_temperature_zero_is_the_likeliest(logits: torch.Tensor) -> None:
    config = SamplingConfig(temperature=0)
    generator = torch.Generator()
    assert torch.equal(sample(logits, config, generator), logits.argmax(-1))
    probabilities = next_token_probabilities(logits, config)
    assert torch.equal(probabilities.sum(-1), torch.ones(16))
    assert torch.equal(probabilities.argmax(-1), logits.argmax(-1))


def test_a_low_temperature_comes_near_the_likeliest(logits: torch.Tensor) -> None:
    probabilities = next_token_probabilities(logits, SamplingConfig(temperature=1e-3))
    torch.testing.assert_close(probabilities.amax(-1), torch.ones(16))


def test_the_nucleus_is_the_smallest_that_suffices() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    for top_p, kept in ((0.4, [1]), (0.6, [1, 2]), (0.79, [1, 2]), (0.81, [0, 1, 2])):
        config = SamplingConfig(temperature=1, top_p=top_p)
        probabilities = next_token_probabilities(logits, config)[0]
        assert probabilities.nonzero().flatten().tolist() == kept


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.7, 0.2, 0.1]).log().expand(20_000, 3)
    generator = torch.Generator().manual_seed(0)
    drawn = sample(logits, SamplingConfig(temperature=1), generator)
    shares = drawn.bincount(minlength=3) / 20_000
    # four standard errors of the largest share, sqrt(0.7 · 0.3 / 20 000) = 0.0032
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=0.013)


def test_the_same_generator_draws_the_same(logits: torch.Tensor) -> None:
    config = SamplingConfig(temperature=1)
    draws = [
        sample(logits, config, torch.Generator().manual_seed(seed)).tolist() for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1 must not be negative"),
        ({"top_k": -1}, "top_k=-1 must not be negative; 0 allows all tokens"),
        ({"top_p": 0}, r"top_p=0.0 must lie in \(0, 1\]"),
        ({"top_p": 1.1}, r"top_p=1.1 must lie in \(0, 1\]"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SamplingConfig(**values)
