"""Pretraining: a fresh decoder learns to predict the next token of documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundup.data.adopt import prepared_tokens
from groundup.data.curriculum import MixingConfig, MixturePlan, MixtureSource, plan_mixture
from groundup.data.link import link_or_copy
from groundup.data.loader import RowBatches, RowSource
from groundup.data.pack import Packing
from groundup.data.prepare import DataConfig, source_names
from groundup.data.prepared import read_texts
from groundup.data.shard_writer import write_shards
from groundup.model import Decoder, ModelConfig, build_decoder, training_flops_per_token
from groundup.optim import AveragingConfig, MuonConfig, OptimizerConfig, ScheduleConfig
from groundup.runtime import DataError, config, derive_seed
from groundup.train.context import (
    StageContext,
    bits_per_byte,
    heldout_nats,
    rows_per_batch,
    sample_texts,
    take_bytes,
    token_rows,
)
from groundup.train.job import LoopConfig
from groundup.train.objectives import next_token_loss
from groundup.train.speed import Speed
from groundup.train.stage import Result, Training, train_stage

_MUCH_CROPPED = 0.2  # of the tokens; more is told before training begins


@config
class PretrainConfig:
    """How a decoder is pretrained.

    tokens: how many tokens to train on, rows seen again counted again.
    batch_tokens: tokens of one optimizer step, padding included.
    packing: `best_fit` keeps documents whole, `concat` cuts the stream every max_seq_len tokens,
        `bos_crop` begins each row with a document and crops one to fill it: no padding, but the
        rest of what is cropped is never seen.
    mixing: how the sources share the rows, where that is not by size and weight alone.
    z_weight: weight of the z-loss, which keeps the logits' normaliser near 1; 0 is none.
    average: a moving average of the weights, which then is the result; null is none.
    heldout_bytes: how much held-out text the curve is measured on (the final figure uses more).
    result: which weights the stage ends with, the `last` or those `best` on held-out text.
    """

    tokens: int = 5_000_000
    batch_tokens: int = 2048
    packing: Packing = "best_fit"
    mixing: MixingConfig = MixingConfig()
    optimizer: OptimizerConfig = MuonConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loop: LoopConfig = LoopConfig()
    z_weight: float = 0.0
    average: AveragingConfig | None = None
    heldout_bytes: int = 100_000
    result: Result = "last"

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_tokens", "heldout_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for stage in self.mixing.stages:
            if stage.until is not None and stage.until >= self.tokens:
                raise ValueError(
                    f"mixing.stages: until={stage.until} must lie below tokens={self.tokens}; "
                    "leave it out of the last stage"
                )
        if self.z_weight < 0:
            raise ValueError(f"z_weight={self.z_weight} must not be negative; try z_weight=1e-4")


def pretrain(
    settings: PretrainConfig, model_config: ModelConfig, data: DataConfig, context: StageContext
) -> dict[str, Any]:
    """Run the stage to its end; returns what it counted.

    Raises DataError if there are fewer tokens than the context is long.
    """
    seq_len, tokenizer = model_config.max_seq_len, context.tokenizer
    names = source_names(data.sources)
    settings.mixing.check_names(names)
    named = {
        name: source
        for name, source in zip(names, data.sources, strict=True)
        if next(iter(read_texts(context.data, "train", name)), None) is not None
    }
    sources = [
        _train_rows(settings, name, source.weight, seq_len, context)
        for name, source in named.items()
    ]
    n_tokens = sum(source.plan.n_tokens for source in sources)
    if n_tokens < seq_len:
        raise DataError(
            f"the corpus holds {n_tokens} tokens, fewer than model.max_seq_len={seq_len}; "
            f"add text or use --set model.max_seq_len={max(1, n_tokens // 2)}"
        )
    n_cropped = sum(source.plan.n_cropped for source in sources)
    if n_cropped > _MUCH_CROPPED * (n_tokens + n_cropped):
        context.listener.message(
            f"pretrain: {settings.packing} in rows of {seq_len} tokens never shows "
            f"{n_cropped / (n_tokens + n_cropped):.0%} of the tokens, ends of documents; "
            "pretrain.packing=best_fit or concat shows all"
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
    n_steps = -(-settings.tokens // (batch_rows * seq_len))
    plan = plan_mixture(
        settings.mixing,
        [
            MixtureSource(name, rows.plan.n_rows, source.weight, source.max_epochs)
            for (name, source), rows in zip(named.items(), sources, strict=True)
        ],
        n_samples=n_steps * batch_rows,
        sample_tokens=seq_len,
    )
    for line in plan.messages():
        context.listener.message(f"pretrain: {line}")
    batches = RowBatches(
        sources,
        seed=derive_seed(context.seed, "pretrain"),
        batch_rows=batch_rows,
        stretches=plan.stretches,
    )
    heldout_rows = RowBatches([heldout], seed=0, batch_rows=1)

    def evaluate(model: Decoder) -> dict[str, float]:
        nats = heldout_nats(model, heldout_rows, ignore_id=tokenizer.end_of_text_id)
        return {"heldout_bits_per_byte": bits_per_byte(nats, heldout.shards.n_bytes)}

    n_labels = sum(source.shards.n_trained for source in sources)
    n_bytes = sum(source.shards.n_bytes for source in sources)
    training = Training(
        label="pretrain",
        batches=batches,
        loss_fn=partial(next_token_loss, z_weight=settings.z_weight),
        n_steps=n_steps,
        rows=batch_rows,
        seq_len=seq_len,
        chat=False,
        speed=Speed(
            tokens_per_step=batch_rows * seq_len,
            flops_per_token=training_flops_per_token(model_config, seq_len),
            bytes_per_label=n_bytes / n_labels,
        ),
        evaluate=evaluate,
        sample=sample_texts(context, [""]),
        best_by="heldout_bits_per_byte",
        result=settings.result,
    )
    model = build_decoder(model_config, context.seed).to(context.device)
    progress, counts = train_stage(model, training, settings, context)
    return counts | {
        "rows": batches.n_rows,
        "epochs": round(progress.step * batch_rows / batches.n_rows, 3),
        "padding_share": round(1 - n_tokens / (batches.n_rows * seq_len), 4),
        "cropped_share": round(1 - n_tokens / sum(source.shards.n_tokens for source in sources), 4),
        "sources": _by_source(plan, sources, batches.rows_seen(progress.step)),
    }


def _by_source(
    plan: MixturePlan, sources: Sequence[RowSource], seen: Sequence[int]
) -> dict[str, Any]:
    """What the manifest says of each source: its place in the mixture, and how it was packed."""
    return {
        name: {
            **figures,
            "rows_seen": n_seen,
            "tokens": rows.plan.n_tokens,
            "padding_share": round(rows.plan.padding_share, 4),
            "cropped_share": round(rows.plan.cropped_share, 4),
        }
        for (name, figures), rows, n_seen in zip(plan.figures().items(), sources, seen, strict=True)
    }


def _train_rows(
    settings: PretrainConfig, name: str, weight: float, seq_len: int, context: StageContext
) -> RowSource:
    def write(folder: Path) -> None:
        tokenizer = context.tokenizer
        made = prepared_tokens(context.data, f"train-{name}", tokenizer.fingerprint)
        for file in made:
            link_or_copy(file, folder / file.name)
        if not made:
            texts = read_texts(context.data, "train", name)
            write_shards(texts, tokenizer, folder, listener=context.listener)

    rows = token_rows(
        context,
        f"train-{name}",
        write=write,
        seq_len=seq_len,
        packing=settings.packing,
    )
    return RowSource(rows.shards, rows.plan, weight)
