"""Kill a build ten times with SIGKILL, and compare what it ends in with one never killed.

    python bench/kill.py --json FILE [--kills 10] [--set KEY=VALUE ...]

Two builds of `quickstart` with the same settings: one runs through and notes the time of all that
it reports; ten random times of it, in order, are the moments at which the other is killed and
started again. Every `model.safetensors` must have the same bytes in both.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from groundup.runtime import hash_file, machine_description, write_json

# A build of a few minutes, with checkpoints often enough that most kills land between two.
SMALL = (
    "demo.n_documents=2000", "demo.n_chats=600", "demo.n_preferences=200", "demo.n_checks=10",
    "pretrain.tokens=200000", "pretrain.loop.checkpoint_every=15", "pretrain.loop.eval_every=40",
    "sft.loop.checkpoint_every=10", "sft.loop.eval_every=20", "sft.epochs=1",
    "align.loop.checkpoint_every=3", "align.loop.eval_every=6",
)  # fmt: skip


def start(out: Path, sets: list[str]) -> subprocess.Popen[str]:
    """A build in a process of its own."""
    command = [sys.executable, "-m", "groundup", "build", "quickstart", "--out", str(out), "--json"]
    for override in sets:
        command += ["--set", override]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def events(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a build reports, as it reports it: `pretrain 40 of 98`, `sft run`."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if event["event"] == "progress":
            yield f"{event['label']} {event['done']} of {event['total']}"
        elif event["event"] == "stage" and event["status"] in ("run", "finished"):
            yield f"{event['stage']} {event['status']}"


def run_through(out: Path, sets: list[str]) -> list[tuple[float, str]]:
    """Build without interruption; returns (seconds since the start, event)."""
    started = time.perf_counter()
    process = start(out, sets)
    seen = [(time.perf_counter() - started, event) for event in events(process)]
    assert process.wait() == 0, "the build failed"
    return seen


def kill_at(moment: str, out: Path, sets: list[str], delay_s: float) -> bool:
    """Build until `moment` is reported, wait a little, kill; False if it never came."""
    process = start(out, sets)
    for event in events(process):
        if event == moment:
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
    process.wait()
    return False


def model_hashes(out: Path) -> dict[str, str]:
    """Every stage's weights, by stage."""
    return {path.parts[-3]: hash_file(path) for path in sorted(out.glob("*/model/*.safetensors"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    options = parser.parse_args()
    sets = [*SMALL, *options.sets]
    draw = random.Random(options.seed)
    with TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        seen = run_through(whole, sets)
        seconds = seen[-1][0]
        times = sorted(draw.uniform(0, seconds) for _ in range(options.kills))
        moments = [max(entry for entry in seen if entry[0] <= t or entry is seen[0]) for t in times]
        killed_at = []
        for _, moment in moments:
            if kill_at(moment, killed, sets, draw.uniform(0, 1)):
                killed_at.append(moment)
                print(f"kill {len(killed_at)}: {moment}", flush=True)
        start(killed, sets).communicate()
        expected, found = model_hashes(whole), model_hashes(killed)
    same = expected == found
    result = {
        "machine": machine_description(),
        "kills": killed_at,
        "seconds_uninterrupted": round(seconds, 1),
        "weights": expected,
        "same_bytes": same,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)
    return 0 if same and killed_at else 1


if __name__ == "__main__":
    sys.exit(main())
