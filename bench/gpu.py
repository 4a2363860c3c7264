"""Training on one GPU: ours beside transformers' Llama, in bfloat16, at three sizes.

    python bench/gpu.py --json FILE [--sizes 124m 350m 1.3b] [--rounds 3] [--limit-s 500]

Each side is a process of its own that trains the same Llama on the same random tokens with weights
in float32, products in bfloat16 (autocast), fused AdamW and clipping. Ours runs as `groundup build`
runs it: blocks compiled, loss from hidden states; beside it stand float8 products, where the GPU
has them, and Muon. The peer is LlamaForCausalLM with each attention it has here, eager and under
torch.compile. The sides take turns of a few steps and give their free memory back in between; a
turn is timed without its first step after the pause, and between turns the parent measures what a
large matrix product reaches. Figures are medians over the rounds; memory is the allocator's peak.

Sides begin, which is where they compile, as many at a time as fit into the GPU's memory. A size
that the time limit leaves no room for is left out and named in the result, which is written after
every size. A last run trains the smallest model on tokens that can be learned: its loss must fall.

`--dry` does all of it in float32 on a CPU with tiny models, and compiles nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch

from groundup.model import ModelConfig, build_decoder, count_parameters, training_flops_per_token
from groundup.runtime import (
    Precision,
    autocast,
    machine_description,
    matmul_flops,
    peak_memory_bytes,
    synchronize,
    write_json,
)

BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.95), 0.1, 1.0
FLOAT8_FROM = (8, 9)  # compute capability
USUAL_SIZE_S = 150.0  # what a size takes, for a guess before one has run
SMOKE_SYMBOLS = 256


@dataclass(frozen=True)
class Size:
    """A model, the rows of its batch, and the steps of one turn.

    begin_bytes: about what a side needs in its first step.
    """

    model: ModelConfig
    rows: int
    turn_steps: int
    begin_bytes: int
    smoke_steps: int = 120
    smoke_lr: float = 6e-4

    @property
    def tokens(self) -> int:
        return self.rows * self.model.max_seq_len


def llama(vocab_size: int, seq_len: int, d_model: int, n_layers: int, n_heads: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        max_seq_len=seq_len,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        qk_norm=False,
    )


GIB = 2**30
SIZES = {
    "124m": Size(llama(50304, 2048, 768, 12, 12), rows=8, turn_steps=10, begin_bytes=32 * GIB),
    "350m": Size(llama(50304, 2048, 1024, 24, 16), rows=8, turn_steps=5, begin_bytes=56 * GIB),
    "1.3b": Size(llama(50304, 2048, 2048, 24, 16), rows=4, turn_steps=4, begin_bytes=44 * GIB),
}
DRY_SIZES = {
    "124m": Size(llama(512, 32, 32, 2, 2), 4, turn_steps=1, begin_bytes=0, smoke_lr=2e-2),
    "350m": Size(llama(512, 32, 48, 2, 3), 4, turn_steps=1, begin_bytes=0),
    "1.3b": Size(llama(512, 32, 64, 2, 4), 4, turn_steps=1, begin_bytes=0),
}


@dataclass(frozen=True)
class Place:
    """Where the sides run and how they multiply."""

    dry: bool

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dry else "cuda")

    @property
    def precision(self) -> Precision:
        return "float32" if self.dry else "bfloat16"

    @property
    def sizes(self) -> dict[str, Size]:
        return DRY_SIZES if self.dry else SIZES

    def sides(self) -> list[str]:
        """The names of all sides that run here."""
        float8 = self.dry or torch.cuda.get_device_capability() >= FLOAT8_FROM
        kernels = ["sdpa"]
        if not self.dry and importlib.util.find_spec("flash_attn"):
            kernels.append("flash_attention_2")
        peers = [f"transformers-{k}{how}" for k in kernels for how in ("", "-compiled")]
        return ["ours", *(["ours-float8"] if float8 else []), "ours-muon", *peers]


# --- the sides ------------------------------------------------------------------------------------


class Side(Protocol):
    """Something that takes training steps, and waits for none of them."""

    def step(self, rows: torch.Tensor) -> Callable[[], float]:
        """rows: (batch, seq_len + 1), page-locked -> what reads the loss before the step."""


class Ours:
    """The step of the loop, set up as a stage sets it up. kind: "", `float8`, `muon`."""

    def __init__(self, size: Size, place: Place, kind: str, lr: float) -> None:
        from groundup.optim import AdamWConfig, MuonConfig, Optimizer
        from groundup.train.compiling import compile_blocks
        from groundup.train.objectives import next_token_loss
        from groundup.train.precision import apply_precision
        from groundup.train.step import StepRule

        precision = "float8" if kind == "float8" else place.precision
        model = build_decoder(size.model, 0).to(place.device)
        apply_precision(model, precision, place.device)
        compile_blocks(model)
        config = (MuonConfig if kind == "muon" else AdamWConfig)(lr=lr, weight_decay=WEIGHT_DECAY)
        optimizer = Optimizer(model, config)
        self.lr = lr
        self.rule = StepRule(model, optimizer, next_token_loss, precision, CLIP)

    def step(self, rows: torch.Tensor) -> Callable[[], float]:
        figures = self.rule.take([_token_batch(rows)], self.lr)
        return lambda: figures.read()["loss"]


def _token_batch(rows: torch.Tensor) -> Any:
    from groundup.data.loader import TokenBatch

    ids = rows[:, :-1]
    return TokenBatch(
        input_ids=ids,
        labels=rows[:, 1:],
        loss_mask=torch.ones_like(ids, dtype=torch.bool),
        positions=torch.arange(ids.shape[1]).expand_as(ids).contiguous(),
        document_ids=None,
        trained=None,
        n_trained=ids.numel(),
        n_tokens=ids.numel(),
    )


class Transformers:
    """LlamaForCausalLM with its own loss. kind: the attention, and `compiled`."""

    def __init__(self, size: Size, place: Place, kind: str, lr: float) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        attention, _, how = kind.partition("-")
        config = size.model
        self.place = place
        torch.manual_seed(0)
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.d_model,
                intermediate_size=config.d_ff,
                num_hidden_layers=config.n_layers,
                num_attention_heads=config.n_heads,
                max_position_embeddings=config.max_seq_len,
                tie_word_embeddings=True,
                use_cache=False,
                attn_implementation=attention,
            )
        ).to(place.device)
        self.model.train()
        if how:
            self.model.compile()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=lr, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )

    def step(self, rows: torch.Tensor) -> Callable[[], float]:
        rows = rows.to(self.place.device, non_blocking=True)
        ids, labels = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        with autocast(self.place.device, self.place.precision):
            loss = self.model(input_ids=ids, labels=ids, shift_labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return lambda: float(loss.detach())


def build_side(name: str, size: Size, place: Place, lr: float) -> Side:
    owner, _, kind = name.partition("-")
    return (Ours if owner == "ours" else Transformers)(size, place, kind, lr)


# --- a side's process -----------------------------------------------------------------------------


def random_rows(size: Size, place: Place) -> Iterator[torch.Tensor]:
    """(rows, seq_len + 1) again and again, the same for every side."""
    generator = torch.Generator().manual_seed(1)
    shape = (size.rows, size.model.max_seq_len + 1)
    while True:
        rows = torch.randint(size.model.vocab_size, shape, generator=generator)
        yield rows if place.dry else rows.pin_memory()


def serve(name: str, size: Size, place: Place) -> None:
    """Build, begin at the first line on standard input, then answer each: so many steps."""
    side, rows = build_side(name, size, place, lr=3e-4), random_rows(size, place)
    sys.stdin.readline()
    started = time.perf_counter()
    side.step(next(rows))()
    begin_s = time.perf_counter() - started
    _give_memory_back(place)
    _answer(begin_s=begin_s)
    for line in sys.stdin:
        side.step(next(rows))()
        batches = [next(rows) for _ in range(int(line))]
        _reset_peak(place)
        synchronize(place.device)
        started = time.perf_counter()
        for batch in batches:
            read_loss = side.step(batch)
        synchronize(place.device)
        seconds = time.perf_counter() - started
        peak = _peak_bytes(place)
        loss = read_loss()
        _give_memory_back(place)
        _answer(seconds=seconds, loss=loss, peak=peak)


def _reset_peak(place: Place) -> None:
    if not place.dry:
        torch.cuda.reset_peak_memory_stats()


def _peak_bytes(place: Place) -> int:
    return peak_memory_bytes() if place.dry else torch.cuda.max_memory_allocated()


def _give_memory_back(place: Place) -> None:
    if not place.dry:
        torch.cuda.empty_cache()


def smoke(size: Size, place: Place) -> None:
    """Train on a cycle of symbols, whose next is certain, and answer with the losses."""
    side = build_side("ours", size, place, lr=size.smoke_lr)
    generator = torch.Generator().manual_seed(2)
    order = torch.randperm(SMOKE_SYMBOLS, generator=generator)
    columns = torch.arange(size.model.max_seq_len + 1)
    losses = []
    for _ in range(size.smoke_steps):
        first = torch.randint(SMOKE_SYMBOLS, (size.rows, 1), generator=generator)
        rows = order[(first + columns) % SMOKE_SYMBOLS]
        losses.append(side.step(rows if place.dry else rows.pin_memory())())
    _answer(first_loss=losses[0], last_loss=losses[-1], steps=len(losses))


def _answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Process:
    """A side in its own process, waiting between its turns."""

    def __init__(self, size_name: str, place: Place, *arguments: str) -> None:
        command = [sys.executable, __file__, "--sizes", size_name, *arguments]
        environment = dict(os.environ)
        if place.dry:
            command.append("--dry")
            environment |= {"TORCH_COMPILE_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, n_steps: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n_steps}\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended; its error stands above")
        return dict(json.loads(line))

    def turn(self, n_steps: int) -> dict[str, Any]:
        self.ask(n_steps)
        return self.read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# --- the comparison -------------------------------------------------------------------------------


@contextmanager
def all_sides(name: str, size: Size, place: Place) -> Iterator[dict[str, Process]]:
    """Every side in its process, begun: as many at a time as the memory allows."""
    sides = {side: Process(name, place, "--serve", side) for side in place.sides()}
    try:
        waiting = list(reversed(sides))  # the peer takes longest to compile
        while waiting:
            at_once = len(waiting)
            if not place.dry:
                free, _ = torch.cuda.mem_get_info()
                at_once = max(1, free // size.begin_bytes)
            beginning, waiting = waiting[:at_once], waiting[at_once:]
            for side in beginning:
                sides[side].ask(0)
            for side in beginning:
                print(f"{name:5} {side:28} begun {sides[side].read()}", flush=True)
        yield sides
    finally:
        for process in sides.values():
            process.close()


def measure(name: str, place: Place, rounds: int) -> dict[str, Any]:
    """All sides at one size; returns the figures of that size."""
    size = place.sizes[name]
    turns: dict[str, list[dict[str, Any]]] = {side: [] for side in place.sides()}
    rates: dict[str, list[float]] = {side: [] for side in turns}
    with all_sides(name, size, place) as sides:
        for _ in range(rounds):
            for side, process in sides.items():
                before = matmul_flops(place.device, place.precision)
                turns[side].append(process.turn(size.turn_steps))
                rates[side].append(max(before, matmul_flops(place.device, place.precision)))
                _give_memory_back(place)
    flops = training_flops_per_token(size.model, size.model.max_seq_len)
    results = {}
    for side, taken in turns.items():
        speeds = [size.turn_steps * size.tokens / turn["seconds"] for turn in taken]
        shares = [s * flops / rate for s, rate in zip(speeds, rates[side], strict=True)]
        results[side] = {
            "tokens_per_s": round(statistics.median(speeds), 1),
            "share_of_matmul": round(statistics.median(shares), 4),
            "peak_bytes": max(turn["peak"] for turn in taken),
            "loss": round(taken[-1]["loss"], 4),
        }
        print(f"{name:5} {side:28} {json.dumps(results[side])}", flush=True)
    return {
        "parameters": count_parameters(size.model).total,
        "batch_tokens": size.tokens,
        "matmul_gflops": round(statistics.median(chain.from_iterable(rates.values())) / 1e9, 1),
        "rounds": rounds,
        "sides": results,
    }


def figures_of(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Ours beside the best peer, in the form all benches share."""
    sides, rounds = found["sides"], found["rounds"]
    peers = {side: values for side, values in sides.items() if not side.startswith("ours")}
    fastest = max(peers, key=lambda side: peers[side]["tokens_per_s"])
    leanest = min(peers, key=lambda side: peers[side]["peak_bytes"])
    figures = {}
    for side in (side for side in sides if side.startswith("ours")):
        label = f"{name}{side.removeprefix('ours').replace('-', '_')}"
        for key, peer, unit in (
            ("tokens_per_s", fastest, "tokens/s"),
            ("share_of_matmul", fastest, "of the bfloat16 rate"),
            ("peak_bytes", leanest, "bytes"),
        ):
            ours, theirs = sides[side][key], peers[peer][key]
            better = theirs / ours if key == "peak_bytes" else ours / theirs
            figures[f"{label}_{key}"] = {
                "ours": ours,
                "peer": theirs,
                "peer_name": peer,
                "unit": unit,
                "ratio": round(better, 3),
                "rounds": rounds,
            }
    return figures


def run_smoke(name: str, place: Place) -> dict[str, Any]:
    """The losses of the learnable run; ends the bench if they did not fall."""
    process = Process(name, place, "--smoke")
    found = process.read()
    process.close()
    print(f"{name:5} smoke {json.dumps(found)}", flush=True)
    if not found["last_loss"] < 0.5 * found["first_loss"]:
        raise SystemExit(f"the loss did not fall: {found}")
    return found


def compare(
    names: list[str], place: Place, rounds: int, limit_s: float
) -> Iterator[dict[str, Any]]:
    """The result after each size, and once more at the end; a size with no time left is named."""
    started = time.monotonic()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    details: dict[str, Any] = {"smoke": run_smoke(names[0], place), "left_out": []}
    result = {"machine": machine_description(), "commit": commit, "figures": {}, "details": details}
    longest = 0.0 if place.dry else USUAL_SIZE_S
    for name in names:
        begun = time.monotonic()
        if begun - started + longest > limit_s:
            details["left_out"].append(name)
            print(f"{name:5} left out: {limit_s:.0f} s would not be enough", flush=True)
            continue
        details[name] = measure(name, place, rounds)
        details[name]["seconds"] = round(time.monotonic() - begun, 1)
        longest = max(longest, details[name]["seconds"])
        result["figures"] |= figures_of(name, details[name])
        yield result
    yield result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="all; with --dry the first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=500.0, help="begin no size past this")
    parser.add_argument("--dry", action="store_true", help="tiny models on the CPU")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    place = Place(options.dry)
    names = options.sizes or list(place.sizes)[: 1 if options.dry else None]
    if not (options.dry or torch.cuda.is_available()):
        raise SystemExit("there is no CUDA device here; --dry runs the same code on the CPU")
    if options.serve:
        serve(options.serve, place.sizes[names[0]], place)
    elif options.smoke:
        smoke(place.sizes[names[0]], place)
    else:
        for result in compare(names, place, options.rounds, options.limit_s):
            if options.json:
                write_json(options.json, result)
        print(json.dumps(result["figures"], indent=2))


if __name__ == "__main__":
    main()
