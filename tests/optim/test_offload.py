from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    AnyOptimizerConfig,
    LionConfig,
    MuonConfig,
    Optimizer,
)
from groundup.runtime import GroundupError

SIZE = ModelConfig(vocab_size=61, max_seq_len=16, d_model=64, n_layers=1, n_heads=4)
CONFIGS: list[AnyOptimizerConfig] = [
    AdamWConfig(),
    AdamWConfig(cautious=True),
    MuonConfig(),
    LionConfig(),
    AdafactorConfig(),
    AdamW8bitConfig(),
]
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def _offloaded(model: Decoder, config: AnyOptimizerConfig) -> Optimizer:
    """On the path of a model elsewhere, also where the model is on the CPU."""
    optimizer = Optimizer(model, replace(config, offload=True), _offload_from_cpu=True)
    assert optimizer.host is not None
    return optimizer


def _step(model: Decoder, optimizer: Optimizer, step: int, found_inf: float | None = None) -> None:
    for index, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(100 * step + index)
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if index == step else gradient.to(parameter.device)
    flag = None if found_inf is None else torch.tensor(found_inf, device=parameter.device)
    optimizer.step(flag)
    optimizer.zero_grad()


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[key].cpu(), second[key].cpu()) for key in first
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}")
def test_it_ends_in_the_same_bytes(config: AnyOptimizerConfig, device: str) -> None:
    plain = build_decoder(SIZE, seed=1)
    elsewhere = build_decoder(SIZE, seed=1).to(device)
    first, second = Optimizer(plain, config), _offloaded(elsewhere, config)
    for step in range(3):
        _step(plain, first, step)
        _step(elsewhere, second, step)
        assert _equal(dict(plain.named_parameters()), dict(elsewhere.named_parameters()))
    assert _equal(first.state_by_name(), second.state_by_name())
    assert all(value.device.type == "cpu" for value in second.state_by_name().values())


def test_it_changes_nothing_for_a_model_on_the_cpu() -> None:
    optimizer = Optimizer(build_decoder(SIZE, seed=1), AdamWConfig(offload=True))
    assert optimizer.host is None
    assert optimizer.weights is optimizer.parameters


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}")
def test_resuming_takes_the_weights_that_were_loaded_since(config: AnyOptimizerConfig) -> None:
    whole, resumed = build_decoder(SIZE, seed=1), build_decoder(SIZE, seed=2)
    first, second = _offloaded(whole, config), _offloaded(resumed, config)
    _step(whole, first, 0)
    _step(resumed, second, 7)  # it has weights of its own before it is told others
    resumed.load_state_dict(whole.state_dict())
    second.load_state_by_name(first.state_by_name())
    _step(whole, first, 1)
    _step(resumed, second, 1)
    assert _equal(dict(whole.named_parameters()), dict(resumed.named_parameters()))
    assert _equal(first.state_by_name(), second.state_by_name())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}")
def test_a_step_called_off_changes_nothing(config: AnyOptimizerConfig) -> None:
    model = build_decoder(SIZE, seed=1)
    optimizer = _offloaded(model, config)
    _step(model, optimizer, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value.clone() for name, value in optimizer.state_by_name().items()}
    _step(model, optimizer, 1, found_inf=1.0)
    assert _equal(before, model.state_dict())
    assert _equal(state, optimizer.state_by_name())


def test_only_float32_weights_are_stepped_elsewhere() -> None:
    with pytest.raises(GroundupError, match=r"steps float32 weights and .* is torch.bfloat16"):
        _offloaded(build_decoder(SIZE, seed=1).bfloat16(), AdamWConfig())
