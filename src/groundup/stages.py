"""What each stage of a build reads, what decides it, and how it is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from groundup import __version__, demo
from groundup.align.preference import align
from groundup.data.adopt import adopt, prepared_source, sources_of
from groundup.data.executors import ExecutorConfig, open_executor
from groundup.data.identity import files_used, without_places
from groundup.data.manifest import DATASET, read_manifest
from groundup.data.prepare import DataConfig, prepare, source_names, suited_executor
from groundup.data.prepared import document_files
from groundup.data.reading import SourceConfig, source_fingerprint
from groundup.data.reading.config import HUB
from groundup.data.records import Record, record_from_row
from groundup.evaluate.stage import CheckSet, evaluate
from groundup.recipe import DEMO, Recipe, dump_recipe
from groundup.report.page import write_report
from groundup.runtime import (
    DataError,
    Listener,
    machine_description,
    read_json,
    to_dict,
    write_json,
)
from groundup.tokenizer import Tokenizer, open_tokenizer, train_tokenizer_on_files
from groundup.tokenizer.counts import shards_of
from groundup.tokenizer.given import GivenTokenizer
from groundup.train.context import StageContext
from groundup.train.finetune import finetune
from groundup.train.pretrain import pretrain

TRAINED = ("pretrain", "sft", "align")


class BuildView(Protocol):
    """What a stage may ask of the build that it belongs to."""

    recipe: Recipe
    out: Path
    device: torch.device

    @property
    def listener(self) -> Listener:
        """Hears how the work goes on."""

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest of a finished stage, or None."""

    def is_off(self, stage: str) -> str | None:
        """Why a stage is left out, or None."""

    def context(self, stage: str) -> StageContext:
        """What a training stage is handed."""

    def newest_model(self, before: str | None = None) -> Path:
        """The model folder of the last trained stage, or of the last one before another."""


@dataclass(frozen=True)
class Stage:
    """A node of the graph.

    settings: the part of the recipe that decides what the stage makes.
    needs: stages whose results it reads; those that are left out are passed over.
    in_place: it works in its own folder and resumes there; others appear whole or not at all.
    """

    name: str
    needs: tuple[str, ...]
    settings: Callable[[Recipe], Any]
    run: Callable[[BuildView, Path], dict[str, Any]]
    in_place: bool = False


def _run_data(build: BuildView, folder: Path) -> dict[str, Any]:
    prepared = prepared_source(build.recipe.data.sources)
    if prepared is not None:
        build.listener.message(f"data: taken from {prepared} as it was prepared there")
        mine, plain = to_dict(build.recipe.data), to_dict(DataConfig())
        unused = [key for key in mine if key != "sources" and mine[key] != plain[key]]
        if unused:
            told = ", ".join(f"data.{key}" for key in unused)
            build.listener.message(f"data: {told} of the recipe not used: it is prepared already")
        counts = adopt(prepared, folder)
    else:
        with open_executor(ExecutorConfig(name=suited_executor(build.recipe.data))) as executor:
            counts = prepare(
                build.recipe.data,
                folder,
                builtin={DEMO: lambda: demo_records(build.recipe)},
                work=build.out / "data.stages",  # beside the folder, so that it outlives a kill
                executor=executor,
                manifest_name=DATASET,
                listener=build.listener,
            )
    if not counts["documents"]["train"]["n"]:
        raise DataError(
            "the sources hold no documents, only chats or preference pairs; add text to pretrain on"
        )
    return counts


def demo_records(recipe: Recipe) -> Iterator[Record]:
    """The embedded world as records of all three kinds."""
    seed, settings = recipe.seed, recipe.demo
    rows: Iterable[tuple[str, Iterable[Any]]] = (
        ("document", ({"text": text} for text in demo.documents(seed, settings))),
        ("chat", ({"messages": chat} for chat in demo.chats(seed, settings))),
        ("pair", demo.preferences(seed, settings)),
    )
    for kind, items in rows:
        for place, row in enumerate(items):
            yield record_from_row(row, f"{DEMO}/{kind}#{place}", DEMO)


def _run_tokenizer(build: BuildView, folder: Path) -> dict[str, Any]:
    config = build.recipe.tokenizer
    if isinstance(config, GivenTokenizer):
        tokenizer = open_tokenizer(Path(config.path))
        told = f"{tokenizer.vocab_size:,} tokens, taken from {config.path} as it is"
        build.listener.message(f"tokenizer: {told}; none is trained, whatever the recipe says")
        return _save_tokenizer(tokenizer, folder)
    counts = build.out / "tokenizer.counts"  # beside the folder, so that it outlives a kill
    shards = shards_of(document_files(build.out / "data", "train"), config.counting)
    tokenizer = train_tokenizer_on_files(shards, config, folder=counts, listener=build.listener)
    saved = _save_tokenizer(tokenizer, folder)
    shutil.rmtree(counts)
    return saved


def _save_tokenizer(tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    tokenizer.save(folder)
    return {"vocab_size": tokenizer.vocab_size, "tokenizer_fingerprint": tokenizer.fingerprint}


def _run_pretrain(build: BuildView, folder: Path) -> dict[str, Any]:
    recipe = build.recipe
    data = sources_of(recipe.data)
    return pretrain(recipe.pretrain, recipe.model_config, data, build.context("pretrain"))


def _run_sft(build: BuildView, folder: Path) -> dict[str, Any]:
    assert build.recipe.sft is not None, "the stage is off without it"
    return finetune(build.recipe.sft, build.newest_model(before="sft"), build.context("sft"))


def _run_align(build: BuildView, folder: Path) -> dict[str, Any]:
    assert build.recipe.align is not None, "the stage is off without it"
    return align(build.recipe.align, build.newest_model(before="align"), build.context("align"))


def _run_evaluate(build: BuildView, folder: Path) -> dict[str, Any]:
    models = {name: build.out / name / "model" for name in TRAINED if build.is_off(name) is None}
    evaluate(
        build.recipe.evaluate,
        models,
        data=build.out / "data",
        folder=folder,
        check_set=demo_checks(build.recipe) if has_demo(build.recipe) else None,
        device=build.device,
        seed=build.recipe.seed,
        listener=build.listener,
    )
    return {}


def is_place(source: SourceConfig) -> bool:
    """Whether a source is a file or folder on this machine."""
    return source.path != DEMO and not source.path.startswith(HUB)


def has_demo(recipe: Recipe) -> bool:
    """Whether the embedded world is among the sources."""
    return any(source.path == DEMO for source in recipe.data.sources)


def demo_checks(recipe: Recipe) -> CheckSet:
    """The embedded world's checks, with the level of chance of each skill and split."""
    checks = demo.checks(recipe.seed, recipe.demo)
    groups: dict[tuple[str, str], list[demo.Check]] = {}
    for check in checks:
        groups.setdefault((check.skill, check.split), []).append(check)
    chance = {key: demo.chance_level(group) for key, group in groups.items()}
    return CheckSet(checks, chance)


def _run_report(build: BuildView, folder: Path) -> dict[str, Any]:
    report = collect_report(build)
    write_json(build.out / "report.json", report)
    write_report(build.out, report)
    return {}


def collect_report(build: BuildView) -> dict[str, Any]:
    """What RUN/report.json holds, from the manifests and the results of the evaluation."""
    results = read_json(build.out / "evaluate" / "results.json")
    names = [stage.name for stage in STAGES if stage.name != "report"]
    manifests = {name: found for name in names if (found := build.manifest(name)) is not None}
    counts = read_json(build.out / "data" / "counts.json")
    return {
        "recipe": build.recipe.name,
        "description": build.recipe.description,
        "seed": build.recipe.seed,
        "package_version": __version__,
        "machine": machine_description(),
        "seconds": {name: manifest["seconds"] for name, manifest in manifests.items()},
        "peak_memory_bytes": max(m["peak_memory_bytes"] for m in manifests.values()),
        "stages": {
            name: {**manifests[name]["counts"], **results["stages"][name]}
            for name in TRAINED
            if name in results["stages"]
        },
        "data": {
            "documents": counts["documents"]["train"]["n"],
            "bytes": counts["documents"]["train"]["n_bytes"],
            "heldout_documents": counts["documents"]["heldout"]["n"],
            "heldout_bytes": counts["documents"]["heldout"]["n_bytes"],
            "chats": counts["chats"]["train"]["n"],
            "preferences": counts["preferences"]["train"]["n"],
            "dropped": {reason: entry["n"] for reason, entry in counts["removed"].items()},
            "sources": [source.path for source in build.recipe.data.sources],
            "synthetic": has_demo(build.recipe),
        },
        "baselines": results["baselines"],
        "checks": results["checks"],
        "samples": results["samples"],
        "recipe_yaml": dump_recipe(build.recipe),
    }


def _data_settings(recipe: Recipe) -> Any:
    """The data's settings with what all files that they name hold, wherever these lie, and the
    world that is made from the seed."""
    prepared = prepared_source(recipe.data.sources)
    if prepared is not None:
        return {"prepared": read_manifest(prepared)["fingerprint"]}
    return {
        "data": without_places(to_dict(recipe.data)),
        "names": source_names(recipe.data.sources),
        "files": source_fingerprint(recipe.data.sources, builtin=(DEMO,)),
        "files_used": files_used(recipe.data),
        "demo": [recipe.seed, to_dict(recipe.demo)] if has_demo(recipe) else None,
    }


def _tokenizer_settings(recipe: Recipe) -> Any:
    """How it is trained; of one that is there what it is, wherever it lies."""
    config = recipe.tokenizer
    return {"tokenizer": config.fingerprint if isinstance(config, GivenTokenizer) else config}


STAGES: tuple[Stage, ...] = (
    Stage("data", (), _data_settings, _run_data),
    Stage("tokenizer", ("data",), _tokenizer_settings, _run_tokenizer),
    Stage(
        "pretrain",
        ("data", "tokenizer"),
        lambda recipe: {
            "seed": recipe.seed,
            "model": recipe.model_config,
            "pretrain": recipe.pretrain,
        },
        _run_pretrain,
        in_place=True,
    ),
    Stage(
        "sft",
        ("data", "tokenizer", "pretrain"),
        lambda recipe: {"seed": recipe.seed, "sft": recipe.sft},
        _run_sft,
        in_place=True,
    ),
    Stage(
        "align",
        ("data", "tokenizer", "pretrain", "sft"),
        lambda recipe: {"seed": recipe.seed, "align": recipe.align},
        _run_align,
        in_place=True,
    ),
    Stage(
        "evaluate",
        ("data", "tokenizer", *TRAINED),
        lambda recipe: {"seed": recipe.seed, "evaluate": recipe.evaluate},
        _run_evaluate,
    ),
    Stage(
        "report",
        ("data", "tokenizer", *TRAINED, "evaluate"),
        lambda recipe: {"package_version": __version__, "description": recipe.description},
        _run_report,
    ),
)
