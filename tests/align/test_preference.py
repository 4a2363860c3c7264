from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundup.align.preference import (
    AlignConfig,
    PairBatches,
    RenderedPair,
    align,
    dpo_loss,
    preference_loss,
    render_pair,
    reply_log_probabilities,
)
from groundup.data.prepare import DataConfig, prepare
from groundup.data.records import Preference
from groundup.export import load_model
from groundup.model import Decoder
from groundup.optim import AdamWConfig
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import Message
from groundup.train.context import StageContext
from groundup.train.job import LoopConfig

from ..tiny_build import Recorder, short_pairs, write_rows


def preference(*turns: str, chosen: str = "Yes, a cat!", rejected: str = "No.") -> Preference:
    roles = ("user", "assistant")
    prompt = tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns))  # type: ignore[arg-type]
    return Preference(prompt, chosen, rejected, "id", "source")


@pytest.fixture(scope="module")
def model(tiny_run: Path) -> Decoder:
    return load_model(tiny_run / "sft" / "model")


@pytest.fixture(scope="module")
def pairs(tiny_tokenizer: Tokenizer) -> list[RenderedPair]:
    """Five pairs of different lengths, one of them with an earlier exchange."""
    return [
        *(render_pair(tiny_tokenizer, preference("A cat" + "!" * n)) for n in range(4)),
        render_pair(tiny_tokenizer, preference("A?", "B.", "C?")),
    ]


def batches(pairs: list[RenderedPair], reference: np.ndarray | None = None) -> PairBatches:
    if reference is None:
        reference = np.zeros((2, len(pairs)), dtype=np.float32)
    return PairBatches(pairs, reference, seed=1, batch_pairs=2)


# --- the loss -------------------------------------------------------------------------------------


def test_the_loss_by_hand() -> None:
    """Two pairs, β = 0.5: margins 0.5 (2 - (-1)) = 1.5 and 0.5 (-1 - 1) = -1."""
    policy = torch.tensor([[-3.0, -6.0], [-8.0, -3.0]])
    reference = torch.tensor([[-5.0, -5.0], [-7.0, -4.0]])
    losses, margins = dpo_loss(policy, reference, beta=0.5)
    assert margins.tolist() == [1.5, -1.0]
    expected = [math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(1.0))]
    assert losses.tolist() == pytest.approx(expected, rel=1e-6)


@torch.no_grad()
def test_log_probabilities_are_those_of_each_reply_alone(
    model: Decoder, pairs: list[RenderedPair]
) -> None:
    """No padding, no batch: one sequence at a time, one token at a time."""
    together = reply_log_probabilities(model, batches(pairs).assemble(range(len(pairs))))
    rows = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    for row, found in zip(rows, together.tolist(), strict=True):
        logits = model(torch.tensor([row.ids]))[0].log_softmax(-1)
        alone = sum(
            float(logits[place - 1, row.ids[place]])
            for place, trained in enumerate(row.loss_mask)
            if trained
        )
        assert found == pytest.approx(alone, rel=1e-5)


@torch.no_grad()
def test_a_model_that_has_not_moved_has_loss_log_2(
    model: Decoder, pairs: list[RenderedPair]
) -> None:
    plain = batches(pairs)
    indices = range(len(pairs))
    reference = reply_log_probabilities(model, plain.assemble(indices)).view(2, -1).numpy()
    loss = preference_loss(
        model, batches(pairs, reference).assemble(indices), beta=0.1, nll_weight=0.0
    )
    assert loss.count == len(pairs)
    assert float(loss.total) / loss.count == pytest.approx(math.log(2), abs=1e-6)
    assert float(loss.figures["reward_margin"]) == pytest.approx(0, abs=1e-5)


@torch.no_grad()
def test_nll_weight_adds_the_mean_loss_of_the_chosen_reply(
    model: Decoder, pairs: list[RenderedPair]
) -> None:
    batch = batches(pairs).assemble([0, 4])
    plain = preference_loss(model, batch, beta=0.1, nll_weight=0.0).total
    added = preference_loss(model, batch, beta=0.1, nll_weight=0.3).total - plain
    chosen = reply_log_probabilities(model, batch)[:2].tolist()
    lengths = [sum(pairs[index].chosen.loss_mask) for index in (0, 4)]
    expected = sum(-0.3 * value / n for value, n in zip(chosen, lengths, strict=True))
    assert float(added) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected() -> None:
    policy = torch.tensor([[-3.0], [-3.0]], requires_grad=True)
    losses, _ = dpo_loss(policy, torch.tensor([[-3.0], [-3.0]]), beta=0.2)
    losses.sum().backward()
    assert policy.grad is not None
    assert policy.grad.flatten().tolist() == pytest.approx([-0.1, 0.1])  # β σ(0)


# --- pairs ----------------------------------------------------------------------------------------


def test_only_the_last_reply_is_marked(tiny_tokenizer: Tokenizer) -> None:
    pair = render_pair(tiny_tokenizer, preference("A?", "An earlier reply.", "C?"))
    for side, reply in ((pair.chosen, "Yes, a cat!"), (pair.rejected, "No.")):
        marked = [i for i, trained in zip(side.ids, side.loss_mask, strict=True) if trained]
        assert marked[-1] == tiny_tokenizer.end_of_turn_id
        assert tiny_tokenizer.decode(marked) == reply
    first = pair.chosen.loss_mask.index(True)
    assert pair.chosen.ids[:first] == pair.rejected.ids[:first]


def test_the_order_is_a_function_of_the_step_and_every_pair_is_seen_once_an_epoch(
    pairs: list[RenderedPair],
) -> None:
    reference = np.arange(10, dtype=np.float32).reshape(2, 5)
    source = batches(pairs, reference)

    def seen(step: int, micro_rows: int = 1 << 30) -> list[float]:
        parts = list(source.micro_batches(step, micro_rows))
        return [value for part in parts for value in part.reference[: part.n_pairs].tolist()]

    order = [value for step in range(5) for value in seen(step)]
    assert sorted(order[:5]) == sorted(order[5:]) == [0, 1, 2, 3, 4]
    assert seen(3) == seen(3) == seen(3, micro_rows=2)
    assert all(part.n_pairs == 1 for part in source.micro_batches(0, 2))


def test_the_fingerprint_follows_pairs_seed_and_batch(pairs: list[RenderedPair]) -> None:
    reference = np.zeros((2, 5), dtype=np.float32)
    made = [
        PairBatches(pairs, reference, seed=1, batch_pairs=2),
        PairBatches(pairs, reference, seed=2, batch_pairs=2),
        PairBatches(pairs, reference, seed=1, batch_pairs=3),
        PairBatches(pairs[:4], reference, seed=1, batch_pairs=2),
    ]
    assert len({one.fingerprint for one in made}) == 4
    assert made[0].fingerprint == batches(pairs).fingerprint


# --- the stage ------------------------------------------------------------------------------------


def stage(folder: Path, tokenizer: Tokenizer, rows: list[dict[str, Any]]) -> StageContext:
    path = write_rows(folder / "pairs.jsonl", [{"text": "One."}, {"text": "Two."}, *rows])
    sources = ({"path": str(path)},)
    prepare(DataConfig(sources=sources, heldout_fraction=0.2), folder / "data")  # type: ignore[arg-type]
    return StageContext(
        folder=folder / "align",
        data=folder / "data",
        tokenizer=tokenizer,
        seed=1,
        device=torch.device("cpu"),
        listener=Recorder(),
        identity={},
    )


SETTINGS = AlignConfig(
    epochs=4,
    batch_pairs=6,
    beta=0.5,
    optimizer=AdamWConfig(lr=3e-3, weight_decay=0.0),
    loop=LoopConfig(log_every=1, eval_every=1, checkpoint_every=0),
)


def test_it_starts_at_log_2_and_learns_the_preference(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    context = stage(tmp_path, tiny_tokenizer, short_pairs(20))
    start = tiny_run / "sft" / "model"
    before = (start / "model.safetensors").read_bytes()
    counts = align(SETTINGS, start, context)
    steps = [figures for _, _, figures in context.listener.steps if "loss" in figures]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert steps[0]["reward_margin"] == pytest.approx(0, abs=1e-4)
    last = steps[-1]
    assert last["loss"] < 0.2
    assert last["heldout_preference_accuracy"] == 1.0
    assert last["heldout_reward_margin"] > 1
    assert (start / "model.safetensors").read_bytes() == before
    assert (context.model_folder / "model.safetensors").read_bytes() != before
    assert counts["pairs_too_long"] == 0
    assert counts["steps"] == round(4 * counts["pairs"] / 6)


def test_micro_batches_do_not_change_the_result(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    models = []
    for micro_rows in (0, 1, 4):
        folder = tmp_path / str(micro_rows)
        context = stage(folder, tiny_tokenizer, short_pairs(12))
        loop = LoopConfig(micro_rows=micro_rows)
        settings = AlignConfig(epochs=1, batch_pairs=4, loop=loop)
        align(settings, tiny_run / "sft" / "model", context)
        models.append(load_model(context.model_folder))
    for other in models[1:]:
        for one, two in zip(models[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def test_pairs_over_the_context_are_counted_and_said(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    long = [{"prompt": f"Cat {i}?", "chosen": "yes " * 60, "rejected": "No."} for i in range(9)]
    context = stage(tmp_path, tiny_tokenizer, [*short_pairs(12), *long])
    counts = align(AlignConfig(batch_pairs=4), tiny_run / "sft" / "model", context)
    n = counts["pairs_too_long"]
    assert n > 0
    assert context.listener.messages[0] == (
        f"align: {n} train pairs longer than 64 tokens were left out"
    )


def test_when_no_pair_fits_it_says_so(
    tiny_tokenizer: Tokenizer, tiny_run: Path, tmp_path: Path
) -> None:
    long = [{"prompt": f"Cat {i}?", "chosen": "yes " * 60, "rejected": "No."} for i in range(9)]
    context = stage(tmp_path, tiny_tokenizer, long)
    with pytest.raises(
        DataError, match=r"none of the \d+ train preference pairs fits model\.max_seq_len=64; use a"
    ):
        align(AlignConfig(), tiny_run / "sft" / "model", context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0.0 must be above 0"),
        ({"batch_pairs": 0}, "batch_pairs=0 must be above 0"),
        ({"beta": -1}, "beta=-1.0 must be above 0"),
        ({"nll_weight": -1}, "nll_weight=-1.0 must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlignConfig(**changes)
