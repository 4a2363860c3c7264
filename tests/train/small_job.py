"""A job of the training loop small enough to work through by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from groundup.data.loader import TokenBatch
from groundup.export.huggingface import save_weights_folder
from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.optim import AdamWConfig, MuonConfig, Optimizer, ScheduleConfig
from groundup.tokenizer import Tokenizer
from groundup.train.job import Job, LoopConfig
from groundup.train.objectives import next_token_loss

from ..tiny_build import Recorder

SEQ_LEN = 16
VOCAB = 260


def small_model(seed: int = 0) -> Decoder:
    config = ModelConfig(vocab_size=VOCAB, max_seq_len=SEQ_LEN, d_model=32, n_layers=2, n_heads=2)
    return build_decoder(config, seed)


def small_tokenizer() -> Tokenizer:
    """Bytes, one merge, the special tokens."""
    return Tokenizer.byte_level([(97, 98)])


def token_batch(ids: torch.Tensor, loss_mask: torch.Tensor) -> TokenBatch:
    """ids: (batch, seq_len + 1) -> every row one document; loss_mask: (batch, seq_len)."""
    n_rows, seq_len = loss_mask.shape
    return TokenBatch(
        input_ids=ids[:, :-1],
        labels=ids[:, 1:],
        loss_mask=loss_mask,
        positions=torch.arange(seq_len).expand(n_rows, seq_len),
        document_ids=None,
        trained=loss_mask.flatten().nonzero().squeeze(1),
        n_trained=int(loss_mask.sum()),
        n_tokens=ids[:, :-1].numel(),
    )


@dataclass
class RandomBatches:
    """Rows of random tokens, with a mask that leaves each row another number of labels."""

    n_rows: int = 6
    seed: int = 0
    fingerprint: str = "random"
    served: list[int] = field(default_factory=list)

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[TokenBatch]:
        self.served.append(step)
        generator = torch.Generator().manual_seed(self.seed * 1000 + step)
        ids = torch.randint(0, 256, (self.n_rows, SEQ_LEN + 1), generator=generator)
        n_trained = torch.arange(1, self.n_rows + 1) * 2
        mask = torch.arange(SEQ_LEN) >= SEQ_LEN - n_trained[:, None]
        for first in range(0, self.n_rows, micro_rows):
            rows = slice(first, first + micro_rows)
            yield token_batch(ids[rows], mask[rows])


def small_job(folder: Path, *, muon: bool = False, **changes: Any) -> Job:
    """Six steps on random tokens; `config` entries of the loop and fields of Job can be given."""
    names = set(LoopConfig.__dataclass_fields__)
    loop = {key: changes.pop(key) for key in list(changes) if key in names}
    model = changes.pop("model", None) or small_model()
    tokenizer = small_tokenizer()
    optimizer = MuonConfig(lr=1e-3) if muon else AdamWConfig(lr=1e-3)
    values: dict[str, Any] = {
        "label": "pretrain",
        "model": model,
        "optimizer": Optimizer(model, optimizer),
        "schedule": ScheduleConfig(warmup_steps=0),
        "batches": RandomBatches(),
        "loss_fn": next_token_loss,
        "n_steps": 6,
        "folder": folder,
        "config": LoopConfig(**{"log_every": 1, "checkpoint_every": 2, **loop}),
        "listener": Recorder(),
        "save_weights": lambda weights, path: save_weights_folder(
            model.config, weights, tokenizer, path, chat=False
        ),
        "identity": {"fingerprint": "this"},
    }
    return Job(**{**values, **changes})
