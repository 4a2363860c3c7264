from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from groundup.model import (
    Decoder,
    ModelConfig,
    count_parameters,
    forward_flops_per_token,
    training_flops_per_token,
)
from groundup.model.layers import RMSNorm


def test_the_closed_form_counts_every_parameter(config: ModelConfig, unpadded: ModelConfig) -> None:
    model = Decoder(unpadded)
    counted = count_parameters(config)
    assert counted.total == sum(parameter.numel() for parameter in model.parameters())

    sums = dict.fromkeys(("embedding", "attention", "feedforward", "norms", "head"), 0)
    for name, parameter in model.named_parameters():
        part = next(
            part
            for part, marks in {
                "norms": ("norm",),
                "attention": ("attention",),
                "feedforward": ("feedforward",),
                "embedding": ("embedding",),
                "head": ("head",),
            }.items()
            if any(mark in name for mark in marks)
        )
        sums[part] += parameter.numel()
    assert sums == {part: getattr(counted, part) for part in sums}


def test_published_sizes() -> None:
    """Llama 3.2 1B and Qwen3 0.6B as their model cards count them."""
    llama = ModelConfig(
        vocab_size=128_256,
        d_model=2048,
        n_layers=16,
        n_heads=32,
        n_kv_heads=8,
        d_ff=8192,
        qk_norm=False,
    )
    assert count_parameters(llama).total == 1_235_814_400
    qwen3 = ModelConfig(
        vocab_size=151_936,
        d_model=1024,
        n_layers=28,
        n_heads=16,
        n_kv_heads=8,
        d_head=128,
        d_ff=3072,
    )
    assert count_parameters(qwen3).total == 596_049_920


def _counted_flops(model: Decoder, seq_len: int, *, backward: bool = False) -> tuple[int, int]:
    """(matrix products of the weights, attention) of one row, as torch counts them."""
    input_ids = torch.zeros(1, seq_len, dtype=torch.long)
    # The plain kernel runs as two batched products. Its formula is registered for them; the fused
    # CPU kernel has none and would count as nothing.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(input_ids)
        if backward:
            logits.sum().backward()
    counts = {str(kernel): n for kernel, n in counter.get_flop_counts()["Global"].items()}
    attention = counts.pop("aten.bmm", 0)
    assert set(counts) <= {"aten.mm", "aten.addmm"}
    return sum(counts.values()), attention


@pytest.mark.parametrize("seq_len", [1, 16, 48])
def test_the_closed_form_counts_every_product(
    config: ModelConfig, unpadded: ModelConfig, seq_len: int
) -> None:
    """The plain kernel computes all T keys for every query; a causal one needs (T + 1)/2 of them.

    So torch's count of attention is scaled by (T + 1)/2T before the two are compared, and what
    remains must be equal to the last operation.
    """
    weights, attention = _counted_flops(Decoder(unpadded), seq_len)
    causal = attention * (seq_len + 1) / (2 * seq_len)
    assert seq_len * forward_flops_per_token(config, seq_len) == weights + causal


def test_training_is_three_forward_passes(config: ModelConfig, unpadded: ModelConfig) -> None:
    """Each product of the forward pass has two in the backward pass, one for each operand.

    The norms are torch's own here: ours sums over rows by a product in its backward pass.
    """
    model, seq_len = Decoder(unpadded), 16
    for name, module in list(model.named_modules()):
        if isinstance(module, RMSNorm):
            model.set_submodule(name, nn.RMSNorm(len(module.weight), module.eps))
    weights, attention = _counted_flops(model, seq_len, backward=True)
    causal = attention * (seq_len + 1) / (2 * seq_len)
    assert seq_len * training_flops_per_token(config, seq_len) == weights + causal
