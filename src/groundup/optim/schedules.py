"""Learning-rate schedules: a factor in [0, 1] for each step, a function of the step alone."""

from __future__ import annotations

import math
from typing import Literal

from groundup.runtime import config


@config
class ScheduleConfig:
    """How the learning rate moves over a run: factor = floor + (1 - floor) · fall.

    With n steps, w of them warm-up, at step s ≥ w (steps count from 0):

    shape: `constant` stays at the peak, fall = 1;
        `linear` falls by equal steps over the whole run, fall = (n - s) / (n - w);
        `cosine` (Loshchilov and Hutter, 2017), fall = (1 + cos(π (s - w) / (n - w))) / 2;
        `wsd` (warmup-stable-decay; Hu et al., 2024) stays at the peak and falls by equal steps over
        the last `decay_fraction` of the run, fall = min(1, (n - s) / (decay_fraction · n));
        `inverse_sqrt` (Vaswani et al., 2017), fall = sqrt((w + 1) / (s + 1)), which no run's length
        enters.
    warmup_steps: steps of linear rise from 0, factor = (s + 1) / (w + 1); at most a tenth of the
        run is used.
    floor: where the fall leads, as a share of the peak.
    """

    shape: Literal["cosine", "wsd", "linear", "constant", "inverse_sqrt"] = "wsd"
    warmup_steps: int = 100
    decay_fraction: float = 0.4
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} must not be negative")
        if not 0 <= self.decay_fraction <= 1:
            raise ValueError(f"decay_fraction={self.decay_fraction} must lie between 0 and 1")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor={self.floor} must lie between 0 and 1")


def lr_factor(config: ScheduleConfig, step: int, n_steps: int) -> float:
    """The factor for step 0 … n_steps-1.

    Halfway through its cosine a run without warm-up is at half of its peak:

    >>> lr_factor(ScheduleConfig(shape="cosine", warmup_steps=0), 50, 100)
    0.5
    >>> wsd = ScheduleConfig(shape="wsd", warmup_steps=0, decay_fraction=0.5)
    >>> [lr_factor(wsd, step, 4) for step in range(4)]
    [1.0, 1.0, 1.0, 0.5]
    >>> lr_factor(ScheduleConfig(shape="inverse_sqrt", warmup_steps=0), 3, 100)
    0.5
    """
    warmup = min(config.warmup_steps, n_steps // 10)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, n_steps - warmup)
    match config.shape:
        case "constant":
            fall = 1.0
        case "linear":
            fall = 1 - progress
        case "cosine":
            fall = 0.5 * (1 + math.cos(math.pi * progress))
        case "wsd":
            decay = max(1, round(config.decay_fraction * n_steps))
            fall = min(1.0, (n_steps - step) / decay)
        case "inverse_sqrt":
            fall = math.sqrt((warmup + 1) / (step + 1))
    return config.floor + (1 - config.floor) * fall
