"""Kill training a hundred times with SIGKILL, and compare what it ends in with one never killed.

    python bench/kill.py --json FILE [--kills 100] [--set KEY=VALUE ...]
    python bench/kill.py --json FILE --whole [--kills 10]

Two builds of `quickstart`, cut down, with the same settings. One runs through. In the other every
process that pretrains, fine-tunes or teaches preferences is killed at a moment drawn at random
(`draw_aims`) and the next one goes on. In the end both must have the same `model.safetensors`, the
same metrics, line by line but for what the clock decides, and the same counts; and each process
must have gone on from the newest checkpoint that stood when the one before it died.

With `--whole` the kills fall on random times of a whole build, data and evaluation included.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Literal

from groundup.runtime import (
    CheckpointError,
    hash_file,
    machine_description,
    read_json,
    write_json,
)
from groundup.train.checkpoint import read_checkpoint

# Steps of some hundredths of a second, checkpoints and evaluations every few of them: most of a
# process's life is its start.
SMALL = (
    "model.d_model=64", "model.n_layers=2", "model.n_heads=2",
    "demo.n_documents=600", "demo.n_chats=400", "demo.n_preferences=200", "demo.n_checks=4",
    "pretrain.tokens=60000", "pretrain.batch_tokens=512", "pretrain.heldout_bytes=20000",
    "pretrain.loop.log_every=1", "pretrain.loop.eval_every=10", "pretrain.loop.checkpoint_every=4",
    "sft.epochs=1", "sft.batch_tokens=512",
    "sft.loop.log_every=1", "sft.loop.eval_every=7", "sft.loop.checkpoint_every=3",
    "align.epochs=1.5", "align.batch_pairs=4",
    "align.loop.log_every=1", "align.loop.eval_every=6", "align.loop.checkpoint_every=3",
)  # fmt: skip
# For --whole: a build of a few minutes, with checkpoints often enough that most kills land between.
SMALL_WHOLE = (
    "demo.n_documents=2000", "demo.n_chats=600", "demo.n_preferences=200", "demo.n_checks=10",
    "pretrain.tokens=200000", "pretrain.loop.checkpoint_every=15", "pretrain.loop.eval_every=40",
    "sft.loop.checkpoint_every=10", "sft.loop.eval_every=20", "sft.epochs=1",
    "align.loop.checkpoint_every=3", "align.loop.eval_every=6",
)  # fmt: skip
SHARES = {"pretrain": 0.4, "sft": 0.3, "align": 0.3}  # of the kills
# Figures that no two runs share; all others must agree to the last digit.
OF_THE_CLOCK = {
    "seconds", "tokens_per_s", "data_wait_s", "flops_per_s", "of_peak", "memory_bytes",
}  # fmt: skip
WRITE_S = 0.15  # about what a checkpoint takes here
START_S = 1.5  # about what a stage takes to load, restore and begin
POLL_S = 0.002
PATIENCE_S = 1200.0

AimKind = Literal["step", "write", "evaluation", "start"]
AIMS: dict[AimKind, float] = {"step": 0.4, "write": 0.3, "evaluation": 0.2, "start": 0.1}


# --- a process and what it says -------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """One line of `--json`, and when it came, in seconds since the process was started."""

    seconds: float
    values: dict[str, Any]

    @property
    def kind(self) -> str:
        """`stage`, `progress` or `message`."""
        return str(self.values["event"])


class Watched:
    """A groundup command in a process of its own, on one thread, and all that it has said.

    wrapper: a command that runs it, such as one that takes rights away.
    """

    def __init__(self, arguments: Sequence[str], *, wrapper: Sequence[str] = ()) -> None:
        self.events: list[Event] = []
        self.errors = ""
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "groundup", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
        )
        self._readers = [Thread(target=self._read), Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                values = json.loads(line)
            except json.JSONDecodeError:  # cut short by a kill
                continue
            self.events.append(Event(time.perf_counter() - self.started, values))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def progress(self, stage: str) -> list[Event]:
        """Its reports of the stage's steps; a step that is evaluated is reported twice."""
        events = [event for event in self.events if event.kind == "progress"]
        return [event for event in events if event.values["label"] == stage]

    def step(self, stage: str) -> int:
        """The last step that it reported of a stage; 0 before the first."""
        progress = self.progress(stage)
        return int(progress[-1].values["done"]) if progress else 0

    def messages(self) -> list[str]:
        """Its lines worth reading."""
        return [str(event.values["text"]) for event in self.events if event.kind == "message"]

    def went_on_from(self, stage: str) -> int | None:
        """The step of the checkpoint that it resumed from, as it says; None if it says nothing."""
        for text in self.messages():
            if found := re.match(rf"{stage}: going on from step (\d+) of", text):
                return int(found[1])
        return None

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether the condition came before the process ended."""
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline:
            if condition():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(POLL_S)
        self.process.send_signal(signal.SIGABRT)  # makes it say where it stands
        self.end()
        raise TimeoutError(f"waited {PATIENCE_S:.0f} s in vain; it stood at\n{self.errors}")

    def kill(self) -> bool:
        """Send SIGKILL; whether that is what it died of."""
        self.process.kill()
        return self.end() == -signal.SIGKILL

    def end(self) -> int:
        """Wait for its end and all it said; its exit code, or minus the signal it died of."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join()
        return code


def run_stage(stage: str, run: Path) -> Watched:
    """Run one stage of a run to its end."""
    watched = Watched([stage, str(run), "--json", "--device", "cpu"])
    if watched.end() != 0:
        raise RuntimeError(f"{stage} failed: {watched.errors}")
    return watched


def begin_run(run: Path, sets: Sequence[str]) -> None:
    """Make a run folder with its data and its tokenizer."""
    command = ["build", "quickstart", "--out", str(run), "--only", "data", "--json"]
    watched = Watched([*command, *(part for pair in sets for part in ("--set", pair))])
    if watched.end() != 0:
        raise RuntimeError(f"data failed: {watched.errors}")
    run_stage("tokenizer", run)


def copy_without(run: Path, to: Path, *stages: str) -> Path:
    """Copy a run, but for the named stages."""
    shutil.copytree(run, to, ignore=lambda folder, _: stages if Path(folder) == run else ())
    return to


# --- what stands on disk --------------------------------------------------------------------------


def newest_checkpoint(folder: Path) -> int | None:
    """The step of a stage's newest checkpoint that took its name."""
    return max((step_of(path) for path in checkpoints(folder)), default=None)


def step_of(checkpoint: Path) -> int:
    """
    >>> step_of(Path("step-00000012"))
    12
    """
    return int(checkpoint.name.removeprefix("step-"))


def leftovers(folder: Path) -> set[Path]:
    """What a stage that died has left half written, or half removed."""
    half_written = {*folder.glob(".*.tmp"), *folder.glob("checkpoints/.*.tmp")}
    return half_written | {path for path in checkpoints(folder) if not is_whole(path)}


def being_written(left: set[Path]) -> list[str]:
    """Those half written, by name: `step-00000012`, `metrics.jsonl`, `model`."""
    names = [path.name.removesuffix(".tmp") for path in left if path.suffix == ".tmp"]
    return sorted(name[1:].rsplit(".", 1)[0] for name in names)


def being_removed(left: set[Path]) -> list[str]:
    """Checkpoints of which a part is gone."""
    return sorted(path.name for path in left if path.suffix != ".tmp")


def checkpoints(folder: Path) -> list[Path]:
    """A stage's checkpoints, oldest first."""
    return sorted(folder.glob("checkpoints/step-*"))


def is_whole(checkpoint: Path) -> bool:
    """Whether every byte of a checkpoint is as it was written."""
    try:
        read_checkpoint(checkpoint)
    except CheckpointError:
        return False
    return True


def metrics(folder: Path) -> list[dict[str, Any]]:
    """A stage's metrics, line by line, without the figures of the clock."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key not in OF_THE_CLOCK}
        for line in lines
    ]


def has_each_step_once(folder: Path) -> bool:
    """Whether training and evaluation each have one line a step, in order."""
    lines = metrics(folder)
    for is_training in (True, False):
        steps = [line["step"] for line in lines if ("lr" in line) == is_training]
        if steps != sorted(set(steps)):
            return False
    return True


def counts(folder: Path) -> dict[str, Any]:
    """What the stage's manifest counted and what it ended in."""
    found = read_json(folder / "manifest.json")["counts"]
    names = ("steps", "tokens", "parameters", "final_loss", "best_step", "best_value")
    return {name: found[name] for name in names}


def compare_stage(stage: str, whole: Path, killed: Path) -> dict[str, bool]:
    """Whether a stage of both runs ended in the same."""
    ours, theirs = killed / stage, whole / stage
    weights = Path("model") / "model.safetensors"
    return {
        "same_weights": (ours / weights).read_bytes() == (theirs / weights).read_bytes(),
        "same_metrics": metrics(ours) == metrics(theirs),
        "each_step_once": has_each_step_once(ours),
        "same_counts": counts(ours) == counts(theirs),
        "no_leftovers": not list(ours.rglob(".*.tmp")),
    }


def commit() -> str:
    """The commit that is measured, marked where the tree has changes."""
    return subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()


# --- a hundred kills of training ------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How a stage runs when nobody kills it."""

    n_steps: int
    step_s: float
    evaluation_s: float

    @classmethod
    def of(cls, stage: str, watched: Watched) -> Pace:
        """Read from what it reported."""
        progress = watched.progress(stage)
        n_steps = watched.step(stage)
        seconds = progress[-1].seconds - progress[0].seconds
        waits = [
            after.seconds - before.seconds
            for before, after in zip(progress, progress[1:], strict=False)
            if after.values["done"] == before.values["done"]
        ]
        return cls(n_steps, seconds / max(1, n_steps - 1), max(waits, default=0.0))


@dataclass(frozen=True)
class Aim:
    """When to kill: some time after a step, after a checkpoint or an evaluation began, or after
    the stage began."""

    kind: AimKind
    step: int
    delay_s: float


@dataclass(frozen=True)
class Kill:
    """A process that died.

    step: the last that it reported; began_from: of the checkpoint it went on from; newest: of the
    newest checkpoint that stood when it died; writing, removing: what it was at.
    """

    stage: str
    aim: AimKind
    step: int
    began_from: int | None
    newest: int | None
    writing: list[str]
    removing: list[str]
    evaluating: bool

    def __str__(self) -> str:
        doing = [f"writing {name}" for name in self.writing]
        doing += [f"removing {name}" for name in self.removing]
        doing += ["evaluating"] if self.evaluating else []
        return f"{self.stage} after step {self.step}{', ' if doing else ''}{', '.join(doing)}"


def draw_aims(draw: random.Random, n: int, pace: Pace) -> list[Aim]:
    """`n` moments of a stage, in the order of their steps, uniform over it."""
    longest: dict[AimKind, float] = {
        "step": 3 * pace.step_s,
        "write": WRITE_S,
        "evaluation": pace.evaluation_s,
        "start": START_S,
    }
    aims = []
    for step in sorted(draw.randint(1, pace.n_steps) for _ in range(n)):
        (kind,) = draw.choices(list(AIMS), weights=list(AIMS.values()))
        aims.append(Aim(kind, step, draw.uniform(0, longest[kind])))
    return aims


def is_evaluating(watched: Watched, stage: str, eval_every: int) -> bool:
    """Whether a step that is evaluated has been reported, and its evaluation not yet."""
    done = [event.values["done"] for event in watched.progress(stage)[-2:]]
    if not done or done[-1] % eval_every:
        return False
    return len(done) == 1 or done[0] != done[1]


def has_come(aim: Aim, watched: Watched, stage: str, folder: Path, eval_every: int) -> bool:
    """Whether it is time to kill, but for the delay."""
    if aim.kind == "start":
        return any(event.kind == "stage" for event in watched.events)
    if watched.step(stage) < aim.step:
        return False
    match aim.kind:
        case "write":
            return any((folder / "checkpoints").glob(".step-*.tmp"))
        case "evaluation":
            return is_evaluating(watched, stage, eval_every)
        case _:
            return True


def strike(stage: str, run: Path, aim: Aim, eval_every: int) -> Kill | None:
    """Run a stage and kill it at the moment aimed for; None if it ended before."""
    folder = run / stage
    from_before = leftovers(folder)
    watched = Watched([stage, str(run), "--json", "--device", "cpu"])
    came = watched.wait_for(lambda: has_come(aim, watched, stage, folder, eval_every))
    time.sleep(aim.delay_s if came else 0)
    if not watched.kill():
        if watched.process.returncode != 0:
            raise RuntimeError(f"{stage} failed: {watched.errors}")
        return None
    left = leftovers(folder) - from_before
    return Kill(
        stage,
        aim.kind,
        step=watched.step(stage),
        began_from=watched.went_on_from(stage),
        newest=newest_checkpoint(folder),
        writing=being_written(left),
        removing=being_removed(left),
        evaluating=is_evaluating(watched, stage, eval_every),
    )


def kill_stage(
    stage: str, run: Path, whole: Path, n_kills: int, pace: Pace, draw: random.Random
) -> tuple[list[Kill], dict[str, bool]]:
    """Kill a stage `n_kills` times, let it end, and compare.

    A stage that ends before all of them have landed begins again from nothing.
    """
    eval_every = int(
        read_json(whole / stage / "manifest.json")["settings"][stage]["loop"]["eval_every"]
    )
    kills: list[Kill] = []
    checks: dict[str, bool] = {"went_on_from_the_newest": True}

    def ended() -> None:
        run_stage(stage, run)
        for name, held in compare_stage(stage, whole, run).items():
            checks[name] = checks.get(name, True) and held

    while len(kills) < n_kills:
        shutil.rmtree(run / stage, ignore_errors=True)
        newest: int | None = None
        for aim in draw_aims(draw, n_kills - len(kills), pace):
            found = strike(stage, run, aim, eval_every)
            if found is None:
                break
            if found.began_from is not None and found.began_from != newest:
                checks["went_on_from_the_newest"] = False
            newest = found.newest
            kills.append(found)
            print(f"kill {len(kills)} of {n_kills}: {found}", flush=True)
        ended()
    return kills, checks


def kill_training(n_kills: int, seed: int, sets: Sequence[str]) -> dict[str, Any]:
    """Kill the training stages and compare with a run that nobody killed."""
    draw = random.Random(seed)
    kills: list[Kill] = []
    checks: dict[str, dict[str, bool]] = {}
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        begin_run(whole, [*SMALL, *sets])
        paces = {stage: Pace.of(stage, run_stage(stage, whole)) for stage in SHARES}
        killed = copy_without(whole, Path(folder) / "killed", *SHARES)
        for stage, n in divide(n_kills).items():
            landed, checks[stage] = kill_stage(stage, killed, whole, n, paces[stage], draw)
            kills += landed
        weights = {
            stage: hash_file(next(whole.glob(f"{stage}/model/*.safetensors"))) for stage in SHARES
        }
    lost = [kill.step - kill.newest for kill in kills if kill.newest is not None and kill.step]
    writing = [kill for kill in kills if any(name.startswith("step-") for name in kill.writing)]
    return {
        "n_kills": len(kills),
        "while_writing_a_checkpoint": len(writing),
        "while_evaluating": sum(kill.evaluating for kill in kills),
        "before_the_first_step": sum(not kill.step for kill in kills),
        "most_steps_lost": max(lost, default=0),
        "steps": {stage: pace.n_steps for stage, pace in paces.items()},
        "checks": checks,
        "weights": weights,
        "passed": all(all(held.values()) for held in checks.values()),
        "kills": [asdict(kill) for kill in kills],
    }


def divide(n_kills: int) -> dict[str, int]:
    """The kills among the stages; every one is killed at least once.

    >>> divide(100)
    {'pretrain': 40, 'sft': 30, 'align': 30}
    """
    shares = {stage: max(1, round(n_kills * share)) for stage, share in SHARES.items()}
    return shares | {"pretrain": max(1, n_kills - shares["sft"] - shares["align"])}


# --- kills at any time of a whole build -----------------------------------------------------------


def start_build(out: Path, sets: Sequence[str]) -> Watched:
    """A build of every stage."""
    command = ["build", "quickstart", "--out", str(out), "--json", "--device", "cpu"]
    return Watched([*command, *(part for pair in sets for part in ("--set", pair))])


def name_of(event: Event) -> str:
    """`pretrain 40 of 98`, `sft run`; empty for other events."""
    values = event.values
    match event.kind:
        case "progress":
            return f"{values['label']} {values['done']} of {values['total']}"
        case "stage" if values["status"] in ("run", "finished"):
            return f"{values['stage']} {values['status']}"
    return ""


def kill_whole(n_kills: int, seed: int, sets: Sequence[str]) -> dict[str, Any]:
    """Kill whole builds at random times of one, and compare every stage's weights."""
    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        through = start_build(whole, [*SMALL_WHOLE, *sets])
        if through.end() != 0:
            raise RuntimeError(f"the build failed: {through.errors}")
        named = [event for event in through.events if name_of(event)]
        landed = []
        for moment in sorted(draw.uniform(0, named[-1].seconds) for _ in range(n_kills)):
            event = max((e for e in named if e.seconds <= moment), default=named[0], key=_seconds)
            if kill_at(name_of(event), killed, [*SMALL_WHOLE, *sets], draw.uniform(0, 1)):
                landed.append(name_of(event))
                print(f"kill {len(landed)}: {landed[-1]}", flush=True)
        if start_build(killed, [*SMALL_WHOLE, *sets]).end() != 0:
            raise RuntimeError("the last build failed")
        expected, found = model_hashes(whole), model_hashes(killed)
    return {
        "n_kills": len(landed),
        "kills": landed,
        "seconds_uninterrupted": round(named[-1].seconds, 1),
        "weights": expected,
        "passed": expected == found and bool(landed),
    }


def _seconds(event: Event) -> float:
    return event.seconds


def kill_at(name: str, out: Path, sets: Sequence[str], delay_s: float) -> bool:
    """Build until an event of that name is reported, wait a little, kill; False if it never was."""
    watched = start_build(out, sets)
    came = watched.wait_for(lambda: any(name_of(event) == name for event in watched.events))
    time.sleep(delay_s if came else 0)
    return watched.kill()


def model_hashes(out: Path) -> dict[str, str]:
    """Every stage's weights, by stage."""
    return {path.parts[-3]: hash_file(path) for path in sorted(out.glob("*/model/*.safetensors"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kills", type=int, help="100, or 10 with --whole")
    parser.add_argument("--whole", action="store_true", help="kill builds of every stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    options = parser.parse_args()
    started = time.perf_counter()
    n_kills = options.kills or (10 if options.whole else 100)
    measure = kill_whole if options.whole else kill_training
    result = measure(n_kills, options.seed, options.sets)
    seconds = round(time.perf_counter() - started, 1)
    about = {"machine": machine_description(), "commit": commit(), "seed": options.seed}
    result = {**about, "settings": options.sets, "seconds": seconds, **result}
    print(json.dumps({key: value for key, value in result.items() if key != "kills"}, indent=2))
    if options.json:
        write_json(options.json, result)
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
