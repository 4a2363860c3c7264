from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.train.layer_stats import (
    DeadUnits,
    LayerStats,
    UpdateRatios,
    gradient_norms,
    layer_groups,
    read_figures,
)
from groundup.train.recompute import Recompute, apply_recompute

from .small_job import SEQ_LEN, VOCAB, small_model

GPT2 = ModelConfig(
    vocab_size=VOCAB,
    max_seq_len=SEQ_LEN,
    d_model=32,
    n_layers=2,
    n_heads=2,
    norm="layernorm",
    position="learned",
    feedforward="gelu",
    qk_norm=False,
    bias=True,
    tied_embeddings=False,
)


def ids(seed: int = 0, n_rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCAB, (n_rows, SEQ_LEN), generator=generator)


def with_gradients(model: Decoder) -> Decoder:
    model(ids()).square().sum().backward()
    return model


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [small_model(), build_decoder(GPT2, 0)], ids=["llama", "gpt2"])
def test_every_parameter_is_in_one_group(model: Decoder) -> None:
    names = list(itertools.chain(*layer_groups(model).values()))
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


def test_the_groups_and_their_order() -> None:
    blocks = ["block0.attention", "block0.feedforward", "block1.attention", "block1.feedforward"]
    assert list(layer_groups(small_model())) == ["embedding", *blocks, "norm"]
    groups = layer_groups(build_decoder(GPT2, 0))
    assert list(groups) == ["embedding", *blocks, "norm", "head"]
    assert groups["embedding"] == ["embedding.weight", "position_embedding.weight"]
    assert groups["block1.feedforward"] == [
        f"blocks.1.feedforward{layer}.{kind}"
        for layer in ("_norm", ".up", ".down")
        for kind in ("weight", "bias")
    ]


def test_frozen_parameters_are_in_no_group() -> None:
    model = small_model()
    model.embedding.requires_grad_(False)
    assert "embedding" not in layer_groups(model)


# --- gradients ------------------------------------------------------------------------------------


def test_gradient_norms_by_hand() -> None:
    model = small_model()
    groups = layer_groups(model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    figures = gradient_norms(model, groups)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for group, names in groups.items():
        expected = 2.0 * sum(sizes[name] for name in names) ** 0.5
        assert float(figures[f"gradient_norm/{group}"]) == pytest.approx(expected, rel=1e-6)


def test_the_squares_of_the_groups_add_up_to_torchs_global_norm() -> None:
    model = with_gradients(build_decoder(GPT2, 0))
    figures = gradient_norms(model, layer_groups(model))
    whole = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    total = sum(value.square() for value in figures.values()) ** 0.5
    torch.testing.assert_close(total, whole, rtol=1e-5, atol=0)
    assert len({float(value) for value in figures.values()}) == len(figures)


def test_groups_without_a_gradient_are_left_out() -> None:
    model = small_model()
    assert gradient_norms(model, layer_groups(model)) == {}
    model.norm.weight.grad = torch.ones(32)
    assert list(gradient_norms(model, layer_groups(model))) == ["gradient_norm/norm"]


# --- updates --------------------------------------------------------------------------------------


def test_update_ratios_by_hand() -> None:
    model = small_model()
    ratios = UpdateRatios(model, layer_groups(model))
    with torch.no_grad():
        model.embedding.weight.mul_(0.75)  # Δw is a quarter of w
        model.norm.weight.add_(3.0)  # gains of 1 become 4
    figures = read_figures(ratios.measure())
    assert figures.pop("update_ratio/embedding") == pytest.approx(0.25, rel=1e-5)
    assert figures.pop("update_ratio/norm") == pytest.approx(3.0, rel=1e-6)
    assert set(figures.values()) == {0.0}
    assert len(figures) == 4


def step(model: Decoder, measure: bool = False) -> dict[str, Tensor]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ratios = UpdateRatios(model, layer_groups(model)) if measure else None
    with DeadUnits(model) if measure else nullcontext():
        with_gradients(model)
    optimizer.step()
    return ratios.measure() if ratios else {}


def test_update_ratios_of_a_real_step() -> None:
    model = small_model()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    figures = step(model, measure=True)
    after = dict(model.named_parameters())
    for group, names in layer_groups(model).items():
        old = torch.cat([before[name].flatten() for name in names]).double()
        new = torch.cat([after[name].detach().flatten() for name in names]).double()
        expected = float((new - old).norm() / old.norm())
        assert expected > 0
        assert float(figures[f"update_ratio/{group}"]) == pytest.approx(expected, rel=1e-4)


def test_measuring_changes_no_weights() -> None:
    plain, measured = small_model(), small_model()
    step(plain)
    step(measured, measure=True)
    for one, other in zip(plain.parameters(), measured.parameters(), strict=True):
        assert torch.equal(one, other)


# --- dead units -----------------------------------------------------------------------------------


def shares(model: Decoder, *batches: Tensor) -> dict[str, float]:
    with DeadUnits(model) as dead:
        for batch in batches:
            model(batch)
    return read_figures(dead.measure())


def test_a_fresh_model_has_none() -> None:
    for model in (small_model(), build_decoder(GPT2, 0)):
        assert shares(model, ids()) == {"dead_units/block0": 0.0, "dead_units/block1": 0.0}


@torch.no_grad()
def test_planted_dead_units_are_found_in_swiglu() -> None:
    """Of 96 units, rows of the gate are zeroed for 12 and rows of up for 24 others."""
    model = small_model()
    assert model.config.d_ff == 96
    weight = model.get_parameter("blocks.1.feedforward.gate_up.weight")
    weight[:12] = 0
    weight[96 + 40 : 96 + 64] = 0
    figures = shares(model, ids())
    assert figures["dead_units/block0"] == 0.0
    assert figures["dead_units/block1"] == pytest.approx(36 / 96)


@torch.no_grad()
def test_planted_dead_units_are_found_in_gelu() -> None:
    """A bias far in the negative: gelu(-30) is 0. Of 128 units, 32; at -1 they are not dead."""
    model = build_decoder(GPT2, 0)
    bias = model.get_parameter("blocks.0.feedforward.up.bias")
    bias[:32] = -30.0
    bias[32:64] = -1.0
    assert shares(model, ids()) == {"dead_units/block0": 0.25, "dead_units/block1": 0.0}


@torch.no_grad()
def test_a_unit_that_wakes_once_in_all_micro_batches_is_alive() -> None:
    """Half of the gates are shut; for the second of three batches half of those open."""
    model = small_model()
    weight = model.get_parameter("blocks.0.feedforward.gate_up.weight")
    weight[:48] = 0
    assert shares(model, ids())["dead_units/block0"] == 0.5
    with DeadUnits(model) as dead:
        model(ids(1))
        weight[:24] = 1.0
        model(ids(2))
        weight[:24] = 0
        model(ids(3))
    assert read_figures(dead.measure())["dead_units/block0"] == 0.25


@torch.no_grad()
def test_a_layer_without_any_activation_is_dead_altogether() -> None:
    model = small_model()
    model.get_parameter("blocks.0.feedforward.gate_up.weight").zero_()
    assert shares(model, ids())["dead_units/block0"] == 1.0


@torch.no_grad()
def test_it_is_measured_against_the_layers_own_largest() -> None:
    """A layer that is quiet as a whole is not dead; a unit a million times smaller is."""
    model = small_model()
    weight = model.get_parameter("blocks.0.feedforward.gate_up.weight")
    weight[96:] *= 1e-9  # `up`, so every activation shrinks by as much
    assert shares(model, ids())["dead_units/block0"] == 0.0
    weight[96:100] *= 1e-8
    assert shares(model, ids())["dead_units/block0"] == pytest.approx(4 / 96)


def test_under_autocast_and_backward_it_measures_the_same_units() -> None:
    model = small_model()
    with torch.no_grad():
        model.get_parameter("blocks.0.feedforward.gate_up.weight")[:24] = 0
    with DeadUnits(model) as dead, torch.autocast("cpu", dtype=torch.bfloat16):
        model(ids()).sum().backward()
    figures = dead.measure()
    assert not any(value.requires_grad for value in figures.values())
    assert read_figures(figures)["dead_units/block0"] == 0.25


def gradients(model: Decoder, ids: Tensor, precision: str = "float32") -> list[Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        torch.manual_seed(7)  # for dropout
        total = model(ids).float().square().sum()
    total.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["none", "selective", "layers"])
def test_the_pass_that_trains_stays_what_it_is(mode: Recompute, precision: str) -> None:
    """To the last bit, with dropout, with recomputation, in either precision."""
    config = replace(small_model().config, dropout=0.5)
    plain, measured = build_decoder(config, 0), build_decoder(config, 0)
    apply_recompute(plain, mode)
    apply_recompute(measured, mode)
    with DeadUnits(measured) as dead:
        found = gradients(measured, ids(), precision)
    assert read_figures(dead.measure()) == {"dead_units/block0": 0.0, "dead_units/block1": 0.0}
    assert all(module.training for module in measured.modules())
    expected = gradients(plain, ids(), precision)
    assert len(found) == len(expected) == len(list(plain.parameters()))
    assert all(map(torch.equal, found, expected))


def test_the_second_run_is_in_the_precision_of_the_first() -> None:
    model = small_model()
    seen: list[torch.dtype] = []
    for block in model.blocks:
        down = block.get_submodule("feedforward.down")
        down.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with DeadUnits(model):
        gradients(model, ids(), "bfloat16")
        assert seen == [torch.bfloat16] * 4
        gradients(model, ids(), "float32")
    assert seen[4:] == [torch.float32] * 4


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_blocks_run_as_compiled_and_are_measured_too() -> None:
    """Compiled as the loop does it, but for the code generator; before, and while hooks are in."""
    model = small_model()
    n_hooks_seen: list[int] = []

    def run_as_traced(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        hooked = [module for module in model.modules() if module._forward_pre_hooks]
        n_hooks_seen.append(len(hooked))
        return graph.forward

    for block in model.blocks:
        compiled = torch.compile(block.forward, backend=run_as_traced, dynamic=False)
        block.forward = partial(in_training, compiled, block.forward)
    gradients(model, ids())
    n_compiled = len(n_hooks_seen)
    assert n_compiled >= 1
    with torch.no_grad():
        model.get_parameter("blocks.0.feedforward.gate_up.weight")[:24] = 0
    with DeadUnits(model) as dead:
        gradients(model, ids())
        assert len(n_hooks_seen) == n_compiled
        gradients(model, ids(n_rows=5))  # of another shape, so it is compiled here
    assert len(n_hooks_seen) > n_compiled
    assert set(n_hooks_seen) == {0}
    assert read_figures(dead.measure()) == {"dead_units/block0": 0.25, "dead_units/block1": 0.0}


def in_training(compiled: Any, plain: Any, *args: Any, **kwargs: Any) -> Any:
    return (compiled if torch.is_grad_enabled() else plain)(*args, **kwargs)


def test_the_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = small_model()
    dead = DeadUnits(model)
    with pytest.raises(RuntimeError, match="planted"), dead:
        raise RuntimeError("planted")
    model(ids())
    assert dead.measure() == {}
    with DeadUnits(model), pytest.raises(RuntimeError, match="must match the size"):
        model.blocks[0](torch.zeros(1, 2, 3), rope=None, mask=None, cache=None)
    for module in model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


# --- all of them ----------------------------------------------------------------------------------


def test_layer_stats_of_a_step_are_the_three_together() -> None:
    model = small_model()
    groups = layer_groups(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    stats = LayerStats(model, groups)
    assert stats.take() == {}
    with stats.measuring():
        with_gradients(model)
        expected = gradient_norms(model, groups)
        with stats.around_update():
            optimizer.step()
    figures = stats.take()
    assert {name: figures[name] for name in expected} == expected
    names = {name.split("/")[0] for name in figures}
    assert names == {"gradient_norm", "update_ratio", "dead_units"}
    assert len(figures) == 2 * len(groups) + 2
    assert all(value > 0 for name, value in figures.items() if "update_ratio" in name)
    assert stats.take() == {}


def test_nothing_to_read_is_nothing() -> None:
    assert read_figures({}) == {}
