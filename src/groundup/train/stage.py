"""A training stage around the loop: optimizer, averaging, memory, and the model folder at its end.

The stages (pretrain.py, finetune.py, align/preference.py) say what is trained on; this is what all
of them do alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from groundup.export.huggingface import load_weights, save_model_folder, save_weights_folder
from groundup.model import Decoder, count_parameters
from groundup.model.attention import has_document_kernel
from groundup.optim import (
    AveragingConfig,
    Optimizer,
    OptimizerConfig,
    ScheduleConfig,
    WeightAverage,
    optimizer_state_bytes,
)
from groundup.runtime import new_folder
from groundup.train.checkpoint import read_checkpoint
from groundup.train.context import StageContext
from groundup.train.feed import Batches
from groundup.train.job import Job, LoopConfig, Progress
from groundup.train.loop import train
from groundup.train.memory import (
    MemoryMeter,
    StepShape,
    available_bytes,
    is_out_of_memory,
    largest_rows,
    memory_section,
    out_of_memory_help,
    predict_memory,
)
from groundup.train.speed import Speed
from groundup.train.step import LossFunction

Result = Literal["last", "best"]
# A CPU is fastest while the activations of a micro-batch nearly fit its caches. From a width of 768
# on, half as many tokens fill the matrix products as well and need half the memory: 142 tokens/s
# with 2,048 and 143 with 4,096 at 124M parameters, where 14M lose 7% (bench/train.py's machine).
MICRO_TOKENS_CPU = 4096
WIDE = 768
SHARE_OF_MEMORY = 0.8  # of a GPU's, that a micro-batch may need by the prediction


class StageSettings(Protocol):
    """What the configs of all training stages have."""

    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def average(self) -> AveragingConfig | None: ...
    @property
    def loop(self) -> LoopConfig: ...


@dataclass(frozen=True)
class Training:
    """What a stage trains on.

    rows: of a whole batch, each of at most `seq_len` tokens; n_trained_share: of their positions,
        how many a loss is computed for.
    chat: the result is a chat model.
    """

    label: str
    batches: Batches
    loss_fn: LossFunction
    n_steps: int
    rows: int
    seq_len: int
    chat: bool
    n_trained_share: float = 1.0
    speed: Speed = field(default_factory=Speed)
    evaluate: Callable[[Decoder], Mapping[str, float]] | None = None
    sample: Callable[[Decoder], list[str]] | None = None
    best_by: str = "heldout_loss"
    result: Result = "last"


def train_stage(
    model: Decoder, training: Training, settings: StageSettings, context: StageContext
) -> tuple[Progress, dict[str, Any]]:
    """Train to the end and write the model folder; returns what the manifest says of it.

    Raises OutOfMemoryError with what to change where memory runs out, and what `train` raises.
    """
    loop = settings.loop
    state_bytes = optimizer_state_bytes(model, settings.optimizer)
    shape = _step_shape(model, training, loop, state_bytes, context.device)
    loop = replace(loop, micro_rows=shape.rows)
    meter = MemoryMeter(context.device)
    average = WeightAverage(model, settings.average) if settings.average else None

    def save_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
        save_weights_folder(model.config, weights, context.tokenizer, folder, chat=training.chat)

    job = Job(
        label=training.label,
        model=model,
        optimizer=Optimizer(model, settings.optimizer),
        schedule=settings.schedule,
        batches=training.batches,
        loss_fn=training.loss_fn,
        n_steps=training.n_steps,
        folder=context.folder,
        config=loop,
        listener=context.listener,
        save_weights=save_weights,
        evaluate=training.evaluate,
        sample=training.sample,
        best_by=training.best_by,
        average=average,
        speed=training.speed,
        seed=context.seed,
        identity=context.identity,
        track=context.track,
        profile=context.profile,
    )
    try:
        progress = train(job)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory_help(
            model.config,
            shape,
            label=training.label,
            state_bytes=state_bytes,
            available=available_bytes(context.device),
            can_offload=context.device.type != "cpu",
        ) from error
    if training.result == "best" and progress.best_step is not None:
        _take_best(model, average, context.folder, progress.best_step)
    averaged = average.swapped(model) if average else nullcontext()
    with averaged, new_folder(context.model_folder) as folder:
        save_model_folder(model, context.tokenizer, folder, chat=training.chat)
    predicted = predict_memory(model.config, shape, state_bytes=state_bytes)
    memory = memory_section(predicted, meter.read())
    return progress, _counts(model, progress) | {"memory": memory, "micro_rows": shape.rows}


def _step_shape(
    model: Decoder,
    training: Training,
    loop: LoopConfig,
    state_bytes: int,
    device: torch.device,
) -> StepShape:
    """The micro-batch: as asked for, else what suits a CPU's caches or fits a GPU's memory."""
    product_type = torch.float32 if loop.precision == "float32" else torch.bfloat16
    shape = StepShape(
        rows=min(loop.micro_rows or training.rows, training.rows),
        seq_len=training.seq_len,
        precision=loop.precision,
        recompute=loop.recompute,
        documents=not has_document_kernel(device, product_type, model.config.d_head),
        trained_share=training.n_trained_share,
        device=device.type,
    )
    if loop.micro_rows:
        return shape
    if device.type == "cpu":
        rows = max(1, cpu_micro_tokens(model.config.d_model) // training.seq_len)
        return replace(shape, rows=min(rows, training.rows))
    if (free := available_bytes(device)) is None:
        return shape
    limit = round(SHARE_OF_MEMORY * free)
    rows = max(1, largest_rows(model.config, shape, state_bytes=state_bytes, limit_bytes=limit))
    return replace(shape, rows=rows)


def cpu_micro_tokens(d_model: int) -> int:
    """Tokens of a micro-batch on a CPU.

    >>> cpu_micro_tokens(384), cpu_micro_tokens(1024)
    (4096, 2048)
    """
    return MICRO_TOKENS_CPU if d_model < WIDE else MICRO_TOKENS_CPU // 2


def _take_best(model: Decoder, average: WeightAverage | None, folder: Path, best_step: int) -> None:
    """Put the weights of the best checkpoint into the model, or into the average if that was it."""
    checkpoint = read_checkpoint(folder / "checkpoints" / f"step-{best_step:08d}")
    load_weights(model, checkpoint.model_folder)
    if average is not None:
        average.load_state_by_name(checkpoint.trainer_tensors("average"))


def _counts(model: Decoder, progress: Progress) -> dict[str, Any]:
    seconds = max(progress.seconds, 1e-9)
    return {
        "steps": progress.step,
        "tokens": progress.tokens,
        "train_seconds": round(progress.seconds, 3),
        "tokens_per_s": round(progress.tokens / seconds, 1),
        "parameters": count_parameters(model.config).total,
        "final_loss": progress.figures.get("loss"),
        "best_step": progress.best_step,
        "best_value": progress.best_value,
        "compiled": progress.is_compiled,
        "earlier_seconds": progress.earlier_seconds,
    }
