"""Supervised fine-tuning: the model learns to reply, with the loss on the assistant's tokens only.

Conversations are packed like documents, each a span of its own, so no chat sees another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from groundup.data.loader import RowBatches
from groundup.data.prepared import read_chats
from groundup.data.shard_writer import write_masked_shards
from groundup.data.split import SPLITS, Split
from groundup.export.huggingface import load_model
from groundup.model import Decoder, training_flops_per_token
from groundup.optim import AveragingConfig, MuonConfig, OptimizerConfig, ScheduleConfig
from groundup.runtime import DataError, config, derive_seed, read_json, write_json
from groundup.tokenizer.chat import RenderedChat, fit_chat
from groundup.train.context import (
    StageContext,
    heldout_nats,
    rows_per_batch,
    token_rows,
)
from groundup.train.job import LoopConfig
from groundup.train.objectives import next_token_loss
from groundup.train.speed import Speed
from groundup.train.stage import Training, train_stage

FITTED = "fitted.json"  # how many chats were taken whole, cut, or left out


@config
class FinetuneConfig:
    """How a pretrained decoder is fine-tuned on conversations.

    epochs: how often each conversation is seen; may be a fraction.
    batch_tokens: tokens of one optimizer step, prompts and padding included.
    average: a moving average of the weights, which then is the result; null is none.
    """

    epochs: float = 2.0
    batch_tokens: int = 2048
    optimizer: OptimizerConfig = MuonConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loop: LoopConfig = LoopConfig()
    average: AveragingConfig | None = None

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(
                f"epochs={self.epochs} must be above 0; write sft: null to leave it out"
            )
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens={self.batch_tokens} must be at least 1")


def finetune(settings: FinetuneConfig, start: Path, context: StageContext) -> dict[str, Any]:
    """Fine-tune the model folder `start`; returns what the stage counted.

    Raises DataError if no conversation leaves a token to learn.
    """
    model = load_model(start).to(context.device)
    seq_len = model.config.max_seq_len
    rows = {
        split: token_rows(
            context,
            split,
            write=partial(_write_chats, split, seq_len, context),
            seq_len=seq_len,
            packing="best_fit",
        )
        for split in SPLITS
    }
    batch_rows = rows_per_batch(settings.batch_tokens, seq_len)
    batches = RowBatches(
        [rows["train"]], seed=derive_seed(context.seed, "sft"), batch_rows=batch_rows
    )
    heldout = RowBatches([rows["heldout"]], seed=0, batch_rows=1)
    n_heldout = rows["heldout"].shards.n_trained

    def evaluate(model: Decoder) -> dict[str, float]:
        return {"heldout_loss": heldout_nats(model, heldout) / n_heldout}

    shards = rows["train"].shards
    training = Training(
        label="sft",
        batches=batches,
        loss_fn=next_token_loss,
        n_steps=max(1, round(settings.epochs * batches.n_rows / batch_rows)),
        rows=batch_rows,
        seq_len=seq_len,
        chat=True,
        n_trained_share=shards.n_trained / (batches.n_rows * seq_len),
        speed=Speed(
            tokens_per_step=batch_rows * seq_len,
            flops_per_token=training_flops_per_token(model.config, seq_len),
        ),
        evaluate=evaluate,
    )
    _, counts = train_stage(model, training, settings, context)
    return counts | {
        "chats": shards.n_documents,
        "trained_tokens": shards.n_trained,
        "rows": batches.n_rows,
        "fitted": read_json(context.folder / "tokens" / "train" / FITTED),
    }


def _write_chats(split: Split, seq_len: int, context: StageContext, folder: Path) -> None:
    outcomes: Counter[str] = Counter()
    chats = _fitted_chats(split, seq_len, outcomes, context)
    write_masked_shards(chats, context.tokenizer, folder)
    write_json(folder / FITTED, outcomes)
    for outcome, told in (
        ("exchanges_dropped", "lost their oldest exchanges"),
        ("reply_cut", "had their last reply cut"),
        ("refused", "were left out, their prompt alone being too long"),
    ):
        if outcomes[outcome]:
            context.listener.message(
                f"sft: {outcomes[outcome]} {split} chats longer than {seq_len} tokens {told}"
            )


def _fitted_chats(
    split: Split, seq_len: int, outcomes: Counter[str], context: StageContext
) -> Iterator[RenderedChat]:
    """The chats that leave something to learn; `outcomes` counts how they were fitted."""
    for chat in read_chats(context.data, split):
        fitted = fit_chat(context.tokenizer, chat.messages, seq_len)
        outcomes[fitted.outcome] += 1
        if fitted.rendered is not None:
            yield fitted.rendered
    if outcomes.total() == outcomes["refused"]:
        raise DataError(
            f"none of the {outcomes.total()} {split} chats fits model.max_seq_len={seq_len}; "
            "use a longer context or shorter chats"
        )
