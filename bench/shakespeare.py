"""Tiny Shakespeare on a CPU: how soon ours is as good as nanoGPT's CPU example ends.

    python bench/shakespeare.py --data PATH/input.txt --json FILE

nanoGPT's example (its README: `--device=cpu --compile=False --block_size=64 --batch_size=12
--n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0`) ends at
1.88 nats per character. nanoGPT is no package, so the peer is its recipe on transformers' GPT-2:
the same shape, characters as tokens, the same AdamW, schedule and batches. Both train on the first
nine tenths of the text, are scored on the last tenth in nats per character, and take turns of a few
seconds in one process, so that a noisy machine is noisy for both. Only training time is counted.

Two differences favour ours: its tokens are byte pairs and its context is 256 of them, and it is
scored in windows that overlap by half, where the peer is scored, as nanoGPT scores itself, in
separate blocks of 64 characters.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from groundup.data.loader import RowBatches, RowSource
from groundup.data.pack import plan_rows
from groundup.data.shard_writer import write_shards
from groundup.evaluate.likelihood import score_documents
from groundup.model import build_decoder
from groundup.optim import Optimizer
from groundup.recipe import load_recipe
from groundup.runtime import Silent, machine_description, write_json
from groundup.tokenizer import train_tokenizer
from groundup.train.loop import Job, training_step
from groundup.train.objectives import next_token_loss

TURN_S = 3.0
BLOCK, BATCH, PEER_STEPS = 64, 12, 2000


class Peer:
    """nanoGPT's CPU example on transformers' GPT-2."""

    def __init__(self, train: str, heldout: str) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        characters = sorted(set(train + heldout))
        number = {character: index for index, character in enumerate(characters)}
        self.train = torch.tensor([number[c] for c in train])
        self.heldout = torch.tensor([number[c] for c in heldout])
        torch.manual_seed(1337)
        config = GPT2Config(
            vocab_size=len(characters), n_positions=BLOCK, n_embd=128, n_layer=4, n_head=4,
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
        n_rows = (len(self.heldout) - 1) // BLOCK
        rows = torch.stack([self.heldout[i * BLOCK : (i + 1) * BLOCK + 1] for i in range(n_rows)])
        return float(torch.cat([self.loss(part) for part in rows.split(64)]).mean())


class Ours:
    """The `shakespeare` recipe."""

    def __init__(self, train: str, heldout: str, folder: Path, tokens: int) -> None:
        recipe = load_recipe("shakespeare")
        self.heldout = heldout
        self.tokenizer = train_tokenizer([train], recipe.tokenizer)
        shards = write_shards([train], self.tokenizer, folder)
        seq_len = recipe.model.max_seq_len
        rows = RowSource(shards, plan_rows(shards, seq_len, recipe.pretrain.packing))
        batch_rows = recipe.pretrain.batch_tokens // seq_len
        model = build_decoder(recipe.model_config, recipe.seed)
        self.job = Job(
            label="ours",
            model=model,
            optimizer=Optimizer(model, recipe.pretrain.optimizer),
            schedule=recipe.pretrain.schedule,
            batches=RowBatches([rows], seed=recipe.seed, batch_rows=batch_rows),
            loss_fn=next_token_loss,
            n_steps=-(-tokens // recipe.pretrain.batch_tokens),
            folder=folder,
            config=recipe.pretrain.loop,
            listener=Silent(),
            save_model=lambda model, folder: None,
        )
        self.steps, self.seconds = 0, 0.0

    @property
    def is_done(self) -> bool:
        return self.steps >= self.job.n_steps

    def step(self) -> None:
        training_step(self.job, self.steps)
        self.steps += 1

    def nats_per_character(self) -> float:
        likelihood = score_documents(self.job.model, self.tokenizer, [self.heldout])
        return float(likelihood.bits.sum()) * math.log(2) / len(self.heldout)


def take_turn(side: Peer | Ours) -> None:
    """Train one side for a few seconds."""
    started = time.perf_counter()
    while not side.is_done and time.perf_counter() - started < TURN_S:
        side.step()
    side.seconds += time.perf_counter() - started


def measure(text: str, tokens: int, say: Callable[[str], None]) -> dict[str, dict[str, object]]:
    """Train both to their ends; returns the figures."""
    cut = len(text) * 9 // 10
    train, heldout = text[:cut], text[cut:]
    with TemporaryDirectory() as folder:
        peer, ours = Peer(train, heldout), Ours(train, heldout, Path(folder), tokens)
        rounds = 0
        while not (peer.is_done and ours.is_done):
            take_turn(peer)
            take_turn(ours)
            rounds += 1
            say(
                f"round {rounds}: peer {peer.steps} steps in {peer.seconds:.0f} s, "
                f"ours {ours.steps} of {ours.job.n_steps} in {ours.seconds:.0f} s"
            )
        losses = {"ours": ours.nats_per_character(), "peer": peer.nats_per_character()}
    peer_name = "nanoGPT's CPU example on transformers' GPT-2"
    shared = {"peer_name": peer_name, "rounds": rounds}
    return {
        "training_seconds": {
            "ours": round(ours.seconds, 1),
            "peer": round(peer.seconds, 1),
            "unit": "s",
            "ratio": round(peer.seconds / ours.seconds, 3),
            **shared,
        },
        "nats_per_character": {
            **{side: round(value, 4) for side, value in losses.items()},
            "unit": "nats per character of held-out text",
            "ratio": round(losses["peer"] / losses["ours"], 3),
            **shared,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare's input.txt")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--tokens", type=int, default=600_000, help="what ours trains on")
    options = parser.parse_args()
    figures = measure(options.data.read_text(encoding="utf-8"), options.tokens, print)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {"machine": machine_description(), "commit": commit, "figures": figures}
    print(json.dumps(result, indent=2))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
