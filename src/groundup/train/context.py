"""What every training stage is handed, and the few things that all of them do alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from groundup.data.loader import RowBatches, RowSource
from groundup.data.pack import Packing, RowPlan, plan_rows
from groundup.data.shards import TokenShards
from groundup.generate import SamplingConfig, stream_text
from groundup.model import Decoder
from groundup.runtime import GroundupError, Listener, new_folder
from groundup.tokenizer import Tokenizer
from groundup.train.objectives import next_token_loss
from groundup.train.sinks import SinkName

EVALUATION_ROWS = 16  # rows of one forward pass on held-out data


@dataclass(frozen=True)
class StageContext:
    """Where a training stage works and with what.

    folder: the stage's own; checkpoints, metrics and the resulting `model/` go there.
    identity: what a checkpoint must agree with before the stage goes on from it.
    track: where figures go beside metrics.jsonl.
    profile: trace a few training steps.
    """

    folder: Path
    data: Path
    tokenizer: Tokenizer
    seed: int
    device: torch.device
    listener: Listener
    identity: Mapping[str, str]
    track: tuple[SinkName, ...] = ()
    profile: bool = False

    @property
    def model_folder(self) -> Path:
        """Where the result goes."""
        return self.folder / "model"


def token_rows(
    context: StageContext,
    name: str,
    *,
    write: Callable[[Path], object],
    seq_len: int,
    packing: Packing,
) -> RowSource:
    """The shards `name` of this stage with their plan; written on the first run, then reused.

    Leaves `tokens/NAME/` whole or absent, so that a killed run never trains on half of it.
    """
    folder = context.folder / "tokens" / name
    if not folder.exists():
        with new_folder(folder) as temporary:
            write(temporary)
            plan_rows(TokenShards.open(temporary), seq_len, packing).save(temporary)
    return RowSource(TokenShards.open(folder), RowPlan.load(folder))


def take_bytes(texts: Iterable[str], limit: int) -> Iterable[str]:
    """The first texts, until `limit` bytes are full; at least one."""
    total = 0
    for text in texts:
        yield text
        total += len(text.encode())
        if total >= limit:
            return


@torch.no_grad()
def heldout_nats(model: Decoder, batches: RowBatches, ignore_id: int | None = None) -> float:
    """Summed cross-entropy of every trained label in the rows, but for labels `ignore_id`."""
    device = next(model.parameters()).device
    total = 0.0
    for batch in batches.every_row_once(EVALUATION_ROWS):
        if ignore_id is not None:
            batch = batch.without_labels(ignore_id)
        total += float(next_token_loss(model, batch.to(device)).total)
    return total


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Nats of a whole text as bits for each of its bytes.

    >>> bits_per_byte(math.log(2), 1)
    1.0
    """
    return nats / math.log(2) / n_bytes


def sample_texts(context: StageContext, prompts: list[str]) -> Callable[[Decoder], list[str]]:
    """A function that lets a model go on from each prompt, as lines for the listener."""
    tokenizer = context.tokenizer
    end = tokenizer.end_of_text_id

    def sample(model: Decoder) -> list[str]:
        config = SamplingConfig(max_tokens=60, seed=context.seed)
        return [
            prompt
            + "".join(
                stream_text(
                    model,
                    tokenizer,
                    [end, *tokenizer.encode(prompt)],
                    stop_ids={end},
                    config=config,
                )
            ).replace("\n", " ")
            for prompt in prompts
        ]

    return sample


def rows_per_batch(batch_tokens: int, seq_len: int) -> int:
    """Rows of `seq_len` tokens that make up `batch_tokens`.

    Raises GroundupError if not even one fits.
    """
    if batch_tokens < seq_len:
        raise GroundupError(
            f"batch_tokens={batch_tokens} is less than one row of {seq_len} tokens; "
            f"try batch_tokens={8 * seq_len}"
        )
    return batch_tokens // seq_len
