"""Curves of one run: layers in one chart, speed in a row, zeros in words."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from groundup.report.curves import stage_curves, waiting
from groundup.report.metrics import read_figures

from .test_page import write_metrics

LAYERS = ("embedding", *(f"block{i}.{h}" for i in range(5) for h in ("attention", "feedforward")))


def log(n: int = 4, **more: Any) -> list[dict[str, Any]]:
    """Lines as the loop logs them; a function among `more` is given the step."""
    lines = []
    for s in range(1, n + 1):
        figures = {"loss": 4 / s, "gradient_norm": 1.0, "lr": 0.1, "tokens_per_s": 1000.0}
        figures |= {key: value(s) if callable(value) else value for key, value in more.items()}
        lines.append({"step": s, "tokens": 100 * s, **figures, "seconds": 0.5 * s})
    return lines


def curves_of(run: Path, lines: list[Any]) -> dict[str, Any]:
    write_metrics(run, "pretrain", lines)
    found = stage_curves(run, "pretrain")
    assert found is not None
    return found


def names(charts: list[dict[str, Any]]) -> list[str]:
    return [chart["name"] for chart in charts]


# --- layers ---------------------------------------------------------------------------------------


def layer_log(n: int = 4) -> list[dict[str, Any]]:
    family = {f"update_ratio/{layer}": 10.0 ** -(1 + i) for i, layer in enumerate(LAYERS)}
    return log(n, **family)


def polylines(chart: dict[str, Any]) -> list[ET.Element]:
    return [e for e in ET.fromstring(chart["svg"]).iter() if e.tag == "polyline"]


def test_the_layers_of_a_family_stand_in_one_chart(tmp_path: Path) -> None:
    found = curves_of(tmp_path, layer_log())
    (chart,) = found["layers"]
    assert chart["name"].startswith("Size of a step by layer")
    assert names(found["charts"]) == ["Training loss", "Learning rate", "Gradient norm"]
    assert [line.findtext("title") for line in polylines(chart)] == [
        "embedding",
        *(f"block {i} {half}" for i in range(5) for half in ("attention", "feed-forward")),
    ]
    assert chart["ends"] == "from 1e-11 (block 4 feed-forward) to 0.1 (embedding)"


def test_colour_says_how_deep_a_layer_lies_and_the_dash_which_half(tmp_path: Path) -> None:
    (chart,) = curves_of(tmp_path, layer_log())["layers"]
    embedding, *blocks = polylines(chart)
    assert embedding.get("class") == "run edge"
    assert embedding.get("style") is None
    assert {line.get("class") for line in blocks} == {"run depth"}
    assert [line.get("style") for line in blocks[::2]] == [
        f"--depth: {depth}%" for depth in (0, 25, 50, 75, 100)
    ]
    assert {line.get("stroke-dasharray") for line in blocks[::2]} == {None}
    assert {line.get("stroke-dasharray") for line in blocks[1::2]} == {"5 3"}


def test_the_legend_names_the_first_the_middle_and_the_last_block(tmp_path: Path) -> None:
    (chart,) = curves_of(tmp_path, layer_log())["layers"]
    assert [item["name"] for item in chart["legend"]] == [
        "block 0",
        "block 2",
        "block 4",
        "attention",
        "feed-forward",
        "embedding",
    ]
    assert "--depth: 50%" in chart["legend"][1]["swatch"]


def test_a_logarithmic_axis_sets_layers_apart_evenly(tmp_path: Path) -> None:
    (chart,) = curves_of(tmp_path, layer_log())["layers"]
    heights = [float(line.get("points", "").split(",")[-1]) for line in polylines(chart)]
    gaps = [b - a for a, b in zip(heights, heights[1:], strict=False)]
    assert gaps == pytest.approx([20.0] * 10, abs=0.02)  # ten powers of ten on 200 pixels


def test_a_step_that_did_not_move_has_no_place_on_a_logarithmic_axis(tmp_path: Path) -> None:
    lines = log(**{"update_ratio/norm": lambda s: 0.0 if s == 2 else 0.01})
    (chart,) = curves_of(tmp_path, lines)["layers"]
    assert len(polylines(chart)[0].get("points", "").split()) == 3


def test_a_deep_model_does_not_make_a_large_page(tmp_path: Path) -> None:
    deep = {f"gradient_norm/block{i}.attention": lambda s: 1 + s % 7 for i in range(64)}
    (chart,) = curves_of(tmp_path, log(900, **deep))["layers"]
    assert chart["has_many"]
    assert chart["is_smoothed"]
    assert len(polylines(chart)) == 64
    assert sum(len(line.get("points", "").split()) for line in polylines(chart)) <= 8000


def test_a_family_of_another_name_is_drawn_as_well(tmp_path: Path) -> None:
    (chart,) = curves_of(tmp_path, log(**{"expert_load/block0": 0.5}))["layers"]
    assert chart["name"] == "Expert load by layer"


# --- one figure -----------------------------------------------------------------------------------


def test_behind_a_held_out_figure_stands_that_of_training(tmp_path: Path) -> None:
    lines = log(10, bits_per_byte=lambda s: 9 / s)
    lines += [{"step": s, "tokens": 100 * s, "heldout_bits_per_byte": 10 / s} for s in (4, 7, 10)]
    found = curves_of(tmp_path, lines)
    _, chart, *_ = found["charts"]
    assert (chart["name"], chart["last"]) == ("Held-out bits per byte", "1")
    assert [item["name"] for item in chart["legend"]] == ["in training", "held out"]
    (behind,) = polylines(chart)
    # From the first held-out figure on: a steep beginning would flatten what is to be compared.
    assert behind.get("points", "").split()[0].startswith("400,")
    assert "Training bits per byte" not in names(found["charts"])


# --- speed ----------------------------------------------------------------------------------------


def test_speed_stands_in_one_row(tmp_path: Path) -> None:
    lines = log(of_peak=0.25, flops_per_s=1e9, data_wait_s=0.05, memory_bytes=636e6)
    found = curves_of(tmp_path, lines)
    assert [(chart["name"], chart["last"]) for chart in found["speed"]] == [
        ("Tokens per second", "1k"),
        ("Share of peak", "25.0%"),
        ("Waiting for data", "10.0%"),
        ("Memory in use", "636 MB"),
    ]
    assert names(found["charts"]) == ["Training loss", "Learning rate", "Gradient norm"]


def test_waiting_is_a_share_of_each_interval(tmp_path: Path) -> None:
    lines = [
        {"step": 10, "tokens": 10, "data_wait_s": 1.0, "seconds": 4.0},
        {"step": 10, "tokens": 10, "heldout_loss": 1.0},
        {"step": 30, "tokens": 30, "data_wait_s": 1.0, "seconds": 6.0},
    ]
    write_metrics(tmp_path, "pretrain", lines)
    figures = read_figures(tmp_path / "pretrain" / "metrics.jsonl")
    assert waiting(figures) == [(10, 0.25), (30, 0.5)]


# --- in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("skipped", [{}, {"skipped": 0, "spikes": 0}])
def test_zeros_are_said_and_not_drawn(tmp_path: Path, skipped: dict[str, int]) -> None:
    dead = {f"dead_units/block{i}": 0.0 for i in range(3)}
    found = curves_of(tmp_path, log(**dead, **skipped, reward_margin=0.0))
    assert found["notes"] == [
        "No step was skipped.",
        "Reward margin stood at zero.",
        "No hidden unit of a feed-forward layer was dead.",
    ]
    assert found["layers"] == []
    assert names(found["charts"]) == ["Training loss", "Learning rate", "Gradient norm"]


def test_steps_that_were_skipped_are_counted_from_the_beginning(tmp_path: Path) -> None:
    lines = log(2) + log(4, skipped=3, spikes=1)[2:]
    found = curves_of(tmp_path, lines)
    assert found["notes"] == [
        "3 steps were skipped: their updates were left out.",
        "One loss was a spike.",
    ]
    assert names(found["charts"])[-2:] == ["Steps skipped so far", "Spikes so far"]
    dots = [e for e in ET.fromstring(found["charts"][-2]["svg"]).iter() if e.tag == "circle"]
    assert [dot[0].text for dot in dots] == ["100: 0", "200: 0", "300: 3", "400: 3"]


def test_nothing_is_said_of_steps_that_were_not_watched(tmp_path: Path) -> None:
    lines = [{"step": s, "tokens": s, "loss": 1 / s} for s in (1, 2)]
    assert curves_of(tmp_path, lines)["notes"] == []
    assert stage_curves(tmp_path, "sft") is None
