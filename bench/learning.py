"""How little arithmetic the default recipe needs to be as good as a GPT-2-style AdamW baseline.

    python bench/learning.py --data FOLDER --json FILE [--tokens 1000000] [--seeds 3] [--work DIR]

Both train from nothing on the same tokens of the same tokenizer, with the same width, depth and
context, and are scored in bits per byte on the same held-out text. The baseline is nanoGPT's
recipe: LayerNorm, learned positions, GELU, biases, AdamW (0.9, 0.95) with decay 0.1, a cosine to a
tenth of the peak after a warm-up of at most a tenth, gradients clipped at 1; its learning rate and
its batch are tuned on the first seed (its initial weights are drawn as ours are: standard deviation
1/sqrt(fan-in), where nanoGPT takes 0.02). It sees all of the token budget. Ours is the
`base` recipe's kind of model and settings, at several smaller budgets; arithmetic is that of the
model, forward and backward, and for Muon its orthogonalisation too. The share of the baseline's
arithmetic at which ours is as good is interpolated between the budgets, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from groundup.model import Decoder, training_flops_per_token
from groundup.optim import MuonConfig, parameter_groups
from groundup.recipe import Recipe, load_recipe
from groundup.runtime import machine_description, stable_hash, write_json

SHAPE = (
    "tokenizer.vocab_size=2048", "model.max_seq_len=256", "model.d_model=128", "model.n_layers=4",
    "model.n_heads=4", "pretrain.heldout_bytes=400000",
    "pretrain.loop.eval_every=0", "pretrain.loop.sample_every=0",
    "pretrain.loop.checkpoint_every=0", "pretrain.loop.compile=false",
    "pretrain.loop.watch.update_stats_every=0", "pretrain.packing=concat",
)  # fmt: skip
BASELINE = (
    "model.norm=layernorm", "model.position=learned", "model.feedforward=gelu",
    "model.qk_norm=false", "model.bias=true",
    "pretrain.optimizer={name: adamw, beta1: 0.9, beta2: 0.95, weight_decay: 0.1}",
    "pretrain.schedule={shape: cosine, warmup_steps: 100, floor: 0.1}",
)  # fmt: skip
BASELINES = (
    (1e-3, 1024), (2e-3, 1024), (4e-3, 1024), (8e-3, 1024), (4e-3, 512), (2e-3, 2048), (4e-3, 2048),
)  # fmt: skip
OURS = (4e-3, 1024)  # what the size dial gives for a million parameters and so few tokens
SHARES = (0.25, 0.4, 0.6)  # of the baseline's tokens, that ours is given
STUDENT_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # two-sided 95%, by number of seeds


@dataclass(frozen=True)
class Bench:
    """Where the prepared data lie, and who trains on them.

    threads: of each training; jobs: trainings at a time.
    """

    data: Path
    work: Path
    threads: int
    jobs: int

    def prepare(self, settings: Sequence[str]) -> Path:
        """A run folder with data and tokenizer and nothing else, for the arms to begin from."""
        out = self.work / f"prepared-{stable_hash(list(settings))[:8]}"
        for stage in ("data", "tokenizer"):
            self._build(out, [*settings, "pretrain.tokens=1000000"], stage)
        return out

    def train(self, prepared: Path, settings: Sequence[str]) -> dict[str, float]:
        """Pretrain with these settings; held-out bits per byte, tokens and arithmetic.

        A training that was made before with the same settings is not made again.
        """
        result = self.work / f"arm-{stable_hash([prepared.name, list(settings)])}.json"
        if not result.exists():
            with TemporaryDirectory(dir=self.work) as folder:
                run = Path(folder) / "run"
                shutil.copytree(prepared, run, ignore=shutil.ignore_patterns(".lock"))
                self._build(run, settings, "pretrain")
                counts = json.loads((run / "pretrain" / "manifest.json").read_text())["counts"]
            recipe = load_recipe("base", overrides=settings, data=[str(self.data)])
            flops = counts["tokens"] * flops_per_token(recipe)
            write_json(
                result,
                {
                    "settings": list(settings),
                    "bits_per_byte": counts["best_value"],
                    "tokens": counts["tokens"],
                    "flops": flops,
                },
            )
            print(
                f"{counts['best_value']:.4f} bits/byte  {' '.join(settings[len(SHAPE) :])}",
                flush=True,
            )
        return dict(json.loads(result.read_text()))

    def train_all(self, prepared: Path, arms: Sequence[Sequence[str]]) -> list[dict[str, float]]:
        """All of them, `jobs` at a time."""
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(lambda settings: self.train(prepared, settings), arms))

    def _build(self, out: Path, settings: Sequence[str], stage: str) -> None:
        command = [sys.executable, "-m", "groundup", "build", "base", "--quiet"]
        command += ["--data", str(self.data), "--out", str(out), "--only", stage]
        for override in settings:
            command += ["--set", override]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        subprocess.run(command, check=True, env=environment)


def flops_per_token(recipe: Recipe) -> float:
    """Arithmetic of training for each token: the model's, and Muon's spread over the batch.

    A Newton-Schulz step on a matrix of r rows and c ≥ r columns is X Xᵀ, its square, and their
    product with X: 4 r² c + 2 r³ operations.
    """
    config = recipe.model_config
    total = training_flops_per_token(config, config.max_seq_len)
    if isinstance(recipe.pretrain.optimizer, MuonConfig):
        with torch.device("meta"):
            model = Decoder(config)
        stacked = model.stacked_rows()
        for name, matrix in parameter_groups(model).matrices.items():
            for n_rows in stacked.get(name, (matrix.shape[0],)):
                r, c = sorted((n_rows, matrix.shape[1]))
                total += 5 * (4 * r * r * c + 2 * r**3) / recipe.pretrain.batch_tokens
    return total


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the 95% interval of the mean by Student's t."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = STUDENT_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def share_needed(baseline: dict[str, float], ours: Sequence[dict[str, float]]) -> float:
    """Share of the baseline's arithmetic at which ours reaches its bits per byte.

    By a straight line in the logarithm of the arithmetic between the budgets on either side; the
    smallest budget's share if that is better already, infinite if even the largest is not enough.
    """
    target = baseline["bits_per_byte"]
    points = sorted((arm["flops"] / baseline["flops"], arm["bits_per_byte"]) for arm in ours)
    if points[0][1] <= target:
        return points[0][0]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if y1 <= target:
            along = (y0 - target) / (y0 - y1)
            return math.exp(math.log(x0) + along * (math.log(x1) - math.log(x0)))
    return math.inf


def measure(bench: Bench, tokens: int, n_seeds: int) -> dict[str, Any]:
    """Tune the baseline, train all seeds of both; returns figures and details."""
    prepared = bench.prepare(SHAPE)
    seeds = range(1, n_seeds + 1)

    def arm(rule: tuple[float, int], n_tokens: float, seed: int) -> list[str]:
        lr, batch = rule
        return [
            f"pretrain.optimizer.lr={lr}",
            f"pretrain.batch_tokens={batch}",
            f"pretrain.tokens={round(n_tokens)}",
            f"seed={seed}",
        ]

    def baseline(rule: tuple[float, int], seed: int) -> list[str]:
        return [*SHAPE, *BASELINE, *arm(rule, tokens, seed)]

    def ours(share: float, seed: int) -> list[str]:
        return [*SHAPE, *arm(OURS, share * tokens, seed)]

    tuned = bench.train_all(prepared, [baseline(rule, 1) for rule in BASELINES])
    found = [result["bits_per_byte"] for result in tuned]
    best = BASELINES[found.index(min(found))]
    arms = [baseline(best, seed) for seed in seeds]
    arms += [ours(share, seed) for share in SHARES for seed in seeds]
    trained = bench.train_all(prepared, arms)
    baselines = trained[:n_seeds]
    by_seed = [[trained[n_seeds * (1 + i) + k] for i in range(len(SHARES))] for k in range(n_seeds)]
    shares = [share_needed(b, o) for b, o in zip(baselines, by_seed, strict=True)]
    return {
        "baseline_by_lr_and_batch": dict(zip(map(str, BASELINES), found, strict=True)),
        "baseline_bits_per_byte": interval([arm["bits_per_byte"] for arm in baselines]),
        "ours_bits_per_byte": {
            str(share): interval([arms[i]["bits_per_byte"] for arms in by_seed])
            for i, share in enumerate(SHARES)
        },
        "share_of_flops": {
            str(share): round(by_seed[0][i]["flops"] / baselines[0]["flops"], 4)
            for i, share in enumerate(SHARES)
        },
        "share_needed": interval(shares),
        "share_needed_by_seed": [round(share, 4) for share in shares],
        "tokens": tokens,
        "seeds": n_seeds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="a folder of books, say")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of the baseline")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("learning"), help="kept between calls")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.data, options.work, options.threads, options.jobs)
    found = measure(bench, options.tokens, options.seeds)
    needed = found["share_needed"][0]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "machine": machine_description(),
        "commit": commit,
        "figures": {
            "flops_to_the_baselines_bits_per_byte": {
                "ours": round(needed, 4),
                "peer": 1.0,
                "peer_name": "GPT-2-style AdamW, learning rate tuned",
                "unit": "share of the baseline's floating-point operations",
                "ratio": round(1 / needed, 3),
                "rounds": options.seeds,
            }
        },
        "details": found,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
