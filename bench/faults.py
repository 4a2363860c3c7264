"""Real faults under a training run: full disks, damaged checkpoints, signals, disks that vanish.

    python bench/faults.py --json FILE [--only WORD]

Every fault happens to a `groundup` process of its own: the disk is a small tmpfs that is filled up,
made read-only or taken away; the files are damaged on disk; the signals are sent. What is asked of
it is always the same: what happened is said in a line, nothing that was committed is lost, and the
same command, run again once the cause is gone, ends in the bytes of a run that nothing happened to.

Faults that need a mount, or rights that are taken away, are skipped where the system allows none.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kill import (
    SMALL,
    Watched,
    begin_run,
    checkpoints,
    commit,
    copy_without,
    has_each_step_once,
    is_whole,
    leftovers,
    metrics,
    newest_checkpoint,
    run_stage,
    step_of,
)

from groundup.runtime import machine_description, write_json

STAGE = "pretrain"
SETS = (
    *SMALL,
    "pretrain.tokens=30000",
    "pretrain.loop.keep_checkpoints=4",
    "pretrain.loop.sample_every=0",
)
CUT_STEP = 30  # where the run is stopped whose checkpoints are damaged
N_CHECKPOINTS = 3  # that it has
DISK = "24m"  # a run and its checkpoints take a third of it
NO_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search",
             "--inh-caps=-dac_override,-dac_read_search")  # fmt: skip
STOPPED = "groundup: stopped; run the same command again to go on"
AT_ONCE_S = 15.0  # much less than the step of 524,288 tokens that is interrupted takes


class SkippedError(Exception):
    """The system allows no such fault."""


@dataclass
class Outcome:
    """What came of a fault.

    code: the exit code of the process that it happened to; said: its line about it; checks: what
    was asked, and whether it held.
    """

    code: int
    said: str
    checks: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Lab:
    """Runs to do harm to.

    begun: data and tokenizer alone; whole: the stage run through; cut: stopped half way, with three
    checkpoints; other: the same, of a run with another learning rate.
    """

    folder: Path
    seed: int

    @property
    def begun(self) -> Path:
        return self.folder / "begun"

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    @property
    def cut(self) -> Path:
        return self.folder / "cut"

    @property
    def other(self) -> Path:
        return self.folder / "other"

    def set_up(self) -> None:
        """Make the runs that the faults happen to copies of."""
        begin_run(self.begun, SETS)
        run_stage(STAGE, copy_without(self.begun, self.whole))
        self._cut(copy_without(self.begun, self.cut), *SETS)
        self._cut(copy_without(self.begun, self.other), *SETS, "pretrain.optimizer.lr=2e-3")

    def _cut(self, run: Path, *sets: str) -> None:
        watched = build(run, sets)
        assert watched.wait_for(lambda: watched.step(STAGE) >= CUT_STEP), watched.errors
        watched.process.send_signal(signal.SIGTERM)  # so that nothing is under way
        watched.end()
        stopped_at = checkpoints(run / STAGE)[-1]
        if step_of(stopped_at) % 4:  # nor is there one that only the stop has made
            shutil.rmtree(stopped_at)
        for older in checkpoints(run / STAGE)[:-N_CHECKPOINTS]:
            shutil.rmtree(older)

    def copy(self, run: Path, name: str) -> Path:
        """A copy to do harm to."""
        return copy_without(run, self.folder / "copies" / name.replace(" ", "-").replace("/", "-"))

    def ends_alike(self, run: Path, *, evaluates_alike: bool = True) -> dict[str, bool]:
        """Run the same command again; whether it ends in what nothing happened to.

        evaluates_alike: whether it evaluates at the same steps.
        """

        def lines(of: Path) -> list[dict[str, Any]]:
            found = metrics(of / STAGE)
            return found if evaluates_alike else [line for line in found if "lr" in line]

        again = Watched([STAGE, str(run), "--json", "--device", "cpu"])
        if again.end() != 0:
            return {"ends": False}
        weights = Path(STAGE) / "model" / "model.safetensors"
        return {
            "same_weights": (run / weights).read_bytes() == (self.whole / weights).read_bytes(),
            "same_metrics": lines(run) == lines(self.whole),
            "each_step_once": has_each_step_once(run / STAGE),
        }


def start(run: Path, *, wrapper: Sequence[str] = ()) -> Watched:
    """The stage, in a process of its own."""
    return Watched([STAGE, str(run), "--json", "--device", "cpu"], wrapper=wrapper)


def build(run: Path, sets: Sequence[str]) -> Watched:
    """The stage, with settings of its own."""
    command = ["build", "quickstart", "--out", str(run), "--only", STAGE, "--json"]
    overrides = [part for pair in sets for part in ("--set", pair)]
    return Watched([*command, "--device", "cpu", *overrides])


def is_one_line(watched: Watched) -> bool:
    """Whether it ended as it should when a user can mend the cause: code 2 and one line."""
    lines = watched.errors.strip().splitlines()
    return watched.process.returncode == 2 and len(lines) == 1 and lines[0].startswith("groundup: ")


def last_line(watched: Watched) -> str:
    """The last line of its errors."""
    return (watched.errors.strip().splitlines() or [""])[-1]


def nothing_is_lost(run: Path, at_least: int) -> bool:
    """Whether the newest checkpoint is as new as it was, and all are whole.

    But for the oldest, where there are others: it may have been about to be removed.
    """
    found = checkpoints(run / STAGE)
    is_there = bool(found) and step_of(found[-1]) >= at_least
    return is_there and all(is_whole(path) for path in found[1:] or found)


# --- disks ----------------------------------------------------------------------------------------


def mount(*arguments: str) -> None:
    """Raises SkippedError where this process may not mount."""
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        raise SkippedError("needs the right to mount")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own at `folder`."""
    folder.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill_until_it_ends(watched: Watched, disk: Path, leave_bytes: int) -> None:
    """Take all but `leave_bytes` of a disk, again and again until the process has ended."""
    with (disk / "filler").open("ab", buffering=0) as filler:

        def fill() -> bool:
            free = shutil.disk_usage(disk).free - leave_bytes
            try:
                while free > 0:
                    free -= filler.write(bytes(min(free, 1 << 16)))
            except OSError:  # full to the last byte
                pass
            return False

        watched.wait_for(fill)
    watched.end()


def full_disk(lab: Lab, *, strikes: str, sets: Sequence[str], after: int, leave: int) -> Outcome:
    """Fill the disk while the stage runs; try once more in vain; free it; go on."""
    with small_disk(lab.folder / f"disk-{strikes}") as disk:
        run = copy_without(lab.begun, disk / "run")
        watched = build(run, [*SETS, *sets])
        watched.wait_for(lambda: watched.step(STAGE) >= after and not leftovers(run / STAGE))
        stood = newest_checkpoint(run / STAGE) or 0
        fill_until_it_ends(watched, disk, leave)
        checks = {
            "one_line": is_one_line(watched),
            "struck_there": strikes in last_line(watched),
            "nothing_is_lost": nothing_is_lost(run, stood),
            "no_leftovers": not leftovers(run / STAGE),
        }
        still_full = start(run)
        fill_until_it_ends(still_full, disk, leave)
        checks["still_full_one_line"] = is_one_line(still_full)
        checks["still_nothing_is_lost"] = nothing_is_lost(run, stood)
        (disk / "filler").unlink()
        checks |= lab.ends_alike(run, evaluates_alike=not sets)
        return Outcome(watched.end(), last_line(watched), checks)


def file_size_limit(lab: Lab) -> Outcome:
    """The system refuses files past a size, as `ulimit -f` and some file systems do."""
    run = lab.copy(lab.cut, "limit")
    stood = newest_checkpoint(run / STAGE) or 0
    size = (checkpoints(run / STAGE)[-1] / "model" / "model.safetensors").stat().st_size
    limit = f'ulimit -f {size // 2 // 1024}; exec "$@"'
    watched = start(run, wrapper=["bash", "-c", limit, "bash"])
    watched.end()
    checks = {"one_line": is_one_line(watched), "nothing_is_lost": nothing_is_lost(run, stood)}
    return Outcome(watched.end(), last_line(watched), checks | lab.ends_alike(run))


def read_only(lab: Lab) -> Outcome:
    """The stage's folder becomes read-only in the middle."""
    with small_disk(lab.folder / "disk-read-only") as disk:
        run = copy_without(lab.begun, disk / "run")
        place = str(run / STAGE)
        watched = start(run)
        watched.wait_for(lambda: watched.step(STAGE) >= 13)
        stood = newest_checkpoint(run / STAGE) or 0
        mount("--bind", place, place)
        mount("-o", "remount,bind,ro", place)
        try:
            watched.end()
            again = start(run)
            again.end()
        finally:
            subprocess.run(["umount", place], check=True)
        checks = {
            "one_line": is_one_line(watched),
            "still_read_only_one_line": is_one_line(again),
            "nothing_is_lost": nothing_is_lost(run, stood),
        }
        return Outcome(watched.end(), last_line(watched), checks | lab.ends_alike(run))


def unwritable(lab: Lab) -> Outcome:
    """The stage's folders may not be written to any more, by their permissions."""
    run = lab.copy(lab.begun, "unwritable")
    watched = start(run, wrapper=without_rights())
    watched.wait_for(lambda: watched.step(STAGE) >= 13)
    stood = newest_checkpoint(run / STAGE) or 0
    folders = [run / STAGE, run / STAGE / "checkpoints"]
    for folder in folders:
        folder.chmod(0o555)
    (run / STAGE / "metrics.jsonl").chmod(0o444)
    watched.end()
    for folder in folders:
        folder.chmod(0o755)
    (run / STAGE / "metrics.jsonl").chmod(0o644)
    checks = {"one_line": is_one_line(watched), "nothing_is_lost": nothing_is_lost(run, stood)}
    return Outcome(watched.end(), last_line(watched), checks | lab.ends_alike(run))


def disk_is_lost(lab: Lab) -> Outcome:
    """The disk is taken away in the middle, and put back."""
    with small_disk(lab.folder / "disk-lost") as disk:
        copy_without(lab.begun, disk / "run")
        place = lab.folder / "mounted"
        place.mkdir()
        mount("--bind", str(disk), str(place))
        watched = start(place / "run")
        watched.wait_for(lambda: watched.step(STAGE) >= 13)
        stood = newest_checkpoint(place / "run" / STAGE) or 0
        subprocess.run(["umount", "-l", str(place)], check=True)
        watched.end()
        elsewhere = checkpoints(place / "run" / STAGE)
        mount("--bind", str(disk), str(place))
        try:
            checks = {
                "one_line": is_one_line(watched),
                "no_checkpoint_elsewhere": not elsewhere,
                "nothing_is_lost": nothing_is_lost(place / "run", stood),
            }
            checks |= lab.ends_alike(place / "run")
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
        return Outcome(watched.end(), last_line(watched), checks)


def moved_away(lab: Lab) -> Outcome:
    """The run folder is given another name in the middle."""
    run = lab.copy(lab.begun, "moved")
    watched = start(run)
    watched.wait_for(lambda: watched.step(STAGE) >= 13)
    away = run.with_name("moved-away")
    run.rename(away)
    stood = newest_checkpoint(away / STAGE) or 0
    watched.end()
    checks = {
        "one_line": is_one_line(watched),
        "no_checkpoint_elsewhere": not checkpoints(run / STAGE),
        "nothing_is_lost": nothing_is_lost(away, stood),
    }
    return Outcome(watched.end(), last_line(watched), checks | lab.ends_alike(away))


def without_rights() -> Sequence[str]:
    """A command that runs another which permissions bind, though its user be root.

    Raises SkippedError where there is none.
    """
    if subprocess.run([*NO_RIGHTS, "true"], capture_output=True, check=False).returncode:
        raise SkippedError("needs setpriv")
    return NO_RIGHTS


# --- damage ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """Harm done to a run that is not running.

    harm: given the run and the cut run of other settings; told: a part of what must be said;
    n_passed: how many checkpoints are passed over; mend: undoes it, where the run may refuse to go
    on until somebody does; keeps_metrics: whether none of their lines was destroyed.
    """

    harm: Callable[[Path, Path], object]
    told: str = ""
    n_passed: int = 0
    mend: Callable[[Path, Path], object] | None = None
    wrapper: Callable[[], Sequence[str]] = tuple
    keeps_metrics: bool = True


def newest(run: Path, place: str = ".") -> Path:
    """A file of the newest checkpoint."""
    return checkpoints(run / STAGE)[-1] / place


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def make_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no folder")


def forbid(path: Path) -> None:
    path.chmod(0)


def one(place: str, harm: Callable[[Path], object], told: str) -> Damage:
    """Harm to one file of the newest checkpoint."""
    return Damage(lambda run, _: harm(newest(run, place)), told, n_passed=1)


def several(harm: Callable[[Path], object], n: int) -> Damage:
    """Harm to the weights of the `n` newest checkpoints."""

    def harm_them(run: Path, other: Path) -> None:
        for path in checkpoints(run / STAGE)[-n:]:
            harm(path / "model" / "model.safetensors")

    return Damage(harm_them, "is cut short or altered", n_passed=n)


def of_another_run(place: str, told: str, n_passed: int) -> Damage:
    """The newest checkpoint, or a file of it, taken from a run with other settings."""

    def swap(run: Path, other: Path) -> None:
        theirs = other / STAGE / "checkpoints" / newest(run).name / place
        if theirs.is_dir():
            shutil.rmtree(newest(run))
            shutil.copytree(theirs, other.parent / "swapped")
            (other.parent / "swapped").rename(run / STAGE / "checkpoints" / theirs.name)
        else:
            shutil.copy(theirs, newest(run, place))

    def remove(run: Path, other: Path) -> None:
        shutil.rmtree(newest(run))

    return Damage(swap, told, n_passed, mend=None if n_passed else remove)


def in_the_run(place: str, harm: Callable[[Path], object], told: str) -> Damage:
    """Harm to a file of the run beside its checkpoints, which it may refuse to go on without."""

    def mend(run: Path, other: Path) -> None:
        (run / place).unlink(missing_ok=True)
        if (other.parent / "cut" / place).is_file():
            shutil.copy(other.parent / "cut" / place, run / place)

    return Damage(lambda run, _: harm(run / place), told, mend=mend)


def leave_half_a_checkpoint(run: Path, other: Path) -> None:
    half = run / STAGE / "checkpoints" / ".step-00000099.abc.tmp"
    shutil.copytree(newest(run, "model"), half / "model")
    cut_short(half / "model" / "model.safetensors")


def unreadable(place: str) -> Damage:
    """A file of the newest checkpoint that may not be read, which is no reason to delete it."""
    return Damage(
        lambda run, _: forbid(newest(run, place)),
        mend=lambda run, _: newest(run, place).chmod(0o644),
        wrapper=without_rights,
    )


WEIGHTS, OPTIMIZER = "model/model.safetensors", "trainer/optimizer.safetensors"
STATE = "trainer/state.json"
DAMAGE: dict[str, Damage] = {
    "weights cut short": one(WEIGHTS, cut_short, "is cut short or altered"),
    "a bit of the weights flipped": one(WEIGHTS, flip_a_bit, "is cut short or altered"),
    "a bit of the optimizer flipped": one(OPTIMIZER, flip_a_bit, "is cut short or altered"),
    "weights of no length": one(WEIGHTS, make_empty, "is cut short or altered"),
    "a file missing": one("model/tokenizer.json", Path.unlink, "model/tokenizer.json is missing"),
    "state empty": one(STATE, make_empty, "state.json is unreadable"),
    "state of zeros": one(STATE, make_zeros, "state.json is unreadable"),
    "state of another run": of_another_run(STATE, "is cut short or altered", 1),
    "all of another run": of_another_run(".", "was made with another fingerprint", 0),
    "a file in its place": one(".", make_a_file, "state.json is unreadable"),
    "weights unreadable": unreadable(WEIGHTS),
    "state unreadable": unreadable(STATE),
    "half of one left": Damage(leave_half_a_checkpoint),
    "the two newest damaged": several(flip_a_bit, 2),
    "all damaged": several(cut_short, N_CHECKPOINTS),
    "working.json empty": in_the_run(f"{STAGE}/working.json", make_empty, "working.json"),
    "run.json empty": in_the_run("run.json", make_empty, "run.json"),
    "metrics of zeros": Damage(
        lambda run, _: make_zeros(run / STAGE / "metrics.jsonl"),
        told="metrics.jsonl",
        keeps_metrics=False,
    ),
}


def damaged(lab: Lab, name: str) -> Outcome:
    """Do harm, run, mend where the run refused to go on without, run again."""
    damage, run = DAMAGE[name], lab.copy(lab.cut, name)
    stood = [step_of(path) for path in checkpoints(run / STAGE)]
    damage.harm(run, lab.other)
    watched = start(run, wrapper=damage.wrapper())
    code = watched.end()
    texts = [*watched.messages(), *watched.errors.splitlines()]
    told = [text for text in texts if damage.told and damage.told in text]
    checks = {"told": len(told) >= max(damage.n_passed, bool(damage.told))}
    if code:
        checks["one_line"] = is_one_line(watched)
        checks["may_refuse"] = damage.mend is not None
        if damage.mend is not None:
            damage.mend(run, lab.other)
    elif damage.n_passed:
        rest = stood[: -damage.n_passed]
        checks["from_the_one_before"] = watched.went_on_from(STAGE) == (rest[-1] if rest else None)
    checks |= lab.ends_alike(run) | {"no_leftovers": not leftovers(run / STAGE)}
    if not damage.keeps_metrics:
        del checks["same_metrics"]
    return Outcome(code, told[0] if told else last_line(watched), checks)


# --- signals, and a second process ----------------------------------------------------------------


def signals(lab: Lab) -> Outcome:
    """SIGTERM and SIGINT, each three times, at random moments of one run."""
    draw = random.Random(lab.seed)
    run = lab.copy(lab.begun, "signals")
    last = metrics(lab.whole / STAGE)[-1]["step"]
    numbers = [signal.SIGTERM, signal.SIGINT] * 3
    draw.shuffle(numbers)
    checks = {"code_130": True, "one_line": True, "stopped_where_it_was": True, "went_on": True}
    stopped_at: int | None = None
    said = ""
    for number, step in zip(numbers, sorted(draw.sample(range(1, last - 8), 6)), strict=True):
        watched = start(run)
        watched.wait_for(partial(_has_reached, watched, step))
        time.sleep(draw.uniform(0, 0.1))
        watched.process.send_signal(number)
        checks["code_130"] &= watched.end() == 130
        said = watched.errors.strip()
        checks["one_line"] &= said == STOPPED
        checks["went_on"] &= watched.went_on_from(STAGE) == stopped_at
        stopped_at = newest_checkpoint(run / STAGE)
        checks["stopped_where_it_was"] &= stopped_at == watched.step(STAGE)
    return Outcome(130, said, checks | lab.ends_alike(run))


def _has_reached(watched: Watched, step: int) -> bool:
    return watched.step(STAGE) >= step


def signal_before_the_first_step(lab: Lab, number: signal.Signals) -> Outcome:
    """A signal while the stage is being made ready."""
    run = lab.copy(lab.cut, f"early {number.name}")
    stood = newest_checkpoint(run / STAGE) or 0
    watched = start(run)
    watched.wait_for(lambda: any(event.kind == "stage" for event in watched.events))
    watched.process.send_signal(number)
    code = watched.end()
    checks = {
        "says_what_it_died_of": code in (128 + number, -number, 130),
        "no_traceback": "Traceback" not in watched.errors,
        "nothing_is_lost": nothing_is_lost(run, stood),
    }
    return Outcome(code, last_line(watched), checks | lab.ends_alike(run))


def a_second_interrupt(lab: Lab) -> Outcome:
    """Two SIGINT in the middle of a step of a minute: the second does not wait for its end."""
    run = lab.copy(lab.begun, "second interrupt")
    sets = [*SETS, "pretrain.batch_tokens=524288", "pretrain.tokens=1048576"]
    watched = build(run, sets)
    watched.wait_for(lambda: newest_checkpoint(run / STAGE) == 0)
    time.sleep(1)
    watched.process.send_signal(signal.SIGINT)
    time.sleep(1)
    waits = watched.process.poll() is None
    watched.process.send_signal(signal.SIGINT)
    began = time.perf_counter()
    code = watched.end()
    seconds = time.perf_counter() - began
    checks = {
        "the_first_waits": waits,
        "the_second_does_not": seconds < AT_ONCE_S,
        "code_130": code == 130,
        "no_traceback": "Traceback" not in watched.errors,
        "nothing_is_lost": nothing_is_lost(run, 0),
    }
    return Outcome(code, f"{last_line(watched)} ({seconds:.1f} s after it)", checks)


def two_processes(lab: Lab) -> Outcome:
    """A second process wants to work in a folder where one does."""
    run = lab.copy(lab.begun, "two")
    first = start(run)
    first.wait_for(lambda: first.step(STAGE) >= 1)
    first.process.send_signal(signal.SIGSTOP)  # so that it has not ended when the second is ready
    second = start(run)
    second.end()
    first.process.send_signal(signal.SIGCONT)
    checks = {
        "one_line": is_one_line(second),
        "said": "another groundup is working in" in second.errors,
        "the_first_ends": first.end() == 0,
    }
    return Outcome(second.end(), last_line(second), checks | lab.ends_alike(run))


# --- all of them ----------------------------------------------------------------------------------


def faults() -> dict[str, Callable[[Lab], Outcome]]:
    """Every fault, by name."""
    early = signal_before_the_first_step
    return {
        "disk full in a checkpoint": partial(
            full_disk, strikes="step-", sets=(), after=13, leave=400_000
        ),
        "disk full in metrics.jsonl": partial(
            full_disk,
            strikes="metrics.jsonl",
            sets=["pretrain.loop.checkpoint_every=20", "pretrain.loop.eval_every=0"],
            after=21,
            leave=0,
        ),
        "file size limit": file_size_limit,
        **{name: partial(damaged, name=name) for name in DAMAGE},
        "SIGTERM and SIGINT": signals,
        "SIGTERM before the first step": partial(early, number=signal.SIGTERM),
        "SIGINT before the first step": partial(early, number=signal.SIGINT),
        "a second SIGINT": a_second_interrupt,
        "folder read-only": read_only,
        "folder unwritable": unwritable,
        "disk lost": disk_is_lost,
        "run moved away": moved_away,
        "two processes": two_processes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="faults whose names hold this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Of a shell's background job SIGINT is ignored, and by all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        lab = Lab(Path(folder), options.seed)
        lab.set_up()
        for name, fault in faults().items():
            if options.only not in name:
                continue
            try:
                outcomes[name] = fault(lab)
            except SkippedError as error:
                skipped[name] = str(error)
            print(row(name, outcomes.get(name), skipped.get(name, "")), flush=True)
    passed = {name: all(outcome.checks.values()) for name, outcome in outcomes.items()}
    result = {
        "machine": machine_description(),
        "commit": commit(),
        "seed": options.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "n_passed": sum(passed.values()),
        "n": len(passed),
        "failed": [name for name, held in passed.items() if not held],
        "skipped": skipped,
        "faults": {
            name: {"passed": passed[name], **asdict(outcome)} for name, outcome in outcomes.items()
        },
    }
    print(f"{result['n_passed']} of {result['n']} faults survived in {result['seconds']} s")
    if options.json:
        write_json(options.json, result)
    return 0 if all(passed.values()) and passed else 1


def row(name: str, outcome: Outcome | None, skipped: str) -> str:
    """A fault's line of the table."""
    if outcome is None:
        return f"{'skipped':8} {name:32} {skipped}"
    failed = [check for check, held in outcome.checks.items() if not held]
    verdict = "FAILED" if failed else "survived"
    text = f"{verdict:8} {name:32} {outcome.code:4}  {outcome.said[:90]}"
    return text + (f"\n{'':8} not: {', '.join(failed)}" if failed else "")


if __name__ == "__main__":
    sys.exit(main())
