"""Pretraining: a fresh decoder learns to predict the next token of documents."""

from __future__ import annotations

from typing import Any, Literal

from groundup.data.loader import RowBatches, RowSource
from groundup.data.pack import Packing
from groundup.data.prepare import DataConfig, source_names
from groundup.data.prepared import read_texts
from groundup.data.shard_writer import write_shards
from groundup.export.huggingface import load_weights, save_model_folder
from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import MuonConfig, Optimizer, OptimizerConfig, ScheduleConfig
from groundup.runtime import DataError, config, derive_seed
from groundup.train.context import (
    StageContext,
    bits_per_byte,
    finish,
    heldout_nats,
    rows_per_batch,
    sample_texts,
    take_bytes,
    token_rows,
)
from groundup.train.loop import Job, LoopConfig, train
from groundup.train.objectives import next_token_loss


@config
class PretrainConfig:
    """How a decoder is pretrained.

    tokens: how many tokens to train on, rows seen again counted again.
    batch_tokens: tokens of one optimizer step, padding included.
    packing: `best_fit` keeps documents whole, `concat` cuts the stream every max_seq_len tokens.
    heldout_bytes: how much held-out text the curve is measured on (the final figure uses more).
    result: which weights the stage ends with, the `last` or those `best` on held-out text.
    """

    tokens: int = 5_000_000
    batch_tokens: int = 2048
    packing: Packing = "best_fit"
    optimizer: OptimizerConfig = MuonConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loop: LoopConfig = LoopConfig()
    heldout_bytes: int = 100_000
    result: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_tokens", "heldout_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")


def pretrain(
    settings: PretrainConfig, model_config: ModelConfig, data: DataConfig, context: StageContext
) -> dict[str, Any]:
    """Run the stage to its end; returns what it counted.

    Raises DataError if there are fewer tokens than the context is long.
    """
    seq_len, tokenizer = model_config.max_seq_len, context.tokenizer
    sources = [
        _train_rows(settings, name, source.weight, seq_len, context)
        for name, source in zip(source_names(data.sources), data.sources, strict=True)
        if next(iter(read_texts(context.data, "train", name)), None) is not None
    ]
    n_tokens = sum(source.plan.n_tokens for source in sources)
    if n_tokens < seq_len:
        raise DataError(
            f"the corpus holds {n_tokens} tokens, fewer than model.max_seq_len={seq_len}; "
            f"add text or use --set model.max_seq_len={max(1, n_tokens // 2)}"
        )
    heldout = token_rows(
        context,
        "heldout",
        write=lambda folder: write_shards(
            take_bytes(read_texts(context.data, "heldout"), settings.heldout_bytes),
            tokenizer,
            folder,
        ),
        seq_len=seq_len,
        packing="best_fit",
    )
    batch_rows = rows_per_batch(settings.batch_tokens, seq_len)
    batches = RowBatches(sources, seed=derive_seed(context.seed, "pretrain"), batch_rows=batch_rows)
    heldout_rows = RowBatches([heldout], seed=0, batch_rows=1)

    def evaluate(model: Decoder) -> dict[str, float]:
        nats = heldout_nats(model, heldout_rows, ignore_id=tokenizer.end_of_text_id)
        return {"heldout_bits_per_byte": bits_per_byte(nats, heldout.shards.n_bytes)}

    model = build_decoder(model_config, context.seed).to(context.device)
    progress = train(
        Job(
            label="pretrain",
            model=model,
            optimizer=Optimizer(model, settings.optimizer),
            schedule=settings.schedule,
            batches=batches,
            loss_fn=next_token_loss,
            n_steps=-(-settings.tokens // (batch_rows * seq_len)),
            folder=context.folder,
            config=settings.loop,
            listener=context.listener,
            save_model=lambda model, folder: save_model_folder(
                model, tokenizer, folder, chat=False
            ),
            evaluate=evaluate,
            sample=sample_texts(context, [""]),
            identity=context.identity,
        )
    )
    if settings.result == "best" and progress.best_step is not None:
        best = context.folder / "checkpoints" / f"step-{progress.best_step:08d}"
        load_weights(model, best / "model")
    counts = finish(context, model, progress, chat=False)
    return counts | {
        "rows": batches.n_rows,
        "epochs": round(progress.step * batch_rows / batches.n_rows, 3),
        "padding_share": round(1 - n_tokens / (batches.n_rows * seq_len), 4),
    }


def _train_rows(
    settings: PretrainConfig, name: str, weight: float, seq_len: int, context: StageContext
) -> RowSource:
    rows = token_rows(
        context,
        f"train-{name}",
        write=lambda folder: write_shards(
            read_texts(context.data, "train", name),
            context.tokenizer,
            folder,
            listener=context.listener,
        ),
        seq_len=seq_len,
        packing=settings.packing,
    )
    return RowSource(rows.shards, rows.plan, weight)
