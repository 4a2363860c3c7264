from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from groundup.cli import main
from groundup.export import load_model
from groundup.generate import SamplingConfig, stream_tokens
from groundup.pipeline import STAGE_NAMES, Build, find_model, open_run
from groundup.recipe import Recipe, dump_recipe
from groundup.runtime import GroundupError, StorageError, folder_lock
from groundup.stages import STAGES
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import render_chat

from .tiny_build import (
    Recorder,
    copy_run,
    merge,
    model_bytes,
    tiny_build,
    tiny_recipe,
    tiny_values,
    tree,
    write_recipe,
    write_rows,
    write_talk,
)

STAGE = {stage.name: stage for stage in STAGES}
CHEAP = {
    "sft": {"epochs": 0.5},
    "align": {"epochs": 0.5},
    "evaluate": {"baselines": False, "heldout_bytes": 300},
    "demo": {"n_checks": 0},
}


def rebuild(recipe: Recipe, out: Path, stages: Any = STAGE_NAMES) -> Recorder:
    listener = Recorder()
    tiny_build(recipe, out, listener).run(stages)
    return listener


# --- skipping and running again -------------------------------------------------------------------


def test_a_second_build_skips_everything(tiny: Recipe, run_copy: Path) -> None:
    before = tree(run_copy)
    listener = rebuild(tiny, run_copy)
    assert listener.stages == [(name, "done", "nothing has changed") for name in STAGE_NAMES]
    assert tree(run_copy) == before


def test_a_change_runs_what_depends_on_it_and_says_which_key(
    talk_folder: Path, run_copy: Path
) -> None:
    changed = tiny_recipe(talk_folder, sft={"epochs": 1})
    listener = rebuild(changed, run_copy)
    assert listener.statuses() == {
        "data": "done",
        "tokenizer": "done",
        "pretrain": "done",
        "sft": "run",
        "align": "run",
        "evaluate": "run",
        "report": "run",
    }
    details = {name: detail for name, status, detail in listener.stages if status == "run"}
    assert details["sft"] == "sft.epochs was 2.0, is 1.0"
    assert details["align"] == "what it reads has changed"


def test_a_new_seed_runs_everything_that_draws(talk_folder: Path, run_copy: Path) -> None:
    build = tiny_build(tiny_recipe(talk_folder, seed=4), run_copy)
    plans = {stage.name: build.plan(stage) for stage in STAGES}
    assert plans["pretrain"].reason == "seed was 3, is 4"
    assert {plan.status for plan in plans.values()} == {"run"}


def test_a_file_that_changed_runs_the_data_again(tmp_path: Path, tiny_run: Path) -> None:
    talk = write_talk(tmp_path / "talk")
    recipe = tiny_recipe(talk)
    build = tiny_build(recipe, tmp_path / "run")
    before = build.fingerprint(STAGE["data"])
    with (talk / "chats.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "x"}]}\n')
    assert tiny_build(recipe, tmp_path / "run").fingerprint(STAGE["data"]) != before


def test_a_finished_stage_whose_model_is_gone_is_done_again(tiny: Recipe, run_copy: Path) -> None:
    (run_copy / "align" / "model" / "model.safetensors").unlink()
    build = tiny_build(tiny, run_copy)
    assert build.plan(STAGE["align"]).status == "resume"
    build.run(["align"])
    assert tiny_build(tiny, run_copy).plan(STAGE["align"]).status == "done"


def test_again_runs_a_stage_that_is_done_to_the_same_bytes(
    tiny: Recipe, tiny_run: Path, run_copy: Path
) -> None:
    listener = Recorder()
    tiny_build(tiny, run_copy, listener).run(["align"], again=True)
    assert listener.stages[0] == ("align", "run", "asked for again")
    assert model_bytes(run_copy) == model_bytes(tiny_run)


def test_manifests_say_what_was_made_of_what(tiny: Recipe, tiny_run: Path) -> None:
    build = tiny_build(tiny, tiny_run)
    for stage in STAGES:
        manifest = build.manifest(stage.name)
        assert manifest is not None
        assert manifest["fingerprint"] == build.fingerprint(stage)
        assert manifest["settings"] == build.settings(stage)
        assert list(manifest["inputs"]) == build.inputs(stage)
        assert manifest["seconds"] >= 0
        assert manifest["peak_memory_bytes"] > 1 << 20
    sft = build.manifest("sft")
    assert sft is not None
    assert sft["counts"]["steps"] > 0


def test_the_run_holds_the_whole_recipe(tiny: Recipe, tiny_run: Path) -> None:
    assert (tiny_run / "recipe.yaml").read_text() == dump_recipe(tiny)
    assert open_run(tiny_run, Recorder()).recipe == tiny


# --- what is left out -----------------------------------------------------------------------------


def test_stages_that_the_recipe_leaves_out_are_off(tmp_path: Path, talk_folder: Path) -> None:
    recipe = tiny_recipe(talk_folder, **merge(dict(CHEAP), {"sft": None, "align": None}))
    listener = rebuild(recipe, tmp_path / "run")
    assert ("sft", "off", "the recipe has no sft") in listener.stages
    assert ("align", "off", "the recipe has no align") in listener.stages
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert list(report["stages"]) == ["pretrain"]
    assert find_model(tmp_path / "run") == tmp_path / "run" / "pretrain" / "model"


def test_stages_that_the_data_cannot_feed_are_off(tmp_path: Path) -> None:
    listener = rebuild(tiny_recipe(**CHEAP), tmp_path / "run")
    assert ("sft", "off", "the data has no chats") in listener.stages
    assert ("align", "off", "the data has no preferences") in listener.stages


def test_a_single_chat_is_too_few_to_hold_one_out(tmp_path: Path) -> None:
    chat = {"messages": [{"role": r, "content": "hi"} for r in ("user", "assistant")]}
    path = write_rows(tmp_path / "one.jsonl", [chat])
    listener = rebuild(tiny_recipe(path, **CHEAP), tmp_path / "run")
    assert ("sft", "off", "the data has too few chats to hold one out") in listener.stages


def test_align_goes_on_from_pretraining_where_there_is_no_sft(
    tmp_path: Path, talk_folder: Path
) -> None:
    recipe = tiny_recipe(talk_folder, **merge(dict(CHEAP), {"sft": None}))
    listener = rebuild(recipe, tmp_path / "run")
    assert listener.statuses()["align"] == "run"
    manifest = json.loads((tmp_path / "run" / "align" / "manifest.json").read_text())
    assert list(manifest["inputs"]) == ["data", "tokenizer", "pretrain"]


def test_what_an_earlier_recipe_made_is_no_result_of_this_one(
    talk_folder: Path, run_copy: Path
) -> None:
    """Once sft and align are left out, the model to talk to is the pretrained one."""
    recipe = tiny_recipe(talk_folder, sft=None, align=None)
    rebuild(recipe, run_copy)
    assert find_model(run_copy) == run_copy / "pretrain" / "model"
    report = json.loads((run_copy / "report.json").read_text())
    assert "sft" not in report["seconds"]


# --- one stage, a plan ----------------------------------------------------------------------------


def test_one_stage_runs_alone_and_needs_what_stands_before(tiny: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    rebuild(tiny, out, ["data"])
    assert not (out / "tokenizer").exists()
    with pytest.raises(GroundupError) as caught:
        rebuild(tiny, out, ["sft"])
    assert str(caught.value) == (
        f"sft needs tokenizer, which is not done; run groundup build, or "
        f"groundup tokenizer {out} first"
    )
    assert not (out / "sft").exists()


def test_the_stage_commands_work_on_a_run(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_run(tiny_run, tmp_path / "run")
    shutil.rmtree(run / "align")
    assert main(["align", str(run), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["status"] for event in events if event["event"] == "stage"] == ["run", "finished"]
    assert model_bytes(run) == model_bytes(tiny_run)
    assert main(["pretrain", str(run)]) == 0
    assert "pretrain: done before (nothing has changed)" in capsys.readouterr().out


def test_dry_run_prints_the_plan_and_writes_nothing(
    talk_folder: Path, run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / "tiny.yaml", tiny_values(talk_folder))
    before = tree(tmp_path)
    arguments = ["build", str(recipe), "--out", str(run_copy), "--dry-run"]
    assert main([*arguments, "--set", "sft.epochs=1"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [(name, status) for name, status, _ in rows] == [
        ("data", "done"),
        ("tokenizer", "done"),
        ("pretrain", "done"),
        ("sft", "run"),
        ("align", "run"),
        ("evaluate", "run"),
        ("report", "run"),
    ]
    assert rows[3][2] == "sft.epochs was 2.0, is 1.0"
    assert main([*arguments[:3], str(tmp_path / "new"), "--dry-run", "--json"]) == 0
    plans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [plan["stage"] for plan in plans] == list(STAGE_NAMES)
    assert {plan["status"] for plan in plans} == {"run"}
    assert tree(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_from_runs_a_stage_and_those_after_it_again(
    talk_folder: Path, tiny_run: Path, run_copy: Path, tmp_path: Path, capsys: Any
) -> None:
    recipe = write_recipe(tmp_path / "tiny.yaml", tiny_values(talk_folder))
    arguments = ["build", str(recipe), "--out", str(run_copy), "--from", "align", "--json"]
    assert main(arguments) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    seen = [(e["stage"], e["status"]) for e in events if e["event"] == "stage"]
    assert [one for one in seen if one[1] != "finished"] == [
        ("data", "done"),
        ("tokenizer", "done"),
        ("pretrain", "done"),
        ("sft", "done"),
        ("align", "run"),
        ("evaluate", "run"),
        ("report", "run"),
    ]
    assert model_bytes(run_copy) == model_bytes(tiny_run)


# --- whose folder it is ---------------------------------------------------------------------------


def test_two_builds_cannot_work_in_one_folder(tiny: Recipe, run_copy: Path) -> None:
    with folder_lock(run_copy), pytest.raises(StorageError, match="another groundup is working"):
        rebuild(tiny, run_copy)


def test_a_run_whose_first_file_was_cut_short_is_still_its_own(
    tiny: Recipe, tmp_path: Path
) -> None:
    """Killed while writing run.json, the folder holds nothing but a temporary file."""
    out = tmp_path / "run"
    out.mkdir()
    (out / ".run.json.123.tmp").write_text("{")
    listener = rebuild(tiny, out, ["data"])
    assert listener.statuses() == {"data": "run"}


def test_what_a_killed_build_left_is_cleared(tiny: Recipe, run_copy: Path) -> None:
    (run_copy / "align" / "manifest.json").unlink()
    for name in (".tokens.a.tmp", "align/.model.b.tmp", "align/tokens/.train.c.tmp"):
        (run_copy / name).mkdir(parents=True)
    rebuild(tiny, run_copy)
    assert list(run_copy.rglob("*.tmp")) == []


# --- the report -----------------------------------------------------------------------------------


def test_the_report_has_every_figure(tiny: Recipe, tiny_run: Path) -> None:
    report = json.loads((tiny_run / "report.json").read_text())
    assert report["recipe"] == "tiny"
    assert report["seed"] == 3
    assert report["package_version"]
    assert report["machine"]["cpus"] == os.cpu_count()
    assert set(report["seconds"]) == set(STAGE_NAMES) - {"report"}
    assert report["peak_memory_bytes"] > 1 << 20
    assert list(report["stages"]) == ["pretrain", "sft", "align"]
    for figures in report["stages"].values():
        assert figures["tokens"] > 0
        assert figures["tokens_per_s"] > 0
        bits = figures["bits_per_byte"]
        assert bits["ci95"][0] < bits["value"] < bits["ci95"][1]
    assert report["baselines"]["xz_bits_per_byte"] > 0
    assert report["baselines"]["ngram_bits_per_byte"] > 0
    for row in report["checks"]:
        assert {"name", "split", "stage", "score", "ci95", "chance", "n"} <= set(row)
    assert report["data"]["synthetic"] is True
    html = (tiny_run / "report.html").read_text(encoding="utf-8")
    assert "synthetic" in html.lower()


# --- other people's software ----------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["pretrain", "sft"])
@torch.no_grad()
def test_transformers_loads_what_was_built(tiny_run: Path, stage: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny_run / stage / "model"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ours, tokenizer = load_model(folder), Tokenizer.load(folder)
    text = "Mia went to the river. 'How are you?' said the fox."
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(text)]
    assert their_tokenizer.encode(text, add_special_tokens=False) == ids[1:]
    batch = torch.tensor([ids])
    np.testing.assert_allclose(ours(batch).numpy(), theirs(batch).logits.numpy(), atol=1e-4)
    prompt = ids[:5]
    greedy = list(
        stream_tokens(
            ours, prompt, stop_ids=(), config=SamplingConfig(temperature=0.0, max_tokens=20)
        )
    )
    theirs.generation_config.eos_token_id = None  # neither stops, so that all twenty count
    generated = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 5, dtype=torch.long),
        max_new_tokens=20,
        do_sample=False,
    )
    assert generated[0, 5:].tolist() == greedy
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "A fox?\n\nOr an owl?"},
        {"role": "assistant", "content": " An owl."},
        {"role": "user", "content": "Why?"},
    ]
    templated = their_tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert templated == render_chat(tokenizer, messages, add_generation_prompt=True).ids


# --- killed at any moment -------------------------------------------------------------------------


def _files(run: Path) -> int:
    """How far a build has come, as the number of files it ever made grows."""
    return sum(1 for _ in run.rglob("*")) if run.exists() else 0


def _build_process(recipe: Path, run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "groundup", "build", str(recipe), "--out", str(run), "--quiet"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Whether the condition came before the process ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise AssertionError("the build neither went on nor ended")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_at_any_moment_nothing_is_lost(
    talk_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """At four moments, drawn from all over the build; left to end, the bytes of a whole one."""
    rng = Random(7)
    recipe = write_recipe(tmp_path / "tiny.yaml", tiny_values(talk_folder))
    run = tmp_path / "run"
    moments = [
        "run.json",
        "data/manifest.json",
        "tokenizer/manifest.json",
        "pretrain/tokens/train-demo",
        *(f"pretrain/checkpoints/step-{step:08d}" for step in (3, 6)),
        "pretrain/model",
        *(f"sft/checkpoints/step-{step:08d}" for step in (2, 6, 10, 14)),
        *(f"align/checkpoints/step-{step:08d}" for step in (2, 4, 6)),
        "align/manifest.json",
    ]
    for place in sorted(rng.sample(range(len(moments)), 4)):
        process = _build_process(recipe, run)
        came = _wait_for((run / moments[place]).exists, process)
        time.sleep(rng.random() * 0.05)
        process.kill()
        _, errors = process.communicate()
        assert came, f"{moments[place]} never came: {errors.decode()}"
    assert main(["build", str(recipe), "--out", str(run), "--quiet"]) == 0
    assert model_bytes(run) == model_bytes(tiny_run)
    assert list(run.rglob("*.tmp")) == []
    report = json.loads((run / "report.json").read_text())
    whole = json.loads((tiny_run / "report.json").read_text())
    assert report["checks"] == whole["checks"]
    for stage, figures in whole["stages"].items():
        for key in ("steps", "tokens", "bits_per_byte", "best_step", "best_value", "final_loss"):
            assert report["stages"][stage][key] == figures[key]


def test_listening_is_all_that_a_build_asks_of_its_caller(tiny: Recipe, tmp_path: Path) -> None:
    """No print, no exit: what happens comes through the listener."""
    listener = Recorder()
    Build(tiny, tmp_path / "run", listener, torch.device("cpu")).run(["data"])
    assert [status for _, status, _ in listener.stages] == ["run", "finished"]
    assert _files(tmp_path / "run") > 3
