from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder
from groundup.recipe import Recipe
from groundup.train.interrupt import Interrupted
from groundup.train.loop import DivergedError, Job, LoopConfig, train, training_step
from groundup.train.metrics import MetricsFile
from groundup.train.objectives import Loss, next_token_loss

from ..tiny_build import Recorder, SignalAt, copy_run, model_bytes, tiny_build
from .small_job import RandomBatches, small_job, small_model


def weights(job: Job) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in job.model.named_parameters()}


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
    figures = training_step(job, 0)
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
    figures = training_step(job, 0)
    torch.testing.assert_close(seen[0], torch.full((32,), expected), rtol=1e-5, atol=0)
    assert figures.read()["gradient_norm"] == pytest.approx(3 * 32**0.5, rel=1e-6)


def test_a_step_leaves_no_gradient_behind(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    training_step(job, 0)
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


def not_a_number_at(step: int, batches: RandomBatches) -> Any:
    def loss_fn(model: Decoder, batch: Any) -> Loss:
        loss = next_token_loss(model, batch)
        factor = float("nan") if batches.served[-1] == step else 1.0
        return Loss(loss.total * factor, loss.count)

    return loss_fn


def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path: Path) -> None:
    batches = RandomBatches()
    job = small_job(tmp_path, batches=batches, loss_fn=not_a_number_at(2, batches))
    with pytest.raises(DivergedError) as caught:
        train(job)
    assert str(caught.value) == (
        "pretrain: at step 3 the loss is nan and the gradient norm nan; "
        "try a smaller pretrain.optimizer.lr than 0.001"
    )


def test_weights_that_are_no_numbers_are_never_checkpointed(tmp_path: Path) -> None:
    """The log is read at step 6 alone; the checkpoint that is due at 4 must not hold NaN."""
    batches = RandomBatches()
    job = small_job(tmp_path, batches=batches, loss_fn=not_a_number_at(2, batches), log_every=6)
    with pytest.raises(DivergedError):
        train(job)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000002"]


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
    MetricsFile(tmp_path / "metrics.jsonl").append(1, {"loss": 1.0})
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
