"""How fast a run is, and what its losses mean for each byte of text."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from groundup.runtime import Precision, matmul_flops, memory_in_use_bytes

# What is reached of a matrix product's rate, for a guess before anything has run.
USUAL_SHARE = 0.4


@dataclass(frozen=True)
class Speed:
    """What the batches of a job hold and cost; 0 where it is not known, and then not told.

    flops_per_token: of training, forward and backward.
    bytes_per_label: of text for each trained token.
    """

    tokens_per_step: int = 0
    flops_per_token: float = 0.0
    bytes_per_label: float = 0.0

    def expected_seconds(
        self, n_tokens: float, device: torch.device, precision: Precision
    ) -> float:
        """How long training on so many tokens takes by a rough guess; 0 if that is unknown."""
        if not self.flops_per_token:
            return 0.0
        rate = USUAL_SHARE * _measured_rate(device, precision)
        return n_tokens * self.flops_per_token / rate

    def with_bits_per_byte(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The figures with the loss also as bits for each byte of the text trained on."""
        if not self.bytes_per_label:
            return dict(figures)
        nats = figures.get("cross_entropy", figures["loss"])
        return {**figures, "bits_per_byte": nats / math.log(2) / self.bytes_per_label}


class Speedometer:
    """Training time alone: evaluation and checkpoints stop it."""

    def __init__(self, speed: Speed, device: torch.device, precision: Precision) -> None:
        self.speed, self.device, self.precision = speed, device, precision
        self.seconds = 0.0
        self.tokens = 0
        self.started = time.perf_counter()

    def count(self, n_tokens: int) -> float:
        """A step is done; returns its seconds."""
        now = time.perf_counter()
        seconds, self.started = now - self.started, now
        self.seconds += seconds
        self.tokens += n_tokens
        return seconds

    def pause(self) -> None:
        """Time until now is not training time."""
        self.started = time.perf_counter()

    def lap(self, *, waited_s: float) -> tuple[float, dict[str, float]]:
        """Seconds since the last lap, and its figures.

        tokens_per_s; flops_per_s, the model's arithmetic; of_peak, its share of what a large matrix
        product reaches on this machine; data_wait_s, of these seconds; memory_bytes.
        """
        seconds, tokens = max(self.seconds, 1e-9), self.tokens
        self.seconds, self.tokens = 0.0, 0
        figures = {"tokens_per_s": round(tokens / seconds, 1), "data_wait_s": round(waited_s, 4)}
        if self.speed.flops_per_token:
            flops = tokens * self.speed.flops_per_token / seconds
            peak = _measured_rate(self.device, self.precision)
            figures |= {"flops_per_s": float(f"{flops:.4g}"), "of_peak": round(flops / peak, 4)}
        if used := memory_in_use_bytes(self.device):
            figures["memory_bytes"] = used
        return seconds, figures


@cache
def _measured_rate(device: torch.device, precision: Precision) -> float:
    return matmul_flops(device, precision)
