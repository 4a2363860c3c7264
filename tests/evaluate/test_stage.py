from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.data.prepared import read_chats, read_texts
from groundup.evaluate.likelihood import score_documents
from groundup.evaluate.stage import N_SAMPLES, EvaluateConfig, evaluate
from groundup.export import load_model
from groundup.recipe import Recipe
from groundup.stages import demo_checks
from groundup.tokenizer import Tokenizer
from groundup.train.context import take_bytes

from ..tiny_build import Recorder


@pytest.fixture(scope="module")
def results(tiny_run: Path) -> dict[str, Any]:
    return json.loads((tiny_run / "evaluate" / "results.json").read_text())


def test_every_stage_is_scored_on_the_same_text(
    results: dict[str, Any], tiny_run: Path, tiny: Recipe
) -> None:
    heldout = list(take_bytes(read_texts(tiny_run / "data", "heldout"), 1500))
    assert list(results["stages"]) == ["pretrain", "sft", "align"]
    for stage, figures in results["stages"].items():
        folder = tiny_run / stage / "model"
        found = score_documents(load_model(folder), Tokenizer.load(folder), heldout).bits_per_byte
        assert figures["bits_per_byte"]["value"] == pytest.approx(found.value, rel=1e-6)
        lo, hi = figures["bits_per_byte"]["ci95"]
        assert lo < found.value < hi


def test_checks_come_for_every_stage_with_all_that_a_score_needs(results: dict[str, Any]) -> None:
    keys = {"name", "split", "stage", "score", "ci95", "chance", "n"}
    assert {row["stage"] for row in results["checks"]} == {"pretrain", "sft", "align"}
    for row in results["checks"]:
        assert set(row) == keys
        assert 0 <= row["ci95"][0] <= row["score"] <= row["ci95"][1] <= 1
        assert 0 <= row["chance"] <= 1
        assert row["n"] > 0


def test_checks_that_no_model_can_hold_are_not_left_out(
    results: dict[str, Any], tiny: Recipe
) -> None:
    """Every skill and split of the demo has a row, with as many checks as were drawn."""
    drawn: dict[tuple[str, str], int] = {}
    for check in demo_checks(tiny).checks:
        drawn[check.skill, check.split] = drawn.get((check.skill, check.split), 0) + 1
    for stage in ("pretrain", "sft", "align"):
        rows = [row for row in results["checks"] if row["stage"] == stage]
        assert {(row["name"], row["split"]): row["n"] for row in rows} == drawn


def test_samples_are_of_held_out_data(results: dict[str, Any], tiny_run: Path) -> None:
    texts = list(read_texts(tiny_run / "data", "heldout"))
    for sample in results["samples"]["pretrain"]:
        assert any(text.startswith(sample["prompt"]) for text in texts)
    questions = {chat.messages[0].content for chat in read_chats(tiny_run / "data", "heldout")}
    for stage in ("sft", "align"):
        prompts = [sample["prompt"] for sample in results["samples"][stage]]
        assert 0 < len(prompts) <= N_SAMPLES
        assert set(prompts) <= questions


def test_baselines_stand_beside_the_models(results: dict[str, Any]) -> None:
    assert results["baselines"]["xz_bits_per_byte"] > 0
    assert results["baselines"]["ngram_bits_per_byte"] > 0


def run(tiny_run: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return evaluate(
        EvaluateConfig(heldout_bytes=500, baselines=False, **changes),
        {"sft": tiny_run / "sft" / "model"},
        data=tiny_run / "data",
        folder=folder,
        check_set=None,
        device=torch.device("cpu"),
        seed=1,
        listener=Recorder(),
    )


def test_without_checks_and_baselines_there_are_none(tiny_run: Path, tmp_path: Path) -> None:
    found = run(tiny_run, tmp_path)
    assert found["checks"] == []
    assert found["baselines"] == {}
    assert json.loads((tmp_path / "results.json").read_text()) == found


def test_the_same_seed_gives_the_same_results(tiny_run: Path, tmp_path: Path) -> None:
    assert run(tiny_run, tmp_path / "a") == run(tiny_run, tmp_path / "b")


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="heldout_bytes=0 must be at least 1"):
        EvaluateConfig(heldout_bytes=0)
    with pytest.raises(ValueError, match="max_tokens=0 must be at least 1"):
        EvaluateConfig(max_tokens=0)
    with pytest.raises(ValueError, match=r"temperature=-1\.0 must not be negative"):
        EvaluateConfig(temperature=-1)
