"""The command line: what it prints, its exit codes, and one line for all that a user does wrong."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundup import __version__
from groundup.cli import main
from groundup.demo import DemoConfig, documents
from groundup.export import load_model
from groundup.model import count_parameters
from groundup.recipe import load_recipe
from groundup.runtime import GroundupError, format_count

from .tiny_build import (
    SignalAt,
    merge,
    short_chats,
    short_pairs,
    tiny_values,
    tree,
    write_recipe,
    write_rows,
)

Capture = pytest.CaptureFixture[str]
CHEAP: dict[str, Any] = {
    "demo": {"n_checks": 0},
    "pretrain": {"tokens": 512},
    "sft": None,
    "align": None,
    "evaluate": {"baselines": False, "heldout_bytes": 300},
}


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe of pretraining alone, as a file."""
    return str(write_recipe(tmp_path / "cheap.yaml", tiny_values(**CHEAP)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of sixty small text files."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(documents(5, DemoConfig(n_documents=60))):
        (folder / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    return folder


def refused(capsys: Capture, *arguments: str | Path) -> str:
    """The one line on stderr that a refused command ends with, without its prefix."""
    code = main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    assert code == 2, errors
    assert errors.startswith("groundup: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    return errors.removeprefix("groundup: ").rstrip("\n")


NAIVE = b"A na\xefve one with plain words. " * 5  # could be read in more ways than one
WAITING = ("data.stages", "tokenizer.counts")


def nothing_half_written(out: Path) -> bool:
    """Whether each stage's folder is finished or has never been, but for what waits."""
    if not out.exists():
        return True
    folders = [path for path in out.iterdir() if path.is_dir() and path.name not in WAITING]
    return not list(out.rglob("*.tmp")) and all(
        (folder / "manifest.json").is_file() or (folder / "working.json").is_file()
        for folder in folders
    )


# --- data that cannot be used ---------------------------------------------------------------------


def test_a_path_that_is_not_there(capsys: Capture, out: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    found = refused(capsys, "build", "quickstart", "--out", out, "--data", missing)
    assert found == f"--data {missing} does not exist; give a file or a folder"
    assert not out.exists()


def test_an_empty_folder(capsys: Capture, out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = refused(capsys, "build", "quickstart", "--out", out, "--data", tmp_path / "empty")
    assert "empty holds nothing to read" in found
    assert ".txt" in found
    assert not (out / "data").exists()
    assert nothing_half_written(out)


def test_a_folder_in_which_nothing_is_utf8(capsys: Capture, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "latin"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_bytes(NAIVE)
    found = refused(capsys, "build", "quickstart", "--out", out, "--data", folder)
    assert found.startswith(f"nothing is left of {folder} (3 not_utf8, such as latin/0.txt")
    assert not (out / "data").exists()
    assert nothing_half_written(out)


def test_a_file_that_is_not_utf8_among_good_ones_is_counted_and_named(
    capsys: Capture, recipe: str, out: Path, texts: Path
) -> None:
    (texts / "bad.txt").write_bytes(NAIVE)
    assert main(["build", recipe, "--out", str(out), "--data", str(texts)]) == 0
    printed = capsys.readouterr().out
    assert "1 for not_utf8" in printed
    assert "bad.txt" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["dropped"] == {"not_utf8": 1}
    assert report["data"]["synthetic"] is False
    assert "pretrain: " in printed
    assert "bits per byte of held-out text" in printed
    assert f"talk to it: groundup generate {out}" in printed


def test_a_text_too_small_to_hold_any_out(
    capsys: Capture, recipe: str, out: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.txt"
    path.write_text("A small text.")
    found = refused(capsys, "build", recipe, "--out", out, "--data", path)
    assert "too small to train on one part and hold out another" in found
    assert nothing_half_written(out)


def test_a_text_smaller_than_the_context(
    capsys: Capture, recipe: str, out: Path, texts: Path
) -> None:
    found = refused(
        capsys, "build", recipe, "--out", out, "--data", texts,
        "--set", "model.max_seq_len=65536", "--set", "pretrain.batch_tokens=65536",
        "--set", "pretrain.packing=concat",
    )  # fmt: skip
    assert "fewer than model.max_seq_len=65536" in found
    assert "--set model.max_seq_len=" in found
    assert not (out / "pretrain" / "model").exists()
    assert nothing_half_written(out)


def test_a_vocabulary_larger_than_the_text_supports(
    capsys: Capture, recipe: str, out: Path, texts: Path
) -> None:
    arguments = ["build", recipe, "--out", out, "--data", texts]
    found = refused(capsys, *arguments, "--set", "tokenizer.vocab_size=50000")
    assert found.startswith("tokenizer.vocab_size=50000 is more than the text supports (it yields")
    assert not (out / "tokenizer").exists()
    assert nothing_half_written(out)
    advice = found.split("--set ")[1].split(" ")[0]
    assert (out / WAITING[1]).is_dir()  # so that the next try need not count again
    assert main([*map(str, arguments), "--set", advice, "--only", "tokenizer"]) == 0
    assert not (out / WAITING[1]).exists()


def test_data_of_chats_alone_says_that_documents_are_missing(
    capsys: Capture, recipe: str, out: Path, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "chats.jsonl", short_chats())
    found = refused(capsys, "build", recipe, "--out", out, "--data", path)
    assert "document" in found
    assert "vocab_size" not in found
    assert nothing_half_written(out)


BAD_CHATS: dict[str, list[tuple[str, str]]] = {
    "roles_out_of_order": [("user", "a"), ("user", "b"), ("assistant", "c")],
    "no_assistant_turn": [("user", "a")],
    "unknown_role": [("robot", "a"), ("assistant", "b")],
    "empty_message": [("user", " "), ("assistant", "b")],
}


def chat_row(turns: list[tuple[str, str]]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_bad_chats_and_pairs_are_counted_by_reason_and_the_rest_goes_on(
    capsys: Capture, recipe: str, out: Path, texts: Path
) -> None:
    bad = [chat_row(turns) for turns in BAD_CHATS.values()]
    equal = {"prompt": "a", "chosen": "b", "rejected": "b"}
    write_rows(texts / "chats.jsonl", [*short_chats(12), *bad])
    write_rows(texts / "pairs.jsonl", [*short_pairs(12), equal])
    assert main(["build", recipe, "--out", str(out), "--data", str(texts), "--only", "data"]) == 0
    counts = json.loads((out / "data" / "counts.json").read_text())
    assert {reason: entry["n"] for reason, entry in counts["removed"].items()} == {
        **dict.fromkeys(BAD_CHATS, 1),
        "equal_sides": 1,
    }
    assert counts["chats"]["train"]["n"] + counts["chats"]["heldout"]["n"] == 12
    assert counts["preferences"]["train"]["n"] + counts["preferences"]["heldout"]["n"] == 12
    printed = capsys.readouterr().out
    assert all(f"1 for {reason}" in printed for reason in (*BAD_CHATS, "equal_sides"))


def test_when_no_chat_is_left_it_says_for_which_reasons(
    capsys: Capture, recipe: str, out: Path, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "chats.jsonl", [chat_row(turns) for turns in BAD_CHATS.values()])
    found = refused(capsys, "build", recipe, "--out", out, "--data", path)
    assert found.startswith(f"nothing is left of {path} (")
    assert all(f"1 {reason}, such as" in found for reason in BAD_CHATS)
    assert nothing_half_written(out)


def test_a_run_folder_inside_the_data_is_refused_before_anything_is_written(
    capsys: Capture, recipe: str, texts: Path
) -> None:
    before = tree(texts)
    found = refused(capsys, "build", recipe, "--out", texts / "run", "--data", texts)
    assert "lies inside the source" in found
    assert tree(texts) == before


# --- recipes that do not hold together ------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.n_heads=5", "model.n_heads=5 must divide d_model=128; try n_heads=4"),
        ("model.d_model=130", "model.n_heads=4 must divide d_model=130; try n_heads=5"),
        ("modle.d_model=5", "unknown recipe key modle; did you mean model?"),
        ("pretrain.optimizer=5", "pretrain.optimizer=5"),
    ],
)
def test_a_recipe_that_does_not_hold_together(
    override: str, expected: str, capsys: Capture, out: Path
) -> None:
    found = refused(capsys, "build", "quickstart", "--out", out, "--set", override)
    assert found.startswith(expected)
    assert not out.exists()


def test_an_unknown_recipe(capsys: Capture, out: Path) -> None:
    found = refused(capsys, "build", "quickstrat", "--out", out)
    assert found == "no recipe is called 'quickstrat'; did you mean quickstart?"
    assert not out.exists()


@pytest.mark.parametrize("option", ["--only", "--from"])
def test_an_unknown_stage(option: str, capsys: Capture, out: Path) -> None:
    found = refused(capsys, "build", "quickstart", "--out", out, option, "pretrane")
    assert found.startswith("no stage is called 'pretrane'; there are data, tokenizer, pretrain")
    assert not out.exists()


def test_a_stage_whose_inputs_are_missing(capsys: Capture, recipe: str, out: Path) -> None:
    found = refused(capsys, "build", recipe, "--out", out, "--only", "pretrain")
    assert found == (
        f"pretrain needs data, which is not done; run groundup build, or groundup data {out} first"
    )
    assert nothing_half_written(out)


@pytest.mark.parametrize("device", ["potato", "cuda:99"])
def test_a_device_that_is_not_there(
    device: str, capsys: Capture, tiny_run: Path, recipe: str, out: Path
) -> None:
    assert device in refused(capsys, "generate", tiny_run, "--device", device)
    assert device in refused(capsys, "build", recipe, "--out", out, "--device", device)
    assert nothing_half_written(out)


# --- folders --------------------------------------------------------------------------------------


def test_a_run_of_another_recipe(capsys: Capture, tiny_run: Path) -> None:
    before = tree(tiny_run)
    found = refused(capsys, "build", "quickstart", "--out", tiny_run)
    assert found == (
        f"{tiny_run} was built with the recipe tiny, not quickstart; use another --out"
    )
    assert tree(tiny_run) == before


def test_a_folder_that_is_no_run(capsys: Capture, recipe: str, texts: Path) -> None:
    before = tree(texts)
    found = refused(capsys, "build", recipe, "--out", texts)
    assert found == f"{texts} exists and is no run of groundup; use another --out, or empty it"
    assert tree(texts) == before


def test_a_file_where_the_run_should_be(capsys: Capture, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    assert "is no run of groundup" in refused(capsys, "build", recipe, "--out", path)
    assert path.read_text() == "mine"


def test_a_folder_that_may_not_be_written(
    capsys: Capture, recipe: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def refuse(path: Path, *arguments: Any, **named: Any) -> None:
        if path == out:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        mkdir(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    found = refused(capsys, "build", recipe, "--out", out)
    assert found.startswith(f"no permission to write {out}")
    assert "choose another --out" in found


def test_a_disk_that_is_full(
    capsys: Capture, recipe: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        found = refused(capsys, "build", recipe, "--out", out)
    assert found.startswith("no space left to write ")
    assert "run the same command again" in found
    assert nothing_half_written(out)
    assert main(["build", recipe, "--out", str(out), "--only", "data"]) == 0


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_a_folder_without_a_model(command: str, capsys: Capture, texts: Path) -> None:
    found = refused(capsys, command, texts)
    assert found.startswith(f"{texts} is no model folder and no run with a trained model; give")


@pytest.mark.parametrize("command", ["pretrain", "report"])
def test_a_folder_that_is_no_run_has_no_stages(command: str, capsys: Capture, texts: Path) -> None:
    assert refused(capsys, command, texts).startswith(f"{texts} is no run of groundup; make one")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights cut short": ("model.safetensors", cut),
    "weights that are none": ("model.safetensors", lambda path: path.write_text("hello")),
    "weights missing": ("model.safetensors", Path.unlink),
    "config cut short": ("config.json", cut),
    "config without sizes": ("config.json", lambda path: path.write_text('{"model_type":"llama"}')),
    "config that is a list": ("config.json", lambda path: path.write_text("[]")),
    "tokenizer cut short": ("tokenizer.json", cut),
    "tokenizer missing": ("tokenizer.json", Path.unlink),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("command", ["generate", "chat"])
def test_a_damaged_model_folder(command: str, name: str, capsys: Capture, run_copy: Path) -> None:
    file, damage = DAMAGE[name]
    folder = run_copy / "align" / "model"
    damage(folder / file)
    assert str(folder) in refused(capsys, command, folder)


# --- talking --------------------------------------------------------------------------------------


def test_generate_prints_the_prompt_and_goes_on(capsys: Capture, tiny_run: Path) -> None:
    arguments = ["generate", str(tiny_run), "--prompt", "Mia went", "--max-tokens", "5"]
    printed = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--temperature", "1", "--seed", seed]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("Mia went")
    assert printed[0] == printed[1] != printed[2]


def test_a_prompt_longer_than_the_context(capsys: Capture, tiny_run: Path) -> None:
    found = refused(capsys, "generate", tiny_run, "--prompt", "a fox " * 100)
    assert "the model's context holds 64; shorten it" in found


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--temperature", "-1", "temperature=-1.0 must not be negative"),
        ("--top-p", "0", "top_p=0.0 must lie in (0, 1]"),
        ("--top-k", "-1", "top_k=-1 must not be negative; 0 allows all tokens"),
        ("--max-tokens", "0", "max_tokens=0 must be at least 1"),
    ],
)
def test_sampling_that_makes_no_sense(
    option: str, value: str, expected: str, capsys: Capture, tiny_run: Path
) -> None:
    assert refused(capsys, "generate", tiny_run, option, value) == expected


def talk(monkeypatch: pytest.MonkeyPatch, run: Path, *lines: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
    return main(["chat", str(run), "--max-tokens", "8", "--seed", "1"])


def test_chat_reads_commands_and_questions_from_a_pipe(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tiny_run: Path
) -> None:
    lines = ["A red fox?", "", "/reset", "A red fox?", "/system Be kind.", "/unknown", "Why?"]
    assert talk(monkeypatch, tiny_run, *lines) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "forgotten" in out
    assert "a new conversation, with this system message" in out
    assert "no command /unknown; there are /reset, /system, /quit" in out
    before, _, after = out.partition("forgotten\n")
    assert before.strip()
    assert after.startswith(before), "after /reset the same question has the same reply"


def test_quit_leaves(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tiny_run: Path) -> None:
    assert talk(monkeypatch, tiny_run, "/quit", "A red fox?") == 0
    assert capsys.readouterr().out == ""


def test_a_message_longer_than_the_context_does_not_end_the_chat(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tiny_run: Path
) -> None:
    assert talk(monkeypatch, tiny_run, "a fox " * 100, "/unknown") == 0
    out = capsys.readouterr().out
    assert "the model can read 42; shorten it" in out
    assert "no command /unknown" in out


def test_what_a_user_types_is_not_read_as_markup(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tiny_run: Path
) -> None:
    assert talk(monkeypatch, tiny_run, "/[/b]") == 0
    assert "no command /[/b]; there are" in capsys.readouterr().out


# --- recipes and the rest -------------------------------------------------------------------------


def test_recipes_are_listed_with_their_size(capsys: Capture) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = format_count(count_parameters(load_recipe("quickstart").model_config).total)
    assert any(line.split()[:2] == ["quickstart", size] for line in lines)


def test_a_recipe_is_shown_whole_and_can_be_built_from_what_is_shown(
    capsys: Capture, tmp_path: Path
) -> None:
    n_parameters = count_parameters(load_recipe("quickstart").model_config).total
    assert main(["recipes", "show", "quickstart", "--set", "seed=7"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# {n_parameters:,} parameters; pretraining on ")
    path = tmp_path / "shown.yaml"
    path.write_text(shown)
    assert main(["recipes", "show", str(path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["seed"] == 7
    assert values["counts"]["parameters"] == n_parameters


def test_the_schema_is_json(capsys: Capture) -> None:
    assert main(["recipes", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Recipe"


def test_the_version_is_printed(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"groundup {__version__}\n"


@pytest.mark.parametrize("command", ["build", "data", "pretrain", "generate", "chat", "recipes"])
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    assert main([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["build"], ["build", "quickstart", "--only"], ["generate", "--nope"]],
)
def test_usage_that_is_wrong_ends_with_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_debug_raises_what_went_wrong(out: Path) -> None:
    with pytest.raises(GroundupError, match="no recipe is called 'quickstrat'"):
        main(["--debug", "build", "quickstrat", "--out", str(out)])
    with pytest.raises(GroundupError):
        main(["build", "quickstrat", "--out", str(out), "--debug"])


def test_quiet_prints_nothing_and_json_only_json(capsys: Capture, recipe: str, out: Path) -> None:
    assert main(["build", recipe, "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["build", recipe, "--out", str(out), "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["event"] == "stage"


def test_only_runs_one_stage(capsys: Capture, recipe: str, out: Path) -> None:
    assert main(["build", recipe, "--out", str(out), "--only", "data"]) == 0
    assert (out / "data" / "manifest.json").is_file()
    assert not (out / "tokenizer").exists()


def test_the_run_folder_is_named_by_the_recipe_where_none_is_given(
    capsys: Capture, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", recipe, "--only", "data"]) == 0
    assert (tmp_path / "runs" / "tiny" / "data" / "manifest.json").is_file()


def test_an_interrupted_build_says_how_to_go_on_and_does(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = merge(tiny_values(**CHEAP), {"pretrain": {"tokens": 2048}})
    recipe = str(write_recipe(tmp_path / "tiny.yaml", values))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(["build", recipe, "--out", str(whole), "--quiet"]) == 0
    listener = SignalAt("pretrain", 2)

    class Display:
        def __enter__(self) -> SignalAt:
            return listener

        def __exit__(self, *arguments: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr("groundup.cli._display", lambda *_, **__: Display())
        assert main(["build", recipe, "--out", str(run)]) == 130
    errors = capsys.readouterr().err
    assert errors == "groundup: stopped; run the same command again to go on\n"
    assert (run / "pretrain" / "checkpoints" / "step-00000002").is_dir()
    assert main(["build", recipe, "--out", str(run), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    resumed = [e for e in events if e["event"] == "stage" and e["stage"] == "pretrain"]
    assert [event["status"] for event in resumed] == ["resume", "finished"]
    name = Path("pretrain/model/model.safetensors")
    assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert load_model(run / "pretrain" / "model").config.d_model == 32


# --- as a process ---------------------------------------------------------------------------------


def process(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groundup", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


def test_as_a_process_a_mistake_is_one_line_and_code_2(tmp_path: Path) -> None:
    done = process("build", "quickstart", "--out", tmp_path / "run", "--data", tmp_path / "none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"groundup: --data {tmp_path / 'none'} does not exist; give a file or a folder\n"
    )


def test_as_a_process_a_piped_chat_ends_with_its_input(tiny_run: Path) -> None:
    done = process("chat", tiny_run, "--max-tokens", "5", stdin="A red fox?\n/unknown\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "no command /unknown" in done.stdout


# --- profiling and tracking -----------------------------------------------------------------------


def test_profile_writes_a_trace_and_prints_where_the_time_goes(
    capsys: Capture, tmp_path: Path, out: Path
) -> None:
    """Twenty steps, of which the eleventh to the fifteenth are looked at."""
    values = merge(tiny_values(**CHEAP), {"pretrain": {"tokens": 20 * 256}})
    recipe = str(write_recipe(tmp_path / "tiny.yaml", values))
    for stages in (["--only", "data"], ["--only", "tokenizer"]):
        assert main(["build", recipe, "--out", str(out), *stages]) == 0
    assert not list(out.rglob("trace.json.gz"))
    capsys.readouterr()
    assert main(["build", recipe, "--out", str(out), "--only", "pretrain", "--profile"]) == 0
    printed = capsys.readouterr().out
    with gzip.open(out / "pretrain" / "profile" / "trace.json.gz") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    phases = ("data", "forward", "backward", "optimizer")
    assert {f"groundup/{phase}" for phase in phases} <= names
    summary = json.loads((out / "pretrain" / "profile" / "profile.json").read_text())
    assert summary["n_steps"] == 5
    assert f"5 steps of {1000 * summary['seconds'] / 5:.2f} ms: data " in printed
    assert all(f"{phase} " in printed for phase in phases)
    assert "calls/step" in printed
    assert summary["operations"][0]["name"] in printed


def test_without_profile_there_is_none(capsys: Capture, recipe: str, out: Path) -> None:
    assert main(["build", recipe, "--out", str(out), "--quiet"]) == 0
    assert not (out / "pretrain" / "profile").exists()


def test_a_tracker_nobody_knows(capsys: Capture, recipe: str, out: Path) -> None:
    found = refused(capsys, "build", recipe, "--out", out, "--track", "tensorbored")
    assert found == ("no tracker is called 'tensorbored'; there are tensorboard, wandb, trackio")
    assert not out.exists()


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["build", "dry run"])
def test_a_tracker_that_is_not_installed(
    dry: list[str], capsys: Capture, recipe: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not there
    found = refused(capsys, "build", recipe, "--out", out, "--track", "wandb", *dry)
    assert found == (
        "tracking with wandb needs a package that is not installed; "
        "run: pip install 'groundup[track]'"
    )
    assert not out.exists()


# --- comparing ------------------------------------------------------------------------------------


@pytest.fixture
def two_runs(tiny_run: Path, run_copy: Path) -> list[str]:
    """The tiny run, and a copy that was made with another learning rate."""
    path = run_copy / "recipe.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["pretrain"]["optimizer"]["lr"] = 0.0625
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return [str(tiny_run), str(run_copy)]


def test_two_runs_are_compared_on_a_page_and_in_the_terminal(
    capsys: Capture, two_runs: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "both.html"
    assert main(["compare", *two_runs, "--out", str(page)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "pretrain.optimizer.lr" in printed.out
    assert printed.out.endswith(f"page: {page}\n")
    html = page.read_text(encoding="utf-8")
    assert "pretrain.optimizer.lr" in html
    assert "0.0625" in html
    assert "<svg" in html


def test_a_comparison_as_json_is_one_line(
    capsys: Capture, two_runs: list[str], tmp_path: Path
) -> None:
    assert main(["compare", *two_runs, "--out", str(tmp_path / "both.html"), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    comparison = json.loads(line)
    assert [run["name"] for run in comparison["runs"]] == [Path(run).name for run in two_runs]
    (difference,) = [d for d in comparison["differences"] if d["key"] == "pretrain.optimizer.lr"]
    assert difference["values"][1] == "0.0625"


def test_what_cannot_be_compared_is_said_in_one_line(
    capsys: Capture, tiny_run: Path, texts: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    for runs, expected in (
        ([tiny_run], "1 run cannot be compared; give two or more run folders"),
        ([tiny_run, tiny_run], f"{tiny_run} is given twice; give each run once"),
        ([tiny_run, texts], f"{texts} is no run of groundup: it has no recipe.yaml"),
        ([tiny_run, tmp_path / "none"], "is no run of groundup"),
    ):
        assert expected in refused(capsys, "compare", *runs, "--out", page)
        assert not page.exists()
    assert main(["compare"]) == 2
