from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundup.data.loader import TokenBatch
from groundup.model import Decoder, build_decoder
from groundup.optim import AveragingConfig, WeightAverage, lr_factor
from groundup.recipe import Recipe
from groundup.train.interrupt import Interrupted
from groundup.train.job import Job, LoopConfig
from groundup.train.loop import DivergedError, train
from groundup.train.metrics import MetricsFile
from groundup.train.objectives import Loss, next_token_loss
from groundup.train.step import StepFigures, StepRule
from groundup.train.watch import WatchConfig

from ..tiny_build import Recorder, SignalAt, copy_run, model_bytes, tiny_build
from .small_job import RandomBatches, small_job, small_model


def weights(job: Job) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in job.model.named_parameters()}


def take_step(job: Job, lr: float = 1e-3) -> StepFigures:
    config = job.config
    rule = StepRule(job.model, job.optimizer, job.loss_fn, config.precision, config.gradient_clip)
    return rule.take(job.batches.micro_batches(0, config.micro_rows or 99), lr)


# --- a step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("muon", [False, True])
@pytest.mark.parametrize("micro_rows", [1, 2, 4])
def test_accumulation_does_not_change_the_weights(
    tmp_path: Path, micro_rows: int, muon: bool
) -> None:
    """Rows have 2 to 12 trained labels, so a mean of micro-batch means would be another loss."""
    whole = small_job(tmp_path / "whole", muon=muon)
    parts = small_job(tmp_path / "parts", muon=muon, micro_rows=micro_rows)
    train(whole)
    train(parts)
    for name, value in weights(parts).items():
        torch.testing.assert_close(value, weights(whole)[name], atol=1e-6, rtol=0)
    losses = [[f["loss"] for _, _, f in job.listener.steps] for job in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


def test_the_loss_is_normalised_by_the_trained_tokens(tmp_path: Path) -> None:
    """Worked by hand: each row's summed loss alone, then added up and divided by 2+4+…+12 = 42."""
    job = small_job(tmp_path, micro_rows=2)
    total = 0.0
    for batch in RandomBatches().micro_batches(0, 1):
        logits = job.model(batch.input_ids)[0].detach()
        for place in batch.loss_mask[0].nonzero()[:, 0].tolist():
            total -= float(logits[place].log_softmax(-1)[batch.labels[0, place]])
    figures = take_step(job)
    assert figures.count == 42
    assert figures.n_tokens == 6 * 16
    assert figures.read()["loss"] == pytest.approx(total / 42, rel=1e-5)


def one_gradient(scale: float, n_terms: int) -> Any:
    """A loss whose summed gradient is `scale` for each entry of the last norm's gain."""

    def loss_fn(model: Decoder, batch: Any) -> Loss:
        return Loss(scale * model.norm.weight.sum(), n_terms)

    return loss_fn


@pytest.mark.parametrize(
    ("clip", "expected"), [(0.0, 3.0), (100.0, 3.0), (1.0, 1 / 32**0.5)], ids=str
)
def test_the_gradient_is_clipped_by_its_global_norm(
    tmp_path: Path, clip: float, expected: float
) -> None:
    """32 entries of 30/10 = 3 have the norm 3√32; clipped to 1 each is 1/√32."""
    job = small_job(tmp_path, loss_fn=one_gradient(30.0, 10), gradient_clip=clip)
    seen: list[Tensor] = []
    gain = job.model.get_parameter("norm.weight")
    job.optimizer.step = lambda: seen.append(gain.grad.clone())  # type: ignore[method-assign]
    figures = take_step(job)
    torch.testing.assert_close(seen[0], torch.full((32,), expected), rtol=1e-5, atol=0)
    assert figures.read()["gradient_norm"] == pytest.approx(3 * 32**0.5, rel=1e-6)


def test_a_step_leaves_no_gradient_behind(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    take_step(job)
    assert all(parameter.grad is None for parameter in job.model.parameters())


def test_the_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    train(job)
    rates = [figures["lr"] for _, _, figures in job.listener.steps]
    assert rates[0] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]


# --- what a run leaves ----------------------------------------------------------------------------


def test_metrics_hold_every_logged_step_once(tmp_path: Path) -> None:
    train(small_job(tmp_path, log_every=2, n_steps=5))
    assert [line["step"] for line in MetricsFile(tmp_path / "metrics.jsonl")] == [2, 4, 5]


def test_evaluation_and_samples_come_when_they_are_due(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0])
    modes: list[bool] = []

    def evaluate(model: Decoder) -> Mapping[str, float]:
        modes.append(model.training)
        return {"heldout_bits_per_byte": next(values)}

    job = small_job(
        tmp_path, eval_every=2, sample_every=4, evaluate=evaluate, sample=lambda _: ["once"]
    )
    progress = train(job)
    assert modes == [False] * 3
    assert job.model.training
    assert (progress.best_step, progress.best_value) == (4, 1.0)
    assert job.listener.messages == ["pretrain step 4: once", "pretrain step 6: once"]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000004", "step-00000006"]


def test_the_best_step_has_a_checkpoint_even_when_none_was_due(tmp_path: Path) -> None:
    """Evaluated at 3 and 6, checkpoints at 2, 4 and 6: what is called best must be there."""
    values = iter([1.0, 2.0])
    job = small_job(
        tmp_path,
        eval_every=3,
        checkpoint_every=2,
        evaluate=lambda _: {"heldout_bits_per_byte": next(values)},
    )
    progress = train(job)
    assert progress.best_step is not None
    assert (tmp_path / "checkpoints" / f"step-{progress.best_step:08d}").is_dir()


# --- going wrong ----------------------------------------------------------------------------------


@dataclass
class BadBatches(RandomBatches):
    """Random batches; those at the places `bad` give a loss that is no number."""

    bad: frozenset[int] = frozenset()

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[Any]:
        for batch in super().micro_batches(step, micro_rows):
            yield _Placed(batch, step in self.bad)


@dataclass
class _Placed:
    batch: TokenBatch
    is_bad: bool
    n_tokens: int = 96

    def to(self, device: torch.device) -> _Placed:
        return self


def loss_of_placed(model: Decoder, placed: _Placed) -> Loss:
    loss = next_token_loss(model, placed.batch)
    return Loss(loss.total * (float("nan") if placed.is_bad else 1.0), loss.count)


def bad_job(folder: Path, bad: set[int], **changes: Any) -> Job:
    batches = BadBatches(bad=frozenset(bad))
    return small_job(folder, batches=batches, loss_fn=loss_of_placed, **changes)


def test_a_step_that_is_no_number_is_left_out_and_counted(tmp_path: Path) -> None:
    """As if the optimizer had not been asked: the learning rate goes on by the step's number."""
    job = bad_job(tmp_path / "bad", {2})
    train(job)
    by_hand = small_job(tmp_path / "hand")
    rule = StepRule(by_hand.model, by_hand.optimizer, next_token_loss, "float32", 1.0)
    for step in (0, 1, 3, 4, 5):
        lr = 1e-3 * lr_factor(by_hand.schedule, step, 6)
        rule.take(RandomBatches().micro_batches(step, 99), lr)
    assert all(map(torch.equal, weights(job).values(), weights(by_hand).values()))
    lines = list(MetricsFile(tmp_path / "bad" / "metrics.jsonl"))
    assert [line["step"] for line in lines if line["loss"] is None] == [3]
    assert lines[-1]["skipped"] == 1
    (note,) = job.listener.messages
    assert note.startswith("pretrain: step 3: the loss is nan")


def test_after_bad_steps_in_a_row_it_goes_back_and_on_with_other_data(tmp_path: Path) -> None:
    """Batches 3 and 4 are bad: back from step 5 to the checkpoint of step 2, on with batch 5."""
    job = bad_job(tmp_path, {3, 4}, watch=WatchConfig(roll_back_after=2))
    progress = train(job)
    assert progress.step == 6
    assert job.batches.served[-4:] == [5, 6, 7, 8]
    assert [m for m in job.listener.messages if "back to the weights of step 2" in m]
    steps = [line["step"] for line in MetricsFile(tmp_path / "metrics.jsonl")]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(value).all() for value in weights(job).values())


def test_a_run_killed_after_going_back_ends_in_the_same_weights(tmp_path: Path) -> None:
    watch = WatchConfig(roll_back_after=2)
    whole = bad_job(tmp_path / "whole", {3, 4}, watch=watch, n_steps=10)
    train(whole)
    listener = SignalAt("pretrain", 7)
    cut = bad_job(tmp_path / "cut", {3, 4}, watch=watch, n_steps=10, listener=listener)
    with pytest.raises(Interrupted):
        train(cut)
    last = bad_job(tmp_path / "cut", {3, 4}, watch=watch, n_steps=10, model=small_model(5))
    train(last)
    assert all(map(torch.equal, weights(last).values(), weights(whole).values()))


def test_what_stays_bad_stops_with_an_explanation(tmp_path: Path) -> None:
    watch = WatchConfig(roll_back_after=2, stop_after=1)
    job = bad_job(tmp_path, set(range(2, 99)), watch=watch)
    with pytest.raises(DivergedError, match=r"(?s)stopped at step 4.*optimizer\.lr"):
        train(job)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000000", "step-00000002"]
    assert all(torch.isfinite(value).all() for value in weights(job).values())


def test_a_spike_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    """Seventy quiet steps make the limit; then one batch has a hundred times the loss."""

    def spiky(model: Decoder, placed: _Placed) -> Loss:
        loss = next_token_loss(model, placed.batch)
        return Loss(loss.total * (100.0 if placed.is_bad else 1.0), loss.count)

    jobs = []
    for skips in (True, False):
        job = small_job(
            tmp_path / str(skips),
            batches=BadBatches(bad=frozenset({70})),
            loss_fn=spiky,
            n_steps=72,
            watch=WatchConfig(skip_spikes=skips),
        )
        train(job)
        jobs.append(job)
        assert any("is a spike" in message for message in job.listener.messages)
    lines = [list(MetricsFile(job.folder / "metrics.jsonl"))[-1] for job in jobs]
    assert lines[0]["skipped"] == 1
    assert lines[1]["skipped"] == 0
    assert [line["spikes"] for line in lines] == [1, 1]


def test_layers_are_measured_when_it_is_due(tmp_path: Path) -> None:
    job = small_job(tmp_path, watch=WatchConfig(update_stats_every=3), log_every=6)
    plain = small_job(tmp_path / "plain")
    train(job)
    train(plain)
    lines = list(MetricsFile(tmp_path / "metrics.jsonl"))
    assert [line["step"] for line in lines if "update_ratio/block0.attention" in line] == [3, 6]
    assert 0 < lines[-1]["update_ratio/block1.feedforward"] < 0.1
    assert lines[-1]["dead_units/block0"] == 0.0
    assert lines[-1]["gradient_norm/embedding"] > 0
    assert all(map(torch.equal, weights(job).values(), weights(plain).values()))


# --- averaged weights, dropout --------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"average": True}, {"dropout": 0.2}], ids=str)
def test_what_is_random_or_averaged_resumes_in_the_same_bytes(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    def job(folder: str, seed: int = 0, **more: Any) -> Job:
        model = small_model(seed)
        if dropout := changes.get("dropout"):
            model = build_decoder(replace(model.config, dropout=dropout), seed)
        average = None
        if changes.get("average"):
            average = WeightAverage(model, AveragingConfig(decay=0.7, start=0.3))
        return small_job(tmp_path / folder, model=model, average=average, **more)

    whole = job("whole")
    train(whole)
    for step in (1, 3, 4):
        with pytest.raises(Interrupted):
            train(job("cut", seed=0 if step == 1 else step, listener=SignalAt("pretrain", step)))
    last = job("cut", seed=9)
    train(last)
    assert all(map(torch.equal, weights(last).values(), weights(whole).values()))
    if whole.average is not None and last.average is not None:
        ours, theirs = whole.average.state_by_name(), last.average.state_by_name()
        assert ours.keys() == weights(whole).keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_average_is_what_is_evaluated(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def evaluate(model: Decoder) -> Mapping[str, float]:
        seen.append(model.get_parameter("norm.weight").detach().clone())
        return {}

    model = small_model()
    average = WeightAverage(model, AveragingConfig(decay=0.9))
    job = small_job(tmp_path, model=model, average=average, evaluate=evaluate)
    train(job)
    assert torch.equal(seen[-1], average.state_by_name()["norm.weight"])
    assert not torch.equal(seen[-1], weights(job)["norm.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_checkpoints": 0}, "keep_checkpoints=0 must be at least 1"),
        ({"micro_rows": -1}, "micro_rows=-1 must not be negative"),
        ({"log_every": -1}, "log_every=-1 must not be negative"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopConfig(**changes)  # type: ignore[arg-type]


# --- stopping and going on ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, number: signal.Signals) -> None:
    whole = small_job(tmp_path / "whole", muon=True)
    train(whole)
    for step in (1, 3, 5):
        listener = SignalAt("pretrain", step, number)
        model = small_model(0 if step == 1 else 9)  # what goes on must come from the checkpoint
        job = small_job(tmp_path / "cut", muon=True, model=model, listener=listener)
        with pytest.raises(Interrupted):
            train(job)
        assert (tmp_path / "cut" / "checkpoints" / f"step-{step:08d}").is_dir()
    last = small_job(tmp_path / "cut", muon=True, model=small_model(5))
    progress = train(last)
    assert all(map(torch.equal, weights(last).values(), weights(whole).values()))
    assert progress.tokens == 6 * 96
    steps = [line["step"] for line in MetricsFile(tmp_path / "cut" / "metrics.jsonl")]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_being_asked_to_stop_at_the_last_step_is_not_forgotten(tmp_path: Path) -> None:
    """Or else a build would go on with its next stage."""
    with pytest.raises(Interrupted):
        train(small_job(tmp_path, listener=SignalAt("pretrain", 6)))
    assert (tmp_path / "checkpoints" / "step-00000006").is_dir()


def test_a_run_that_went_on_after_a_kill_has_no_step_twice(tmp_path: Path) -> None:
    """Killed after step 5 was logged: the checkpoint of step 4 is the newest."""

    class Killed(Recorder):
        def progress(self, label: str, done: int, total: int, figures: Any) -> None:
            if done == 5:
                raise SystemExit

    job = small_job(tmp_path, listener=Killed())
    with pytest.raises(SystemExit):
        train(job)
    assert [line["step"] for line in MetricsFile(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    again = small_job(tmp_path)
    train(again)
    assert [line["step"] for line in MetricsFile(tmp_path / "metrics.jsonl")] == [*range(1, 7)]
    assert again.batches.served == [4, 5]
    assert again.listener.messages == ["pretrain: going on from step 4 of 6"]


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    whole = small_job(tmp_path)
    train(whole)
    again = small_job(tmp_path, model=small_model(4))
    progress = train(again)
    assert again.batches.served == []
    assert progress.step == 6
    assert all(map(torch.equal, weights(again).values(), weights(whole).values()))


def test_a_run_without_a_checkpoint_starts_again_with_its_metrics(tmp_path: Path) -> None:
    MetricsFile(tmp_path / "metrics.jsonl").log(1, {"loss": 1.0})
    train(small_job(tmp_path, n_steps=2))
    assert [line["step"] for line in MetricsFile(tmp_path / "metrics.jsonl")] == [1, 2]


@pytest.mark.parametrize("stage", ["pretrain", "sft", "align"])
def test_every_stage_ends_in_the_same_bytes_however_often_it_is_stopped(
    stage: str, tiny: Recipe, tiny_run: Path, tmp_path: Path
) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    (run / stage / "manifest.json").unlink()
    for path in (run / stage / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    (run / stage / "model" / "model.safetensors").unlink()
    for step in (1, 2, 5, 7):
        listener = SignalAt(stage, step)
        with pytest.raises(Interrupted):
            tiny_build(tiny, run, listener).run([stage])
    listener = Recorder()
    tiny_build(tiny, run, listener).run([stage])
    assert listener.stages[0][:2] == (stage, "resume")
    assert model_bytes(run)[stage] == model_bytes(tiny_run)[stage]
    steps = [line["step"] for line in MetricsFile(run / stage / "metrics.jsonl") if "loss" in line]
    assert steps == sorted(set(steps))
