from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.data.loader import RowBatches, RowSource
from groundup.data.pack import RowPlan
from groundup.data.prepare import DataConfig, prepare
from groundup.data.prepared import read_chats
from groundup.data.shards import TokenShards
from groundup.export import load_model
from groundup.optim import AdamWConfig
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import render_chat
from groundup.train.context import StageContext
from groundup.train.finetune import FinetuneConfig, finetune
from groundup.train.job import LoopConfig
from groundup.train.objectives import next_token_loss

from ..tiny_build import Recorder, short_chats, write_rows

SEQ_LEN = 64  # of the tiny run's model


def prepared(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = write_rows(folder / "chats.jsonl", [{"text": "One."}, {"text": "Two."}, *rows])
    sources = ({"path": str(path)},)
    prepare(DataConfig(sources=sources, heldout_fraction=0.1), folder / "data")  # type: ignore[arg-type]
    return folder / "data"


def stage(folder: Path, data: Path, tokenizer: Tokenizer) -> StageContext:
    return StageContext(
        folder=folder,
        data=data,
        tokenizer=tokenizer,
        seed=1,
        device=torch.device("cpu"),
        listener=Recorder(),
        identity={},
    )


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[i % 2], "content": content} for i, content in enumerate(contents)
        ]
    }


LONG = "many words that go on and on " * 12


@dataclass(frozen=True)
class Fitted:
    """What fine-tuning counted, the rows it trained on, and what it said of the training chats."""

    outcomes: Counter[str]
    source: RowSource
    messages: list[str]


@pytest.fixture
def fit(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> Callable[[list[dict[str, Any]]], Fitted]:
    """Fine-tunes for one step on ten short chats and the rows given."""

    def run(rows: list[dict[str, Any]]) -> Fitted:
        data = prepared(tmp_path, [*short_chats(10), *rows])
        context = stage(tmp_path / "sft", data, tiny_tokenizer)
        settings = FinetuneConfig(epochs=0.01, batch_tokens=64)
        counts = finetune(settings, tiny_run / "pretrain" / "model", context)
        folder = context.folder / "tokens" / "train"
        source = RowSource(TokenShards.open(folder), RowPlan.load(folder))
        messages = [text for text in context.listener.messages if " train chats " in text]
        return Fitted(Counter(counts["fitted"]), source, messages)

    return run


def test_chats_over_the_context_are_counted_cut_by_the_rule_and_said(
    fit: Callable[[list[dict[str, Any]]], Fitted],
) -> None:
    rows = [
        *(chat(f"{LONG} {i}?", "Yes.", f"A cat {i}?", "No.") for i in range(6)),
        *(chat(f"A dog {i}?", f"{LONG} {i}") for i in range(6)),
        *(chat(f"{LONG} dog {i}?", "No.") for i in range(6)),
    ]
    fitted = fit(rows)
    outcomes = fitted.outcomes
    assert set(outcomes) == {"whole", "exchanges_dropped", "reply_cut", "refused"}
    assert fitted.source.shards.n_documents == outcomes.total() - outcomes["refused"]
    assert fitted.messages == [
        f"sft: {outcomes['exchanges_dropped']} train chats longer than 64 tokens lost their "
        "oldest exchanges",
        f"sft: {outcomes['reply_cut']} train chats longer than 64 tokens had their last reply cut",
        f"sft: {outcomes['refused']} train chats longer than 64 tokens were left out, their "
        "prompt alone being too long",
    ]


def test_no_row_is_all_masked(fit: Callable[[list[dict[str, Any]]], Fitted]) -> None:
    rows = [
        *(chat(f"A dog {i}?", f"{LONG} {i}") for i in range(8)),
        *(chat(" ".join([f"w{i}"] * n) + "?", "Yes, it is so.") for i, n in enumerate(range(40))),
    ]
    batches = RowBatches([fit(rows).source], seed=0, batch_rows=1)
    for batch in batches.every_row_once(1):
        assert batch.loss_mask.any()
        ids = batch.document_ids
        spans = [True] if ids is None else [ids == number for number in range(int(ids.max()) + 1)]
        assert all((batch.loss_mask & span).any() for span in spans)


@torch.no_grad()
def test_packed_chats_give_the_sums_of_chats_one_by_one(
    fit: Callable[[list[dict[str, Any]]], Fitted],
    tiny_tokenizer: Tokenizer,
    tiny_run: Path,
    tmp_path: Path,
) -> None:
    with torch.enable_grad():
        fitted = fit([chat(f"Cat {i}?", "No.") for i in range(9)])
    packed = RowBatches([fitted.source], seed=0, batch_rows=1)
    model = load_model(tiny_run / "pretrain" / "model")
    total, count = 0.0, 0
    for batch in packed.every_row_once(4):
        loss = next_token_loss(model, batch)
        total, count = total + float(loss.total), count + loss.count
    expected, n_labels = 0.0, 0
    for one in read_chats(tmp_path / "data", "train"):
        rendered = render_chat(tiny_tokenizer, one.messages)
        log_probabilities = model(torch.tensor([rendered.ids]))[0].log_softmax(-1)
        for place, trained in enumerate(rendered.loss_mask):
            if trained:
                expected -= float(log_probabilities[place - 1, rendered.ids[place]])
                n_labels += 1
    assert packed.n_rows < fitted.outcomes.total(), "nothing was packed"
    assert count == n_labels
    assert total == pytest.approx(expected, rel=1e-5)


def test_when_no_chat_fits_it_says_so(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    data = prepared(tmp_path, [chat(f"{LONG} {i}?", "Yes.") for i in range(10)])
    context = stage(tmp_path / "sft", data, tiny_tokenizer)
    with pytest.raises(
        DataError, match=r"none of the \d+ train chats fits model\.max_seq_len=64; use a longer"
    ):
        finetune(FinetuneConfig(batch_tokens=64), tiny_run / "pretrain" / "model", context)
    assert not list(context.folder.glob("tokens/*"))


def test_it_learns_the_replies(tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path) -> None:
    data = prepared(tmp_path, short_chats(20))
    context = stage(tmp_path / "sft", data, tiny_tokenizer)
    settings = FinetuneConfig(
        epochs=8,
        batch_tokens=256,
        optimizer=AdamWConfig(lr=1e-2),
        loop=LoopConfig(eval_every=1, checkpoint_every=0, log_every=1),
    )
    counts = finetune(settings, tiny_run / "pretrain" / "model", context)
    losses = [f["heldout_loss"] for _, _, f in context.listener.steps if "heldout_loss" in f]
    assert losses[-1] < losses[0] - 0.5
    assert counts["chats"] == sum(1 for _ in read_chats(data, "train"))
    ids = json.loads((context.model_folder / "generation_config.json").read_text())
    assert ids["eos_token_id"] == [tiny_tokenizer.end_of_turn_id, tiny_tokenizer.end_of_text_id]
    shards = TokenShards.open(context.folder / "tokens" / "train")
    assert shards.n_trained == counts["trained_tokens"]
    assert RowPlan.load(context.folder / "tokens" / "train").n_rows == counts["rows"]


def test_what_was_counted_survives_an_interruption(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    """The tokens are written by the first process; the second one still knows what was fitted."""
    data = prepared(tmp_path, [*short_chats(10), *(chat(f"A {i}?", LONG) for i in range(4))])
    settings = FinetuneConfig(epochs=1, batch_tokens=256)
    start = tiny_run / "pretrain" / "model"
    counted = [
        finetune(settings, start, stage(tmp_path / "sft", data, tiny_tokenizer))["fitted"]
        for _ in range(2)
    ]
    assert counted[0]["reply_cut"] > 0
    assert counted[1] == counted[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0.0 must be above 0; write sft: null to leave it out"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**changes)
