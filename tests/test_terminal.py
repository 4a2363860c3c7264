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
