"""Where the memory of training goes: predicted in closed form, measured, and what to do without.

rows, T  rows of a micro-batch, their tokens      N  rows · T, positions of a micro-batch
V  rows of the output projection, padding included
d  d_model   L  n_layers   h  n_heads   g  n_kv_heads   e  d_head   f  d_ff
s  bytes of a number that a matrix product takes or gives: 4, in bfloat16 autocast 2
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from groundup.model import ModelConfig, count_parameters
from groundup.model.token_loss import BLOCK_BYTES, BLOCK_BYTES_ACCELERATOR
from groundup.runtime import GroundupError, Precision, peak_memory_bytes
from groundup.train.recompute import Recompute

FLOAT32, BFLOAT16, INT64 = 4, 2, 8  # bytes of a number
MODES: tuple[Recompute, ...] = ("none", "selective", "layers")  # from most memory to least
EIGHT_BIT_STATE = 2.1  # bytes for a parameter: two moments, and the scales of their blocks
HEADROOM = 0.9  # of the memory there is: the rest goes to what no formula counts


# --- prediction -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepShape:
    """What decides the memory of one micro-batch, beside the model.

    documents: whether rows hold several documents or padding, and so need a mask.
    trained_share: of the positions, how many a loss is computed for.
    device: the type of device, as torch spells it.
    """

    rows: int
    seq_len: int
    precision: Precision = "float32"
    recompute: Recompute = "none"
    documents: bool = False
    trained_share: float = 1.0
    device: str = "cpu"

    @property
    def positions(self) -> int:
        """N."""
        return self.rows * self.seq_len

    @property
    def trained_positions(self) -> int:
        """Positions that logits and a loss are computed for."""
        return round(self.positions * self.trained_share)

    @property
    def product_bytes(self) -> int:
        """s."""
        return FLOAT32 if self.precision == "float32" else BFLOAT16


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the fullest moment of a step, by what they hold."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    loss: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.loss


def predict_memory(config: ModelConfig, step: StepShape, *, state_bytes: int) -> MemoryEstimate:
    """Bytes that training needs, P parameters being trained, in eager mode.

    weights      4P, and in bfloat16 another 2 for each weight of a linear layer
    gradients    4P
    optimizer    state_bytes
    activations  what autograd keeps, and by how much a block's backward pass outgrows the loss
    loss         gradients of the projection and of its input, and some positions' logits

    Their sum is the peak of a micro-batch that is not the first of its step: gradients wait, and
    either the loss or, once that is forgotten, the backward pass of a block is added to what is
    kept. The allocator's waste comes on top. A compiled block keeps less than this says.
    """
    n_parameters = _n_parameters(config)
    loss, copies = _loss_bytes(config, step), _weight_copies(config, step)
    forgotten = loss if step.recompute == "none" else loss + copies
    return MemoryEstimate(
        weights=FLOAT32 * n_parameters + copies,
        gradients=FLOAT32 * n_parameters,
        optimizer=state_bytes,
        activations=kept_bytes(config, step) + max(0, _backward_bytes(config, step) - forgotten),
        loss=loss,
    )


@dataclass(frozen=True)
class Kept:
    """A tensor that waits for the backward pass, and the modes of recomputation that keep it."""

    name: str
    n_bytes: int
    modes: tuple[Recompute, ...] = ("none",)


ALWAYS: tuple[Recompute, ...] = MODES
PRODUCT: tuple[Recompute, ...] = ("none", "selective")


def kept_bytes(config: ModelConfig, step: StepShape) -> int:
    """What autograd holds at the end of the forward pass, up to the output projection's input."""
    tensors = [*_kept_outside(config, step), *config.n_layers * list(_kept_by_block(config, step))]
    return sum(tensor.n_bytes for tensor in tensors if step.recompute in tensor.modes)


def _backward_bytes(config: ModelConfig, step: StepShape) -> int:
    """What a block computes again for its backward pass, and the gradients that flow through it.

    The widest place is the feed-forward's: 4Nd of the residual stream's gradient and 2sNf for
    SwiGLU, whose product has two factors, or sNf + sNd for GELU.
    """
    n, s, d, f = step.positions, step.product_bytes, config.d_model, config.d_ff
    again = sum(
        tensor.n_bytes
        for tensor in _kept_by_block(config, step)
        if step.recompute not in tensor.modes
    )
    if step.recompute != "none":
        again += _weight_copies(config, step, of_head=False) // config.n_layers
    hidden = 2 * s * n * f if config.feedforward == "swiglu" else s * n * (f + d)
    return again + FLOAT32 * n * d + hidden


def _kept_by_block(config: ModelConfig, step: StepShape) -> Iterator[Kept]:
    """The tensors of one block; their bytes, in order, for Llama's and Qwen3's kind:

    4Nd + 4N + sNd + sN(h+2g)e + [4N(h+g)(+ 4N(h+g)e in bfloat16)] + sN(h+g)e + sNhe + 4Nh
    + 4Nd + 4N + sNd + 2sNf + 2sNf
    """
    d, e, f = config.d_model, config.d_head, config.d_ff
    h, g, n, s = config.n_heads, config.n_kv_heads, step.positions, step.product_bytes
    statistics = FLOAT32 * n * (2 if config.norm == "layernorm" else 1)
    yield Kept("input", FLOAT32 * n * d, ALWAYS)
    yield Kept("attention_norm: statistics", statistics)
    yield Kept("attention_norm: result", s * n * d)
    yield Kept("qkv: result", s * n * (h + 2 * g) * e, PRODUCT)
    if config.qk_norm:
        yield Kept("q_norm, k_norm: statistics", FLOAT32 * n * (h + g))
        if step.precision == "bfloat16":
            yield Kept("q_norm, k_norm: input in float32", FLOAT32 * n * (h + g) * e)
    if config.qk_norm or config.position == "rope":
        yield Kept("queries and keys", s * n * (h + g) * e)
    yield Kept("attention: result", s * n * h * e, PRODUCT)
    yield Kept("attention: log of the sum of exponentials", FLOAT32 * n * h, PRODUCT)
    yield Kept("out: result", s * n * d, ("selective",))
    if config.dropout:
        yield Kept("dropout: which, of both halves", 2 * _dropout_bytes(step, s) * n * d)
        yield Kept("down: result", s * n * d, ("selective",))
    yield Kept("residual stream in between", FLOAT32 * n * d)
    yield Kept("feedforward_norm: statistics", statistics)
    yield Kept("feedforward_norm: result", s * n * d)
    match config.feedforward:
        case "swiglu":
            yield Kept("gate_up: result", s * n * 2 * f, PRODUCT)
            yield Kept("silu(gate)", s * n * f)
            yield Kept("silu(gate) · up", s * n * f)
        case "gelu":
            yield Kept("up: result", s * n * f, PRODUCT)
            yield Kept("gelu(up)", s * n * f)


def _kept_outside(config: ModelConfig, step: StepShape) -> Iterator[Kept]:
    """The tensors before the first block and after the last, short of logits and loss."""
    n, d = step.positions, config.d_model
    selected = step.trained_positions
    statistics = FLOAT32 * selected * (2 if config.norm == "layernorm" else 1)
    yield Kept("input_ids", INT64 * n, ALWAYS)
    if config.dropout:
        yield Kept("dropout: which", _dropout_bytes(step, FLOAT32) * n * d, ALWAYS)
    match config.position:
        case "learned":
            yield Kept("positions", INT64 * n, ALWAYS)
        case "rope":
            yield Kept("rope: cosines and sines", FLOAT32 * 2 * n * config.d_head, ALWAYS)
    if step.documents:
        yield Kept("mask", step.product_bytes * step.rows * step.seq_len**2, ALWAYS)
    if selected < n:
        yield Kept("which positions are trained", INT64 * selected, ALWAYS)
    yield Kept("norm: input", FLOAT32 * selected * d, ALWAYS)
    yield Kept("norm: statistics", statistics, ALWAYS)


def _dropout_bytes(step: StepShape, size: int) -> int:
    """Bytes for each number that dropout may zero: on a CPU a factor in its own type of `size`."""
    return size if step.device == "cpu" else 1


def _weight_copies(config: ModelConfig, step: StepShape, *, of_head: bool = True) -> int:
    """Bytes of the bfloat16 copies that autocast makes of the linear layers, once a micro-batch."""
    if step.precision == "float32":
        return 0
    parameters = count_parameters(config)
    head = config.n_vocab_rows * config.d_model if of_head else 0
    return BFLOAT16 * (parameters.attention + parameters.feedforward + head)


def _loss_bytes(config: ModelConfig, step: StepShape) -> int:
    """What `model/token_loss.py` holds: hidden states and their gradient, 4Vd, a block of logits.

    Of a block there are logits and log-probabilities in float32. In bfloat16 come a copy of the
    hidden states and, in two bytes, the gradients of the block and of the projection from it.
    """
    n, d, rows = step.trained_positions, config.d_model, config.n_vocab_rows
    block = min(
        FLOAT32 * n * rows,
        max(BLOCK_BYTES.get(step.device, BLOCK_BYTES_ACCELERATOR), FLOAT32 * 64 * rows),
    )
    held = 2 * FLOAT32 * n * d + FLOAT32 * rows * d + 2 * block
    if step.precision == "bfloat16":  # the gradient of the hidden states is half as large
        held += block // 2 + BFLOAT16 * rows * d
    return held


def _n_parameters(config: ModelConfig) -> int:
    """Parameters as they are stored: with the vocabulary's padding."""
    matrices = 1 if config.tied_embeddings else 2
    padding = matrices * (config.n_vocab_rows - config.vocab_size) * config.d_model
    return count_parameters(config).total + padding


# --- measurement ----------------------------------------------------------------------------------


class MemoryMeter:
    """The peak of memory from when it is made; on a device with its own memory, that device's.

    Elsewhere it is the process's resident size, which holds Python and its libraries too, and whose
    peak may lie before: then `grew_bytes` is 0 or too small.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.start_bytes = torch.cuda.memory_allocated(device)
        else:
            self.start_bytes = peak_memory_bytes()

    def read(self) -> dict[str, Any]:
        """For the report: what was measured, its peak in bytes (None where nobody counts)."""
        if self.device.type == "cuda":
            return {
                "measure": "allocated",
                "peak_bytes": torch.cuda.max_memory_allocated(self.device),
                "start_bytes": self.start_bytes,
                "reserved_bytes": torch.cuda.max_memory_reserved(self.device),
            }
        peak = peak_memory_bytes()
        return {
            "measure": "resident",
            "peak_bytes": peak or None,
            "start_bytes": self.start_bytes or None,
            "grew_bytes": peak - self.start_bytes if peak else None,
        }


def memory_section(predicted: MemoryEstimate, measured: Mapping[str, Any]) -> dict[str, Any]:
    """For the report: predicted parts, what a MemoryMeter read, and measured peak by prediction.

    The quotient is None for a resident size, which is not of the same things.
    """
    peak = measured["peak_bytes"] if measured["measure"] == "allocated" else None
    return {
        "predicted": {**asdict(predicted), "total": predicted.total},
        "measured": dict(measured),
        "measured_by_predicted": round(peak / predicted.total, 4) if peak else None,
    }


def available_bytes(device: torch.device) -> int | None:
    """Memory that this process has or could have on `device`; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


# --- when it does not fit -------------------------------------------------------------------------


class OutOfMemoryError(GroundupError):
    """Training needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


_SIGNS = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # DefaultCPUAllocator
    "not enough memory",  # the same on Windows
    "cublas_status_alloc_failed",
)


def largest_rows(
    config: ModelConfig, step: StepShape, *, state_bytes: int, limit_bytes: float
) -> int:
    """The most rows, up to `step.rows`, that the prediction fits into `limit_bytes`; 0 if none."""

    def needed(rows: int) -> int:
        return predict_memory(config, replace(step, rows=rows), state_bytes=state_bytes).total

    return bisect_right(range(1, step.rows + 1), limit_bytes, key=needed)


def out_of_memory_help(
    config: ModelConfig,
    step: StepShape,
    *,
    label: str,
    state_bytes: int,
    available: int | None = None,
    can_offload: bool = True,
) -> OutOfMemoryError:
    """What was needed and what to change, the cheapest change first; `label` is the stage's name.

    Memory ran out, whatever the prediction says: a change counts as enough if by the prediction it
    needs clearly less than what there is (`available`), and than what has just failed. On a CPU
    there is nowhere to offload to.
    """
    predicted = predict_memory(config, step, state_bytes=state_bytes)
    limit = HEADROOM * min(available or predicted.total, predicted.total)
    ways = list(_smaller_steps(config, step, label, state_bytes, limit))
    if not ways:
        least = replace(step, rows=1, recompute="layers")
        settings = f"--set {label}.loop.recompute=layers --set {label}.loop.micro_rows=1"
        if change := _smaller_state(config, least, state_bytes, limit, can_offload):
            ways = [f"--set {label}.optimizer.{change} {settings}"]
        elif n_layers := _fewer_layers(config, least, state_bytes, limit):
            ways = [f"a smaller model, --set model.n_layers={n_layers} {settings}"]
        else:
            ways = ["a smaller model: fewer and narrower layers, a smaller vocabulary"]
    parts = ", ".join(f"{name} {_gib(size)}" for name, size in asdict(predicted).items())
    there_is = f" of {_gib(available)} GiB" if available else ""
    return OutOfMemoryError(
        f"{label}: out of memory{there_is}: micro-batches of {step.rows} rows of {step.seq_len} "
        f"tokens need about {_gib(predicted.total)} GiB ({parts}); "
        f"use {', or '.join(ways)}"
    )


def _smaller_steps(
    config: ModelConfig, step: StepShape, label: str, state_bytes: int, limit: float
) -> Iterator[str]:
    """Fewer rows at a time, then more of them by recomputing; none of it changes the gradient."""
    most = 0
    for mode in MODES[MODES.index(step.recompute) :]:
        tried = replace(step, recompute=mode)
        rows = largest_rows(config, tried, state_bytes=state_bytes, limit_bytes=limit)
        if rows > most:
            most = rows
            recompute = f"--set {label}.loop.recompute={mode}" if mode != step.recompute else ""
            micro_rows = f"--set {label}.loop.micro_rows={rows}" if rows != step.rows else ""
            yield f"{recompute} {micro_rows}".strip()


def _smaller_state(
    config: ModelConfig, least: StepShape, state_bytes: int, limit: float, can_offload: bool
) -> str | None:
    """The change of optimizer that makes the smallest step fit, if one does."""
    eight_bit = math.ceil(EIGHT_BIT_STATE * _n_parameters(config))
    states = {"offload=true": 0} if can_offload else {}
    states["name=adamw8bit"] = eight_bit
    for change, smaller in states.items():
        total = predict_memory(config, least, state_bytes=smaller).total
        if smaller < state_bytes and total <= limit:
            return change
    return None


def _fewer_layers(
    config: ModelConfig, least: StepShape, state_bytes: int, limit: float
) -> int | None:
    """The most layers with which the smallest step fits, if there is such a number."""
    n_parameters = _n_parameters(config)
    for n_layers in range(config.n_layers - 1, 0, -1):
        smaller = replace(config, n_layers=n_layers)
        state = math.ceil(state_bytes * _n_parameters(smaller) / n_parameters)
        if predict_memory(smaller, least, state_bytes=state).total <= limit:
            return n_layers
    return None


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.3g}"
