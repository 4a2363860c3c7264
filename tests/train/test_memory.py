from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, Labels, ModelConfig, build_decoder
from groundup.optim import AdamW8bitConfig, optimizer_state_bytes
from groundup.runtime import GroundupError, Precision, autocast
from groundup.train import memory
from groundup.train.memory import (
    MemoryEstimate,
    MemoryMeter,
    OutOfMemoryError,
    StepShape,
    available_bytes,
    is_out_of_memory,
    kept_bytes,
    largest_rows,
    memory_section,
    out_of_memory_help,
    predict_memory,
)
from groundup.train.recompute import Recompute, apply_recompute

from ..model.shapes import SHAPES
from .live_storages import LiveStorages, saved_bytes, state_of

CPU = torch.device("cpu")
MODES: list[Recompute] = ["none", "selective", "layers"]
PRECISIONS: list[Precision] = ["float32", "bfloat16"]
GIB = 2**30

GPT2 = ModelConfig(
    vocab_size=50257,
    max_seq_len=1024,
    d_model=768,
    n_layers=12,
    n_heads=12,
    norm="layernorm",
    position="learned",
    feedforward="gelu",
    qk_norm=False,
    bias=True,
)
GPT2_STEP = StepShape(64, 1024, "bfloat16", device="cuda")
GPT2_STATE = 8 * 124_500_000


def loss_of(model: Decoder, step: StepShape) -> Tensor:
    """The loss of a batch with `step`'s rows, documents and trained positions."""
    shape = (step.rows, step.seq_len)
    ids = torch.randint(model.config.vocab_size, shape, generator=torch.Generator())
    positions = torch.arange(step.seq_len).expand(shape).contiguous()
    documents = positions // 10 if step.documents else None
    labels, select = ids.flatten(), None
    if step.trained_share < 1:
        order = torch.randperm(len(labels), generator=torch.Generator())
        select = order[: step.trained_positions].clone()
        labels = labels.index_select(0, select)
    with autocast(CPU, step.precision):
        sums: Tensor = model(
            ids, positions=positions, document_ids=documents, select=select, labels=Labels(labels)
        )
    return sums[0]


def expected_after_forward(model: Decoder, step: StepShape) -> int:
    """`kept_bytes`, and what it does not count: gradients kept by the loss, weights' copies."""
    config = model.config
    of_hidden = step.product_bytes * step.trained_positions * config.d_model
    of_projection = 4 * model.head.weight.numel()
    copies = 0
    if step.precision == "bfloat16" and step.recompute == "none":
        copies = sum(2 * p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    return kept_bytes(config, step) + of_hidden + of_projection + copies


def various_steps(precision: Precision, mode: Recompute) -> Iterator[StepShape]:
    yield StepShape(3, 40, precision, mode)
    yield StepShape(2, 48, precision, mode, documents=True)
    yield StepShape(5, 24, precision, mode, documents=True, trained_share=0.4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_kept_bytes_are_exact(shape: str, mode: Recompute, precision: Precision) -> None:
    model = build_decoder(SHAPES[shape], seed=0)
    apply_recompute(model, mode)
    for step in various_steps(precision, mode):
        with LiveStorages(state_of(model)) as storages:
            loss = loss_of(model, step)
        assert storages.alive() - loss.untyped_storage().nbytes() == expected_after_forward(
            model, step
        )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", ["qwen3", "gpt2"])
def test_dropout_is_counted(shape: str, mode: Recompute, precision: Precision) -> None:
    model = build_decoder(replace(SHAPES[shape], dropout=0.1), seed=0)
    apply_recompute(model, mode)
    step = StepShape(3, 40, precision, mode)
    with LiveStorages(state_of(model)) as storages:
        loss = loss_of(model, step)
    assert storages.alive() - loss.untyped_storage().nbytes() == expected_after_forward(model, step)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kept_bytes_are_what_autograd_saves(shape: str, precision: Precision) -> None:
    model = build_decoder(SHAPES[shape], seed=0)
    for step in various_steps(precision, "none"):
        _, n_bytes = saved_bytes(model, lambda step=step: loss_of(model, step))
        assert n_bytes == expected_after_forward(model, step)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vocab_size", [512, 8192])
@pytest.mark.parametrize("shape", ["qwen3", "gpt2"])
def test_the_total_is_the_peak_of_a_step(
    shape: str, vocab_size: int, mode: Recompute, precision: Precision
) -> None:
    sizes = {"max_seq_len": 128, "d_model": 128, "d_head": 32, "d_ff": 384, "n_layers": 4}
    config = replace(SHAPES[shape], vocab_size=vocab_size, **sizes)
    model = build_decoder(config, seed=0)
    apply_recompute(model, mode)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step = StepShape(4, 128, precision, mode)
    predicted = predict_memory(config, step, state_bytes=0)
    with LiveStorages(state_of(model)) as storages:
        loss_of(model, step).backward()
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert predicted.gradients == weights
    ratio = (storages.peak + 2 * weights) / predicted.total
    assert 0.97 < ratio < 1.001


def test_a_prediction_worked_out_by_hand() -> None:
    """One layer of GPT-2's kind, d = 4 in one head, f = 16, one row of 8 tokens, V = 64."""
    config = ModelConfig(
        vocab_size=64,
        max_seq_len=8,
        d_model=4,
        n_layers=1,
        n_heads=1,
        d_ff=16,
        norm="layernorm",
        position="learned",
        feedforward="gelu",
        qk_norm=False,
    )
    estimate = predict_memory(config, StepShape(1, 8), state_bytes=7)
    n_parameters = 64 * 4 + 8 * 4 + 4 * 4 * 4 + 2 * 4 * 16 + 3 * 8
    attention = 8 * 4 * (4 + 2 + 4 + 12 + 4 + 1)  # input, statistics, normed, qkv, result, log-sum
    feedforward = 8 * 4 * (4 + 2 + 4 + 16 + 16)  # input, statistics, normed, up, gelu
    outside = 8 * (8 + 8) + 8 * 4 * (4 + 2)  # ids and positions, then the last norm
    loss = 2 * 4 * 8 * 4 + 4 * 64 * 4 + 2 * 4 * 8 * 64
    assert estimate == MemoryEstimate(
        weights=4 * n_parameters,
        gradients=4 * n_parameters,
        optimizer=7,
        activations=attention + feedforward + outside,
        loss=loss,
    )
    assert estimate.total == 8 * n_parameters + 7 + attention + feedforward + outside + loss


@pytest.mark.parametrize("precision", PRECISIONS)
def test_modes_are_in_the_order_of_what_they_need(precision: Precision) -> None:
    step = replace(GPT2_STEP, precision=precision)
    totals = [
        predict_memory(GPT2, replace(step, recompute=mode), state_bytes=0).total for mode in MODES
    ]
    assert totals == sorted(totals, reverse=True)
    assert totals[2] < 0.5 * totals[1] < 0.5 * totals[0]


def test_padding_of_the_vocabulary_is_paid_for() -> None:
    padded = predict_memory(GPT2, GPT2_STEP, state_bytes=0)
    plain = predict_memory(replace(GPT2, vocab_multiple=1), GPT2_STEP, state_bytes=0)
    assert padded.gradients - plain.gradients == 4 * 768 * (50304 - 50257)


def test_meter_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([100, 150])
    monkeypatch.setattr(memory, "peak_memory_bytes", lambda: next(peaks))
    assert MemoryMeter(CPU).read() == {
        "measure": "resident",
        "peak_bytes": 150,
        "start_bytes": 100,
        "grew_bytes": 50,
    }


def test_meter_where_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "peak_memory_bytes", lambda: 0)
    measured = MemoryMeter(CPU).read()
    assert measured["peak_bytes"] is None
    assert measured["grew_bytes"] is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_meter_of_a_gpu_sees_what_was_freed_again() -> None:
    meter = MemoryMeter(torch.device("cuda"))
    del_me = torch.ones(1 << 24, device="cuda")
    del del_me
    measured = meter.read()
    assert measured["peak_bytes"] - measured["start_bytes"] >= 4 << 24
    assert measured["reserved_bytes"] >= measured["peak_bytes"]


def test_the_section_of_the_report_is_json() -> None:
    predicted = predict_memory(GPT2, GPT2_STEP, state_bytes=1)
    measured = {"measure": "allocated", "peak_bytes": 2 * predicted.total, "start_bytes": 0}
    section = json.loads(json.dumps(memory_section(predicted, measured)))
    assert section["predicted"] == {**asdict(predicted), "total": predicted.total}
    assert sum(asdict(predicted).values()) == predicted.total
    assert section["measured"] == measured
    assert section["measured_by_predicted"] == 2.0
    resident = memory_section(predicted, MemoryMeter(CPU).read())
    assert resident["measured_by_predicted"] is None


def test_running_out_of_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as of_python:
        bytearray(1 << 60)
    assert is_out_of_memory(of_python.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("out of memory"), KeyError("memory")]
)
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_cpu_has_more_memory_than_this_process_has_used() -> None:
    available = available_bytes(CPU)
    assert available is None or available > memory.peak_memory_bytes()


def total(step: StepShape, config: ModelConfig = GPT2, state_bytes: int = GPT2_STATE) -> int:
    return predict_memory(config, step, state_bytes=state_bytes).total


@pytest.mark.parametrize("mode", MODES)
def test_largest_rows_fit_and_one_more_does_not(mode: Recompute) -> None:
    step, limit = replace(GPT2_STEP, recompute=mode, rows=1000), 20 * GIB
    rows = largest_rows(GPT2, step, state_bytes=GPT2_STATE, limit_bytes=limit)
    assert total(replace(step, rows=rows)) <= limit < total(replace(step, rows=rows + 1))
    assert largest_rows(GPT2, GPT2_STEP, state_bytes=GPT2_STATE, limit_bytes=GIB) == 0


def test_help_begins_with_fewer_rows_then_recomputation() -> None:
    error = out_of_memory_help(
        GPT2, GPT2_STEP, label="pretrain", state_bytes=GPT2_STATE, available=16 * GIB
    )
    assert isinstance(error, OutOfMemoryError)
    assert isinstance(error, GroundupError)
    rows = [
        largest_rows(
            GPT2,
            replace(GPT2_STEP, recompute=mode),
            state_bytes=GPT2_STATE,
            limit_bytes=0.9 * 16 * GIB,
        )
        for mode in MODES
    ]
    assert 1 < rows[0] < rows[1] < rows[2] == 64
    parts = predict_memory(GPT2, GPT2_STEP, state_bytes=GPT2_STATE)
    assert str(error) == (
        "pretrain: out of memory of 16 GiB: micro-batches of 64 rows of 1024 tokens need about "
        f"{parts.total / GIB:.3g} GiB (weights {parts.weights / GIB:.3g}, gradients "
        f"{parts.gradients / GIB:.3g}, optimizer 0.928, activations "
        f"{parts.activations / GIB:.3g}, loss {parts.loss / GIB:.3g}); "
        f"use --set pretrain.loop.micro_rows={rows[0]}, "
        f"or --set pretrain.loop.recompute=selective --set pretrain.loop.micro_rows={rows[1]}, "
        "or --set pretrain.loop.recompute=layers"
    )


def test_help_asks_for_less_than_what_failed_though_the_prediction_says_it_fits() -> None:
    needed = total(GPT2_STEP)
    help_text = str(
        out_of_memory_help(
            GPT2, GPT2_STEP, label="sft", state_bytes=GPT2_STATE, available=2 * needed
        )
    )
    (rows,) = [
        int(word.rpartition("=")[2].rstrip(","))
        for word in help_text.split(", or")[0].split()
        if word.startswith("sft.loop.micro_rows=")
    ]
    assert total(replace(GPT2_STEP, rows=rows)) <= 0.9 * needed
    assert total(replace(GPT2_STEP, rows=rows + 1)) > 0.9 * needed
    without = out_of_memory_help(GPT2, GPT2_STEP, label="sft", state_bytes=GPT2_STATE)
    assert f"--set sft.loop.micro_rows={rows}," in str(without)


def test_help_where_no_row_fits_names_the_optimizer_then_the_model() -> None:
    least = replace(GPT2_STEP, rows=1, recompute="layers")
    state = 8 * 124_500_000
    with_state = total(least) - 1

    def text(available: float, *, can_offload: bool = True) -> str:
        return str(
            out_of_memory_help(
                GPT2,
                GPT2_STEP,
                label="pretrain",
                state_bytes=state,
                available=int(available),
                can_offload=can_offload,
            )
        )

    settings = "--set pretrain.loop.recompute=layers --set pretrain.loop.micro_rows=1"
    narrow = text(with_state)
    assert narrow.endswith(f"use --set pretrain.optimizer.offload=true {settings}")
    on_cpu = text(with_state, can_offload=False)
    assert on_cpu.endswith(f"use --set pretrain.optimizer.name=adamw8bit {settings}")
    smaller = text((total(least, replace(GPT2, n_layers=7), state_bytes=0) - 1) / 0.9)
    assert "use a smaller model, --set model.n_layers=" in smaller
    n_layers = int(smaller.split("model.n_layers=")[1].split()[0])
    assert 0 < n_layers < 7
    assert text(100 << 20).endswith(
        "use a smaller model: fewer and narrower layers, a smaller vocabulary"
    )


def test_help_of_a_single_row_does_not_ask_for_fewer() -> None:
    step = replace(GPT2_STEP, rows=1, seq_len=1024)
    text = str(out_of_memory_help(GPT2, step, label="pretrain", state_bytes=GPT2_STATE))
    assert "micro_rows=0" not in text


def test_the_state_in_eight_bits_is_no_larger_than_assumed() -> None:
    model = build_decoder(replace(SHAPES["qwen3"], d_model=128, n_layers=4), seed=0)
    n_parameters = sum(p.numel() for p in model.parameters())
    state = optimizer_state_bytes(model, AdamW8bitConfig())
    assert 1.9 * n_parameters < state <= memory.EIGHT_BIT_STATE * n_parameters
