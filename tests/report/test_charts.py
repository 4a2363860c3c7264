"""Charts: valid SVG, marks where the numbers say, few enough points."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from groundup.report.charts import (
    CURVE_POINTS,
    Bar,
    Part,
    Series,
    bar_chart,
    downsample,
    interval_strip,
    line_chart,
    log_ticks,
    nice_ticks,
    percent_axis,
    smooth,
    stacked_bar,
    vertical,
)
from groundup.report.format import format_duration, format_number, format_share


def by_class(svg: str, name: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if name in e.get("class", "").split()]


def test_the_interval_stands_where_its_numbers_say() -> None:
    svg = interval_strip(0.6, 0.45, 0.735, 0.25, title="a skill")
    (dot,) = by_class(svg, "dot")
    (chance,) = by_class(svg, "chance")
    whisker, left_cap, right_cap = by_class(svg, "whisker")
    assert dot.get("cx") == "60%"
    assert (chance.get("x1"), chance.get("x2")) == ("25%", "25%")
    assert (whisker.get("x1"), whisker.get("x2")) == ("45%", "73.5%")
    assert (left_cap.get("x1"), right_cap.get("x1")) == ("45%", "73.5%")
    assert whisker.get("y1") == whisker.get("y2") == dot.get("cy")


def test_what_is_not_known_is_not_drawn() -> None:
    svg = interval_strip(0.6, None, None, None, title="a skill", hollow=True)
    assert not by_class(svg, "whisker")
    assert not by_class(svg, "chance")
    assert by_class(svg, "hollow")


def test_bars_share_one_scale_from_zero() -> None:
    bars = [
        Bar("ours", 0.5, "0.500", "0.4 to 0.6", lo=0.4, hi=0.6),
        Bar("other <b>", 2.0, "2.000", ours=False),
    ]
    svg = bar_chart(bars, title="bits", description="both", unit="bits per byte")
    assert [bar.get("width") for bar in by_class(svg, "bar")] == ["25%", "100%"]
    whisker = by_class(svg, "whisker")[0]
    assert (whisker.get("x1"), whisker.get("x2")) == ("20%", "30%")
    assert "other <b>" in [e.text for e in ET.fromstring(svg).iter()]


def test_a_whisker_beyond_the_longest_bar_still_fits() -> None:
    svg = bar_chart(
        [Bar("ours", 1.0, "1", lo=0.0, hi=4.0)], title="t", description="d", unit="bits"
    )
    assert by_class(svg, "bar")[0].get("width") == "25%"
    assert by_class(svg, "whisker")[0].get("x2") == "100%"


def test_curve_points_follow_the_axes() -> None:
    svg = line_chart(
        [Series("loss", [(0.0, 0.0), (50.0, 2.0), (100.0, 4.0)])],
        title="loss",
        description="from 0 to 4",
        height=200,
    )
    (line,) = by_class(svg, "line")
    assert line.get("points") == "0,200 500,100 1000,0"
    assert line.get("vector-effect") == "non-scaling-stroke"


def test_dots_carry_their_values() -> None:
    points = [(50.0, 1.0), (100.0, 0.0)]
    svg = line_chart([Series("held out", points, "dots")], title="t", description="d", height=100)
    dots = by_class(svg, "dot")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots] == [("50%", "0"), ("100%", "100")]
    assert [dot[0].text for dot in dots] == ["50: 1", "100: 0"]


@pytest.mark.parametrize("points", [[(1.0, 3.0)], [(0.0, 2.0), (1.0, 2.0)], [(5.0, -1e-9)]])
def test_flat_and_single_point_curves_can_be_drawn(points: list[tuple[float, float]]) -> None:
    svg = line_chart([Series("s", points)], title="t", description="d")
    assert "nan" not in svg
    assert "inf" not in svg


def test_every_chart_is_named_for_readers_who_cannot_see_it() -> None:
    charts = [
        line_chart([Series("a", [(0, 1), (1, 2)])], title="A & B", description="<up>"),
        bar_chart([Bar("a", 1.0, "1")], title="A & B", description="<up>", unit="bits"),
        interval_strip(0.5, 0.4, 0.6, 0.1, title="A & B"),
        percent_axis(),
    ]
    for svg in charts:
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root[0].tag == "title"
        assert root[0].text


def test_long_curves_are_thinned_and_keep_their_extremes() -> None:
    points = [(float(x), math.sin(x / 50)) for x in range(10_000)]
    points[1234] = (1234.0, 99.0)
    points[5678] = (5678.0, -99.0)
    thinned = downsample(points)
    assert len(thinned) <= CURVE_POINTS
    assert thinned[0] == points[0]
    assert thinned[-1] == points[-1]
    assert points[1234] in thinned
    assert points[5678] in thinned
    assert thinned == sorted(thinned)


def test_smoothing_keeps_constants_and_lengths() -> None:
    points = [(float(x), 3.0) for x in range(50)]
    assert smooth(points, 7) == points


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (1.2, 7.9), (-3, 8), (1e-5, 3e-3), (5, 5), (0, 0)])
def test_ticks_span_the_values_and_are_few(lo: float, hi: float) -> None:
    ticks = nice_ticks(lo, hi)
    assert ticks[0] <= lo
    assert ticks[-1] >= hi
    assert 3 <= len(ticks) <= 9
    steps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize(("lo", "hi"), [(0.0017, 0.07), (3e-9, 40), (2.0, 2.0), (1.0, 1.0), (7, 8)])
def test_logarithmic_ticks_span_the_values_and_are_round(lo: float, hi: float) -> None:
    ticks = log_ticks(lo, hi)
    assert ticks[0] <= lo < ticks[-1]
    assert ticks[-1] >= hi
    assert ticks == sorted(set(ticks))
    assert {f"{tick:e}"[0] for tick in ticks} <= {"1", "2", "5"}


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    y_of, axis = vertical([0.01, 100.0], 200, "log")
    assert [y_of(y) for y in (0.01, 1.0, 100.0)] == pytest.approx([200, 100, 0])
    labels = [e.text for e in ET.fromstring(f"<g>{axis}</g>").iter("text")]
    assert labels == ["0.01", "0.1", "1", "10", "100"]


def test_shares_and_bytes_stand_on_an_axis_from_zero() -> None:
    for kind, values, labels in (
        ("share", [0.25, 0.35], ["0%", "20%", "40%"]),
        ("bytes", [6e8, 9e8], ["0 B", "500 MB", "1 GB"]),
        ("count", [1800.0, 1900.0], ["0", "1k", "2k"]),
        ("linear", [1800.0, 1900.0], ["1.8k", "1.85k", "1.9k"]),
    ):
        y_of, axis = vertical(values, 60, kind)
        assert [e.text for e in ET.fromstring(f"<g>{axis}</g>").iter("text")] == labels
        if kind != "linear":
            assert y_of(0.0) == 60


def test_parts_of_a_bar_stand_end_to_end() -> None:
    parts = [Part("weights <4>", 40.0, "weights"), Part("loss", 10.0, "loss")]
    svg = stacked_bar(parts, most=100.0, mark=60.0, title="memory", description="d")
    rects = [(e.get("x"), e.get("width"), e.get("class")) for e in by_class(svg, "part")]
    assert rects == [("0%", "40%", "part weights"), ("40%", "10%", "part loss")]
    (mark,) = by_class(svg, "measured")
    assert (mark.get("x1"), mark.get("x2")) == ("60%", "60%")
    assert by_class(svg, "weights")[0].findtext("title") == "weights <4>"
    assert not by_class(stacked_bar(parts, most=50.0, title="t", description="d"), "measured")


def test_numbers_are_written_short() -> None:
    assert format_number(-0.5) == "-0.5"
    assert format_number(0.000123) == "1.23e-4"
    assert format_number(21034.2) == "21k"
    assert format_duration(59.7) == "1 min"
    assert format_duration(3599.9) == "1 h"
    assert format_share(1.0) == "100%"
