"""The stages as a graph: fingerprint, skip what is done, resume what was cut, run what is new.

    data -> tokenizer -> pretrain -> sft -> align -> evaluate -> report

A stage turns folders into a folder. Its fingerprint is a hash of its settings and of its inputs'
fingerprints. `manifest.json`, written last, says that a stage is done and under which fingerprint;
`working.json`, written first, says what an unfinished folder was going to be.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from groundup import __version__
from groundup.data.prepare import check_outside
from groundup.recipe import Recipe, dump_recipe, load_recipe
from groundup.runtime import (
    GroundupError,
    Listener,
    StorageError,
    folder_lock,
    new_folder,
    peak_memory_bytes,
    read_json,
    remove_leftovers,
    select_device,
    stable_hash,
    to_dict,
    write_json,
    write_text,
)
from groundup.stages import STAGES, TRAINED, Stage, is_place
from groundup.tokenizer import Tokenizer
from groundup.train.context import StageContext
from groundup.train.sinks import SinkName

FORMAT = 1

Status = Literal["done", "resume", "run", "off"]


class BuildListener(Listener, Protocol):
    """A listener that also hears which stage is at what."""

    def stage(self, name: str, status: str, detail: str) -> None:
        """A stage was skipped (`done`, `off`), begins (`run`, `resume`) or is `finished`."""


@dataclass(frozen=True)
class Plan:
    """What is to be done with a stage, and why."""

    stage: str
    status: Status
    reason: str


@dataclass
class Build:
    """A recipe, a run folder, and the stages between them.

    track: where training's figures go beside metrics.jsonl.
    profile: trace a few steps of each training stage.
    """

    recipe: Recipe
    out: Path
    listener: BuildListener
    device: torch.device = field(default_factory=select_device)
    track: tuple[SinkName, ...] = ()
    profile: bool = False
    _settings: dict[str, Any] = field(default_factory=dict, repr=False)

    # --- what stands ------------------------------------------------------------------------------

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest of a finished stage, or None."""
        path = self.out / stage / "manifest.json"
        if not path.is_file():
            return None
        if not all((self.out / name).is_file() for name in _results(stage)):
            return None
        try:
            return dict(read_json(path))
        except (OSError, ValueError):
            return None

    def is_off(self, stage: str) -> str | None:
        """Why a stage is left out, or None."""
        if stage not in ("sft", "align"):
            return None
        if getattr(self.recipe, stage) is None:
            return f"the recipe has no {stage}"
        counts = self.out / "data" / "counts.json"
        kind = "chats" if stage == "sft" else "preferences"
        if counts.is_file():
            found = read_json(counts)[kind]
            if not found["train"]["n"]:
                return f"the data has no {kind}"
            if not found["heldout"]["n"]:
                return f"the data has too few {kind} to hold one out"
        return None

    def inputs(self, stage: Stage) -> list[str]:
        """The stages that this one reads."""
        return [name for name in stage.needs if self.is_off(name) is None]

    def settings(self, stage: Stage) -> Any:
        """What decides the stage, as plain values; input files are hashed once."""
        if stage.name not in self._settings:
            self._settings[stage.name] = to_dict(stage.settings(self.recipe))
        return self._settings[stage.name]

    def fingerprint(self, stage: Stage) -> str:
        """Hash of a stage's settings and of its inputs' fingerprints."""
        inputs = {name: self.fingerprint(_STAGES[name]) for name in self.inputs(stage)}
        return stable_hash([FORMAT, stage.name, self.settings(stage), inputs])

    def plan(self, stage: Stage, *, again: bool = False) -> Plan:
        """What a build would do with a stage; `again` runs it even if it is done."""
        if reason := self.is_off(stage.name):
            return Plan(stage.name, "off", reason)
        fingerprint = self.fingerprint(stage)
        manifest = self.manifest(stage.name)
        if manifest is not None:
            if again:
                return Plan(stage.name, "run", "asked for again")
            if manifest["fingerprint"] == fingerprint:
                return Plan(stage.name, "done", "nothing has changed")
            return Plan(stage.name, "run", self._what_changed(stage, manifest))
        working = self.out / stage.name / "working.json"
        if stage.in_place and working.is_file():
            otherwise = f"delete {working.parent} to run the stage again"
            if _read(working, otherwise).get("fingerprint") == fingerprint:
                return Plan(stage.name, "resume", "it was cut short")
            return Plan(stage.name, "run", "it was cut short, under other settings")
        return Plan(stage.name, "run", "not done yet")

    def _what_changed(self, stage: Stage, manifest: Mapping[str, Any]) -> str:
        differences = list(_differences(manifest["settings"], self.settings(stage)))
        if differences:
            key, old, new = differences[0]
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            return f"{key or 'settings'} was {old}, is {new}{more}"
        return "what it reads has changed"

    # --- doing it ---------------------------------------------------------------------------------

    def run(self, stages: Sequence[str], *, again: bool = False) -> None:
        """Bring the named stages up to date, in order.

        Raises GroundupError if one of them reads a stage that is not done, or if the folder holds
        something else.
        """
        self._claim()
        with folder_lock(self.out):
            write_text(self.out / "recipe.yaml", dump_recipe(self.recipe))
            remove_leftovers(self.out)
            for name in stages:
                self._run_stage(_STAGES[name], again=again)

    def _claim(self) -> None:
        """Make the run folder this recipe's, or refuse."""
        path = self.out / "run.json"
        if path.is_file():
            before = _read(path, "use another --out")
            if before["recipe"] != self.recipe.name:
                raise GroundupError(
                    f"{self.out} was built with the recipe {before['recipe']}, not "
                    f"{self.recipe.name}; use another --out"
                )
            return
        if self.out.is_dir():
            remove_leftovers(self.out)  # a kill may have come while run.json was being written
        for source in self.recipe.data.sources:
            if is_place(source):
                check_outside(self.out, Path(source.path))
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise GroundupError(
                f"{self.out} exists and is no run of groundup; use another --out, or empty it"
            )
        write_json(path, {"recipe": self.recipe.name, "package_version": __version__})

    def _run_stage(self, stage: Stage, *, again: bool) -> None:
        plan = self.plan(stage, again=again)
        if plan.status in ("done", "off"):
            if plan.status == "off":  # what an earlier recipe made here is no result of this one
                (self.out / stage.name / "manifest.json").unlink(missing_ok=True)
            self.listener.stage(stage.name, plan.status, plan.reason)
            return
        for name in self.inputs(stage):
            if self.plan(_STAGES[name]).status != "done":
                raise GroundupError(
                    f"{stage.name} needs {name}, which is not done; run groundup build, or "
                    f"groundup {name} {self.out} first"
                )
        self.listener.stage(stage.name, plan.status, plan.reason)
        started = time.perf_counter()
        folder = self.out / stage.name

        def manifest(counts: dict[str, Any]) -> dict[str, Any]:
            seconds = time.perf_counter() - started + counts.pop("earlier_seconds", 0.0)
            self.listener.stage(stage.name, "finished", f"{seconds:.1f} s")
            return {
                "stage": stage.name,
                "fingerprint": self.fingerprint(stage),
                "package_version": __version__,
                "settings": self.settings(stage),
                "inputs": {name: self.fingerprint(_STAGES[name]) for name in self.inputs(stage)},
                "counts": counts,
                "seconds": round(seconds, 3),
                "peak_memory_bytes": peak_memory_bytes(),
            }

        if stage.in_place:
            if plan.status == "run" and folder.exists():
                (folder / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(folder)
            remove_leftovers(folder)
            remove_leftovers(folder / "tokens")
            write_json(folder / "working.json", {"fingerprint": self.fingerprint(stage)})
            counts = stage.run(self, folder)
            write_json(folder / "manifest.json", manifest(counts))
            return
        with new_folder(folder) as temporary:
            counts = stage.run(self, temporary)
            write_json(temporary / "manifest.json", manifest(counts))

    def context(self, stage: str) -> StageContext:
        """What a training stage is handed."""
        data = self.manifest("data")
        assert data is not None, "a stage runs after those that it reads"
        return StageContext(
            folder=self.out / stage,
            data=self.out / "data",
            tokenizer=Tokenizer.load(self.out / "tokenizer"),
            seed=self.recipe.seed,
            device=self.device,
            listener=self.listener,
            identity={
                "fingerprint": self.fingerprint(_STAGES[stage]),
                "dataset": data["counts"]["fingerprint"],
            },
            track=self.track,
            profile=self.profile,
        )

    def newest_model(self, before: str | None = None) -> Path:
        """The model folder of the last trained stage, or of the last one before another."""
        stages = TRAINED[: TRAINED.index(before)] if before else TRAINED
        done = [name for name in stages if self.is_off(name) is None]
        return self.out / done[-1] / "model"


_STAGES: Mapping[str, Stage] = {stage.name: stage for stage in STAGES}
STAGE_NAMES = tuple(_STAGES)


def _read(path: Path, otherwise: str) -> dict[str, Any]:
    """A JSON object that a build cannot go on without.

    Raises StorageError if it is damaged.
    """
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{path} is damaged; put a copy of it back, or {otherwise}") from error


def _results(stage: str) -> list[str]:
    """Files without which a stage is not done, whatever its manifest says."""
    if stage in TRAINED:
        return [f"{stage}/model/model.safetensors"]
    return ["report.html", "report.json"] if stage == "report" else []


def open_run(out: Path, listener: BuildListener, device: torch.device | None = None) -> Build:
    """A build that goes on in an existing run folder, by the recipe that is written there.

    Raises GroundupError if the folder is no run.
    """
    if not (out / "run.json").is_file() or not (out / "recipe.yaml").is_file():
        raise GroundupError(
            f"{out} is no run of groundup; make one with groundup build RECIPE --out"
        )
    recipe = load_recipe(str(out / "recipe.yaml"))
    return Build(recipe, out, listener, device or select_device())


def find_model(path: Path) -> Path:
    """The model folder that `path` means: itself, or the last one that a run has finished.

    Raises GroundupError if there is none.
    """
    if (path / "config.json").is_file():
        return path
    for stage in reversed(TRAINED):
        if _is_current(path, stage) and (path / stage / "model" / "config.json").is_file():
            return path / stage / "model"
    raise GroundupError(
        f"{path} is no model folder and no run with a trained model; "
        "give the folder that holds config.json, or a run"
    )


def _is_current(run: Path, stage: str) -> bool:
    """Whether a stage is finished, and so is, unchanged since, all that it was made from."""
    try:
        inputs = read_json(run / stage / "manifest.json")["inputs"]
        return all(
            read_json(run / name / "manifest.json")["fingerprint"] == fingerprint
            and _is_current(run, name)
            for name, fingerprint in inputs.items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            inner = f"{key}.{name}" if key else name
            yield from _differences(before.get(name), now.get(name), inner)
    elif before != now:
        yield key, before, now
