"""Tiny Shakespeare, character by character, on a CPU: what ours reaches in the time of nanoGPT's.

    python bench/shakespeare.py --data PATH/input.txt --json FILE [--minutes 2 30]

nanoGPT's example (its README: `--device=cpu --compile=False --block_size=64 --batch_size=12
--n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0`) ends at
1.88 nats per character; its GPU run of ten million parameters is published at 1.47. nanoGPT is no
package, so the peer is its recipe on transformers' GPT-2: the same shape, the same characters, the
same AdamW, schedule and batches.

Ours trains on the same first nine tenths, with the bytes of the text as its tokens, which here are
its characters, and is scored on the last tenth as nanoGPT scores itself: in separate blocks of its
own context, 256 characters. Its number of steps is set beforehand from a trial of seconds, so that
the schedule ends when the time does; only training time is counted, compiling included. Up to the
shortest of the times the two take turns of a few seconds in one process, so that a noisy machine is
noisy for both.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from groundup.data.loader import TokenBatch
from groundup.model import Labels, ModelConfig, build_decoder, count_parameters
from groundup.optim import MuonConfig, Optimizer, ScheduleConfig, lr_factor
from groundup.runtime import (
    compiler_missing,
    keep_freed_memory,
    machine_description,
    torch_generator,
    write_json,
)
from groundup.train.compiling import compile_blocks
from groundup.train.objectives import next_token_loss
from groundup.train.step import StepRule

TURN_S = 3.0
TRIAL_S = 6.0
BLOCK, BATCH, PEER_STEPS = 64, 12, 2000
N_BYTES = 256


@dataclass(frozen=True)
class Setting:
    """What ours is for a time: small and quick, or larger and regularised."""

    model: ModelConfig
    rows: int
    optimizer: MuonConfig
    schedule: ScheduleConfig


def decoder(d_model: int, n_layers: int, n_heads: int, dropout: float) -> ModelConfig:
    return ModelConfig(
        vocab_size=N_BYTES,
        max_seq_len=256,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        dropout=dropout,
    )


WSD = ScheduleConfig(shape="wsd", warmup_steps=30, decay_fraction=0.8)
SHORT = Setting(decoder(128, 4, 4, 0.0), 4, MuonConfig(lr=5e-3), WSD)
LONG = Setting(decoder(192, 4, 6, 0.1), 8, MuonConfig(lr=4e-3), WSD)
LONG_FROM_S = 600.0


class Peer:
    """nanoGPT's CPU example on transformers' GPT-2."""

    def __init__(self, train: torch.Tensor, heldout: torch.Tensor) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        used = torch.cat([train, heldout]).unique()
        number = torch.full((N_BYTES,), -1).scatter(0, used, torch.arange(len(used)))
        self.train, self.heldout = number[train], number[heldout]
        torch.manual_seed(1337)
        config = GPT2Config(
            vocab_size=len(used), n_positions=BLOCK, n_embd=128, n_layer=4, n_head=4,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
        self.model = GPT2LMHeadModel(config)
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
            lr=1e-3,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.steps, self.seconds = 0, 0.0
        self.generator = torch.Generator().manual_seed(1337)

    @property
    def is_done(self) -> bool:
        return self.steps >= PEER_STEPS

    def step(self) -> None:
        starts = torch.randint(len(self.train) - BLOCK, (BATCH,), generator=self.generator)
        rows = torch.stack([self.train[start : start + BLOCK + 1] for start in starts.tolist()])
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr()
        loss = self.loss(rows).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1

    def lr(self) -> float:
        if self.steps < 100:
            return 1e-3 * (self.steps + 1) / 101
        progress = (self.steps - 100) / (PEER_STEPS - 100)
        return 1e-4 + 0.5 * (1 + math.cos(math.pi * progress)) * 9e-4

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        logits = self.model(rows[:, :-1]).logits
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none"
        )

    @torch.no_grad()
    def nats_per_character(self) -> float:
        rows = blocks(self.heldout, BLOCK)
        return float(torch.cat([self.loss(part) for part in rows.split(64)]).mean())


class Ours:
    """A decoder of bytes, trained by the loop's step for a given time."""

    def __init__(self, train: torch.Tensor, heldout: torch.Tensor, setting: Setting) -> None:
        self.train, self.heldout, self.setting = train, heldout, setting
        self.model = build_decoder(setting.model, 1)
        self.optimizer = Optimizer(self.model, setting.optimizer)
        self.rule = StepRule(self.model, self.optimizer, next_token_loss, "float32", 1.0)
        self.steps, self.n_steps, self.seconds = 0, 0, 0.0
        if compiler_missing(torch.device("cpu")) is None:
            compile_blocks(self.model)

    @property
    def is_done(self) -> bool:
        return self.steps >= self.n_steps

    def plan(self, seconds: float) -> None:
        """Set the number of steps by a trial on a model that is then thrown away."""
        trial = Ours(self.train, self.heldout, self.setting)
        trial.n_steps = 1 << 30
        started = time.perf_counter()
        trial.step()
        self.seconds = compiling_s = time.perf_counter() - started
        started = time.perf_counter()
        while time.perf_counter() - started < TRIAL_S:
            trial.step()
        step_s = (time.perf_counter() - started) / (trial.steps - 1)
        self.n_steps = max(10, int((seconds - compiling_s) / step_s))

    def step(self) -> None:
        seq_len = self.setting.model.max_seq_len
        generator = torch_generator(7, "rows", self.steps)
        starts = torch.randint(len(self.train) - seq_len, (self.setting.rows,), generator=generator)
        rows = torch.stack([self.train[start : start + seq_len + 1] for start in starts.tolist()])
        torch.manual_seed(self.steps)  # of dropout
        factor = lr_factor(self.setting.schedule, self.steps, self.n_steps)
        self.rule.take([token_batch(rows)], self.setting.optimizer.lr * factor)
        self.steps += 1

    @torch.no_grad()
    def nats_per_character(self) -> float:
        self.model.eval()
        rows = blocks(self.heldout, self.setting.model.max_seq_len)
        losses = [
            self.model(part[:, :-1], labels=Labels(part[:, 1:].flatten(), per_token=True))
            for part in rows.split(32)
        ]
        self.model.train()
        return float(torch.cat(losses).mean())


def blocks(ids: torch.Tensor, size: int) -> torch.Tensor:
    """Separate blocks with the label after each: (n, size + 1)."""
    n_rows = (len(ids) - 1) // size
    return torch.stack([ids[i * size : (i + 1) * size + 1] for i in range(n_rows)])


def token_batch(rows: torch.Tensor) -> TokenBatch:
    """rows: (batch, seq_len + 1) -> rows that are one document each."""
    ids = rows[:, :-1]
    return TokenBatch(
        input_ids=ids,
        labels=rows[:, 1:],
        loss_mask=torch.ones_like(ids, dtype=torch.bool),
        positions=torch.arange(ids.shape[1]).expand_as(ids),
        document_ids=None,
        trained=None,
        n_trained=ids.numel(),
        n_tokens=ids.numel(),
    )


def take_turn(side: Peer | Ours) -> None:
    """Train one side for a few seconds."""
    started = time.perf_counter()
    while not side.is_done and time.perf_counter() - started < TURN_S:
        side.step()
    side.seconds += time.perf_counter() - started


def measure(text: bytes, minutes: list[float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours at each time, the peer beside the first; returns figures and details."""
    ids = torch.tensor(list(text))
    cut = len(ids) * 9 // 10
    train, heldout = ids[:cut], ids[cut:]
    figures, details = {}, {}
    peer: Peer | None = Peer(train, heldout)
    for minute in sorted(minutes):
        seconds = 60 * minute
        setting = LONG if seconds >= LONG_FROM_S else SHORT
        ours = Ours(train, heldout, setting)
        ours.plan(seconds)
        while not (ours.is_done and (peer is None or peer.is_done)):
            take_turn(ours)
            if peer is not None:
                take_turn(peer)
        nats = ours.nats_per_character()
        details[f"{minute:g}_minutes"] = {
            "nats_per_character": round(nats, 4),
            "train_seconds": round(ours.seconds, 1),
            "steps": ours.steps,
            "characters": ours.steps * setting.rows * setting.model.max_seq_len,
            "parameters": count_parameters(setting.model).total,
        }
        print(details[f"{minute:g}_minutes"], flush=True)
        if peer is not None:
            theirs = peer.nats_per_character()
            details["peer"] = {
                "nats_per_character": round(theirs, 4),
                "train_seconds": round(peer.seconds, 1),
                "steps": peer.steps,
            }
            print(details["peer"], flush=True)
            figures["nats_per_character"] = {
                "ours": round(nats, 4),
                "peer": round(theirs, 4),
                "peer_name": "nanoGPT's CPU example on transformers' GPT-2",
                "unit": "nats per character of held-out text",
                "ratio": round(theirs / nats, 3),
                "rounds": 1,
            }
            peer = None
    return figures, details


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare's input.txt")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 30.0])
    options = parser.parse_args()
    keep_freed_memory()
    figures, details = measure(options.data.read_bytes(), options.minutes)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "machine": machine_description(),
        "commit": commit,
        "figures": figures,
        "details": details,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
