"""Training speed and memory: ours beside transformers' Llama and litgpt, at three sizes.

    python bench/train.py --json FILE [--sizes 1m 14m 124m] [--rounds 5]

Each side is a process of its own that trains the same Llama on the same random tokens in float32
with the same fused AdamW and clipping; they take turns of a few steps, so that a noisy machine is
noisy for all, and between the turns the parent measures what a large matrix product reaches. Ours
runs as `groundup build` runs it: blocks compiled, micro-batches that suit the machine, freed memory
kept. The peers run as their own training scripts call them on a CPU: eagerly, the whole batch at
once; `--eager` adds ours without the compiler, `--peers-compiled` both peers with it. A turn is
timed without its first step after a pause. Tokens per second are medians over the rounds; memory is
the process's peak, and that peak less what the process held before it built the model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from groundup.model import ModelConfig, build_decoder, count_parameters, training_flops_per_token
from groundup.runtime import (
    keep_freed_memory,
    machine_description,
    matmul_flops,
    peak_memory_bytes,
    write_json,
)

TARGET_RATIO, TARGET_SHARE, TARGET_MEMORY = 1.25, 0.70, 0.70


@dataclass(frozen=True)
class Size:
    """A model, the rows of its batch, and the steps of one turn."""

    model: ModelConfig
    rows: int
    turn_steps: int

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


SIZES = {
    "1m": Size(llama(1024, 256, 128, 4, 4), rows=16, turn_steps=10),
    "14m": Size(llama(8192, 512, 384, 6, 6), rows=8, turn_steps=2),
    "124m": Size(llama(50304, 512, 768, 12, 12), rows=8, turn_steps=1),  # three sides fit in 24 GiB
}


class Side(Protocol):
    """Something that can take training steps."""

    def step(self, rows: torch.Tensor) -> float:
        """rows: (batch, seq_len + 1) -> the loss before the step."""


class Ours:
    """The step of the loop, set up as a stage sets it up."""

    def __init__(self, size: Size, compiled: bool) -> None:
        from groundup.optim import AdamWConfig, Optimizer
        from groundup.train.compiling import compile_blocks
        from groundup.train.objectives import next_token_loss
        from groundup.train.stage import cpu_micro_tokens
        from groundup.train.step import StepRule

        keep_freed_memory()
        model = build_decoder(size.model, 0)
        if compiled:
            compile_blocks(model)
        self.micro_rows = max(1, cpu_micro_tokens(size.model.d_model) // size.model.max_seq_len)
        optimizer = Optimizer(model, AdamWConfig())
        self.rule = StepRule(model, optimizer, next_token_loss, "float32", 1.0)

    def step(self, rows: torch.Tensor) -> float:
        pieces = [_token_batch(piece) for piece in rows.split(self.micro_rows)]
        return self.rule.take(pieces, 1e-3).read()["loss"]


def _token_batch(rows: torch.Tensor) -> Any:
    from groundup.data.loader import TokenBatch

    ids = rows[:, :-1]
    n_tokens = ids.numel()
    return TokenBatch(
        input_ids=ids,
        labels=rows[:, 1:],
        loss_mask=torch.ones_like(ids, dtype=torch.bool),
        positions=torch.arange(ids.shape[1]).expand_as(ids),
        document_ids=None,
        trained=None,
        n_trained=n_tokens,
        n_tokens=n_tokens,
    )


class Peer:
    """A step as a training script of a few lines takes it."""

    def __init__(self, model: torch.nn.Module, compiled: bool) -> None:
        self.model = model
        if compiled:
            model.compile()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def loss(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def step(self, rows: torch.Tensor) -> float:
        loss = self.loss(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())


class Transformers(Peer):
    """LlamaForCausalLM, with its own loss."""

    def __init__(self, size: Size, compiled: bool) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = size.model
        super().__init__(
            LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=config.vocab_size,
                    hidden_size=config.d_model,
                    intermediate_size=config.d_ff,
                    num_hidden_layers=config.n_layers,
                    num_attention_heads=config.n_heads,
                    max_position_embeddings=config.max_seq_len,
                    tie_word_embeddings=True,
                    use_cache=False,
                )
            ),
            compiled,
        )

    def loss(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(input_ids=ids, labels=ids, shift_labels=labels).loss
        return out


class LitGPT(Peer):
    """litgpt's GPT as a Llama, with the loss of its pretraining script."""

    def __init__(self, size: Size, compiled: bool) -> None:
        from litgpt import GPT, Config

        config = size.model
        model = GPT(
            Config(
                name="llama",
                block_size=config.max_seq_len,
                padded_vocab_size=config.vocab_size,
                vocab_size=config.vocab_size,
                n_layer=config.n_layers,
                n_head=config.n_heads,
                n_embd=config.d_model,
                head_size=config.d_head,
                rotary_percentage=1.0,
                parallel_residual=False,
                bias=False,
                norm_class_name="RMSNorm",
                mlp_class_name="LLaMAMLP",
                intermediate_size=config.d_ff,
            )
        )
        model.apply(model._init_weights)
        model.lm_head.weight = model.transformer.wte.weight
        super().__init__(model, compiled)

    def loss(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        from litgpt.utils import chunked_cross_entropy

        return chunked_cross_entropy(self.model(ids), labels, chunk_size=0)


SIDES = {"ours": Ours, "transformers": Transformers, "litgpt": LitGPT}


# --- a side's process -----------------------------------------------------------------------------


def serve(name: str, size: Size) -> None:
    """Answer each line on standard input, a number of steps, with what they took."""
    kind, _, how = name.partition("-")
    torch.manual_seed(0)
    side_class = SIDES[kind]
    imported = peak_memory_bytes()
    side = side_class(size, compiled=how == "compiled")
    generator = torch.Generator().manual_seed(1)

    def rows() -> torch.Tensor:
        shape = (size.rows, size.model.max_seq_len + 1)
        return torch.randint(size.model.vocab_size, shape, generator=generator)

    started = time.perf_counter()
    first_loss = side.step(rows())
    first_s = time.perf_counter() - started
    _answer(ready=True, first_step_s=first_s, first_loss=first_loss)
    for line in sys.stdin:
        side.step(rows())
        started = time.perf_counter()
        losses = [side.step(rows()) for _ in range(int(line))]
        seconds = time.perf_counter() - started
        peak = peak_memory_bytes()
        _answer(seconds=seconds, loss=losses[-1], peak=peak, imported=imported)


def _answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Process:
    """A side in its own process, waiting between its turns."""

    def __init__(self, name: str, size_name: str) -> None:
        command = [sys.executable, __file__, "--serve", name, "--sizes", size_name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._read()

    def turn(self, n_steps: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n_steps}\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "a side ended; its error stands above"
        return dict(json.loads(line))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


# --- the comparison -------------------------------------------------------------------------------


def measure(name: str, rounds: int, more_sides: list[str]) -> dict[str, Any]:
    """All sides at one size; returns the figures of that size."""
    size = SIZES[name]
    names = ["ours-compiled", "transformers", "litgpt", *more_sides]
    sides = {side: Process(side, name) for side in names}
    device = torch.device("cpu")
    turns: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, process in sides.items():
            before = matmul_flops(device, "float32")
            turns[side].append(process.turn(size.turn_steps))
            rates[side].append(max(before, matmul_flops(device, "float32")))
    for process in sides.values():
        process.close()
    flops = training_flops_per_token(size.model, size.model.max_seq_len)
    tokens = size.turn_steps * size.tokens
    results = {}
    for side in sides:
        speeds = [tokens / turn["seconds"] for turn in turns[side]]
        shares = [s * flops / rate for s, rate in zip(speeds, rates[side], strict=True)]
        results[side] = {
            "tokens_per_s": round(statistics.median(speeds), 1),
            "share_of_matmul": round(statistics.median(shares), 3),
            "peak_bytes": turns[side][-1]["peak"],
            "peak_less_imports_bytes": turns[side][-1]["peak"] - turns[side][-1]["imported"],
            "first_step_s": round(sides[side].first["first_step_s"], 1),
            "loss": round(turns[side][-1]["loss"], 4),
        }
        print(f"{name:5} {side:22} {json.dumps(results[side])}", flush=True)
    return {
        "parameters": count_parameters(size.model).total,
        "batch_tokens": size.tokens,
        "matmul_gflops": round(
            statistics.median(r for side in rates.values() for r in side) / 1e9, 1
        ),
        "rounds": rounds,
        "sides": results,
    }


def figures_of(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The comparison with the best peer, in the form all benches share."""
    sides = found["sides"]
    peers = {side: values for side, values in sides.items() if not side.startswith("ours")}
    ours = sides["ours-compiled"]
    fastest = max(peers, key=lambda side: peers[side]["tokens_per_s"])
    leanest = min(peers, key=lambda side: peers[side]["peak_bytes"])
    speed, memory = peers[fastest]["tokens_per_s"], peers[leanest]["peak_bytes"]
    return {
        f"{name}_tokens_per_s": {
            "ours": ours["tokens_per_s"],
            "peer": speed,
            "peer_name": fastest,
            "unit": "tokens/s",
            "ratio": round(ours["tokens_per_s"] / speed, 3),
            "rounds": found["rounds"],
        },
        f"{name}_peak_memory": {
            "ours": ours["peak_bytes"],
            "peer": memory,
            "peer_name": leanest,
            "unit": "bytes",
            "ratio": round(memory / ours["peak_bytes"], 3),
            "rounds": found["rounds"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="also run ours without the compiler")
    parser.add_argument("--peers-compiled", action="store_true", help="also compile the peers")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, SIZES[options.sizes[0]])
        return
    more_sides = ["ours"] if options.eager else []
    if options.peers_compiled:
        more_sides += ["transformers-compiled", "litgpt-compiled"]
    found, figures = {}, {}
    for name in options.sizes:
        found[name] = measure(name, options.rounds, more_sides)
        figures |= figures_of(name, found[name])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "machine": machine_description(),
        "commit": commit,
        "figures": figures,
        "details": found,
    }
    print(json.dumps(result["figures"], indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
