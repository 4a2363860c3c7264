from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.data.loader import TokenBatch
from groundup.model import Decoder, build_decoder
from groundup.optim import AdamWConfig, AnyOptimizerConfig, LionConfig, MuonConfig, Optimizer
from groundup.train.loop import train
from groundup.train.objectives import Loss, next_token_loss
from groundup.train.step import StepRule

from .small_job import RandomBatches, small_job, small_model

ROWS = 99  # more than a batch has
OPTIMIZERS: dict[str, AnyOptimizerConfig] = {
    "adamw": AdamWConfig(lr=1e-3),
    "adamw_cautious": AdamWConfig(lr=1e-3, cautious=True),
    "muon": MuonConfig(lr=1e-3),
    "lion": LionConfig(lr=1e-4),
}


def rule_for(
    model: Decoder | None = None,
    optimizer: AnyOptimizerConfig = OPTIMIZERS["adamw"],
    loss_fn: Any = next_token_loss,
    gradient_clip: float = 1.0,
) -> StepRule:
    model = model or small_model()
    return StepRule(model, Optimizer(model, optimizer), loss_fn, "float32", gradient_clip)


def batch_of(step: int, micro_rows: int = ROWS) -> Iterator[TokenBatch]:
    return RandomBatches().micro_batches(step, micro_rows)


def everything(rule: StepRule) -> dict[str, Tensor]:
    """Copies of all that a step may change: parameters, and the optimizer's state."""
    parameters = dict(rule.model.named_parameters())
    state = rule.optimizer.state_by_name()
    return {name: value.detach().clone() for name, value in {**parameters, **state}.items()}


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


# --- against torch --------------------------------------------------------------------------------

EPS = 1e-5  # large enough for a gradient that is nothing but rounding to move nothing


def torchs_adamw(model: Decoder) -> torch.optim.AdamW:
    """torch's AdamW, unfused; of all parameters the matrices of the blocks alone decay."""
    named = dict(model.named_parameters())
    decayed = [p for name, p in named.items() if name.startswith("blocks.") and p.ndim == 2]
    others = [p for name, p in named.items() if not (name.startswith("blocks.") and p.ndim == 2)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=EPS, foreach=False)


def mean_loss(model: Decoder, batch: TokenBatch) -> Tensor:
    """Written with torch alone: logits of every place, and the mean over the trained ones."""
    logits = model(batch.input_ids)
    return F.cross_entropy(logits[batch.loss_mask], batch.labels[batch.loss_mask])


@pytest.mark.parametrize("micro_rows", [ROWS, 4])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_steps_are_those_of_torchs_adamw(clip: float, micro_rows: int) -> None:
    """Four steps with an lr that changes, beside torch's own loss, clipping and optimizer."""
    rule, theirs = rule_for(optimizer=AdamWConfig(eps=EPS), gradient_clip=clip), small_model()
    optimizer = torchs_adamw(theirs)
    for step, lr in enumerate((1e-3, 3e-3, 2e-3, 0.0)):
        figures = rule.take(batch_of(step, micro_rows), lr).read()
        (whole,) = batch_of(step)
        loss = mean_loss(theirs, whole)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()
        assert clip == 0 or norm > 2 * clip, "or else nothing is clipped"
        assert figures["loss"] == pytest.approx(loss.item(), rel=1e-6)
        assert figures["gradient_norm"] == pytest.approx(float(norm), rel=1e-5)
        assert figures["lr"] == lr
    for (name, ours), other in zip(rule.model.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n} {m}")


def test_without_clipping_a_step_is_the_optimizers_to_the_last_bit() -> None:
    """The formula at the top of step.py, in a few lines."""
    rule, by_hand = rule_for(gradient_clip=0.0), rule_for()
    (batch,) = batch_of(0)
    rule.take([batch], 2e-3)
    loss = next_token_loss(by_hand.model, batch)
    loss.total.backward()
    for parameter in by_hand.model.parameters():
        parameter.grad *= torch.tensor(1.0) / loss.count
    by_hand.optimizer.set_lr(2e-3)
    by_hand.optimizer.step()
    assert_same_bits(everything(rule), everything(by_hand))


def test_micro_batches_add_up_to_the_gradient_of_the_whole() -> None:
    """In float64, where the order of the terms leaves no trace worth speaking of."""
    found = []
    for micro_rows in (1, 4, ROWS):
        config = replace(small_model().config, norm="layernorm", qk_norm=False)
        rule = rule_for(build_decoder(config, 0).double(), loss_fn=in_float64)
        parts, n_tokens = rule.gradients(batch_of(0, micro_rows))
        assert n_tokens == 6 * 16
        assert sum(part.count for part in parts) == 42
        assert not any(part.total.requires_grad for part in parts)
        found.append([parameter.grad for parameter in rule.model.parameters()])
    for other in found[1:]:
        for ours, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-9)


def in_float64(model: Decoder, batch: TokenBatch) -> Loss:
    """The loss as torch has it: ours is in float32, whatever the model is in."""
    return Loss(mean_loss(model, batch) * batch.n_trained, batch.n_trained)


def test_two_threads_agree_with_one_within_rounding() -> None:
    """A model wide enough for torch to divide its products among threads."""
    config = replace(small_model().config, d_model=256, n_layers=1, d_ff=1024)
    n_threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            assert torch.get_num_threads() == n
            rule = rule_for(build_decoder(config, seed=0))
            losses = [rule.take(batch_of(step), 1e-3).read()["loss"] for step in range(3)]
            found.append((losses, everything(rule)))
    finally:
        torch.set_num_threads(n_threads)
    (one_losses, one), (two_losses, two) = found
    assert two_losses == pytest.approx(one_losses, rel=1e-5)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)


# --- steps that are left out ----------------------------------------------------------------------


def not_a_number(model: Decoder, batch: TokenBatch) -> Loss:
    loss = next_token_loss(model, batch)
    return Loss(loss.total * math.nan, loss.count)


def infinite(model: Decoder, batch: TokenBatch) -> Loss:
    loss = next_token_loss(model, batch)
    return Loss(loss.total + model.norm.weight.sum() * math.inf, loss.count)


def gradient_alone(model: Decoder, batch: TokenBatch) -> Loss:
    """A finite loss whose gradient is not: sqrt at 0 has the slope infinity."""
    loss = next_token_loss(model, batch)
    return Loss(loss.total + (model.norm.weight - model.norm.weight.detach()).sqrt().sum(), 42)


UNFIT = {"not_a_number": not_a_number, "infinite": infinite, "gradient_alone": gradient_alone}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("why", UNFIT)
def test_a_step_that_is_no_number_leaves_every_byte_as_it_was(why: str, optimizer: str) -> None:
    rule = rule_for(optimizer=OPTIMIZERS[optimizer])
    rule.take(batch_of(0), 1e-3)
    before = everything(rule)
    unfit = replace(rule, loss_fn=UNFIT[why])
    figures = unfit.take(batch_of(1), 1e-3)
    assert figures.was_skipped
    assert math.isfinite(figures.read()["loss"]) is (why == "gradient_alone")
    assert not math.isfinite(figures.read()["gradient_norm"])
    assert_same_bits(everything(rule), before)
    assert all(parameter.grad is None for parameter in rule.model.parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_after_one_it_goes_on_as_if_there_had_been_none(optimizer: str) -> None:
    """Also when it is the first of all, before the optimizer has any state."""
    with_trouble, without = (rule_for(optimizer=OPTIMIZERS[optimizer]) for _ in range(2))
    unfit = replace(with_trouble, loss_fn=not_a_number)
    for step in range(3):
        assert unfit.take(batch_of(7), 1e-3).was_skipped
        for rule in (with_trouble, without):
            assert not rule.take(batch_of(step), 1e-3).was_skipped
    assert_same_bits(everything(with_trouble), everything(without))


def test_one_bad_micro_batch_spoils_the_step_and_no_other() -> None:
    rule = rule_for()
    before = everything(rule)

    def second_is_bad(model: Decoder, batch: TokenBatch) -> Loss:
        loss = next_token_loss(model, batch)
        return Loss(loss.total * (math.nan if len(batch.labels) == 2 else 1.0), loss.count)

    assert replace(rule, loss_fn=second_is_bad).take(batch_of(0, 4), 1e-3).was_skipped
    assert_same_bits(everything(rule), before)
    assert not rule.take(batch_of(0, 4), 1e-3).was_skipped


def test_a_loss_above_the_limit_is_left_out_and_one_at_it_is_not() -> None:
    """Twelve terms of 3 and a count of 4: the mean is 9, exactly."""

    def nine(model: Decoder, batch: TokenBatch) -> Loss:
        gain = model.norm.weight[:12]
        return Loss((3 * gain).sum(), 4)

    for limit, is_skipped in ((9.0, False), (8.999, True), (math.inf, False), (0.0, True)):
        rule = rule_for(loss_fn=nine)
        before = everything(rule)
        figures = rule.take(batch_of(0), 1e-3, loss_limit=limit)
        assert figures.read()["loss"] == 9.0
        assert figures.was_skipped is is_skipped
        moved = [
            name for name, value in before.items() if not torch.equal(value, everything(rule)[name])
        ]
        assert moved == ([] if is_skipped else ["norm.weight"])


# --- figures --------------------------------------------------------------------------------------


def test_figures_are_sums_over_micro_batches_divided_by_the_whole_count() -> None:
    """Rows 0 to 5 in micro-batches of 4 and 2; counts 4 and 2, so that a mean of means is another.

    (1+1+1+1 + 10+10) / 6 = 4;  the losses 4·2 and 2·5 give 18 / 6 = 3.
    """

    def loss_fn(model: Decoder, batch: TokenBatch) -> Loss:
        n = len(batch.labels)
        gain = model.norm.weight[0]
        loss, figure = (2.0, 1.0) if n == 4 else (5.0, 10.0)
        figures = {"figure": (n * figure * gain).detach(), "half": torch.tensor(n / 2)}
        return Loss(n * loss * gain, n, figures)

    figures = rule_for(loss_fn=loss_fn).take(batch_of(0, 4), 0.25)
    assert figures.read() == {
        "loss": 3.0,
        "figure": 4.0,
        "half": 0.5,
        "gradient_norm": 3.0,  # one entry, of the same size
        "lr": 0.25,
    }
    assert (figures.count, figures.n_tokens, figures.names) == (6, 96, ("figure", "half"))
    assert figures.values.device.type == "cpu"


def test_the_update_is_framed_and_the_gradients_in_the_frame_are_clipped() -> None:
    rule = rule_for(gradient_clip=0.01)
    start = everything(rule)
    seen: list[str] = []

    @contextmanager
    def frame() -> Iterator[None]:
        assert_same_bits(everything(rule), start)
        gradients = [parameter.grad for parameter in rule.model.parameters()]
        assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(0.01, rel=1e-3)
        seen.append("before")
        yield
        assert not torch.equal(rule.model.norm.weight, start["norm.weight"])
        seen.append("after")

    rule.take(batch_of(0), 1e-3, around_update=frame())
    assert seen == ["before", "after"]


# --- dropout --------------------------------------------------------------------------------------


class SameBatch(RandomBatches):
    """The same rows at every step, so that losses differ by the dropped units alone."""

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[TokenBatch]:
        yield from super().micro_batches(0, micro_rows)


def losses_with_dropout(folder: Path, *, disturbed: bool = False, seed: int = 0) -> list[float]:
    """Losses of six steps that move nothing; evaluation draws numbers too, if `disturbed`."""
    model = build_decoder(replace(small_model().config, dropout=0.3), 0)

    def evaluate(model: Decoder) -> dict[str, float]:
        torch.rand(17)
        return {"heldout_bits_per_byte": 1.0}

    job = small_job(
        folder,
        model=model,
        batches=SameBatch(),
        eval_every=1 if disturbed else 0,
        evaluate=evaluate if disturbed else None,
        seed=seed,
        optimizer=Optimizer(model, AdamWConfig(lr=1e-30, weight_decay=0.0)),
    )
    torch.manual_seed(99 if disturbed else 1)
    train(job)
    return [figures["loss"] for _, _, figures in job.listener.steps if "loss" in figures][
        :: 2 if disturbed else 1
    ]


def test_with_dropout_the_loss_is_a_function_of_the_step(tmp_path: Path) -> None:
    """Whatever else draws random numbers; another step, or another seed, drops other units."""
    losses = losses_with_dropout(tmp_path / "plain")
    assert losses_with_dropout(tmp_path / "disturbed", disturbed=True) == losses
    assert len(set(losses)) == 6
    assert set(losses_with_dropout(tmp_path / "seed", seed=1)).isdisjoint(losses)
