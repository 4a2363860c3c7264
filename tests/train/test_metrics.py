from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from groundup.train.metrics import MetricsFile, Tee


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log(1, {"loss": 2.5})
    metrics.log(2, {"loss": 2.25})
    assert list(metrics) == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log(1, {"loss": float("nan"), "norm": float("inf")})
    assert json.loads(metrics.path.read_text()) == {"step": 1, "loss": None, "norm": None}


def test_rewinding_drops_later_steps_and_a_line_cut_short(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(1, 6):
        metrics.log(step, {"loss": float(step)})
    with metrics.path.open("a") as file:
        file.write('{"step": 3, "lo')
    metrics.rewind(3)
    assert [line["step"] for line in metrics] == [1, 2, 3]
    metrics.log(4, {"loss": 0.0})
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]


def test_rewinding_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.rewind(3)
    assert not metrics.path.exists()


def test_a_line_reaches_the_disk_when_it_is_logged(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log(1, {"loss": 2.5})
    assert metrics.path.read_bytes() == b'{"step": 1, "loss": 2.5}\n'
    metrics.close()
    assert metrics.path.read_bytes() == b'{"step": 1, "loss": 2.5}\n'


def test_a_process_killed_while_it_logs_leaves_at_most_its_last_line_cut(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    code = (
        "import itertools, sys\n"
        "from pathlib import Path\n"
        "from groundup.train.metrics import MetricsFile\n"
        "metrics = MetricsFile(Path(sys.argv[1]))\n"
        "for step in itertools.count(1):\n"
        "    metrics.log(step, {'loss': 1 / step})\n"
        "    print(step, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(metrics.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 200:
                break
        process.kill()
        logged = int((line + process.stdout.read()).split()[-1])
    lines = metrics.path.read_bytes().split(b"\n")
    whole = [json.loads(line) for line in lines[:-1]]
    assert [line["step"] for line in whole] == list(range(1, len(whole) + 1))
    assert len(whole) >= logged


def test_a_tee_hands_on_to_each_in_order(tmp_path: Path) -> None:
    heard: list[str] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self.name = name

        def log(self, step: int, figures: Mapping[str, float]) -> None:
            heard.append(f"{self.name} {step} {figures['loss']}")

        def close(self) -> None:
            heard.append(f"{self.name} closed")

    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    tee = Tee([Ear("a"), metrics, Ear("b")])
    tee.log(7, {"loss": 0.5})
    tee.close()
    assert heard == ["a 7 0.5", "b 7 0.5", "a closed", "b closed"]
    assert list(metrics) == [{"step": 7, "loss": 0.5}]
