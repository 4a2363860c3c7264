from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.data.loader import RowBatches
from groundup.data.pack import RowPlan
from groundup.data.prepare import DataConfig, prepare
from groundup.data.prepared import read_chats
from groundup.data.shards import TokenShards
from groundup.export import load_model
from groundup.optim import AdamWConfig
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import render_chat
from groundup.train.context import StageContext, token_rows
from groundup.train.finetune import FinetuneConfig, _write_chats, finetune
from groundup.train.loop import LoopConfig
from groundup.train.objectives import next_token_loss

from ..tiny_build import Recorder, short_chats, write_rows

SEQ_LEN = 64  # of the tiny run's model


def prepared(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = write_rows(folder / "chats.jsonl", rows)
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


def outcomes_of(tokenizer: Tokenizer, tmp_path: Path, rows: list[dict[str, Any]]) -> Any:
    """What fine-tuning on these rows (and ten short ones) counts and says."""
    from collections import Counter

    data = prepared(tmp_path, [*short_chats(10), *rows])
    context = stage(tmp_path / "sft", data, tokenizer)
    outcomes: Counter[str] = Counter()
    source = token_rows(
        context,
        "train",
        write=lambda folder: _write_chats("train", SEQ_LEN, outcomes, context, folder),
        seq_len=SEQ_LEN,
        packing="best_fit",
    )
    return outcomes, source, context.listener.messages


def test_chats_over_the_context_are_counted_cut_by_the_rule_and_said(
    tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    rows = [
        *(chat(f"{LONG} {i}?", "Yes.", f"A cat {i}?", "No.") for i in range(6)),
        *(chat(f"A dog {i}?", f"{LONG} {i}") for i in range(6)),
        *(chat(f"{LONG} dog {i}?", "No.") for i in range(6)),
    ]
    outcomes, source, messages = outcomes_of(tiny_tokenizer, tmp_path, rows)
    assert set(outcomes) == {"whole", "exchanges_dropped", "reply_cut", "refused"}
    assert source.shards.n_documents == outcomes.total() - outcomes["refused"]
    assert messages == [
        f"sft: {outcomes['exchanges_dropped']} train chats longer than 64 tokens lost their "
        "oldest exchanges",
        f"sft: {outcomes['reply_cut']} train chats longer than 64 tokens had their last reply cut",
        f"sft: {outcomes['refused']} train chats longer than 64 tokens were left out, their "
        "prompt alone being too long",
    ]


def test_no_row_is_all_masked(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [
        *(chat(f"A dog {i}?", f"{LONG} {i}") for i in range(8)),
        *(chat(" ".join([f"w{i}"] * n) + "?", "Yes, it is so.") for i, n in enumerate(range(40))),
    ]
    _, source, _ = outcomes_of(tiny_tokenizer, tmp_path, rows)
    batches = RowBatches([source], seed=0, batch_rows=1)
    for batch in batches.every_row_once(1):
        assert batch.loss_mask.any()
        for span in range(
            int(batch.document_ids.max()) + 1 if batch.document_ids is not None else 1
        ):
            here = True if batch.document_ids is None else batch.document_ids == span
            assert (batch.loss_mask & here).any()


@torch.no_grad()
def test_packed_chats_give_the_sums_of_chats_one_by_one(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    outcomes, _, _ = outcomes_of(
        tiny_tokenizer, tmp_path, [chat(f"Cat {i}?", "No.") for i in range(9)]
    )
    context = stage(tmp_path / "sft", tmp_path / "data", tiny_tokenizer)
    packed = RowBatches(
        [token_rows(context, "train", write=print, seq_len=SEQ_LEN, packing="best_fit")],
        seed=0,
        batch_rows=1,
    )
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
    assert packed.n_rows < outcomes.total(), "nothing was packed"
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
    assert ids["eos_token_id"] == [tiny_tokenizer.im_end_id, tiny_tokenizer.end_of_text_id]
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
