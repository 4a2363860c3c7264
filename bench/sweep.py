"""Learning rates and batches for the size dial: which are best at small sizes.

    python bench/sweep.py --data FOLDER --json FILE [--work DIR] [--tokens 600000]

For each size, a grid of learning rates at the dial's batch and of batches at the dial's rate; each
arm pretrains from nothing on the same tokens and is scored in bits per byte of held-out text. The
constants in groundup/plan/sizes.py are the best of such a grid. Arms that were trained before, by
this bench or by learning.py in the same `--work` folder, are not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from learning import SHAPE, Bench

from groundup.runtime import machine_description, write_json

WIDTHS = {"0.4M": (64, 3, 2), "1M": (128, 4, 4), "2.4M": (192, 5, 6)}  # d_model, layers, heads
LRS = (2e-3, 4e-3, 8e-3)
BATCHES = (1024, 2048, 4096)


def arms(width: tuple[int, int, int], tokens: int) -> dict[str, list[str]]:
    """Settings of each arm of one size, by name."""
    d_model, n_layers, n_heads = width
    shape = [
        *SHAPE,
        f"model.d_model={d_model}",
        f"model.n_layers={n_layers}",
        f"model.n_heads={n_heads}",
        f"pretrain.tokens={tokens}",
        "seed=1",
    ]
    found = {f"lr={lr}": [*shape, f"pretrain.optimizer.lr={lr}"] for lr in LRS}
    for batch in BATCHES:
        found[f"batch={batch}"] = [
            *shape,
            "pretrain.optimizer.lr=0.004",
            f"pretrain.batch_tokens={batch}",
        ]
    return found


def measure(bench: Bench, tokens: int, sizes: list[str]) -> dict[str, Any]:
    """Every arm of every size; bits per byte by size and arm."""
    prepared = bench.prepare(SHAPE)
    found: dict[str, Any] = {}
    for size in sizes:
        named = arms(WIDTHS[size], tokens)
        results = bench.train_all(prepared, list(named.values()))
        found[size] = {
            name: round(result["bits_per_byte"], 4)
            for name, result in zip(named, results, strict=True)
        }
        print(size, json.dumps(found[size]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="a folder of books, say")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--sizes", nargs="+", default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument("--work", type=Path, default=Path("learning"), help="kept between calls")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.data, options.work, options.threads, options.jobs)
    found = measure(bench, options.tokens, options.sizes)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "machine": machine_description(),
        "commit": commit,
        "tokens": options.tokens,
        "bits_per_byte": found,
    }
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
