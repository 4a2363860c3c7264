from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
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
    optimizer_state_bytes,
)
from groundup.optim.adafactor import Adafactor
from groundup.optim.adamw import AdamW, FusedAdamW
from groundup.optim.adamw8bit import AdamW8bit
from groundup.optim.lion import Lion
from groundup.optim.muon import POLAR_EXPRESS, Muon
from groundup.runtime import CheckpointError, GroundupError

SIZE = {"vocab_size": 61, "max_seq_len": 16, "d_model": 32, "n_layers": 2, "n_heads": 4}
SHAPES = {
    "qwen3": ModelConfig(**SIZE, n_kv_heads=2),
    "llama_untied": ModelConfig(**SIZE, qk_norm=False, tied_embeddings=False),
    "gpt2": ModelConfig(
        **SIZE, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False, bias=True
    ),
}
# its matrices are large enough to be kept in 8 bits
WIDE = ModelConfig(**{**SIZE, "d_model": 64, "n_layers": 1})
CONFIGS: dict[str, AnyOptimizerConfig] = {
    "adamw": AdamWConfig(lr=3e-3),
    "adamw_cautious": AdamWConfig(lr=3e-3, cautious=True),
    "muon": MuonConfig(lr=3e-3),
    "muon_polar": MuonConfig(lr=3e-3, cautious=True, orthogonalization="polar_express"),
    "lion": LionConfig(lr=3e-3),
    "adafactor": AdafactorConfig(lr=3e-3),
    "adafactor_momentum": AdafactorConfig(lr=3e-3, beta1=0.9),
    "adamw8bit": AdamW8bitConfig(lr=3e-3),
}


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


def test_each_config_has_its_optimizer() -> None:
    kinds = {
        name: [type(part) for part in Optimizer(build_decoder(SHAPES["qwen3"], 1), config).parts]
        for name, config in CONFIGS.items()
    }
    assert kinds == {
        "adamw": [FusedAdamW],
        "adamw_cautious": [AdamW, FusedAdamW],
        "muon": [Muon, FusedAdamW],
        "muon_polar": [Muon, FusedAdamW],
        "lion": [Lion],
        "adafactor": [Adafactor],
        "adafactor_momentum": [Adafactor],
        "adamw8bit": [AdamW8bit],
    }


def test_settings_reach_the_optimizers() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    muon, others = Optimizer(
        model, MuonConfig(momentum=0.8, beta2=0.9, orthogonalization="polar_express", cautious=True)
    ).parts
    assert isinstance(muon, Muon)
    assert muon.polynomials == POLAR_EXPRESS
    assert (muon.param_groups[0]["momentum"], muon.param_groups[0]["cautious"]) == (0.8, True)
    assert others.param_groups[0]["betas"] == (0.9, 0.9)
    (lion,) = Optimizer(model, LionConfig(beta1=0.7, weight_decay=0.4, cautious=True)).parts
    assert [group["weight_decay"] for group in lion.param_groups] == [0.4, 0]
    assert all(group["betas"] == (0.7, 0.99) and group["cautious"] for group in lion.param_groups)
    (factored,) = Optimizer(model, AdafactorConfig(decay_rate=0.7, clip=2.0, eps=1e-20)).parts
    assert [factored.defaults[key] for key in ("decay_rate", "clip", "eps")] == [0.7, 2.0, 1e-20]
    (quantized,) = Optimizer(model, AdamW8bitConfig(beta1=0.8, eps=1e-6)).parts
    assert (quantized.defaults["betas"], quantized.defaults["eps"]) == ((0.8, 0.95), 1e-6)


def test_the_parameters_that_adamw_moves_beside_muon_can_have_an_lr_of_their_own() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    optimizer = Optimizer(model, MuonConfig(lr=0.1, other_lr_ratio=0.25))
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.1, 0.025]
    optimizer.set_lr(0.04)
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.04, 0.01]
    before = model.embedding.weight.detach().clone()
    model.embedding.weight.grad = torch.ones_like(before)
    optimizer.step()  # AdamW's first step has the length lr in every entry
    torch.testing.assert_close(before - model.embedding.weight.detach(), before * 0 + 0.01)


@pytest.mark.parametrize("config", [MuonConfig(), AdamWConfig(cautious=True)], ids=str)
@pytest.mark.parametrize("trained", ["blocks.0.attention.out.weight", "norm.weight"])
def test_a_group_with_nothing_in_it_is_no_optimizer(
    config: AnyOptimizerConfig, trained: str
) -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == trained)
    optimizer = Optimizer(model, config)
    assert len(optimizer.parts) == 1
    before = optimizer.parameters[trained].detach().clone()
    _train(model, optimizer, 0, 1)
    assert not torch.equal(before, optimizer.parameters[trained])


def test_nothing_to_train_is_refused() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1).requires_grad_(False)
    with pytest.raises(GroundupError, match="no parameter to train; unfreeze some of it"):
        Optimizer(model, AdamWConfig())


def test_a_low_rank_factor_of_a_stacked_weight_is_one_matrix() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=1)
    attention = model.blocks[0].attention
    attention.qkv.down = torch.nn.Parameter(torch.ones(4, 32))
    stacked = {**model.stacked_rows(), "blocks.0.attention.qkv.down": (32, 16, 16)}
    model.stacked_rows = lambda: stacked  # type: ignore[method-assign]
    muon = Optimizer(model, MuonConfig()).parts[0]
    assert isinstance(muon, Muon)
    rows = dict(zip(map(id, muon.param_groups[0]["params"]), muon.splits, strict=True))
    assert rows[id(attention.qkv.down)] == [4]
    assert rows[id(attention.qkv.weight)] == [32, 16, 16]


# --- steps that are called off --------------------------------------------------------------------


def _bits(tensors: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in tensors.items()}


@pytest.mark.parametrize("taken", [0, 2])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_step_called_off_changes_nothing(name: str, taken: int, poison: float) -> None:
    """Not one bit, -0 and all, whatever the gradients hold."""
    model = build_decoder(WIDE, seed=1)
    optimizer = Optimizer(model, CONFIGS[name])
    _train(model, optimizer, 0, taken)
    with torch.no_grad():
        for value in [*model.parameters(), *optimizer.state_by_name().values()]:
            value.masked_fill_((value == 0).logical_and_(torch.rand(value.shape) < 0.5), -0.0)
            if value.ndim > 0 and value.is_floating_point():
                value.view(-1)[:2] = torch.tensor([-0.0, 0.0])
    parameters, state = _bits(optimizer.parameters), _bits(optimizer.state_by_name())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, poison)
    optimizer.step(found_inf=torch.ones(()))
    assert _bits(optimizer.parameters) == parameters
    after = optimizer.state_by_name()
    assert after.keys() == optimizer.state_layout().keys()
    if taken:
        assert _bits(after) == state
    else:
        assert not any(value.any() for value in after.values())
    optimizer.step()  # the next one is an ordinary step again
    assert _bits(optimizer.parameters) != parameters


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_not_called_off_is_an_ordinary_one(name: str) -> None:
    states, weights = [], []
    for found_inf in (None, torch.zeros(())):
        model = build_decoder(WIDE, seed=1)
        optimizer = Optimizer(model, CONFIGS[name])
        for step in range(3):
            for index, parameter in enumerate(model.parameters()):
                generator = torch.Generator().manual_seed(100 * step + index)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step(found_inf)
        weights.append(_bits(optimizer.parameters))
        states.append(_bits(optimizer.state_by_name()))
    assert weights[0] == weights[1]
    assert states[0] == states[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_with_a_step_called_off_is_the_run_without_it(name: str) -> None:
    runs = []
    for calls_off in (False, True):
        model = build_decoder(SHAPES["qwen3"], seed=1)
        optimizer = Optimizer(model, CONFIGS[name])
        if calls_off:
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, float("nan"))
            optimizer.step(torch.ones(()))
            optimizer.zero_grad()
        _train(model, optimizer, 0, 2)
        runs.append(_bits(optimizer.parameters))
    assert runs[0] == runs[1]


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SHAPES, "wide"])
@pytest.mark.parametrize("name", CONFIGS)
def test_going_on_from_the_state_equals_never_stopping(name: str, shape: str) -> None:
    size = WIDE if shape == "wide" else SHAPES[shape]
    whole = build_decoder(size, seed=1)
    optimizer = Optimizer(whole, CONFIGS[name])
    _train(whole, optimizer, 0, 3)
    state = load(save(optimizer.state_by_name()))  # as a checkpoint does
    resumed = Decoder(size)
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


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shape", [*SHAPES, "wide"])
def test_the_size_of_the_state_is_known_before(name: str, shape: str) -> None:
    size = WIDE if shape == "wide" else SHAPES[shape]
    with torch.device("meta"):
        expected = optimizer_state_bytes(Decoder(size), CONFIGS[name])
    model = build_decoder(size, seed=1)
    optimizer = Optimizer(model, CONFIGS[name])
    _train(model, optimizer, 0, 1)
    state = optimizer.state_by_name()
    assert sum(value.nbytes for value in state.values()) == expected
    layout = optimizer.state_layout()
    assert {key: (value.shape, value.dtype) for key, value in state.items()} == layout


def test_sizes_of_states_by_hand() -> None:
    """For a matrix of 64 by 96: in float32, the entries kept for each of its own."""
    model = torch.nn.Sequential()
    model.blocks = torch.nn.ModuleList([torch.nn.Linear(96, 64, bias=False)])
    n = 64 * 96
    sizes = {name: optimizer_state_bytes(model, config) for name, config in CONFIGS.items()}
    assert sizes == {
        "adamw": 8 * n + 4,
        "adamw_cautious": 8 * n + 4,
        "muon": 4 * n,
        "muon_polar": 4 * n,
        "lion": 4 * n,
        "adafactor": 4 * (64 + 96) + 4,
        "adafactor_momentum": 4 * n + 4 * (64 + 96) + 4,
        "adamw8bit": 2 * n + 2 * 4 * n // 256 + 4,
    }
    assert optimizer_state_bytes(model, AdamWConfig(offload=True)) == 8 * n + 4


@pytest.mark.parametrize("name", CONFIGS)
def test_a_parameter_without_a_gradient_so_far_does_not_hinder_resuming(name: str) -> None:
    """Its state is that of no step taken, and it begins when its gradient comes."""

    def run(model: Decoder, optimizer: Optimizer, step: int) -> None:
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(100 * step + index)
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = gradient if step or index % 2 else None
        optimizer.step()

    whole, resumed = (build_decoder(SHAPES["qwen3"], seed=1) for _ in range(2))
    first, second = Optimizer(whole, CONFIGS[name]), Optimizer(resumed, CONFIGS[name])
    run(whole, first, 0)
    resumed.load_state_dict(whole.state_dict())
    second.load_state_by_name(first.state_by_name())
    run(whole, first, 1)
    run(resumed, second, 1)
    assert _bits(first.parameters) == _bits(second.parameters)
    assert _bits(first.state_by_name()) == _bits(second.state_by_name())


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


@pytest.mark.parametrize("name", CONFIGS)
def test_the_state_before_the_first_step_can_be_taken_back(name: str) -> None:
    """Going back to the start, with the weights of the start, is starting."""
    model = build_decoder(SHAPES["qwen3"], seed=1)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = Optimizer(model, CONFIGS[name])
    nothing = optimizer.state_by_name()
    _train(model, optimizer, 0, 2)
    once = _bits(optimizer.parameters)
    model.load_state_dict(start)
    optimizer.load_state_by_name(nothing)
    assert optimizer.state_by_name() == {}
    _train(model, optimizer, 0, 2)
    assert _bits(optimizer.parameters) == once


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


def _spoiled(state: dict[str, Tensor], key: str, value: Tensor | None) -> dict[str, Tensor]:
    rest = {name: tensor for name, tensor in state.items() if name != key}
    return rest if value is None else {**rest, key: value}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "lacks 'blocks.0.feedforward.down.weight/exp_avg_codes'"),
        (torch.zeros(64, 64, dtype=torch.uint8), r"has shape \(64, 64\), it needs \(64, 192\)"),
        (torch.zeros(64, 192), "is torch.float32, it needs torch.uint8"),
    ],
    ids=["missing", "shape", "type"],
)
def test_a_state_of_codes_is_held_against_its_layout(value: Tensor | None, message: str) -> None:
    """Everything is looked at before anything is taken."""
    model = build_decoder(WIDE, seed=1)
    optimizer = Optimizer(model, AdamW8bitConfig())
    _train(model, optimizer, 0, 1)
    state = optimizer.state_by_name()
    fresh = Optimizer(model, AdamW8bitConfig())
    spoiled = _spoiled(state, "blocks.0.feedforward.down.weight/exp_avg_codes", value)
    with pytest.raises(CheckpointError, match=message):
        fresh.load_state_by_name(spoiled)
    assert fresh.state_by_name() == {}
