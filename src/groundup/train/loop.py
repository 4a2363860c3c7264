"""The one training loop. Stages differ in the batches and the loss function they hand it.

A step: gather gradients of the summed loss over the micro-batches, divide by the count of trained
tokens in the whole batch, clip, set the learning rate, move the parameters. Everything that
decides the next step is a function of the step's number, the weights and the optimizer's state, so
a run that resumes ends in the same bytes as one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from groundup.export.huggingface import load_weights
from groundup.model import Decoder
from groundup.optim import Optimizer, ScheduleConfig, lr_factor
from groundup.runtime import GroundupError, Listener, Precision, autocast, config
from groundup.train.checkpoint import CheckpointStore
from groundup.train.interrupt import Interrupted, StopRequest, stop_request
from groundup.train.metrics import MetricsFile
from groundup.train.objectives import Loss

WHOLE_BATCH = 1 << 30  # more rows than any batch has


class Batches(Protocol):
    """Where batches come from: a function of the step, with a fingerprint of all it depends on."""

    @property
    def fingerprint(self) -> str:
        """Changes when any batch would."""

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[Any]:
        """The batch of `step`, in pieces of at most `micro_rows` rows."""


@config
class LoopConfig:
    """How the loop runs; none of it changes what is learned, but for clipping and precision.

    gradient_clip: largest global gradient norm; 0 never clips.
    precision: of the matrix products; weights and optimizer state stay in float32.
    micro_rows: rows of a micro-batch; 0 takes the whole batch at once.
    log_every, eval_every, sample_every, checkpoint_every: steps; 0 never (the last step always
        evaluates and checkpoints).
    keep_checkpoints: how many of the newest stay, beside the best.
    """

    gradient_clip: float = 1.0
    precision: Precision = "float32"
    micro_rows: int = 0
    log_every: int = 10
    eval_every: int = 250
    sample_every: int = 0
    checkpoint_every: int = 250
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints={self.keep_checkpoints} must be at least 1")
        for name in ("micro_rows", "log_every", "eval_every", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")


@dataclass(frozen=True)
class Job:
    """All that one run of the loop needs.

    evaluate: figures of the model on held-out data, run every `eval_every` steps; `best_by` names
        the one whose smallest value marks the best checkpoint.
    sample: lines of text that show what the model can do.
    save_model: writes the model folder.
    identity: what a checkpoint must agree with before this run may go on from it.
    """

    label: str
    model: Decoder
    optimizer: Optimizer
    schedule: ScheduleConfig
    batches: Batches
    loss_fn: Callable[[Decoder, Any], Loss]
    n_steps: int
    folder: Path
    config: LoopConfig
    listener: Listener
    save_model: Callable[[Decoder, Path], None]
    evaluate: Callable[[Decoder], Mapping[str, float]] | None = None
    sample: Callable[[Decoder], list[str]] | None = None
    best_by: str = "heldout_bits_per_byte"
    identity: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Progress:
    """Where a run stands; stored in every checkpoint.

    seconds: of training steps; earlier_seconds: those of the processes before this one.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    earlier_seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    figures: dict[str, float] = field(default_factory=dict)


class DivergedError(GroundupError):
    """The loss or the gradient is no longer a number."""


def train(job: Job) -> Progress:
    """Run the loop to its end, from the newest whole checkpoint if there is one.

    Raises Interrupted after writing a checkpoint if SIGINT or SIGTERM asked to stop, DivergedError
    when the gradient is not finite, StorageError when the disk refuses.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    store = CheckpointStore(
        job.folder / "checkpoints", keep=job.config.keep_checkpoints, warn=job.listener.message
    )
    metrics = MetricsFile(job.folder / "metrics.jsonl")
    progress = _resume(job, store)
    metrics.rewind(progress.step)
    job.model.train()
    with stop_request() as request:
        _run(job, progress, store, metrics, request)
    return progress


def _run(
    job: Job,
    progress: Progress,
    store: CheckpointStore,
    metrics: MetricsFile,
    request: StopRequest,
) -> None:
    clock = _Clock()
    while progress.step < job.n_steps:
        figures = training_step(job, progress.step)
        progress.step += 1
        progress.tokens += figures.n_tokens
        clock.count(figures.n_tokens)
        saves = _due(job, progress.step, job.config.checkpoint_every)
        if saves or _due(job, progress.step, job.config.log_every):
            values = _finite(job, progress.step, figures.read())
            progress.seconds += clock.lap(values)
            progress.figures.update(values)
            metrics.append(
                progress.step,
                {"tokens": progress.tokens, **values, "seconds": round(progress.seconds, 3)},
            )
            job.listener.progress(job.label, progress.step, job.n_steps, progress.figures)
        saves = _evaluate(job, progress, metrics) or saves
        stops = request.requested
        if saves or stops:
            _finite(job, progress.step, figures.read())
            _checkpoint(job, progress, store)
        if stops:
            raise Interrupted
        clock.pause()
    if request.requested:  # too late to stop here, in time to stop what comes after
        raise Interrupted


def _finite(job: Job, step: int, values: dict[str, float]) -> dict[str, float]:
    """The values, if loss and gradient are numbers; nothing else is ever saved."""
    if not (math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"])):
        raise DivergedError(
            f"{job.label}: at step {step} the loss is {values['loss']:.3g} and the gradient norm "
            f"{values['gradient_norm']:.3g}; try a smaller {job.label}.optimizer.lr than "
            f"{job.optimizer.peak_lr:g}"
        )
    return values


@dataclass
class StepFigures:
    """What a step measured, left on the device until somebody reads it."""

    loss: Tensor
    gradient_norm: Tensor
    lr: float
    count: int
    n_tokens: int
    sums: dict[str, Tensor]

    def read(self) -> dict[str, float]:
        """As numbers; this is where the host waits for the device."""
        figures = {key: float(value) / self.count for key, value in self.sums.items()}
        return {
            "loss": float(self.loss) / self.count,
            **figures,
            "gradient_norm": float(self.gradient_norm),
            "lr": self.lr,
        }


def training_step(job: Job, step: int) -> StepFigures:
    """One optimizer step: the gradient of the mean loss over the whole batch, clipped, applied."""
    device = next(job.model.parameters()).device
    loss = torch.zeros((), device=device)
    sums: dict[str, Tensor] = {}
    count = n_tokens = 0
    for batch in job.batches.micro_batches(step, job.config.micro_rows or WHOLE_BATCH):
        batch = batch.to(device)
        with autocast(device, job.config.precision):
            part = job.loss_fn(job.model, batch)
        part.total.backward()
        loss += part.total.detach()
        for key, value in part.figures.items():
            sums[key] = sums.get(key, 0) + value.detach()
        count += part.count
        n_tokens += batch.n_tokens
    gradients = [p.grad for p in job.optimizer.parameters.values() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) / count
    scale = torch.ones_like(norm)
    if job.config.gradient_clip:
        scale = (job.config.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale / count)
    lr = job.optimizer.peak_lr * lr_factor(job.schedule, step, job.n_steps)
    job.optimizer.set_lr(lr)
    job.optimizer.step()
    job.optimizer.zero_grad()
    return StepFigures(loss, norm, lr, count, n_tokens, sums)


def _evaluate(job: Job, progress: Progress, metrics: MetricsFile) -> bool:
    """Measure and sample where it is due; whether this is the best step so far."""
    step, is_best = progress.step, False
    if job.evaluate is not None and _due(job, step, job.config.eval_every):
        job.model.eval()
        with torch.no_grad(), autocast(next(job.model.parameters()).device, job.config.precision):
            figures = job.evaluate(job.model)
        job.model.train()
        progress.figures.update(figures)
        metrics.append(step, {"tokens": progress.tokens, **figures})
        value = figures.get(job.best_by)
        if value is not None and (progress.best_value is None or value < progress.best_value):
            progress.best_value, progress.best_step = value, step
            is_best = True
        job.listener.progress(job.label, step, job.n_steps, progress.figures)
    if job.sample is not None and _due(job, step, job.config.sample_every):
        job.model.eval()
        for line in job.sample(job.model):
            job.listener.message(f"{job.label} step {step}: {line}")
        job.model.train()
    return is_best


def _checkpoint(job: Job, progress: Progress, store: CheckpointStore) -> None:
    store.save(
        progress.step,
        save_model=lambda folder: job.save_model(job.model, folder),
        optimizer_state=job.optimizer.state_by_name(),
        state={
            "tokens": progress.tokens,
            "seconds": progress.seconds,
            "best_value": progress.best_value,
            "best_step": progress.best_step,
            "figures": progress.figures,
            "identity": _identity(job),
        },
        best_step=progress.best_step,
    )


def _resume(job: Job, store: CheckpointStore) -> Progress:
    checkpoint = store.latest(_identity(job))
    if checkpoint is None:
        return Progress()
    load_weights(job.model, checkpoint.model_folder)
    job.optimizer.load_state_by_name(checkpoint.optimizer_state())
    job.listener.message(f"{job.label}: going on from step {checkpoint.step} of {job.n_steps}")
    state = checkpoint.state
    return Progress(
        step=checkpoint.step,
        tokens=state["tokens"],
        seconds=state["seconds"],
        earlier_seconds=state["seconds"],
        best_value=state["best_value"],
        best_step=state["best_step"],
        figures=dict(state["figures"]),
    )


def _identity(job: Job) -> dict[str, str]:
    return {**job.identity, "batches": job.batches.fingerprint}


def _due(job: Job, step: int, every: int) -> bool:
    return step == job.n_steps or bool(every and step % every == 0)


class _Clock:
    """Training time alone: evaluation and checkpoints stop it."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds = 0.0
        self.tokens = 0

    def count(self, n_tokens: int) -> None:
        self.seconds += time.perf_counter() - self.started
        self.tokens += n_tokens
        self.started = time.perf_counter()

    def lap(self, figures: dict[str, float]) -> float:
        """Seconds since the last lap; the rate goes into `figures`."""
        seconds = self.seconds
        figures["tokens_per_s"] = round(self.tokens / max(seconds, 1e-9), 1)
        self.seconds, self.tokens = 0.0, 0
        return seconds

    def pause(self) -> None:
        self.started = time.perf_counter()
