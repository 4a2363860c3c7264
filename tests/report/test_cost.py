"""What a build cost: speeds as means, memory as predicted parts beside what was measured."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.model import Decoder, ModelConfig
from groundup.report.cost import memory, share_of_peak, times, what_was_measured
from groundup.report.metrics import read_figures
from groundup.report.page import write_report
from groundup.train.memory import MemoryMeter, StepShape, memory_section, predict_memory

from .test_page import full_report, text_of, write_metrics

PARTS = {"weights": 40, "gradients": 20, "optimizer": 40, "activations": 60, "loss": 40}
PREDICTED = {**{name: n * 10**6 for name, n in PARTS.items()}, "total": 200_000_000}
ALLOCATED = {
    "predicted": PREDICTED,
    "measured": {
        "measure": "allocated",
        "peak_bytes": 250_000_000,
        "start_bytes": 0,
        "reserved_bytes": 300_000_000,
    },
    "measured_by_predicted": 1.25,
}
RESIDENT = {
    "predicted": PREDICTED,
    "measured": {
        "measure": "resident",
        "peak_bytes": 900_000_000,
        "start_bytes": 600_000_000,
        "grew_bytes": 300_000_000,
    },
    "measured_by_predicted": None,
}


def by_class(svg: str, name: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if name in e.get("class", "").split()]


# --- speed ----------------------------------------------------------------------------------------


def test_the_share_of_peak_is_a_mean_over_time(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "of_peak": 0.1, "seconds": 9.0},
        {"step": 1, "heldout_loss": 2.0},
        {"step": 2, "of_peak": 0.5, "seconds": 10.0},
        {"step": 2, "of_peak": 0.3, "seconds": 12.0},
    ]
    write_metrics(tmp_path, "pretrain", lines[2:])
    assert share_of_peak(read_figures(tmp_path / "pretrain" / "metrics.jsonl")) == 0.3
    write_metrics(tmp_path, "pretrain", [lines[0], lines[2]])
    share = share_of_peak(read_figures(tmp_path / "pretrain" / "metrics.jsonl"))
    assert share == pytest.approx((0.1 * 9 + 0.5 * 1) / 10)
    assert share_of_peak({}) is None
    rows = times(tmp_path, {"data": 1.0, "pretrain": 4.0}, {"pretrain": {"tokens_per_s": 4400.0}})
    assert [(r["stage"], r["tokens_per_s"], r["of_peak"], r["share"]) for r in rows] == [
        ("Data", "–", "–", 25.0),
        ("Pretraining", "4.4k", "14%", 100.0),
    ]


def test_the_column_of_peak_is_there_where_it_was_measured(tmp_path: Path) -> None:
    write_report(tmp_path, full_report())
    assert "of peak" not in text_of((tmp_path / "report.html").read_text())
    write_metrics(tmp_path, "sft", [{"step": 1, "tokens": 8, "of_peak": 0.225, "seconds": 2.0}])
    write_report(tmp_path, full_report())
    text = text_of((tmp_path / "report.html").read_text())
    assert "tokens/s of peak" in text
    assert "Chat tuning 1 min 11 s 1M 20k 22.5% 4,000" in text


# --- memory ---------------------------------------------------------------------------------------


def test_a_peak_of_the_same_things_is_marked_on_the_bar(tmp_path: Path) -> None:
    (stage,) = memory({"pretrain": {"memory": ALLOCATED, "micro_rows": 8}}, ["pretrain"])
    # 250 MB, the most there is, is the whole width.
    widths = [e.get("width") for e in by_class(stage["svg"], "part")]
    assert widths == ["16%", "8%", "16%", "24%", "16%"]
    assert by_class(stage["svg"], "measured")[0].get("x1") == "100%"
    assert (stage["predicted"], stage["measured"]) == ("200 MB", "250 MB")
    assert stage["of_predicted"] == "125%"
    assert stage["words"] == "The allocator held 300 MB of the device. Micro-batches of 8 rows."


def test_a_resident_size_is_told_and_not_drawn() -> None:
    stages: dict[str, Any] = {"pretrain": {"memory": RESIDENT, "micro_rows": 1, "compiled": True}}
    (stage,) = memory(stages, ["pretrain"])
    assert by_class(stage["svg"], "weights")[0].get("width") == "20%"
    assert not by_class(stage["svg"], "measured")
    assert (stage["measured"], stage["of_predicted"]) == ("900 MB", "")
    assert stage["words"] == (
        "Its peak rose by 300 MB in this stage. Micro-batches of 1 row. "
        "The blocks were compiled, and so keep less than predicted."
    )
    (sentence,) = what_was_measured(stages)
    assert "with Python and its libraries" in sentence


def test_a_peak_from_before_the_stage_is_called_so() -> None:
    section = {**RESIDENT, "measured": {**RESIDENT["measured"], "grew_bytes": 0}}
    assert memory({"sft": {"memory": section}}, ["sft"])[0]["words"] == (
        "It had been as large before this stage."
    )


def test_where_nobody_counts_nothing_is_measured() -> None:
    nothing = {"measure": "resident", "peak_bytes": None, "start_bytes": None, "grew_bytes": None}
    (stage,) = memory({"sft": {"memory": {**RESIDENT, "measured": nothing}}}, ["sft"])
    assert (stage["measured"], stage["words"]) == ("nothing", "")


def test_stages_stand_on_one_scale_in_order() -> None:
    half = {name: n // 2 for name, n in PREDICTED.items()}
    stages = {"sft": {"memory": {**RESIDENT, "predicted": half}}, "pretrain": {"memory": RESIDENT}}
    first, second = memory({**stages, "align": {}}, ["pretrain", "sft", "align"])
    assert (first["stage"], second["stage"]) == ("Pretraining", "Chat tuning")
    assert by_class(first["svg"], "weights")[0].get("width") == "20%"
    assert by_class(second["svg"], "weights")[0].get("width") == "10%"


def test_the_page_shows_what_training_says_of_its_memory(tmp_path: Path) -> None:
    model = Decoder(ModelConfig(vocab_size=64, d_model=32, n_layers=1, n_heads=2))
    predicted = predict_memory(model.config, StepShape(rows=2, seq_len=16), state_bytes=1000)
    report = full_report()
    section = memory_section(predicted, MemoryMeter(torch.device("cpu")).read())
    report["stages"]["pretrain"] |= {"memory": section, "micro_rows": 2, "compiled": False}
    write_report(tmp_path, report)
    text = text_of((tmp_path / "report.html").read_text())
    assert "optimizer 1 kB" in text
    assert "Micro-batches of 2 rows." in text
    assert "The largest size of the build's process was 1.24 GB." in text
