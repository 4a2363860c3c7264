"""Kill a build ten times with SIGKILL, and compare what it ends in with one never killed.

    python bench/kill.py --json FILE [--kills 10] [--set KEY=VALUE ...]

Two builds of `quickstart` with the same settings: one runs through, the other is killed at random
moments spread over the whole build and started again each time. Every `model.safetensors` must
have the same bytes in both.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from groundup.runtime import hash_file, machine_description, write_json

# A build of a few minutes, with checkpoints often enough that most kills land between two.
SMALL = (
    "demo.n_documents=4000", "demo.n_chats=800", "demo.n_preferences=200", "demo.n_checks=20",
    "pretrain.tokens=400000", "pretrain.loop.checkpoint_every=20", "pretrain.loop.eval_every=40",
    "sft.loop.checkpoint_every=10", "sft.loop.eval_every=20", "sft.epochs=1",
    "align.loop.checkpoint_every=3", "align.loop.eval_every=6",
)  # fmt: skip


def start(out: Path, sets: list[str]) -> subprocess.Popen[str]:
    """A build in a process of its own."""
    command = [sys.executable, "-m", "groundup", "build", "quickstart", "--out", str(out), "--json"]
    for override in sets:
        command += ["--set", override]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def last_event(process: subprocess.Popen[str]) -> str:
    """Where a killed build stood, from the last line that it printed."""
    assert process.stdout is not None
    events = []
    for line in process.stdout.read().splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:  # the kill cut the line
            break
    for event in reversed(events):
        if event["event"] == "progress":
            return f"{event['label']} {event['done']} of {event['total']}"
        if event["event"] == "stage":
            return f"{event['stage']} {event['status']}"
    return "starting"


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
        started = time.perf_counter()
        start(whole, sets).communicate()
        assert model_hashes(whole), "the build failed"
        seconds = time.perf_counter() - started
        moments = []
        while len(moments) < options.kills:
            process = start(killed, sets)
            try:
                process.wait(draw.uniform(1.0, 2.0 * seconds / options.kills))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                moments.append(last_event(process))
                process.wait()
                print(f"kill {len(moments)}: {moments[-1]}", flush=True)
            else:
                print("the build ended before all kills; raise the work or lower --kills")
                break
        start(killed, sets).communicate()
        expected, found = model_hashes(whole), model_hashes(killed)
    same = expected == found
    result = {
        "machine": machine_description(),
        "kills": moments,
        "seconds_uninterrupted": round(seconds, 1),
        "weights": expected,
        "same_bytes": same,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)
    return 0 if same and len(moments) == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
