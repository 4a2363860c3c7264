from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from groundup import terminal
from groundup.terminal import Display, Style

STAGES = ("data", "tokenizer", "pretrain")


def play(display: Display) -> None:
    """A little build."""
    display.stage("data", "done", "nothing has changed")
    display.stage("tokenizer", "off", "the recipe has no tokenizer")
    display.stage("pretrain", "run", "not done yet")
    display.progress("pretrain", 0, 10, {})
    display.message("3 files were left out")
    display.progress("pretrain", 10, 10, {"loss": 1.5, "tokens_per_s": 1234.0})
    display.stage("pretrain", "finished", "1.0 s")


def shown(style: Style, capsys: pytest.CaptureFixture[str]) -> str:
    with Display(STAGES, style) as display:
        play(display)
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_plain_prints_a_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown("plain", capsys).splitlines()
    assert lines == [
        "✓ data: done before (nothing has changed)",
        "– tokenizer: left out (the recipe has no tokenizer)",
        "▸ pretrain: begins (not done yet)",
        "  pretrain 0 of 10",
        "  3 files were left out",
        *[line for line in lines if "10 of 10" in line],
        "✓ pretrain: done in 1.0 s",
    ]
    assert "  pretrain 10 of 10  loss 1.500  1.23k tokens/s" in lines[5]


def test_plain_prints_progress_now_and_then_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with Display(STAGES, "plain") as display:
        display.stage("pretrain", "run", "")
        for step in range(1, 100):
            now[0] += 0.2
            display.progress("pretrain", step, 100, {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "of 100" in line]
    assert 3 <= len(lines) <= 5
    assert "left" in lines[-1]


FIGURES = {
    "loss": 1.5,
    "heldout_bits_per_byte": 0.875,
    "gradient_norm": 1.0,
    "lr": 0.0003,
    "tokens_per_s": 1234.0,
    "data_wait_s": 0.1,
    "flops_per_s": 1e9,
    "of_peak": 0.412,
    "memory_bytes": 636e6,
}


def training(
    style: Style, figures: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> tuple[Display, Console]:
    """A display in the middle of training, a minute before its end, and where it prints."""
    now = [1000.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    display = Display(STAGES, style)
    display.console = Console(width=80, soft_wrap=True, record=True, file=io.StringIO())
    display.stage("pretrain", "run", "")
    display.progress("pretrain", 10, 40, {})
    now[0] += 20.0
    display.progress("pretrain", 20, 40, figures)
    now[0] += 20.0
    display.progress("pretrain", 25, 40, figures)
    return display, display.console


def test_plain_says_in_one_line_how_training_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    _, console = training("plain", FIGURES, monkeypatch)
    assert console.export_text().splitlines()[-1] == (
        "  pretrain 25 of 40  loss 1.500  held-out 0.875 bits/byte  0:40 left  "
        "1.23k tokens/s  41% of peak  636 MB"
    )


def test_live_says_in_two_lines_how_training_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    display, console = training("live", FIGURES, monkeypatch)
    console.print(display._render())
    assert [line.rstrip() for line in console.export_text().splitlines()[-2:]] == [
        "pretrain 25 of 40  loss 1.500  held-out 0.875 bits/byte  0:40 left",
        "lr 0.0003  1.23k tokens/s  41% of peak  636 MB",
    ]


@pytest.mark.parametrize(
    ("counts", "end"),
    [
        ({"skipped": 0, "spikes": 0}, "636 MB"),
        ({"skipped": 2, "spikes": 1}, "636 MB  2 skipped  1 spike"),
        ({"spikes": 3}, "636 MB  3 spikes"),
    ],
)
def test_trouble_is_counted_where_there_is_some(
    counts: dict[str, float], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, console = training("plain", FIGURES | counts, monkeypatch)
    assert console.export_text().rstrip().endswith(end)


def test_json_prints_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    events = [json.loads(line) for line in shown("json", capsys).splitlines()]
    assert [event["event"] for event in events] == [
        "stage",
        "stage",
        "stage",
        "progress",
        "message",
        "progress",
        "stage",
    ]
    assert events[5] == {
        "event": "progress",
        "label": "pretrain",
        "done": 10,
        "total": 10,
        "loss": 1.5,
        "tokens_per_s": 1234.0,
    }


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("quiet", capsys) == ""


def test_live_draws_every_stage() -> None:
    with Display(STAGES, "live") as display:
        display.console = Console(width=80, record=True, file=io.StringIO())
        play(display)
        display.progress("pretrain", 5, 10, {"loss": 1.5})
        display.console.print(display._render())
        text = display.console.export_text()
    assert all(stage in text for stage in STAGES)
    assert "pretrain 5 of 10" in text


@pytest.mark.parametrize("style", ["plain", "live"])
@pytest.mark.parametrize(
    "say",
    [
        lambda display: display.message("left out [/b] and [red]"),
        lambda display: display.stage("data", "run", "data.path was [/b], is [red]"),
        lambda display: display.progress("read [/b]", 1, 1, {}),
    ],
    ids=["message", "stage", "progress"],
)
def test_brackets_in_what_is_said_are_printed_as_they_are(
    style: Style, say: Callable[[Display], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Folder names may hold them; rich would read them as its markup."""
    with Display(STAGES, style) as display:
        say(display)
    out = capsys.readouterr().out
    if style == "plain":
        assert "[/b]" in out


def test_the_live_display_stops_when_the_work_fails(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(STAGES, "live")
    with pytest.raises(RuntimeError), display:
        raise RuntimeError
    assert display._live is not None
    assert not display._live.is_started
