from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor, nn

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import AveragingConfig, WeightAverage
from groundup.runtime import CheckpointError

SIZE = ModelConfig(vocab_size=31, max_seq_len=8, d_model=16, n_layers=1, n_heads=2)


def _set(model: nn.Module, step: int) -> dict[str, Tensor]:
    """Give the model weights that follow from the step's number."""
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(100 * step + index)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _bits(model: nn.Module) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in model.named_parameters()}


def test_an_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, AveragingConfig(decay=0.75))
    for step, weight in enumerate((8.0, 16.0, 0.0)):
        with torch.no_grad():
            model.weight.fill_(weight)
        average.update(step + 1, 3)
    # 8; 8 + (16 - 8) / 4 = 10; 10 - 10 / 4 = 7.5
    assert average.state_by_name()["weight"].item() == 7.5


def test_it_is_the_weighted_sum_of_all_weights() -> None:
    model = build_decoder(SIZE, seed=1)
    average = WeightAverage(model, AveragingConfig(decay=0.9))
    weights = []
    for step in range(1, 7):
        weights.append(_set(model, step))
        average.update(step, 6)
    shares = [0.9**5] + [0.1 * 0.9**back for back in range(4, -1, -1)]
    assert sum(shares) == pytest.approx(1)
    for name, value in average.state_by_name().items():
        terms = [share * w[name] for share, w in zip(shares, weights, strict=True)]
        torch.testing.assert_close(value, torch.stack(terms).sum(0))


def test_weights_before_the_start_do_not_count() -> None:
    model = build_decoder(SIZE, seed=1)
    average = WeightAverage(model, AveragingConfig(decay=0.9, start=0.5))
    for step in range(1, 5):
        _set(model, step)
        average.update(step, 10)
    assert average.state_by_name() == {}
    expected = _set(model, 5)
    average.update(5, 10)
    assert all(torch.equal(expected[name], v) for name, v in average.state_by_name().items())


def test_the_model_is_lent_the_average_and_gets_its_own_back() -> None:
    model = build_decoder(SIZE, seed=1)
    average = WeightAverage(model, AveragingConfig(decay=0.5))
    for step in (1, 2):
        _set(model, step)
        average.update(step, 2)
    with torch.no_grad():
        model.norm.weight[0] = -0.0
        model.norm.weight[1] = float("nan")
    own = _bits(model)
    with average.swapped(model):
        lent = dict(model.named_parameters())
        assert all(torch.equal(lent[name], v) for name, v in average.state_by_name().items())
        assert model.head.weight is model.embedding.weight
    assert _bits(model) == own
    with pytest.raises(RuntimeError, match="stop"), average.swapped(model):
        raise RuntimeError("stop")
    assert _bits(model) == own


def test_before_the_start_the_model_keeps_its_weights() -> None:
    model = build_decoder(SIZE, seed=1)
    own = _bits(model)
    with WeightAverage(model, AveragingConfig()).swapped(model):
        assert _bits(model) == own
    assert _bits(model) == own


def test_the_average_is_no_view_of_the_model() -> None:
    model = build_decoder(SIZE, seed=1)
    average = WeightAverage(model, AveragingConfig())
    average.update(1, 10)
    before = {name: value.clone() for name, value in average.state_by_name().items()}
    _set(model, 3)
    assert all(torch.equal(before[name], v) for name, v in average.state_by_name().items())


def test_an_average_of_bfloat16_weights_is_kept_in_float32() -> None:
    """Changes smaller than a weight's last bit would be lost otherwise."""
    model = nn.Linear(1, 1, bias=False).bfloat16()
    average = WeightAverage(model, AveragingConfig(decay=0.999))
    for step, weight in enumerate((1.0, 2.0)):
        with torch.no_grad():
            model.weight.fill_(weight)
        average.update(step, 2)
    value = average.state_by_name()["weight"]
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(1.001, rel=1e-6)
    with average.swapped(model):
        assert model.weight.dtype == torch.bfloat16


def test_going_on_from_the_state_equals_never_stopping() -> None:
    model = build_decoder(SIZE, seed=1)
    whole = WeightAverage(model, AveragingConfig(decay=0.8))
    for step in range(1, 4):
        _set(model, step)
        whole.update(step, 6)
    resumed = WeightAverage(Decoder(SIZE), AveragingConfig(decay=0.8))
    resumed.load_state_by_name(load(save(whole.state_by_name())))
    for average in (whole, resumed):
        for step in range(4, 7):
            for name, value in _set(model, step).items():
                average.parameters[name].data.copy_(value)
            average.update(step, 6)
    first, second = whole.state_by_name(), resumed.state_by_name()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_state_of_no_average_is_taken_too() -> None:
    average = WeightAverage(build_decoder(SIZE, seed=1), AveragingConfig())
    average.load_state_by_name({})
    assert average.state_by_name() == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other": torch.zeros(1)}, "averaged weights of 'other', which this model lacks"),
        ({"norm.weight": None}, "the averaged weights lack 'norm.weight'"),
        ({"norm.weight": torch.zeros(3)}, r"norm.weight have shape \(3,\), they need \(16,\)"),
    ],
)
def test_averages_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    model = build_decoder(SIZE, seed=1)
    average = WeightAverage(model, AveragingConfig())
    average.update(1, 1)
    state = {**average.state_by_name(), **change}
    fresh = WeightAverage(model, AveragingConfig())
    with pytest.raises(CheckpointError, match=message):
        fresh.load_state_by_name({key: value for key, value in state.items() if value is not None})
    assert fresh.state_by_name() == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decay": 1.0}, "decay=1.0 must lie between 0 and 1; try decay=0.999"),
        ({"decay": 0.0}, "decay=0.0 must lie between 0 and 1; try decay=0.999"),
        ({"start": 1.0}, r"start=1.0 must lie in \[0, 1\); 0 averages from the start"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AveragingConfig(**values)
