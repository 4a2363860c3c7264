from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groundup.data.loader import TokenBatch
from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import AdamWConfig, Optimizer
from groundup.runtime import GroundupError, Precision
from groundup.train.interrupt import Interrupted
from groundup.train.job import Job
from groundup.train.loop import train
from groundup.train.objectives import next_token_loss
from groundup.train.precision import apply_precision
from groundup.train.recompute import Recompute, apply_recompute
from groundup.train.step import StepRule

from ..tiny_build import SignalAt
from .small_job import RandomBatches, small_job, small_model

CPU = torch.device("cpu")
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0}
# Half the distance of neighbours: relative, and absolute near 0 where they no longer shrink.
RELATIVE = {"e4m3": 2.0**-4, "e5m2": 2.0**-3}
ABSOLUTE = {"e4m3": 2.0**-10, "e5m2": 2.0**-17}


def linear(d_in: int, d_out: int, *, bias: bool = False, seed: int = 0) -> nn.Linear:
    """A linear layer of a block, made to multiply in float8 by what stands in the package."""
    torch.manual_seed(seed)
    layer = nn.Linear(d_in, d_out, bias=bias)
    apply_precision(_Blocks(layer), "float8", CPU)  # type: ignore[arg-type]
    return layer


class _Blocks(nn.Module):
    """What `apply_precision` looks at of a decoder."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([layer])


def rounding(tensor: Tensor, kind: str) -> Tensor:
    """The most that each entry of a tensor moves when it becomes float8 with one scale, float64."""
    scale = tensor.abs().max() / LARGEST[kind]
    return RELATIVE[kind] * tensor.abs() + ABSOLUTE[kind] * scale


def assert_product(found: Tensor, a: Tensor, b: Tensor, kinds: tuple[str, str]) -> float:
    """Hold `found` against a bᵀ in float64 entry by entry; returns the error in norm.

    (a + δ)(b + ε) - ab = δb + aε + δε, then a rounding to bfloat16 of half a 128th.
    """
    a, b = a.double(), b.double()
    exact, (of_a, of_b) = a @ b.t(), (rounding(t, k) for t, k in zip((a, b), kinds, strict=True))
    bound = of_a @ b.abs().t() + a.abs() @ of_b.t() + of_a @ of_b.t()
    bound += 2**-8 * (exact.abs() + bound)
    error = (found.double() - exact).abs()
    assert bool((error <= bound * 1.001).all()), float((error / bound).max())
    return float(error.norm() / exact.norm())


# --- one product ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 2.0], ids=["normal", "a few large"])
def test_the_three_products_are_as_exact_as_float8_can_be(spread: float) -> None:
    """By the formats' own bounds; in norm a few per cent, which no other precision loses."""
    generator = torch.Generator().manual_seed(1)
    layer = linear(96, 64)

    def draw(*shape: int) -> Tensor:
        sizes = torch.exp(spread * torch.randn(shape, generator=generator))
        return torch.randn(shape, generator=generator) * sizes

    x, grad = draw(80, 96).requires_grad_(), draw(80, 64).bfloat16()
    with torch.no_grad():
        layer.weight.copy_(draw(64, 96))
    y = layer(x)
    y.backward(grad)
    assert (y.dtype, x.grad.dtype, layer.weight.grad.dtype) == (
        torch.bfloat16,
        torch.float32,
        torch.float32,
    )
    values, weight = x.detach(), layer.weight.detach()
    errors = [
        assert_product(y.detach(), values, weight, ("e4m3", "e4m3")),
        assert_product(x.grad, grad, weight.t(), ("e5m2", "e4m3")),
        assert_product(layer.weight.grad, grad.t(), values.t(), ("e5m2", "e4m3")),
    ]
    assert 0.02 < errors[0] < 0.06
    assert 0.03 < errors[1] < 0.1
    assert 0.03 < errors[2] < 0.1


class Rounded(torch.autograd.Function):
    """y = x wᵀ as float8 would have it, from numbers that were rounded to float8 and taken back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = there_and_back(x, "e4m3"), there_and_back(weight, "e4m3")
        ctx.save_for_backward(x, weight)
        return (x.double() @ weight.double().t()).bfloat16()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = there_and_back(grad, "e5m2").double()
        by_x, by_weight = grad @ weight.double(), grad.t() @ x.double()
        return by_x.bfloat16().float(), by_weight.bfloat16().float()


def there_and_back(tensor: Tensor, kind: str) -> Tensor:
    """Rounded to float8's grid by hand: 3 or 2 bits after the leading one, down to the smallest."""
    scale = tensor.float().abs().max() / LARGEST[kind]
    value = tensor.float() / scale
    bits, least = (3, -6) if kind == "e4m3" else (2, -14)
    exponent = torch.floor(torch.log2(value.abs().clamp(min=2.0**least))).clamp(min=least)
    spacing = torch.exp2(exponent - bits)
    return torch.round(value / spacing) * spacing * scale


@pytest.mark.parametrize("under_autocast", [False, True], ids=["alone", "as in training"])
def test_products_are_those_of_numbers_rounded_by_hand(under_autocast: bool) -> None:
    """All but a few entries to the last bit: their sums are in float32, in whatever order."""
    layer, generator = linear(96, 64), torch.Generator().manual_seed(3)
    weight = layer.weight.detach().clone().requires_grad_()
    x = torch.randn(80, 96, generator=generator).requires_grad_()
    other = x.detach().clone().requires_grad_()
    grad = torch.randn(80, 64, generator=generator).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=under_autocast):
        found, expected = layer(x), Rounded.apply(other, weight)
    found.backward(grad)
    expected.backward(grad)
    for ours, theirs in ((found, expected), (x.grad, other.grad), (layer.weight.grad, weight.grad)):
        assert (ours != theirs).float().mean() < 0.01
        torch.testing.assert_close(ours, theirs, atol=0, rtol=2**-7)


def test_powers_of_two_lose_nothing() -> None:
    """The largest is 448 of its scale, and its halves are numbers of the format too."""
    layer = linear(16, 16)
    x = torch.eye(16) * 2.0
    x[0, :4] = torch.tensor([1.0, -0.5, 0.25, 2.0])
    weight = torch.zeros(16, 16)
    weight[0, :4] = torch.tensor([4.0, 2.0, -1.0, 0.5])
    weight[3, 3] = -4.0
    with torch.no_grad():
        layer.weight.copy_(weight)
    torch.testing.assert_close(layer(x).float(), x @ weight.t(), atol=0, rtol=2**-8)
    assert float(layer(x)[0, 0].detach()) == 1.0 * 4 - 0.5 * 2 + 0.25 * -1 + 2.0 * 0.5


@pytest.mark.parametrize("n_rows", [1, 15, 16, 33])
def test_any_number_of_rows_is_padded_and_cut(n_rows: int) -> None:
    """Rows added for the units' sake change no output and no gradient."""
    layer, whole = linear(32, 48, bias=True), linear(32, 48, bias=True)
    generator = torch.Generator().manual_seed(2)
    x = torch.zeros(48, 32)
    x[:n_rows] = torch.randn(n_rows, 32, generator=generator)
    grad = torch.zeros(48, 48)
    grad[:n_rows] = torch.randn(n_rows, 48, generator=generator)
    part, all_rows = x[:n_rows].clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = layer(part[None]), whole(all_rows)
    assert y.shape == (1, n_rows, 48)
    assert torch.equal(y[0], expected[:n_rows])
    y.backward(grad[None, :n_rows].bfloat16())
    expected.backward(grad.bfloat16())
    assert torch.equal(part.grad, all_rows.grad[:n_rows])
    assert torch.equal(layer.weight.grad, whole.weight.grad)
    torch.testing.assert_close(layer.bias.grad, whole.bias.grad, atol=0, rtol=2**-8)


def test_zeros_and_what_is_no_number_stay_what_they_are() -> None:
    """A tensor of zeros has no largest entry to scale by; a NaN must not become a number."""
    layer = linear(16, 16)
    assert torch.equal(layer(torch.zeros(16, 16)), torch.zeros(16, 16, dtype=torch.bfloat16))
    for bad in (float("nan"), float("inf")):
        x = torch.ones(16, 16)
        x[3, 4] = bad
        assert not bool(torch.isfinite(layer(x)[3]).any())


# --- a decoder ------------------------------------------------------------------------------------


def decoder(seed: int = 0, **changes: Any) -> Decoder:
    size = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128}
    return build_decoder(
        ModelConfig(**{"vocab_size": 260, "max_seq_len": 16, **size, **changes}), seed
    )


def gradients(model: Decoder, precision: Precision) -> tuple[float, dict[str, Tensor]]:
    apply_precision(model, precision, CPU)
    rule = StepRule(model, Optimizer(model, AdamWConfig()), next_token_loss, precision, 1.0)
    parts, _ = rule.gradients(RandomBatches(n_rows=6).micro_batches(0, 4))
    loss = float(sum(part.total for part in parts)) / sum(part.count for part in parts)
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}


GPT2: dict[str, Any] = {
    "norm": "layernorm",
    "position": "learned",
    "feedforward": "gelu",
    "qk_norm": False,
    "bias": True,
}


@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.999), ("float8", 0.97)])
@pytest.mark.parametrize("changes", [{}, GPT2], ids=["qwen3", "gpt2"])
def test_gradients_point_where_float32s_do(
    changes: dict[str, Any], precision: Precision, least: float
) -> None:
    """Each matrix of the model and all parameters together.

    What a product loses, 0.4 % in bfloat16 and 4 to 7 % in float8, is about four times as much at
    the other end of two fresh blocks.
    """
    exact_loss, exact = gradients(decoder(**changes), "float32")
    loss, found = gradients(decoder(**changes), precision)
    assert loss == pytest.approx(exact_loss, rel=0.01)
    assert loss != exact_loss
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    flat = [torch.cat([g.flatten() for g in values.values()]) for values in (found, exact)]
    assert torch.cosine_similarity(*flat, dim=0) > least
    for name, gradient in exact.items():
        if gradient.ndim == 2:
            cosine = torch.cosine_similarity(found[name].flatten(), gradient.flatten(), dim=0)
            assert cosine > least, name


def test_float8_is_for_the_blocks_linear_layers_alone() -> None:
    model, plain = decoder(), decoder()
    apply_precision(model, "float8", CPU)
    replaced = {name for name, module in model.named_modules() if "forward" in vars(module)}
    layers = ("attention.qkv", "attention.out", "feedforward.gate_up", "feedforward.down")
    assert replaced == {f"blocks.{block}.{layer}" for block in (0, 1) for layer in layers}
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["bfloat16", "float8"])
@pytest.mark.parametrize("mode", ["selective", "layers"])
def test_recomputing_gives_the_same_bits(mode: Recompute, precision: Precision) -> None:
    _, plain = gradients(decoder(), precision)
    model = decoder()
    apply_recompute(model, mode)
    _, found = gradients(model, precision)
    assert all(torch.equal(found[name], gradient) for name, gradient in plain.items())


def test_a_copy_multiplies_its_own_weights() -> None:
    model = decoder()
    apply_precision(model, "float8", CPU)
    other = copy.deepcopy(model)
    ids = torch.arange(16)[None]
    before = other(ids)
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.zero_()
        assert torch.equal(other(ids), before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_precisions_leave_the_model_as_it_is(precision: Precision) -> None:
    model = decoder()
    apply_precision(model, precision, torch.device("mps"))
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"d_model": 40}, "blocks.0.attention.qkv is 120 x 40"),
        ({"d_ff": 72}, "blocks.0.feedforward.down is 64 x 72"),
        ({"d_ff": 100}, "blocks.0.feedforward.gate_up is 200 x 64"),
        ({"d_head": 12, "n_heads": 3}, "blocks.0.attention.qkv is 108 x 64"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], layer: str) -> None:
    message = f"sizes that are multiples of 16; {layer}; use precision=bfloat16"
    with pytest.raises(GroundupError, match=message):
        apply_precision(decoder(**changes), "float8", CPU)


def test_an_older_gpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A40")
    for capability in ((7, 5), (8, 6)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        with pytest.raises(GroundupError, match=r"8\.9 or higher, NVIDIA A40 has less; use prec"):
            apply_precision(decoder(), "float8", torch.device("cuda"))
    for capability in ((8, 9), (9, 0), (10, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        apply_precision(decoder(), "float8", torch.device("cuda"))


def test_a_device_without_float8_is_refused() -> None:
    with pytest.raises(GroundupError, match="precision=float8 does not run on mps; use precision="):
        apply_precision(decoder(), "float8", torch.device("mps"))


# --- training -------------------------------------------------------------------------------------


class SameBatch(RandomBatches):
    """The same rows at every step: something to learn by heart."""

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[TokenBatch]:
        yield from super().micro_batches(0, micro_rows)


@pytest.mark.parametrize("precision", ["bfloat16", "float8"])
def test_training_lowers_the_loss_and_keeps_float32_weights(
    tmp_path: Path, precision: Precision
) -> None:
    """From chance, log 260 = 5.56, to as low as float32 comes, within a tenth of a nat."""
    final = {}
    for kind in (precision, "float32"):
        model = decoder()
        optimizer = Optimizer(model, AdamWConfig(lr=1e-2))
        job = small_job(
            tmp_path / kind,
            model=model,
            optimizer=optimizer,
            batches=SameBatch(),
            n_steps=40,
            precision=kind,
            checkpoint_every=0,
        )
        train(job)
        losses = [figures["loss"] for _, _, figures in job.listener.steps]
        assert losses[0] == pytest.approx(5.56, abs=0.2)
        final[kind] = losses[-1]
        tensors = [*model.parameters(), *optimizer.state_by_name().values()]
        assert all(tensor.dtype == torch.float32 for tensor in tensors)
    assert final["float32"] < 1.0
    assert final[precision] == pytest.approx(final["float32"], abs=0.1)
    header = (
        tmp_path / precision / "checkpoints/step-00000040/model/model.safetensors"
    ).read_bytes()
    size = int.from_bytes(header[:8], "little")
    entries = json.loads(header[8 : 8 + size])
    assert {entry["dtype"] for key, entry in entries.items() if key != "__metadata__"} == {"F32"}


@pytest.mark.parametrize("precision", ["bfloat16", "float8"])
def test_a_run_that_resumes_ends_in_the_same_bytes(tmp_path: Path, precision: Precision) -> None:
    def job(folder: str, seed: int = 0, **more: Any) -> Job:
        config = replace(small_model().config, n_layers=1, dropout=0.1)
        model = build_decoder(config, seed)
        return small_job(tmp_path / folder, model=model, precision=precision, **more)

    whole = job("whole")
    train(whole)
    with pytest.raises(Interrupted):
        train(job("cut", listener=SignalAt("pretrain", 3)))
    last = job("cut", seed=9)
    train(last)
    for ours, theirs in zip(last.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
