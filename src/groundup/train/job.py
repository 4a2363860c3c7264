"""What one run of the loop is given, and where it stands: `Job`, `LoopConfig`, `Progress`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from groundup.model import Decoder
from groundup.optim import Optimizer, ScheduleConfig, WeightAverage
from groundup.runtime import Listener, Precision, config
from groundup.train.compiling import Compile
from groundup.train.feed import Batches
from groundup.train.recompute import Recompute
from groundup.train.sinks import SinkName
from groundup.train.speed import Speed
from groundup.train.step import LossFunction
from groundup.train.watch import WatchConfig


@config
class LoopConfig:
    """How the loop runs; none of it changes what is learned, but for clipping and precision.

    gradient_clip: largest global gradient norm; 0 never clips.
    precision: of the matrix products; weights, gradients and optimizer state stay in float32.
    micro_rows: rows of a micro-batch; 0 takes what suits the device.
    compile: the blocks, by torch.compile; true, false, or `auto` where it is won back.
    recompute: what the backward pass computes again to save memory.
    deterministic: the same bits on every run on a GPU too, which costs speed there.
    log_every, eval_every, sample_every, checkpoint_every: steps; 0 never (the last step always
        evaluates and checkpoints).
    keep_checkpoints: how many of the newest stay, beside the best.
    """

    gradient_clip: float = 1.0
    precision: Precision = "float32"
    micro_rows: int = 0
    compile: Compile = "auto"
    recompute: Recompute = "none"
    deterministic: bool = False
    log_every: int = 10
    eval_every: int = 250
    sample_every: int = 0
    checkpoint_every: int = 250
    keep_checkpoints: int = 2
    watch: WatchConfig = WatchConfig()

    def __post_init__(self) -> None:
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints={self.keep_checkpoints} must be at least 1")
        for name in ("micro_rows", "log_every", "eval_every", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")


@dataclass(frozen=True)
class Job:
    """All that one run of the loop needs.

    save_weights: writes the model folder from the parameters by name.
    evaluate: figures of the model on held-out data, run every `eval_every` steps; `best_by` names
        the one whose smallest value marks the best checkpoint.
    sample: lines of text that show what the model can do.
    average: a moving average of the weights, which is then what is evaluated and sampled.
    speed: what the batches hold and cost, for the figures that depend on it.
    identity: what a checkpoint must agree with before this run may go on from it.
    track: where figures go beside metrics.jsonl.
    profile: write a trace of a few steps, and say where their time goes.
    """

    label: str
    model: Decoder
    optimizer: Optimizer
    schedule: ScheduleConfig
    batches: Batches
    loss_fn: LossFunction
    n_steps: int
    folder: Path
    config: LoopConfig
    listener: Listener
    save_weights: Callable[[Mapping[str, Tensor], Path], None]
    evaluate: Callable[[Decoder], Mapping[str, float]] | None = None
    sample: Callable[[Decoder], list[str]] | None = None
    best_by: str = "heldout_bits_per_byte"
    average: WeightAverage | None = None
    speed: Speed = field(default_factory=Speed)
    seed: int = 0
    identity: Mapping[str, str] = field(default_factory=dict)
    track: tuple[SinkName, ...] = ()
    profile: bool = False

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


@dataclass
class Progress:
    """Where a run stands; stored in every checkpoint.

    seconds: of training steps; earlier_seconds: those of the processes before this one.
    is_compiled, micro_rows: whether the blocks were compiled, and how batches were cut, when the
        run began; it goes on the same way, or rounding would differ.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    earlier_seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    is_compiled: bool | None = None
    micro_rows: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
