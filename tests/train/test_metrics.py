from __future__ import annotations

import json
from pathlib import Path

from groundup.train.metrics import MetricsFile


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append(1, {"loss": 2.5})
    metrics.append(2, {"loss": 2.25})
    assert list(metrics) == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append(1, {"loss": float("nan"), "norm": float("inf")})
    assert json.loads(metrics.path.read_text()) == {"step": 1, "loss": None, "norm": None}


def test_rewinding_drops_later_steps_and_a_line_cut_short(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(1, 6):
        metrics.append(step, {"loss": float(step)})
    with metrics.path.open("a") as file:
        file.write('{"step": 3, "lo')
    metrics.rewind(3)
    assert [line["step"] for line in metrics] == [1, 2, 3]
    metrics.append(4, {"loss": 0.0})
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]


def test_rewinding_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.rewind(3)
    assert not metrics.path.exists()
