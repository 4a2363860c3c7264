from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import AdamWConfig, MuonConfig, Optimizer, OptimizerConfig
from groundup.optim.muon import Muon
from groundup.runtime import CheckpointError, to_dict

SIZE = {"vocab_size": 61, "max_seq_len": 16, "d_model": 32, "n_layers": 2, "n_heads": 4}
SHAPES = {
    "qwen3": ModelConfig(**SIZE, n_kv_heads=2),
    "llama_untied": ModelConfig(**SIZE, qk_norm=False, tied_embeddings=False),
    "gpt2": ModelConfig(
        **SIZE, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False, bias=True
    ),
}
CONFIGS = {"adamw": AdamWConfig(lr=3e-3), "muon": MuonConfig(lr=3e-3)}


def _train(model: Decoder, optimizer: Optimizer, first: int, n_steps: int) -> None:
    """Steps whose data follow from the step's number alone."""
    for step in range(first, first + n_steps):
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(model.config.vocab_size, (2, 13), generator=generator)
        logits = model(ids[:, :-1]).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()).backward()
        optimizer.set_lr(3e-3 / (1 + step))
        optimizer.step()
        optimizer.zero_grad()


def _names(optimizer: Optimizer, parameters: list[Tensor]) -> set[str]:
    name_of = {id(parameter): name for name, parameter in optimizer.parameters.items()}
    return {name_of[id(parameter)] for parameter in parameters}


# --- AdamW ----------------------------------------------------------------------------------------


def test_adamw_by_hand() -> None:
    """θ ← θ (1 - lr·wd) - lr · m̂ / (sqrt(v̂) + eps), m̂ = m / (1 - β1ᵗ), v̂ = v / (1 - β2ᵗ)."""
    config = AdamWConfig(lr=0.01, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)
    model = build_decoder(SHAPES["gpt2"], seed=1)
    optimizer = Optimizer(model, config)
    decays = {
        name: 0.1 if parameter.ndim == 2 and "embedding" not in name else 0.0
        for name, parameter in model.named_parameters()
    }
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    m = {name: torch.zeros_like(value) for name, value in expected.items()}
    v = {name: torch.zeros_like(value) for name, value in expected.items()}
    torch.manual_seed(0)
    for step in (1, 2, 3):
        lr = 0.01 / step
        optimizer.set_lr(lr)
        for name, parameter in model.named_parameters():
            g = torch.randn(parameter.shape)
            parameter.grad = g.clone()
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.95 * v[name] + 0.05 * g**2
            m_hat, v_hat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.95**step)
            shrunk = expected[name] * (1 - lr * decays[name])
            expected[name] = shrunk - lr * m_hat / (v_hat.sqrt() + 1e-8)
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-5, atol=1e-6)


# --- who moves what -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else(shape: str) -> None:
    model = build_decoder(SHAPES[shape], seed=1)
    optimizer = Optimizer(model, MuonConfig())
    muon, adamw = optimizer.parts
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    in_muon = _names(optimizer, muon.param_groups[0]["params"])
    assert in_muon == {
        name
        for name, parameter in model.named_parameters()
        if name.startswith("blocks.") and parameter.ndim == 2
    }
    in_adamw = [group["params"] for group in adamw.param_groups]
    assert len(in_adamw) == 1
    assert _names(optimizer, in_adamw[0]) == optimizer.parameters.keys() - in_muon
    assert adamw.param_groups[0]["weight_decay"] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_adamw_decays_the_matrices_of_the_blocks_and_nothing_else(shape: str) -> None:
    model = build_decoder(SHAPES[shape], seed=1)
    optimizer = Optimizer(model, AdamWConfig(weight_decay=0.3))
    (adamw,) = optimizer.parts
    decayed, plain = adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0)
    names = _names(optimizer, decayed["params"])
    assert all(name.startswith("blocks.") for name in names)
    assert all(optimizer.parameters[name].ndim == 2 for name in names)
    assert _names(optimizer, plain["params"]) == dict(model.named_parameters()).keys() - names


def test_muon_takes_queries_keys_and_values_apart() -> None:
    optimizer = Optimizer(build_decoder(SHAPES["qwen3"], seed=1), MuonConfig())
    muon = optimizer.parts[0]
    assert isinstance(muon, Muon)
    parameters = muon.param_groups[0]["params"]
    splits = {
        next(iter(_names(optimizer, [parameter]))): rows
        for parameter, rows in zip(parameters, muon.splits, strict=True)
    }
    assert splits["blocks.0.attention.qkv.weight"] == [32, 16, 16]
    assert splits["blocks.0.feedforward.gate_up.weight"] == [96, 96]
    assert splits["blocks.0.attention.out.weight"] == [32]


@pytest.mark.parametrize("name", CONFIGS)
def test_frozen_parameters_are_left_alone(name: str) -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    model.embedding.requires_grad_(False)
    before = model.embedding.weight.clone()
    optimizer = Optimizer(model, CONFIGS[name])
    assert "embedding.weight" not in optimizer.parameters
    _train(model, optimizer, 0, 1)
    assert torch.equal(model.embedding.weight, before)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_learning_rate_reaches_every_part(name: str) -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    optimizer = Optimizer(model, CONFIGS[name])
    assert optimizer.peak_lr == 3e-3
    optimizer.set_lr(0.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.zeros(1, 4, dtype=torch.long)).logsumexp(-1).sum().backward()
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CONFIGS)
def test_going_on_from_the_state_equals_never_stopping(name: str, shape: str) -> None:
    whole = build_decoder(SHAPES[shape], seed=1)
    optimizer = Optimizer(whole, CONFIGS[name])
    _train(whole, optimizer, 0, 3)
    state = {key: value.clone() for key, value in optimizer.state_by_name().items()}
    resumed = Decoder(SHAPES[shape])
    resumed.load_state_dict(whole.state_dict())
    _train(whole, optimizer, 3, 3)

    second = Optimizer(resumed, CONFIGS[name])
    second.load_state_by_name(state)
    _train(resumed, second, 3, 3)
    for (key, old), (_, new) in zip(
        whole.named_parameters(), resumed.named_parameters(), strict=True
    ):
        assert torch.equal(old, new), key
    first_state, second_state = optimizer.state_by_name(), second.state_by_name()
    assert first_state.keys() == second_state.keys()
    assert all(torch.equal(first_state[key], second_state[key]) for key in first_state)


def test_state_is_named_after_parameter_and_entry() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    optimizer = Optimizer(model, MuonConfig())
    assert optimizer.state_by_name() == {}
    _train(model, optimizer, 0, 1)
    state = optimizer.state_by_name()
    assert state["blocks.0.attention.qkv.weight/momentum"].shape == (64, 32)
    assert {key for key in state if key.startswith("embedding.weight/")} == {
        f"embedding.weight/{entry}" for entry in ("step", "exp_avg", "exp_avg_sq")
    }


def test_loading_takes_a_copy() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    optimizer = Optimizer(model, AdamWConfig())
    _train(model, optimizer, 0, 1)
    state = {key: value.clone() for key, value in optimizer.state_by_name().items()}
    before = {key: value.clone() for key, value in state.items()}
    other = build_decoder(SHAPES["qwen3"], seed=1)
    second = Optimizer(other, AdamWConfig())
    second.load_state_by_name(state)
    _train(other, second, 1, 1)
    assert all(torch.equal(state[key], before[key]) for key in state)


def test_state_of_another_model_is_refused() -> None:
    optimizer = Optimizer(build_decoder(SHAPES["qwen3"], seed=1), AdamWConfig())
    message = "state for 'blocks.9.attention.qkv.weight/exp_avg', which this optimizer lacks"
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_by_name({"blocks.9.attention.qkv.weight/exp_avg": torch.zeros(1)})


def _adamws_state() -> dict[str, Tensor]:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    optimizer = Optimizer(model, AdamWConfig())
    _train(model, optimizer, 0, 1)
    return optimizer.state_by_name()


@pytest.mark.parametrize(
    "state",
    [
        _adamws_state,
        lambda: {"blocks.0.attention.qkv.weight/momentum": torch.zeros(3, 3)},
        lambda: {"blocks.0.attention.qkv.weight": torch.zeros(64, 32)},
    ],
    ids=["of_another_optimizer", "of_another_shape", "of_no_entry"],
)
def test_state_that_does_not_fit_is_refused(state: Any) -> None:
    optimizer = Optimizer(build_decoder(SHAPES["qwen3"], seed=1), MuonConfig())
    with pytest.raises(CheckpointError):
        optimizer.load_state_by_name(state())


# --- configs --------------------------------------------------------------------------------------

ADAPTER: TypeAdapter[AdamWConfig | MuonConfig] = TypeAdapter(OptimizerConfig)


def test_the_name_chooses_the_config() -> None:
    assert ADAPTER.validate_python({"name": "adamw", "lr": 0.1}) == AdamWConfig(lr=0.1)
    muon = ADAPTER.validate_python({"name": "muon", "momentum": 0.9})
    assert type(muon) is MuonConfig
    assert muon.momentum == 0.9


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_come_back_from_plain_values(name: str) -> None:
    config = CONFIGS[name]
    again = ADAPTER.validate_python(to_dict(config))
    assert again == config
    assert type(again) is type(config)
    assert ADAPTER.validate_python(config) is config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.1}, "Unable to extract tag"),
        ({"name": "sgd"}, "'sgd' .*'adamw', 'muon'"),
        ({"name": "adamw", "momentum": 0.9}, "momentum\n  Unexpected keyword argument"),
        ({"name": "adamw", "lr": 0}, r"lr=0.0 must be positive; try lr=0.001"),
        ({"name": "muon", "lr": -1}, r"lr=-1.0 must be positive; try lr=0.001"),
        ({"name": "adamw", "beta2": 1}, r"beta1=0.9 and beta2=1.0 must lie in \[0, 1\)"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(values)


def test_a_bare_name_is_refused_as_a_wrong_value() -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python("adamw")


@pytest.mark.parametrize("values", [{"momentum": 1.5}, {"momentum": -0.1}, {"weight_decay": -1}])
def test_impossible_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MuonConfig(**values)
