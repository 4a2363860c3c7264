from __future__ import annotations

import importlib
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from groundup.train.interrupt import Interrupted
from groundup.train.loop import train
from groundup.train.metrics import MetricsFile
from groundup.train.objectives import next_token_loss
from groundup.train.speed import USUAL_SHARE, Speed, Speedometer
from groundup.train.step import StepFigures

from .small_job import small_job

speed = importlib.import_module("groundup.train.speed")
CPU = torch.device("cpu")


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> float:
    """A machine whose matrix products reach 1000 operations a second."""
    monkeypatch.setattr(speed, "_measured_rate", lambda device, precision: 1000.0)
    return 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands at `now`."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


# --- a guess before it runs -----------------------------------------------------------------------


def test_how_long_a_run_will_take(rate: float) -> None:
    """500 tokens of 16 operations at 0.4 of 1000 a second: 8000 / 400 = 20 s."""
    assert USUAL_SHARE == 0.4
    assert Speed(flops_per_token=16.0).expected_seconds(500, CPU, "float32") == pytest.approx(20.0)


def test_what_is_not_known_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any) -> float:
        raise AssertionError("nobody asked for a rate")

    monkeypatch.setattr(speed, "_measured_rate", measure)
    assert Speed().expected_seconds(1e9, CPU, "float32") == 0.0
    meter = Speedometer(Speed(), CPU, "float32")
    meter.count(10)
    assert "of_peak" not in meter.lap(waited_s=0.0)[1]


def test_the_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(speed, "matmul_flops", lambda *what: asked.append(what) or 7.0)
    speed._measured_rate.cache_clear()
    try:
        for _ in range(3):
            assert speed._measured_rate(CPU, "float32") == 7.0
        assert speed._measured_rate(CPU, "bfloat16") == 7.0
    finally:
        speed._measured_rate.cache_clear()
    assert asked == [(CPU, "float32"), (CPU, "bfloat16")]


# --- bits -----------------------------------------------------------------------------------------


def test_a_loss_is_also_told_in_bits_for_each_byte() -> None:
    """2 bits a token of 4 bytes: half a bit a byte. The z-loss is no part of it."""
    two_bits = 2 * math.log(2)
    speed = Speed(bytes_per_label=4.0)
    assert speed.with_bits_per_byte({"loss": two_bits, "lr": 0.1}) == {
        "loss": two_bits,
        "lr": 0.1,
        "bits_per_byte": 0.5,
    }
    with_z = {"loss": 9.0, "cross_entropy": two_bits}
    assert speed.with_bits_per_byte(with_z)["bits_per_byte"] == 0.5
    assert Speed().with_bits_per_byte(with_z) == with_z
    assert math.isnan(speed.with_bits_per_byte({"loss": math.nan})["bits_per_byte"])


# --- while it runs --------------------------------------------------------------------------------


def test_figures_by_hand(rate: float, clock: SimpleNamespace) -> None:
    """Steps of 2 s and 1 s with 5 s of evaluation between them: 60 tokens in 3 s.

    20 tokens a second of 16 operations are 320 a second, 0.32 of what the machine reaches.
    """
    meter = Speedometer(Speed(flops_per_token=16.0), CPU, "float32")
    clock.now += 2
    meter.count(20)
    clock.now += 5
    meter.pause()
    clock.now += 1
    meter.count(40)
    seconds, figures = meter.lap(waited_s=0.123456)
    memory_bytes = figures.pop("memory_bytes")
    assert seconds == pytest.approx(3.0)
    assert figures == {
        "tokens_per_s": 20.0,
        "data_wait_s": 0.1235,
        "flops_per_s": 320.0,
        "of_peak": 0.32,
    }
    assert 10_000_000 < memory_bytes < 1 << 40


def test_each_lap_begins_at_nothing(rate: float, clock: SimpleNamespace) -> None:
    meter = Speedometer(Speed(flops_per_token=16.0), CPU, "float32")
    clock.now += 4
    meter.count(8)
    assert meter.lap(waited_s=0.0)[1]["tokens_per_s"] == 2.0
    clock.now += 1
    meter.count(7)
    seconds, figures = meter.lap(waited_s=0.0)
    assert (seconds, figures["tokens_per_s"]) == (1.0, 7.0)


def test_a_lap_of_no_time_is_no_division_by_nothing(clock: SimpleNamespace) -> None:
    meter = Speedometer(Speed(), CPU, "float32")
    meter.count(0)
    assert meter.lap(waited_s=0.0)[1]["tokens_per_s"] == 0.0


def test_memory_that_nobody_counts_is_not_told(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    monkeypatch.setattr(speed, "memory_in_use_bytes", lambda device: 0)
    meter = Speedometer(Speed(), CPU, "float32")
    assert meter.lap(waited_s=0.0)[1].keys() == {"tokens_per_s", "data_wait_s"}


# --- in the loop ----------------------------------------------------------------------------------


def test_a_runs_metrics_hold_its_speed(tmp_path: Path, rate: float) -> None:
    settings = Speed(tokens_per_step=96, flops_per_token=16.0, bytes_per_label=4.0)
    progress = train(small_job(tmp_path, speed=settings, n_steps=3))
    lines = list(MetricsFile(tmp_path / "metrics.jsonl"))
    assert len(lines) == 3
    for line in lines:
        assert line["bits_per_byte"] == pytest.approx(line["loss"] / math.log(2) / 4.0)
        assert line["flops_per_s"] == pytest.approx(16 * line["tokens_per_s"], rel=1e-2)
        assert line["of_peak"] == pytest.approx(line["flops_per_s"] / 1000.0, rel=1e-2)
        assert line["data_wait_s"] >= 0
    assert lines[-1]["seconds"] == pytest.approx(progress.seconds, abs=1e-3)


def test_evaluation_is_no_training_time(tmp_path: Path, clock: SimpleNamespace) -> None:
    """Six steps of one second, and 100 s of evaluation after each."""

    def evaluate(model: Any) -> dict[str, float]:
        clock.now += 100
        return {}

    job = small_job(tmp_path, loss_fn=of_a_second(clock), eval_every=1, evaluate=evaluate)
    assert train(job).seconds == 6.0


def of_a_second(clock: SimpleNamespace) -> Callable[..., Any]:
    """A loss function that takes a second of the clock."""

    def loss_fn(model: Any, batch: Any) -> Any:
        clock.now += 1
        return next_token_loss(model, batch)

    return loss_fn


def test_waiting_for_the_device_is_training_time(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU a step is only asked for; most of its time passes where its figures are read."""
    read, have_arrived = StepFigures.read, set()

    def late(figures: StepFigures) -> dict[str, float]:
        if id(figures.values) not in have_arrived:
            have_arrived.add(id(figures.values))
            clock.now += 10
        kept.append(figures)  # so that no id is used twice
        return read(figures)

    kept: list[StepFigures] = []
    monkeypatch.setattr(StepFigures, "read", late)
    assert train(small_job(tmp_path, loss_fn=of_a_second(clock))).seconds == 6 * (1.0 + 10.0)


def test_a_stop_forgets_no_training_time(tmp_path: Path, clock: SimpleNamespace) -> None:
    """Stopped in its third step, when nothing has been logged: three seconds were trained."""
    plain, n_calls = of_a_second(clock), 0

    def loss_fn(model: Any, batch: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(model, batch)

    settings = {"log_every": 0, "checkpoint_every": 0}
    with pytest.raises(Interrupted):
        train(small_job(tmp_path, loss_fn=loss_fn, **settings))
    progress = train(small_job(tmp_path, loss_fn=plain, **settings))
    assert (progress.earlier_seconds, progress.seconds) == (3.0, 6.0)
