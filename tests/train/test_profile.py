from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import DeviceType

from groundup.runtime import read_json, to_dict
from groundup.train import profile as profile_module
from groundup.train.profile import (
    PHASES,
    OperationCost,
    ProfileSummary,
    StepProfiler,
    phase,
    summarize,
    summary_lines,
)

from .small_job import SEQ_LEN, VOCAB, small_model


class Steps:
    """A tiny model, and steps of two micro-batches that mark their parts as the loop does."""

    def __init__(self) -> None:
        self.model = small_model()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def take(self, step: int) -> None:
        with phase("data"):
            batches = list(self.micro_batches(step))
        for ids in batches:
            with phase("forward"):
                logits = self.model(ids[:, :-1])
                loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
            with phase("backward"):
                loss.backward()
        with phase("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()

    def micro_batches(self, step: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(step)
        for _ in range(2):
            yield torch.randint(0, VOCAB, (8, SEQ_LEN + 1), generator=generator)


def profiled(steps: Steps, folder: Path, first: int, n_steps: int, n_taken: int) -> StepProfiler:
    with StepProfiler(folder, first=first, n_steps=n_steps) as profiler:
        for step in range(n_taken):
            steps.take(step)
            profiler.step_done()
    return profiler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What profiling three real steps leaves; to be read only."""
    folder = tmp_path_factory.mktemp("profiled")
    profiled(Steps(), folder, 2, 3, n_taken=8)
    return folder


# --- real steps -----------------------------------------------------------------------------------


def test_the_phases_add_up_to_the_whole_and_each_has_its_part(folder: Path) -> None:
    summary = read_json(folder / "profile.json")
    assert summary["n_steps"] == 3
    assert list(summary["phases"]) == [*PHASES, "other"]
    assert sum(summary["phases"].values()) == pytest.approx(1.0, abs=1e-9)
    assert all(0 < share < 1 for share in summary["phases"].values())
    assert summary["phases"]["forward"] + summary["phases"]["backward"] > 0.2


def test_matrix_products_are_among_the_operations_and_counted(folder: Path) -> None:
    """3 steps of 2 micro-batches: 2 blocks of 4 products, and the head, each with 2 more on the
    way back."""
    summary = read_json(folder / "profile.json")
    operations = {cost["name"]: cost for cost in summary["operations"]}
    assert len(operations) == 10
    assert operations["aten::mm"]["calls"] >= 3 * 2 * 9 * 3
    assert operations["aten::mm"]["calls"] % 6 == 0
    shares = [cost["share"] for cost in summary["operations"]]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    for cost in summary["operations"]:
        assert cost["share"] == pytest.approx(cost["seconds"] / summary["seconds"])
        assert not cost["name"].startswith("groundup/")


def test_the_trace_is_one_that_viewers_open(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["profile.json", "trace.json.gz"]
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    names = [event.get("name", "") for event in trace["traceEvents"]]
    assert sum(name.startswith("ProfilerStep#") for name in names) == 3
    assert names.count("groundup/forward") == 3 * 2
    assert names.count("groundup/optimizer") == 3


def test_the_steps_asked_for_are_the_ones_profiled(folder: Path) -> None:
    """torch numbers them from 0: after two steps come 2, 3 and 4."""
    trace = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    names = {event.get("name", "") for event in trace["traceEvents"]}
    steps = sorted(name for name in names if name.startswith("ProfilerStep#"))
    assert steps == ["ProfilerStep#2", "ProfilerStep#3", "ProfilerStep#4"]


def test_a_slow_reader_of_data_shows(tmp_path: Path) -> None:
    with StepProfiler(tmp_path, first=1, n_steps=2) as profiler:
        for _ in range(3):
            with phase("data"):
                time.sleep(0.03)
            profiler.step_done()
    assert profiler.summary is not None
    assert profiler.summary.phases["data"] > 0.9
    assert profiler.summary.seconds >= 0.06
    assert profiler.summary.phases["forward"] == 0


def test_the_summary_comes_once_when_the_last_step_is_done(tmp_path: Path) -> None:
    steps, came = Steps(), []
    with StepProfiler(tmp_path / "profile", first=1, n_steps=2) as profiler:
        for step in range(6):
            steps.take(step)
            came.append(profiler.step_done())
    assert [summary is not None for summary in came] == [False, False, True, False, False, False]
    assert came[2] is profiler.summary
    assert read_json(tmp_path / "profile" / "profile.json") == to_dict(profiler.summary)


def test_a_run_that_ends_sooner_is_profiled_as_far_as_it_came(tmp_path: Path) -> None:
    profiler = profiled(Steps(), tmp_path / "profile", first=1, n_steps=50, n_taken=3)
    assert profiler.summary is not None
    assert profiler.summary.n_steps >= 2
    assert (tmp_path / "profile" / "trace.json.gz").is_file()


def test_a_run_that_ends_before_the_first_leaves_nothing(tmp_path: Path) -> None:
    profiler = profiled(Steps(), tmp_path / "profile", first=9, n_steps=2, n_taken=3)
    assert profiler.summary is None
    assert not (tmp_path / "profile").exists()


def test_a_run_that_ends_in_an_error_leaves_nothing_and_the_error(tmp_path: Path) -> None:
    profiler = StepProfiler(tmp_path / "profile", first=1, n_steps=5)

    def fail() -> None:
        with profiler:
            for _ in range(3):
                with phase("forward"):
                    torch.ones(2) + 1
                profiler.step_done()
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert profiler.summary is None
    assert not (tmp_path / "profile").exists()
    assert not torch.autograd._profiler_enabled()


def test_profiling_does_not_change_the_weights(tmp_path: Path) -> None:
    plain, watched = Steps(), Steps()
    for step in range(4):
        plain.take(step)
    profiled(watched, tmp_path / "profile", first=1, n_steps=2, n_taken=4)
    for one, other in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)


# --- phases ---------------------------------------------------------------------------------------


def test_a_phase_without_a_profiler_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(profile_module, "_synchronize", lambda: called.append("waited"))
    monkeypatch.setattr(profile_module, "record_function", called.append)
    with phase("data"):
        pass
    assert called == []


def test_on_a_gpu_a_phase_ends_with_the_devices_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []
    profiler = StepProfiler(tmp_path, first=1, n_steps=1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("synchronize"))
    with profiler:
        profiler.step_done()
        with phase("forward"):
            calls.append("work")
        profiler.step_done()
    assert calls == ["work", "synchronize"]


def test_an_error_inside_a_phase_goes_through() -> None:
    with pytest.raises(RuntimeError, match="planted"), phase("forward"):
        raise RuntimeError("planted")


# --- adding up ------------------------------------------------------------------------------------


def event(name: str, microseconds: float, device: DeviceType = DeviceType.CPU) -> Any:
    length = SimpleNamespace(elapsed_us=lambda: microseconds)
    return SimpleNamespace(name=name, time_range=length, device_type=device)


def row(key: str, host: float, device: float, count: int, on: DeviceType = DeviceType.CPU) -> Any:
    return SimpleNamespace(
        key=key,
        self_cpu_time_total=host,
        self_device_time_total=device,
        count=count,
        device_type=on,
    )


def test_worked_example_with_a_device() -> None:
    """The device's copies of ranges and the kernels' own rows are not counted again."""
    events = [
        *[event(f"ProfilerStep#{step}", 1000.0) for step in (7, 8)],
        event("groundup/forward", 400.0),
        event("groundup/forward", 200.0),
        event("groundup/backward", 1000.0),
        event("groundup/forward", 555.0, DeviceType.CUDA),
        event("aten::mm", 77.0),
    ]
    rows = [
        row("aten::mm", 100.0, 500.0, 8),
        row("aten::add", 200.0, 60.0, 4),
        row("cudaLaunchKernel", 900.0, 0.0, 12),
        row("gemm_kernel", 0.0, 500.0, 8, DeviceType.CUDA),
        row("groundup/forward", 5.0, 0.0, 2),
    ]
    summary = summarize(events, rows)
    assert summary == ProfileSummary(
        n_steps=2,
        seconds=0.002,
        clock="device",
        phases=pytest.approx(
            {"data": 0, "forward": 0.3, "backward": 0.5, "optimizer": 0, "other": 0.2}
        ),
        operations=(
            OperationCost("aten::mm", 0.0005, 0.25, 8),
            OperationCost("aten::add", 0.00006, 0.03, 4),
        ),
    )
    host = summarize(events, [row(r.key, r.self_cpu_time_total, 0.0, r.count) for r in rows])
    assert host.clock == "host"
    assert [cost.name for cost in host.operations] == ["cudaLaunchKernel", "aten::add", "aten::mm"]


def test_the_table_is_aligned() -> None:
    summary = ProfileSummary(
        n_steps=2,
        seconds=0.010,
        clock="host",
        phases={"data": 0.0625, "forward": 0.9375},
        operations=(
            OperationCost("aten::mm", 0.0051234, 0.51234, 16),
            OperationCost("a" * 60, 0.001, 0.1, 3),
        ),
    )
    assert summary_lines(summary) == [
        "2 steps of 5.00 ms: data 6.2%, forward 93.8%",
        "operation" + " " * 39 + "  host ms/step  share  calls/step",
        "aten::mm" + " " * 40 + "         2.562  51.2%           8",
        "a" * 47 + "…" + "         0.500  10.0%         1.5",
    ]


def test_the_table_of_real_steps_is_as_wide_everywhere(folder: Path) -> None:
    kept = read_json(folder / "profile.json")
    operations = tuple(OperationCost(**cost) for cost in kept.pop("operations"))
    head, *table = summary_lines(ProfileSummary(operations=operations, **kept))
    assert re.match(r"3 steps of [\d.]+ ms: data [\d.]+%, forward ", head)
    assert len(table) == 11
    assert len({len(line) for line in table}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": 0}, "first=0 must be at least 1, for the profiler to warm up in"),
        ({"n_steps": 0}, "n_steps=0 must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StepProfiler(tmp_path, **changes)
