"""Metrics read back: resumed runs, cut lines, what is no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundup.report.metrics import CURVE_NAMES, place, points_of, read_figures

from .test_page import write_metrics


def test_of_a_step_the_last_line_wins_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    lines: list[Any] = [{"step": s, "tokens": s * 10, "loss": 9.0} for s in (1, 2, 3)]
    lines += [{"step": s, "tokens": s * 10, "loss": 5.0 - s} for s in (2, 3)]
    lines += [{"step": 3, "tokens": 30, "heldout_loss": 1.5, "flag": True, "note": "text"}]
    lines += ['{"step": 4, "tokens": 40, "loss": NaN}', "[1]", '{"loss": 7}', '{"step": 5, "tok']
    write_metrics(tmp_path, "pretrain", lines)
    figures = read_figures(tmp_path / "pretrain" / "metrics.jsonl")
    assert {key: points_of(figures, key) for key in figures} == {
        "loss": [(10, 9.0), (20, 3.0), (30, 2.0)],
        "heldout_loss": [(30, 1.5)],
    }


def test_without_tokens_points_stand_at_their_steps(tmp_path: Path) -> None:
    write_metrics(tmp_path, "align", [{"step": s, "loss": 1 / s} for s in (1, 2)])
    figures = read_figures(tmp_path / "align" / "metrics.jsonl")
    assert points_of(figures, "loss") == [(1, 1.0), (2, 0.5)]
    assert points_of(figures, "lr") == []


def test_a_stage_without_metrics_has_no_figures(tmp_path: Path) -> None:
    assert read_figures(tmp_path / "metrics.jsonl") == {}


def test_figures_keep_the_order_in_which_they_were_logged(tmp_path: Path) -> None:
    names = [f"gradient_norm/block{i}" for i in range(12)]
    write_metrics(tmp_path, "sft", [{"step": 1, **dict.fromkeys(names, 1.0)}])
    assert list(read_figures(tmp_path / "sft" / "metrics.jsonl")) == names


def test_figures_without_a_name_stand_before_the_learning_rate() -> None:
    keys = ["lr", "expert_load", "loss", "tokens_per_s", "a_load"]
    assert sorted(keys, key=place) == ["loss", "a_load", "expert_load", "lr", "tokens_per_s"]
    assert place("loss")[0] < place("expert_load")[0] == list(CURVE_NAMES).index("lr")
