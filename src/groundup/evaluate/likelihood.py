"""How well a model predicts held-out text, in bits per byte, with an interval over documents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from groundup.evaluate.statistics import Interval, ratio_interval
from groundup.model import Decoder, Labels
from groundup.tokenizer import Tokenizer

WINDOWS_PER_BATCH = 16


@dataclass(frozen=True)
class Likelihood:
    """Bits that each document takes under a model, and its length in bytes."""

    bits: np.ndarray
    n_bytes: np.ndarray

    @property
    def bits_per_byte(self) -> Interval:
        """Σ bits / Σ bytes, with a 95% interval over documents."""
        return ratio_interval(self.bits, self.n_bytes)


@dataclass(frozen=True)
class _Window:
    """A stretch of one document: `ids` with the first `n_context` given and the rest scored."""

    document: int
    ids: list[int]
    n_context: int


@torch.inference_mode()
def score_documents(model: Decoder, tokenizer: Tokenizer, texts: Sequence[str]) -> Likelihood:
    """Bits of every text under the model, each token scored once.

    A document that is longer than the context is read in windows that overlap by half, so that
    every token but those at the start has at least half a context before it. The end of the
    document is not scored: the compressors it is compared with do not pay for it either.
    """
    device = next(model.parameters()).device
    nats = np.zeros(len(texts))
    windows = sorted(
        _windows(tokenizer, texts, model.config.max_seq_len), key=lambda window: len(window.ids)
    )
    for first in range(0, len(windows), WINDOWS_PER_BATCH):
        batch = windows[first : first + WINDOWS_PER_BATCH]
        for window, value in zip(batch, _score_windows(model, batch, device), strict=True):
            nats[window.document] += value
    n_bytes = np.array([len(text.encode()) for text in texts])
    return Likelihood(nats / math.log(2), n_bytes)


def _windows(tokenizer: Tokenizer, texts: Sequence[str], max_seq_len: int) -> Iterator[_Window]:
    stride = max(1, max_seq_len // 2)
    for document, ids in enumerate(tokenizer.encode_batch(list(texts))):
        whole = [tokenizer.end_of_text_id, *ids]
        scored_to = 1
        while scored_to < len(whole):
            end = min(len(whole), max_seq_len + 1 if scored_to == 1 else scored_to + stride)
            start = max(0, end - max_seq_len - 1)
            yield _Window(document, whole[start:end], scored_to - start)
            scored_to = end


def _score_windows(model: Decoder, windows: Sequence[_Window], device: torch.device) -> list[float]:
    """Nats of the scored part of each window."""
    longest = max(len(window.ids) for window in windows) - 1
    ids = torch.zeros(len(windows), longest + 1, dtype=torch.long)
    scored = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        scored[row, window.n_context - 1 : len(window.ids) - 1] = True
    labels = Labels(ids[:, 1:][scored].to(device), per_token=True)
    select = scored.flatten().nonzero().squeeze(1)
    losses = model(ids[:, :-1].to(device), select=select.to(device), labels=labels)
    nats: Tensor = torch.zeros(len(windows), dtype=torch.float64)
    return nats.index_add(0, select // longest, losses.cpu().double()).tolist()
