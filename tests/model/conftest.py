from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, ModelConfig, build_decoder

from .shapes import SHAPES, SIZE


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.fixture
def unpadded(config: ModelConfig) -> ModelConfig:
    """The same model with a row of the embedding for each token and no more."""
    return replace(config, vocab_multiple=1)


@pytest.fixture
def model(config: ModelConfig) -> Decoder:
    """Weights large enough that every part of the model shows in the logits."""
    model = build_decoder(config, seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embedding" in name:
                parameter.mul_(20)
            if name.endswith("bias") or parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


@pytest.fixture
def input_ids() -> Tensor:
    """(2, 24)"""
    return torch.randint(SIZE["vocab_size"], (2, 24))
