"""Runs compared: what is read, what is judged, and the page and the lines made of it."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundup.evaluate.statistics import Interval, intervals_overlap
from groundup.report.compare import Scored, compare_runs, judge
from groundup.report.compare_page import comparison_lines, verdict, write_comparison
from groundup.report.overlay import run_look
from groundup.runtime import GroundupError, to_dict, write_json

from ..tiny_build import tiny_build, tiny_recipe
from .test_page import TagBalance, svgs, text_of, write_metrics

RECIPE = {
    "name": "tiny",
    "seed": 1,
    "model": {"d_model": 64, "n_layers": 2},
    "pretrain": {"tokens": 1000, "optimizer": {"name": "muon", "lr": 0.003}},
    "sft": {"epochs": 1.5},
}


def make_run(
    folder: Path,
    recipe: dict[str, Any] | None = None,
    *,
    bits: tuple[float, float | None, float | None] | None = (0.7, 0.6, 0.8),
    checks: dict[str, tuple[float, float, float]] | None = None,
    n_steps: int = 10,
) -> Path:
    """A run folder; without `bits` one that is not finished."""
    recipe = recipe or RECIPE
    folder.mkdir(parents=True)
    text = yaml.safe_dump(recipe, sort_keys=False)
    (folder / "recipe.yaml").write_text(text)
    lines: list[Any] = [
        {"step": s, "tokens": 100 * s, "loss": 8 / s, "lr": 0.1, "seconds": 0.5 * s}
        for s in range(1, n_steps + 1)
    ]
    lines += [{"step": s, "tokens": 100 * s, "heldout_bits_per_byte": 4 / s} for s in (1, n_steps)]
    write_metrics(folder, "pretrain", lines)
    if bits is not None:
        figures = {"parameters": 5000, "tokens": 100 * n_steps, "train_seconds": 0.5 * n_steps}
        measured = {"bits_per_byte": {"value": bits[0], "ci95": [bits[1], bits[2]]}}
        rows = [
            {
                "name": name,
                "split": "unseen",
                "stage": "sft",
                "score": score,
                "ci95": [lo, hi],
                "chance": 0.25,
                "n": 100,
            }
            for name, (score, lo, hi) in (checks or {}).items()
        ]
        report = {"stages": {"pretrain": {**figures, **measured}}, "checks": rows}
        write_json(folder / "report.json", {**report, "recipe_yaml": text})
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    wide = {**RECIPE, "model": {"d_model": 128, "n_layers": 2}}
    return [
        make_run(tmp_path / "narrow", checks={"sums": (0.5, 0.4, 0.6), "facts": (0.3, 0.2, 0.4)}),
        make_run(
            tmp_path / "wide",
            wide,
            bits=(0.5, 0.45, 0.55),
            checks={"sums": (0.9, 0.8, 0.95), "facts": (0.35, 0.25, 0.45)},
            n_steps=20,
        ),
    ]


# --- what cannot be compared ----------------------------------------------------------------------


def test_fewer_than_two_runs(pair: list[Path]) -> None:
    with pytest.raises(GroundupError, match="1 run cannot be compared; give two or more"):
        compare_runs(pair[:1])


def test_the_same_run_twice(pair: list[Path]) -> None:
    other_way = pair[0].parent / "wide" / ".." / "narrow"
    with pytest.raises(GroundupError, match="narrow is given twice"):
        compare_runs([*pair, other_way])


def test_a_folder_that_is_no_run(pair: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(GroundupError, match=r"notes is no run of groundup: it has no recipe\.yaml"):
        compare_runs([*pair, tmp_path / "notes"])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recipe.yaml", "a: [", "cannot be read as YAML"),
        ("recipe.yaml", "- a", "must be a mapping"),
        ("report.json", "{", "cannot be read as JSON"),
    ],
)
def test_a_damaged_file_is_named(pair: list[Path], file: str, text: str, message: str) -> None:
    (pair[1] / file).write_text(text)
    with pytest.raises(GroundupError, match=rf"wide/{file} .*{message}"):
        compare_runs(pair)


def test_a_page_does_not_take_the_place_of_a_folder(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="is a folder; give a file, such as"):
        write_comparison(compare_runs(pair), tmp_path)


# --- recipes and facts ----------------------------------------------------------------------------


def test_only_keys_that_differ_are_listed(tmp_path: Path) -> None:
    other = {
        "name": "tiny",
        "seed": 2,
        "model": {"d_model": 64, "n_layers": 2, "tied": True},
        "pretrain": {"tokens": 1000, "optimizer": {"name": "adamw", "betas": [0.9, 0.95]}},
        "sft": None,
    }
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", other)]
    assert [(d.key, d.values) for d in compare_runs(runs).differences] == [
        ("seed", ("1", "2")),
        ("model.tied", ("–", "true")),
        ("pretrain.optimizer.name", ("muon", "adamw")),
        ("pretrain.optimizer.lr", ("0.003", "–")),
        ("pretrain.optimizer.betas", ("–", "[0.9, 0.95]")),
        ("sft", ("on", "off")),
    ]


def test_equal_recipes_differ_in_nothing(tmp_path: Path) -> None:
    comparison = compare_runs([make_run(tmp_path / "a"), make_run(tmp_path / "b")])
    assert comparison.differences == ()
    assert "the recipes are the same" in comparison_lines(comparison)


def test_names_are_the_folders_made_distinct(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in ("x/base", "y/base", "wide")]
    names = [run.name for run in compare_runs(folders).runs]
    assert names == ["x/base", "y/base", "wide"]


def test_facts_come_from_the_report_or_from_the_metrics(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "done"), make_run(tmp_path / "cut", bits=None, n_steps=7)]
    done, cut = compare_runs(runs).runs
    assert (done.state, done.is_finished, done.parameters) == ("finished", True, 5000)
    assert (done.tokens, done.train_seconds) == (1000, 5.0)
    assert (cut.state, cut.is_finished) == ("unfinished, pretraining at step 7", False)
    assert (cut.parameters, cut.tokens, cut.train_seconds) == (None, 700, 3.5)


def test_a_run_with_nothing_but_its_recipe(tmp_path: Path, pair: list[Path]) -> None:
    new = make_run(tmp_path / "new", bits=None)
    (new / "pretrain" / "metrics.jsonl").unlink()
    comparison = compare_runs([*pair, new])
    assert comparison.runs[2].state == "unfinished, nothing trained yet"
    assert [len(points) for points in comparison.curves[0].runs] == [10, 20, 0]
    write_comparison(comparison, tmp_path / "compare.html")


def test_a_report_of_an_earlier_recipe_is_not_believed(pair: list[Path]) -> None:
    recipe = yaml.safe_load((pair[1] / "recipe.yaml").read_text())
    (pair[1] / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "seed": 9}))
    comparison = compare_runs(pair)
    assert not comparison.runs[1].is_finished
    assert [score.runs[1] for score in comparison.scores] == [None] * 3
    assert {score.overlap for score in comparison.scores} == {"alone"}


def test_stages_that_an_earlier_recipe_left_behind_are_left_out(pair: list[Path]) -> None:
    """Stage by stage: made of what is no more, after one that is at work, and switched off."""
    for run in pair:
        write_metrics(run, "sft", [{"step": s, "tokens": s, "loss": 1.0} for s in (1, 2)])
    wide = pair[1]

    def stages_of_wide() -> set[str]:
        return {curve.stage for curve in compare_runs(pair).curves if curve.runs[1]}

    assert stages_of_wide() == {"pretrain", "sft"}
    write_json(wide / "pretrain" / "manifest.json", {"fingerprint": "new"})
    write_json(wide / "sft" / "manifest.json", {"inputs": {"pretrain": "new"}})
    assert stages_of_wide() == {"pretrain", "sft"}
    write_json(wide / "sft" / "manifest.json", {"inputs": {"pretrain": "old"}})
    assert stages_of_wide() == {"pretrain"}
    (wide / "sft" / "manifest.json").unlink()
    write_json(wide / "pretrain" / "working.json", {"fingerprint": "new"})
    assert stages_of_wide() == {"pretrain", "sft"}
    (wide / "pretrain" / "manifest.json").unlink()
    assert stages_of_wide() == {"pretrain"}
    (wide / "pretrain" / "working.json").unlink()
    (wide / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "sft": None}))
    assert stages_of_wide() == {"pretrain"}


def test_other_data_and_other_tokenizers_are_noted(pair: list[Path]) -> None:
    assert compare_runs(pair).notes == ()
    for part in ("data", "tokenizer"):
        for i, run in enumerate(pair):
            write_json(run / part / "manifest.json", {"fingerprint": f"{part} {i}"})
    notes = compare_runs(pair).notes
    assert len(notes) == 2
    assert "different data" in notes[0]
    assert "compare bits per byte, and not the loss" in notes[1]


# --- scores ---------------------------------------------------------------------------------------


def test_scores_stand_side_by_side_with_a_plain_word(pair: list[Path]) -> None:
    comparison = compare_runs(pair)
    bits, sums, facts = comparison.scores
    assert bits.runs == (Scored(0.7, 0.6, 0.8), Scored(0.5, 0.45, 0.55))
    assert (bits.stage, bits.name, bits.overlap, bits.best) == (
        "pretrain",
        "bits_per_byte",
        "apart",
        "wide",
    )
    assert (sums.name, sums.chance, sums.overlap, sums.best) == ("sums", 0.25, "apart", "wide")
    assert (facts.name, facts.overlap, facts.best) == ("facts", "overlap", None)
    assert verdict(comparison) == [
        "Bits per byte on held-out text after pretraining: narrow 0.700, wide 0.500.",
        "The interval of wide lies below every other.",
        "Of 2 checks after chat tuning, one run is clearly best in 1 (wide in 1).",
    ]


@pytest.mark.parametrize("less_is_better", [True, False])
def test_two_scores_are_apart_exactly_when_their_intervals_are(less_is_better: bool) -> None:
    draws = random.Random(0)
    seen = set()
    for _ in range(300):
        ends = [sorted(draws.randint(0, 9) for _ in range(3)) for _ in range(2)]
        a, b = (Scored(value, lo, hi) for lo, value, hi in ends)
        word, best = judge([a, b], less_is_better=less_is_better)
        touch = intervals_overlap(Interval(a.value, a.lo, a.hi), Interval(b.value, b.lo, b.hi))
        assert word == ("overlap" if touch else "apart")
        if not touch:
            assert best == int((b.value < a.value) == less_is_better)
        seen.add(word)
    assert seen == {"apart", "overlap"}


def test_scores_that_cannot_be_judged() -> None:
    whole, boundless = Scored(1, 0, 2), Scored(9, None, None)
    assert judge([whole, None], less_is_better=True) == ("alone", None)
    assert judge([whole, boundless], less_is_better=True) == ("unknown", None)
    # The place of the best among all runs, not among those that have the score.
    assert judge([None, Scored(5, 4, 6), whole], less_is_better=True) == ("apart", 2)


# --- curves ---------------------------------------------------------------------------------------


def test_curves_come_in_order_with_the_axes_that_the_metrics_hold(pair: list[Path]) -> None:
    comparison = compare_runs(pair)
    assert [(c.figure, c.axis) for c in comparison.curves] == [
        ("loss", "tokens"),
        ("heldout_bits_per_byte", "tokens"),
        ("loss", "seconds"),
        ("lr", "tokens"),
    ]
    by_tokens, _, by_seconds, _ = comparison.curves
    assert by_tokens.runs[0][:2] == ((100, 8.0), (200, 4.0))
    assert by_seconds.runs[0][:2] == ((0.5, 8.0), (1.0, 4.0))
    assert [len(points) for points in by_tokens.runs] == [10, 20]


def test_what_says_nothing_beside_other_runs_has_no_curve(pair: list[Path]) -> None:
    left_out = {
        "flops_per_s": 1e9,
        "data_wait_s": 0.5,
        "gradient_norm/block0.attention": 1.0,
        "dead_units/block0": 0.5,
        "skipped": 0,
    }
    kept = {"loss": 2.0, "gradient_norm": 1.0, "of_peak": 0.25, "memory_bytes": 5e8}
    for run in pair:
        lines = [{"step": s, "tokens": s, "seconds": s, **kept, **left_out} for s in (1, 2, 3)]
        write_metrics(run, "pretrain", lines)
    comparison = compare_runs(pair)
    assert {curve.figure for curve in comparison.curves} == set(kept)
    write_comparison(comparison, pair[0] / "compare.html")
    text = text_of((pair[0] / "compare.html").read_text())
    assert "Share of peak narrow 25% wide 25%" in text
    assert "Memory in use narrow 500 MB wide 500 MB" in text
    write_metrics(pair[0], "pretrain", [{"step": s, "tokens": s, "skipped": 1} for s in (1, 2)])
    assert "skipped" in {curve.figure for curve in compare_runs(pair).curves}


def test_without_tokens_a_curve_runs_over_steps(pair: list[Path]) -> None:
    for run in pair:
        write_metrics(run, "distill", [{"step": s, "margin": s / 2} for s in (1, 2, 3)])
    (curve,) = (c for c in compare_runs(pair).curves if c.stage == "distill")
    assert (curve.axis, curve.runs[0]) == ("step", ((1, 0.5), (2, 1.0), (3, 1.5)))


def test_a_noisy_curve_is_a_running_mean_and_says_so(pair: list[Path]) -> None:
    lines = [{"step": s, "tokens": s, "loss": 5.0 + (-1) ** s} for s in range(1, 301)]
    write_metrics(pair[0], "pretrain", lines)
    loss = compare_runs(pair).curves[0]
    assert loss.is_smoothed
    # A window of 300 / 50 = 6 points and the point itself: one of seven is left over.
    assert {round(abs(y - 5), 9) for _, y in loss.runs[0][10:-10]} == {round(1 / 7, 9)}
    assert loss.runs[1][0] == (100, 8.0)  # a short one stays as it is


# --- the page -------------------------------------------------------------------------------------


def page(runs: list[Path], path: Path) -> str:
    write_comparison(compare_runs(runs), path)
    html = path.read_text(encoding="utf-8")
    balance = TagBalance()
    balance.feed(html)
    assert balance.open == []
    return html


def chart(html: str, title: str) -> ET.Element:
    (found,) = (svg for svg in svgs(html) if svg.findtext("title") == title)
    return found


def test_each_run_has_its_line_on_common_axes(pair: list[Path], tmp_path: Path) -> None:
    loss = chart(page(pair, tmp_path / "c.html"), "Training loss, pretraining, by tokens")
    lines = [e for e in loss.iter() if e.tag == "polyline"]
    assert [line.get("class") for line in lines] == ["run run0", "run run1"]
    assert [line.get("stroke-dasharray") for line in lines] == [None, "7 4"]
    ends = [line.get("points", "").split()[-1].split(",") for line in lines]
    assert [x for x, _ in ends] == ["500", "1000"]  # 1000 tokens of 2000, in thousandths
    heights = [float(y) for _, y in ends]
    assert heights == pytest.approx([220 - 220 * 0.8 / 8, 220 - 220 * 0.4 / 8], abs=0.01)
    assert loss.findtext("desc") == "narrow ends at 0.8; wide ends at 0.4"


def test_intervals_are_drawn_to_scale(pair: list[Path], tmp_path: Path) -> None:
    title = "Bits per byte on held-out text after pretraining"
    strip = chart(page(pair, tmp_path / "c.html"), title)
    dots = [e.get("cx") for e in strip.iter() if "mark" in e.get("class", "")]
    whiskers = [e for e in strip.iter() if e.get("class") == "whisker"]
    assert dots == ["75%", "25%"]  # 0.7 and 0.5 between 0.4 and 0.8
    assert (whiskers[0].get("x1"), whiskers[0].get("x2")) == ("50%", "100%")
    assert (whiskers[3].get("x1"), whiskers[3].get("x2")) == ("12.5%", "37.5%")


def test_no_two_of_two_dozen_runs_look_alike() -> None:
    assert len({run_look(run) for run in range(24)}) == 24


def test_what_the_page_says(pair: list[Path], tmp_path: Path) -> None:
    cut = make_run(tmp_path / "cut", bits=None)
    html = page([*pair, cut], tmp_path / "c.html")
    text = text_of(html)
    assert "<h1>3 runs</h1>" in html
    assert "cut is unfinished, pretraining at step 10." in text
    assert "model.d_model 64 128 64" in text
    assert "sums · unseen 50% 40% to 60% 90% 80% to 95% – 25% apart, wide is best" in text
    assert "facts · unseen 30% 20% to 40% 35% 25% to 45% – 25% overlap" in text
    assert "After pretraining · apart, wide is best" in text
    assert "None" not in text


def test_the_page_fetches_nothing_and_trusts_nothing(pair: list[Path], tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    evil = {**RECIPE, "name": attack, attack: attack}
    run = make_run(tmp_path / "<img src=x>", evil, checks={attack: (0.5, 0.4, 0.6)})
    write_metrics(run, "sft", [{"step": s, "tokens": s, attack: s} for s in (1, 2)])
    html = page([*pair, run], tmp_path / "c.html")
    balance = TagBalance()
    balance.feed(html)
    assert not {"script", "link", "iframe", "img"} & set(balance.tags)
    assert not {name for name, _ in balance.attributes} & {"src", "href", "srcset", "onerror"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert "&lt;script&gt;" in html


def test_every_colour_class_is_defined_for_light_and_dark(pair: list[Path], tmp_path: Path) -> None:
    style = page(pair, tmp_path / "c.html").split("<style>")[1].split("</style>")[0]
    for name in {run_look(run).colour for run in range(24)}:
        assert len(re.findall(rf"--{name}: #", style)) == 3  # light, dark, print
        assert f".{name} {{ --run: var(--{name}); }}" in style
    assert "--paper:" in style  # the report's own


def test_pages_of_runs_without_scores_say_so(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, bits=None) for name in ("a", "b")]
    text = text_of(page(runs, tmp_path / "c.html"))
    assert text.count("No held-out text was scored in any of these runs.") == 2
    assert "No checks were made in any of these runs." in text
    assert "every key has the same value" in text


# --- lines and values -----------------------------------------------------------------------------


def test_the_lines_for_a_terminal(pair: list[Path]) -> None:
    assert comparison_lines(compare_runs(pair)) == [
        "run     state     recipe  parameters  tokens  training time",
        "narrow  finished  tiny    5k          1k      5 s",
        "wide    finished  tiny    5k          2k      10 s",
        "",
        "what differs   narrow  wide",
        "model.d_model  64      128",
        "",
        "score (95% interval)              narrow                  wide"
        "                    intervals",
        "bits per byte, after pretraining  0.700 (0.600 to 0.800)  0.500 (0.450 to 0.550)"
        "  apart, wide is best",
        "sums, unseen, after chat tuning   50% (40% to 60%)        90% (80% to 95%)      "
        "  apart, wide is best",
        "",
        *verdict(compare_runs(pair)),
    ]


def test_the_values_are_json(pair: list[Path]) -> None:
    comparison = compare_runs(pair)
    values = json.loads(json.dumps(to_dict(comparison), allow_nan=False))
    assert values["runs"][1]["name"] == "wide"
    assert values["differences"] == [{"key": "model.d_model", "values": ["64", "128"]}]
    assert values["scores"][0]["runs"][0] == {"value": 0.7, "lo": 0.6, "hi": 0.8}
    assert values["curves"][0]["runs"][0][0] == [100, 8.0]


@pytest.mark.slow
def test_runs_that_a_build_made(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for seed, folder in enumerate(folders):
        tiny_build(tiny_recipe(seed=seed), folder).run(
            ["data", "tokenizer", "pretrain", "evaluate", "report"]
        )
    comparison = compare_runs(folders)
    assert [run.state for run in comparison.runs] == ["finished", "finished"]
    assert [(d.key, d.values) for d in comparison.differences] == [("seed", ("0", "1"))]
    assert "different data" in comparison.notes[0]  # the demo's world comes from the seed
    assert comparison.scores[0].name == "bits_per_byte"
    assert all(comparison.scores[0].runs)
    assert (comparison.curves[0].figure, len(comparison.curves[0].runs[0])) == ("loss", 8)
    page(folders, tmp_path / "c.html")
