"""Direct preference optimization: the preferred reply becomes likelier than the other.

π   the model       π_ref   the model it started from, frozen
y⁺, y⁻   the chosen and the rejected reply to the prompt x         β   how dear it is to move away

    margin = β [ (log π(y⁺|x) - log π_ref(y⁺|x)) - (log π(y⁻|x) - log π_ref(y⁻|x)) ]
    L      = -log σ(margin)                                        (Rafailov et al., 2023)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.data.loader import map_tensors
from groundup.data.mixture import Permutation
from groundup.data.prepared import read_preferences
from groundup.data.records import Preference
from groundup.export.huggingface import load_model
from groundup.model import Decoder, Labels, training_flops_per_token
from groundup.optim import AdamWConfig, AveragingConfig, OptimizerConfig, ScheduleConfig
from groundup.runtime import DataError, autocast, config, derive_seed, stable_hash
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import Message, RenderedChat, render_chat
from groundup.train.context import StageContext
from groundup.train.job import LoopConfig
from groundup.train.objectives import Loss
from groundup.train.precision import apply_precision
from groundup.train.speed import Speed
from groundup.train.stage import Training, train_stage


@config
class AlignConfig:
    """How preferences are taught.

    method: `dpo`.
    epochs: how often each pair is seen.
    batch_pairs: pairs of one optimizer step.
    beta: larger keeps the model nearer to where it started.
    nll_weight: adds this share of the chosen reply's mean negative log-likelihood, which keeps the
        chosen replies likely (Pang et al., 2024); 0 is plain DPO.
    average: a moving average of the weights, which then is the result; null is none.
    """

    method: Literal["dpo"] = "dpo"
    epochs: float = 1.0
    batch_pairs: int = 16
    beta: float = 0.1
    nll_weight: float = 0.0
    optimizer: OptimizerConfig = AdamWConfig(lr=1e-4, weight_decay=0.0)
    schedule: ScheduleConfig = ScheduleConfig(warmup_steps=10)
    loop: LoopConfig = LoopConfig(eval_every=50, checkpoint_every=50)
    average: AveragingConfig | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_pairs", "beta"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        if self.nll_weight < 0:
            raise ValueError(f"nll_weight={self.nll_weight} must not be negative")


@dataclass(frozen=True)
class PairBatch:
    """Pairs as rows: the first half chosen, the second half rejected, in the same order.

    input_ids, labels, loss_mask: (2 * n_pairs, seq_len); trained: (n_trained,), the flat places
    where loss_mask is true; reference: (2 * n_pairs,), the frozen model's log-probability of each
    reply.
    """

    input_ids: Tensor
    labels: Tensor
    loss_mask: Tensor
    trained: Tensor
    reference: Tensor
    n_pairs: int
    n_tokens: int

    def to(self, device: torch.device) -> PairBatch:
        """The same batch on another device."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PairBatch:
        """The same batch in page-locked memory."""
        return map_tensors(self, torch.Tensor.pin_memory)


def reply_log_probabilities(model: Decoder, batch: PairBatch) -> Tensor:
    """log π(reply | prompt), summed over the reply's tokens: (2 * n_pairs,)."""
    n_rows, seq_len = batch.labels.shape
    labels = Labels(batch.labels.flatten().index_select(0, batch.trained), per_token=True)
    losses = model(batch.input_ids, select=batch.trained, labels=labels)  # (n_trained,)
    return -torch.zeros(n_rows, device=losses.device).index_add(0, batch.trained // seq_len, losses)


def dpo_loss(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Losses and margins of pairs: policy, reference: (2, n_pairs) -> (n_pairs,), (n_pairs,).

    A model that has not moved has margin 0 and loss log 2:

    >>> same = torch.tensor([[-3.0], [-5.0]])
    >>> loss, margin = dpo_loss(same, same, beta=0.1)
    >>> round(loss.item(), 4), margin.item()
    (0.6931, 0.0)
    """
    chosen, rejected = policy - reference
    margin = beta * (chosen - rejected)
    return -F.logsigmoid(margin), margin


def preference_loss(model: Decoder, batch: PairBatch, *, beta: float, nll_weight: float) -> Loss:
    """The loss of a batch of pairs, counted by pairs."""
    policy = reply_log_probabilities(model, batch).view(2, -1)
    losses, margins = dpo_loss(policy, batch.reference.view(2, -1), beta)
    if nll_weight:
        lengths = batch.loss_mask[: batch.n_pairs].sum(1)
        losses = losses - nll_weight * policy[0] / lengths
    figures = {
        "preference_accuracy": (margins > 0).float().sum(),
        "reward_margin": margins.sum(),
    }
    return Loss(losses.sum(), batch.n_pairs, figures)


class PairBatches:
    """Batches of pairs in an order that is a function of (seed, step)."""

    def __init__(
        self, pairs: Sequence[RenderedPair], reference: np.ndarray, *, seed: int, batch_pairs: int
    ) -> None:
        self.pairs, self.reference = pairs, reference
        self.seed, self.batch_pairs = seed, batch_pairs

    @property
    def fingerprint(self) -> str:
        """Changes when any batch would."""
        ids = [[pair.chosen.ids, pair.rejected.ids] for pair in self.pairs]
        return stable_hash([ids, self.seed, self.batch_pairs])

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[PairBatch]:
        """The pairs of `step`; `micro_rows` counts rows, two for each pair."""
        n_pairs = len(self.pairs)
        samples = np.arange(step * self.batch_pairs, (step + 1) * self.batch_pairs)
        chosen: list[int] = []
        for epoch in range(samples[0] // n_pairs, samples[-1] // n_pairs + 1):
            places = samples[samples // n_pairs == epoch] % n_pairs
            order = Permutation(n_pairs, derive_seed(self.seed, "epoch", int(epoch)))
            chosen += order(places).tolist()
        size = max(1, micro_rows // 2)
        for first in range(0, len(chosen), size):
            yield self.assemble(chosen[first : first + size])

    def every_pair_once(self) -> Iterator[PairBatch]:
        """All pairs in their order, a batch at a time."""
        for first in range(0, len(self.pairs), self.batch_pairs):
            yield self.assemble(range(first, min(first + self.batch_pairs, len(self.pairs))))

    def assemble(self, indices: Sequence[int]) -> PairBatch:
        """The pairs of these indices as one batch, padded on the right."""
        rows = [self.pairs[index].chosen for index in indices]
        rows += [self.pairs[index].rejected for index in indices]
        longest = max(len(row.ids) for row in rows) - 1
        ids = torch.zeros(len(rows), longest + 1, dtype=torch.long)
        mask = torch.zeros(len(rows), longest + 1, dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            mask[place, : len(row.ids)] = torch.tensor(row.loss_mask)
        return PairBatch(
            input_ids=ids[:, :-1],
            labels=ids[:, 1:],
            loss_mask=mask[:, 1:],
            trained=mask[:, 1:].flatten().nonzero().squeeze(1),
            reference=torch.from_numpy(self.reference[:, list(indices)]).reshape(-1),
            n_pairs=len(indices),
            n_tokens=sum(len(row.ids) - 1 for row in rows),
        )


@dataclass(frozen=True)
class RenderedPair:
    """Both sides of a preference as ids; only the last reply is marked."""

    chosen: RenderedChat
    rejected: RenderedChat


def render_pair(tokenizer: Tokenizer, pair: Preference) -> RenderedPair:
    """Prompt and reply as a chat, twice; earlier replies in the prompt are not trained on."""
    prompt = render_chat(tokenizer, pair.prompt, add_generation_prompt=True)

    def render(reply: str) -> RenderedChat:
        whole = render_chat(tokenizer, [*pair.prompt, Message("assistant", reply)])
        mask = [
            trained and place >= len(prompt.ids) for place, trained in enumerate(whole.loss_mask)
        ]
        return RenderedChat(whole.ids, mask)

    return RenderedPair(render(pair.chosen), render(pair.rejected))


def align(settings: AlignConfig, start: Path, context: StageContext) -> dict[str, Any]:
    """Teach the preferences to the model folder `start`; returns what the stage counted.

    Raises DataError if no pair fits the context.
    """
    model = load_model(start).to(context.device)
    frozen = load_model(start).to(context.device).requires_grad_(False)
    apply_precision(frozen, settings.loop.precision, context.device)
    pairs, n_too_long = _pairs_that_fit("train", model.config.max_seq_len, context)
    heldout_pairs, _ = _pairs_that_fit("heldout", model.config.max_seq_len, context)
    batches = _with_reference(pairs, frozen, settings, context)
    heldout = _with_reference(heldout_pairs, frozen, settings, context)

    def loss_fn(model: Decoder, batch: PairBatch) -> Loss:
        return preference_loss(model, batch, beta=settings.beta, nll_weight=settings.nll_weight)

    def evaluate(model: Decoder) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for batch in heldout.every_pair_once():
            loss = loss_fn(model, batch.to(context.device))
            for key, value in {"loss": loss.total, **loss.figures}.items():
                sums[key] += float(value)
        return {f"heldout_{key}": value / len(heldout_pairs) for key, value in sums.items()}

    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    longest = max(len(row.ids) for row in rows) - 1
    training = Training(
        label="align",
        batches=batches,
        loss_fn=loss_fn,
        n_steps=max(1, round(settings.epochs * len(pairs) / settings.batch_pairs)),
        rows=2 * settings.batch_pairs,
        seq_len=longest,
        chat=True,
        n_trained_share=sum(sum(row.loss_mask) for row in rows) / (len(rows) * longest),
        speed=Speed(
            tokens_per_step=2 * settings.batch_pairs * longest,
            flops_per_token=training_flops_per_token(model.config, longest),
        ),
        evaluate=evaluate,
    )
    _, counts = train_stage(model, training, settings, context)
    return counts | {"pairs": len(pairs), "pairs_too_long": n_too_long}


def _pairs_that_fit(
    split: Literal["train", "heldout"], max_seq_len: int, context: StageContext
) -> tuple[list[RenderedPair], int]:
    rendered = [
        render_pair(context.tokenizer, pair) for pair in read_preferences(context.data, split)
    ]
    fitting = [
        pair
        for pair in rendered
        if max(len(pair.chosen.ids), len(pair.rejected.ids)) <= max_seq_len + 1
    ]
    n_too_long = len(rendered) - len(fitting)
    if n_too_long:
        context.listener.message(
            f"align: {n_too_long} {split} pairs longer than {max_seq_len} tokens were left out"
        )
    if not fitting:
        raise DataError(
            f"none of the {len(rendered)} {split} preference pairs fits "
            f"model.max_seq_len={max_seq_len}; use a longer context or shorter replies"
        )
    return fitting, n_too_long


@torch.no_grad()
def _with_reference(
    pairs: Sequence[RenderedPair], frozen: Decoder, settings: AlignConfig, context: StageContext
) -> PairBatches:
    """Batches whose pairs know the frozen model's log-probabilities, computed once."""
    reference = np.zeros((2, len(pairs)), dtype=np.float32)
    batches = PairBatches(
        pairs,
        reference,
        seed=derive_seed(context.seed, "align"),
        batch_pairs=settings.batch_pairs,
    )
    first = 0
    for batch in batches.every_pair_once():
        with autocast(context.device, settings.loop.precision):
            values = reply_log_probabilities(frozen, batch.to(context.device))
        reference[:, first : first + batch.n_pairs] = values.view(2, -1).cpu().numpy()
        first += batch.n_pairs
    return batches
