"""What only a GPU can show of training: it learns, resumes to the byte, never waits, and fits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundup.data.loader import TokenBatch, document_offsets
from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import (
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    LionConfig,
    MuonConfig,
    Optimizer,
    optimizer_state_bytes,
)
from groundup.runtime import synchronize
from groundup.train.compiling import compile_blocks
from groundup.train.interrupt import Interrupted
from groundup.train.loop import train
from groundup.train.memory import StepShape, predict_memory
from groundup.train.metrics import MetricsFile
from groundup.train.objectives import Loss, next_token_loss
from groundup.train.recompute import Recompute, apply_recompute
from groundup.train.step import StepRule

from ..tiny_build import SignalAt
from ..train.small_job import small_job, small_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = torch.device("cuda")
OPTIMIZERS = {
    "adamw": AdamWConfig(lr=1e-2),
    "cautious": AdamWConfig(lr=1e-2, cautious=True),
    "muon": MuonConfig(lr=1e-2),
    "adamw8bit": AdamW8bitConfig(lr=1e-2),
    "lion": LionConfig(lr=1e-3),
    "adafactor": AdafactorConfig(lr=1e-2),
}
MODEL = ModelConfig(vocab_size=512, max_seq_len=64, d_model=128, n_layers=2, n_heads=4)


@dataclass
class LearnableBatches:
    """Each token is followed by the one that a fixed permutation gives it; documents of 1 to 40."""

    n_rows: int = 16
    seq_len: int = 64
    n_symbols: int = 64
    fingerprint: str = "permutation"
    follower: Tensor = field(init=False)

    def __post_init__(self) -> None:
        order = torch.randperm(self.n_symbols, generator=torch.Generator().manual_seed(0))
        self.follower = torch.empty_like(order)
        self.follower[order] = order.roll(-1)  # a single cycle

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[TokenBatch]:
        generator = torch.Generator().manual_seed(step)
        shape = (self.n_rows, self.seq_len + 1)
        begins = torch.rand(shape, generator=generator) < 0.1
        begins[:, 0] = True
        ids = torch.randint(self.n_symbols, shape, generator=generator)
        for column in range(1, self.seq_len + 1):
            follows = ~begins[:, column]
            ids[follows, column] = self.follower[ids[follows, column - 1]]
        for first in range(0, self.n_rows, micro_rows):
            rows = slice(first, first + micro_rows)
            yield packed_batch(ids[rows], begins[rows])


def packed_batch(ids: Tensor, begins: Tensor) -> TokenBatch:
    """ids, begins: (batch, seq_len + 1); where `begins` is true a document does, untrained for."""
    document_ids = begins[:, :-1].cumsum(1).int()
    columns = torch.arange(document_ids.shape[1])
    latest = torch.where(begins[:, :-1], columns, 0).cummax(1).values
    loss_mask = ~begins[:, 1:]
    return TokenBatch(
        input_ids=ids[:, :-1].contiguous(),
        labels=ids[:, 1:].contiguous(),
        loss_mask=loss_mask,
        positions=columns - latest,
        document_ids=document_ids,
        trained=loss_mask.flatten().nonzero().squeeze(1),
        n_trained=int(loss_mask.sum()),
        n_tokens=document_ids.numel(),
        document_offsets=torch.from_numpy(document_offsets(document_ids.numpy())),
    )


def pinned(batches: LearnableBatches, step: int, micro_rows: int = 99) -> list[TokenBatch]:
    """A step's micro-batches as the feed hands them over."""
    pieces = list(batches.micro_batches(step, micro_rows))
    return [piece.pin_memory() for piece in pieces] if DEVICE.type == "cuda" else pieces


def step_rule(
    optimizer: Any, loss_fn: Any = next_token_loss, *, compiled: bool = False
) -> StepRule:
    model = build_decoder(MODEL, seed=0).to(DEVICE)
    if compiled:
        compile_blocks(model)
    return StepRule(model, Optimizer(model, optimizer), loss_fn, "bfloat16", 1.0)


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_training_compiled_in_bfloat16_lowers_the_loss(tmp_path: Path) -> None:
    """The next of 64 symbols is certain, so the loss falls from log 512 = 6.2 towards 0."""
    job = small_job(
        tmp_path,
        model=build_decoder(MODEL, seed=0).to(DEVICE),
        batches=LearnableBatches(),
        n_steps=80,
        precision="bfloat16",
        compile=True,
        checkpoint_every=0,
    )
    progress = train(job)
    losses = [line["loss"] for line in MetricsFile(tmp_path / "metrics.jsonl") if "loss" in line]
    assert progress.is_compiled
    assert losses[0] > 5.5
    assert losses[-1] < 0.5


@pytest.fixture
def back_to_any_order() -> Iterator[None]:
    """Ends what `deterministic` began."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("back_to_any_order")
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, compiled: bool, muon: bool) -> None:
    def job(name: str, seed: int = 0, **changes: Any) -> Any:
        return small_job(
            tmp_path / name,
            model=small_model(seed).to(DEVICE),
            muon=muon,
            precision="bfloat16",
            compile=compiled,
            deterministic=True,
            **changes,
        )

    whole = job("whole")
    train(whole)
    with pytest.raises(Interrupted):
        train(job("cut", listener=SignalAt("pretrain", 3)))
    resumed = job("cut", seed=5)
    train(resumed)
    assert state_bytes(resumed.model, resumed.optimizer) == state_bytes(
        whole.model, whole.optimizer
    )


def state_bytes(model: Decoder, optimizer: Optimizer) -> dict[str, bytes]:
    """Every byte of weights and optimizer, by name."""
    tensors = {**dict(model.named_parameters()), **optimizer.state_by_name()}
    return {name: value.detach().cpu().numpy().tobytes() for name, value in tensors.items()}


# --- never waiting --------------------------------------------------------------------------------


@contextmanager
def no_waiting() -> Iterator[None]:
    """An operation that makes the host wait for the GPU raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_wait_would_be_noticed() -> None:
    with no_waiting(), pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones((), device=DEVICE).item()


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_ordinary_step_waits_for_nothing(name: str, compiled: bool) -> None:
    """Documents, padding out of the loss, two micro-batches, clipping, found_inf, the figures."""
    if compiled and name != "adamw":
        pytest.skip("the optimizer is not part of what is compiled")
    rule, batches = step_rule(OPTIMIZERS[name], compiled=compiled), LearnableBatches()
    pieces = [pinned(batches, step=0, micro_rows=8) for _ in range(3)]
    for ready in pieces[:2]:  # the first makes state and kernels
        rule.take(ready, 1e-3, loss_limit=100.0).read()
    with no_waiting():
        figures = rule.take(pieces[2], 1e-3, loss_limit=100.0)
    assert not figures.was_skipped
    assert figures.read()["loss"] < 7


# --- a step that is left out ----------------------------------------------------------------------


def broken_loss(model: Decoder, batch: TokenBatch) -> Loss:
    loss = next_token_loss(model, batch)
    return replace(loss, total=loss.total * float("inf"))


def nan_gradient(model: Decoder, batch: TokenBatch) -> Loss:
    """A loss that is a number, and a gradient that is not: of a root at 0."""
    loss = next_token_loss(model, batch)
    return replace(loss, total=loss.total + (model.norm.weight[:1] - 1).clamp(min=0).sqrt().sum())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("loss_fn", "limit"),
    [(broken_loss, float("inf")), (nan_gradient, float("inf")), (next_token_loss, 0.1)],
    ids=["inf_loss", "nan_gradient", "spike"],
)
def test_a_step_left_out_changes_no_byte(
    name: str, loss_fn: Callable[..., Loss], limit: float
) -> None:
    rule, batches = step_rule(OPTIMIZERS[name]), LearnableBatches()
    assert not rule.take(pinned(batches, 0), 0.0).was_skipped  # makes state, moves no weight
    before = state_bytes(rule.model, rule.optimizer)
    figures = replace(rule, loss_fn=loss_fn).take(pinned(batches, 1), 1e-2, loss_limit=limit)
    assert figures.was_skipped
    assert state_bytes(rule.model, rule.optimizer) == before
    assert not rule.take(pinned(batches, 1), 1e-2).was_skipped
    assert state_bytes(rule.model, rule.optimizer) != before


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recompute", ["none", "selective", "layers"])
@pytest.mark.parametrize("optimizer", [AdamWConfig(), AdamW8bitConfig()], ids=lambda c: c.name)
def test_the_predicted_memory_is_within_a_tenth(
    recompute: Recompute, optimizer: AdamWConfig
) -> None:
    """Two micro-batches of 16 rows of packed documents, in the mode that the formula is for."""
    config = ModelConfig(vocab_size=16384, max_seq_len=512, d_model=512, n_layers=8, n_heads=8)
    batches = LearnableBatches(n_rows=32, seq_len=512, n_symbols=16384)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(DEVICE)
    model = build_decoder(config, seed=0).to(DEVICE)
    apply_recompute(model, recompute)
    rule = StepRule(model, Optimizer(model, optimizer), next_token_loss, "bfloat16", 1.0)
    rule.take(pinned(batches, 0, micro_rows=16), 1e-3).read()
    synchronize(DEVICE)
    torch.cuda.reset_peak_memory_stats(DEVICE)
    (first, second) = pieces = pinned(batches, 1, micro_rows=16)
    rule.take(pieces, 1e-3).read()
    peak = torch.cuda.max_memory_allocated(DEVICE) - before
    share = (first.n_trained + second.n_trained) / (first.n_tokens + second.n_tokens)
    shape = StepShape(16, 512, "bfloat16", recompute, True, share, "cuda")
    state = optimizer_state_bytes(model, optimizer)
    predicted = predict_memory(config, shape, state_bytes=state)
    assert peak / predicted.total == pytest.approx(1.0, abs=0.1), predicted
