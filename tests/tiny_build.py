"""A whole build small enough to run in seconds: its data, its recipe and who listens to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import yaml

from groundup.pipeline import Build
from groundup.recipe import Recipe, build_recipe

COLOURS = ("red", "blue", "green", "white", "black", "brown")
THINGS = ("fox", "cat", "dog", "hen", "owl", "cow", "pig", "elk")

TINY: Mapping[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "data": {"sources": ["demo"], "heldout_fraction": 0.1},
    "demo": {"n_documents": 90, "n_chats": 0, "n_preferences": 0, "n_checks": 2},
    "tokenizer": {"vocab_size": 320},
    "model": {"max_seq_len": 64, "d_model": 32, "n_layers": 2, "n_heads": 2},
    "pretrain": {
        "tokens": 2048,
        "batch_tokens": 256,
        "heldout_bytes": 1000,
        "loop": {"log_every": 1, "eval_every": 4, "checkpoint_every": 3},
    },
    "sft": {
        "epochs": 2,
        "batch_tokens": 256,
        "loop": {"log_every": 1, "eval_every": 4, "checkpoint_every": 2},
    },
    "align": {
        "epochs": 1.5,
        "batch_pairs": 4,
        "loop": {"log_every": 1, "eval_every": 3, "checkpoint_every": 2},
    },
    "evaluate": {"heldout_bytes": 1500, "max_tokens": 6},
}


class Recorder:
    """A build's listener that keeps what it hears."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str, str]] = []
        self.steps: list[tuple[str, int, dict[str, float]]] = []
        self.messages: list[str] = []

    def stage(self, name: str, status: str, detail: str) -> None:
        self.stages.append((name, status, detail))

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        self.steps.append((label, done, dict(figures)))

    def message(self, text: str) -> None:
        self.messages.append(text)

    def statuses(self) -> dict[str, str]:
        """The first that was heard of each stage."""
        return {name: status for name, status, _ in reversed(self.stages)}


class SignalAt(Recorder):
    """Sends this process a signal when the work called `label` has done `step` steps."""

    def __init__(self, label: str, step: int, number: signal.Signals = signal.SIGINT) -> None:
        super().__init__()
        self.label, self.step, self.number = label, step, number

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        super().progress(label, done, total, figures)
        if (label, done) == (self.label, self.step):
            self.step = -1
            os.kill(os.getpid(), self.number)


def write_rows(path: Path, rows: list[Any]) -> Path:
    """Rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def short_chats(n: int = 40) -> list[dict[str, Any]]:
    """Chats of a few words, all different."""
    pairs = [(colour, thing) for thing in THINGS for colour in COLOURS][:n]
    return [
        {
            "messages": [
                {"role": "user", "content": f"A {colour} {thing}?"},
                {"role": "assistant", "content": f"The {thing} is {colour}."},
            ]
        }
        for colour, thing in pairs
    ]


def short_pairs(n: int = 24) -> list[dict[str, Any]]:
    """Preference pairs of a few words, all different."""
    pairs = [(colour, thing) for colour in COLOURS for thing in THINGS][:n]
    return [
        {"prompt": f"Say {thing}, {colour}.", "chosen": f"Yes, {thing}!", "rejected": "No."}
        for colour, thing in pairs
    ]


def write_talk(folder: Path) -> Path:
    """A folder with the short chats and pairs."""
    write_rows(folder / "chats.jsonl", short_chats())
    write_rows(folder / "pairs.jsonl", short_pairs())
    return folder


def tiny_values(*sources: Path, **parts: Any) -> dict[str, Any]:
    """The values of the tiny recipe, with more sources and with parts replaced key by key."""
    values = deepcopy(dict(TINY))
    values["data"]["sources"] += [str(source) for source in sources]
    return merge(values, parts)


def merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` laid over `values`, mapping by mapping."""
    for key, change in changes.items():
        if isinstance(change, Mapping) and isinstance(values.get(key), dict):
            values[key] = merge(dict(values[key]), change)
        else:
            values[key] = change
    return values


def tiny_recipe(*sources: Path, **parts: Any) -> Recipe:
    return build_recipe(tiny_values(*sources, **parts))


def write_recipe(path: Path, values: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    return path


def tiny_build(recipe: Recipe, out: Path, listener: Recorder | None = None) -> Build:
    return Build(recipe, out, listener or Recorder(), torch.device("cpu"))


def copy_run(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def model_bytes(run: Path) -> dict[str, bytes]:
    """The weights of every trained stage of a run."""
    stages = ("pretrain", "sft", "align")
    files = {stage: run / stage / "model" / "model.safetensors" for stage in stages}
    return {stage: file.read_bytes() for stage, file in files.items() if file.is_file()}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
