"""Watching a run: which steps are spikes or no numbers, when to go back, when to stop.

Decisions only: the loop reads the figures of a step from the device, asks here, and does what the
verdict says. All that a decision depends on is in `state()`, so that a run that resumes decides as
the one that was never stopped.

A step whose loss or gradient norm is not finite is left out by the loop: parameters and optimizer
stay as they were. After `roll_back_after` of them in a row the loop goes back to the newest
checkpoint not past `last_good_step` and on with other batches, those that come `data_offset` later
in the data's order. After `stop_after` of these it stops with `explain()`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from groundup.runtime import config

Verdict = Literal["go_on", "roll_back", "stop"]

# The window and the six deviations are those of SkipStepAdamW in OLMo 2 (Team OLMo, 2025).
WINDOW = 128
MIN_HISTORY = WINDOW // 2  # losses seen before any is called a spike
# Below this share of the mean a deviation is rounding: a loss that stands still has no spikes.
DEVIATION_FLOOR = 1e-3


@config
class WatchConfig:
    """What a run does about its own trouble.

    spike_sigmas: a loss so many standard deviations above the mean of the last 128 is a spike,
        reported and counted; 0 looks for none.
    skip_spikes: leave out the update of a spike.
    roll_back_after: steps in a row without a finite loss and gradient before the run goes back.
    stop_after: how often it goes back; the next time it stops.
    update_stats_every: steps between measurements of updates and dead units; 0 never.
    stall_timeout_s: seconds without a step after which it says where it hangs; 0 never.
    """

    spike_sigmas: float = 6.0
    skip_spikes: bool = False
    roll_back_after: int = 3
    stop_after: int = 3
    update_stats_every: int = 100
    stall_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("spike_sigmas", "stall_timeout_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative; 0 is off")
        if self.skip_spikes and not self.spike_sigmas:
            raise ValueError("skip_spikes needs spike_sigmas above 0; try spike_sigmas=6")
        if self.roll_back_after < 1:
            raise ValueError(f"roll_back_after={self.roll_back_after} must be at least 1")
        for name in ("stop_after", "update_stats_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")


class Watch:
    """Looks at the figures of every step, in order, and says how the run goes on.

    n_skipped, n_spikes, n_roll_backs: counted over the whole run.
    consecutive: how many steps in a row, up to now, were not finite.
    data_offset: how many batches further than its step the run is in the data's order.
    last_good_step: the last step whose loss and gradient were finite; a checkpoint past it is none
        to go back to.

    >>> watch = Watch(WatchConfig(roll_back_after=2, stop_after=1))
    >>> nan = math.nan
    >>> [watch.observe(step, loss=x, gradient_norm=1.0, was_skipped=x != x)
    ...     for step, x in enumerate([2.0, 1.9, nan, nan], start=1)]
    ['go_on', 'go_on', 'go_on', 'roll_back']
    >>> watch.rolled_back(to_step=2)
    >>> watch.data_offset  # step 3 takes the batch that would have been step 5's
    2
    """

    def __init__(self, config: WatchConfig) -> None:
        self.config = config
        self.n_skipped = self.n_spikes = self.n_roll_backs = 0
        self.consecutive = 0
        self.data_offset = 0
        self.last_step = self.last_good_step = 0
        self._recent: list[float] = []  # the last losses, spikes clipped to what was the limit
        self._before: list[float] = []  # the last finite loss and gradient norm
        self._trouble: list[Any] = []  # of the steps not finite now: first step, what, norm alone?
        self._roll_backs: list[list[int]] = []  # the step it stood at, the step it went back to
        self._notes: list[str] = []

    def spike_limit(self, step: int) -> float:
        """The highest loss of `step` that is no spike; infinite while too little is known.

        `step` is the next one to be observed, or the one after it.

        mean + spike_sigmas · deviation of the last 128 losses but for that of the step before, so
        that the limit is the same for a loop that works a step ahead of what it has observed. Those
        above their own limit count as if they had been at it: one spike hardly widens what is
        normal, while a lasting rise, as from other data, becomes normal after a few steps.
        """
        known = self._known(step)
        if not self.config.spike_sigmas or len(known) < MIN_HISTORY:
            return math.inf
        mean, deviation = _mean_and_deviation(known)
        return mean + self.config.spike_sigmas * deviation

    def _known(self, step: int) -> list[float]:
        """Losses that a spike at `step` is measured by."""
        assert self.last_step < step <= self.last_step + 2, f"{step} is out of order"
        recent = self._recent[:-1] if self.last_good_step == step - 1 else self._recent
        return recent[-WINDOW:]

    def observe(
        self, step: int, *, loss: float, gradient_norm: float, was_skipped: bool
    ) -> Verdict:
        """Take in a step, counted from 1; `was_skipped` if its update was left out.

        A step that is not finite and was not left out has spoilt the weights: the run goes back at
        once.
        """
        self.n_skipped += was_skipped
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return self._observe_not_finite(step, loss, gradient_norm, was_skipped)
        limit = self.spike_limit(step)
        if loss > limit:
            self.n_spikes += 1
            mean, deviation = _mean_and_deviation(self._known(step))
            self._note(
                f"step {step}: the loss {loss:.4g} is a spike, {(loss - mean) / deviation:.1f} "
                f"deviations above its recent mean of {mean:.4g}",
                was_skipped,
            )
        if self.config.spike_sigmas:
            self._recent = [*self._recent, min(loss, limit)][-WINDOW - 1 :]
        self.last_step = self.last_good_step = step
        self.consecutive, self._trouble, self._before = 0, [], [loss, gradient_norm]
        return "go_on"

    def _observe_not_finite(
        self, step: int, loss: float, gradient_norm: float, was_skipped: bool
    ) -> Verdict:
        what = f"the loss is {loss:.4g} and the gradient norm {gradient_norm:.4g}"
        self.last_step = step
        self.consecutive += 1
        if not self._trouble:
            self._trouble = [step, what, math.isfinite(loss)]
        self._note(f"step {step}: {what}", was_skipped)
        if was_skipped and self.consecutive < self.config.roll_back_after:
            return "go_on"
        return "roll_back" if self.n_roll_backs < self.config.stop_after else "stop"

    def rolled_back(self, to_step: int) -> None:
        """The loop has gone back to the weights of `to_step`: go on with batches not yet seen.

        Those follow on the last that was observed, whatever the loop has begun since, so that it
        does not matter when it was told. The recent losses are forgotten: they belong to other
        weights.
        """
        assert to_step <= self.last_good_step, f"{to_step} is after the trouble began"
        self.n_roll_backs += 1
        self.data_offset += self.last_step - to_step
        self._roll_backs.append([self.last_step, to_step])
        self._note(
            f"step {self.last_step}: back to the weights of step {to_step}, "
            f"on with the data that comes {self.data_offset} batches later"
        )
        self.last_step = self.last_good_step = to_step
        self.consecutive, self._trouble, self._recent = 0, [], []

    def take_notes(self) -> list[str]:
        """Lines worth telling since the last call: spikes, updates left out, roll-backs."""
        notes, self._notes = self._notes, []
        return notes

    def _note(self, text: str, was_skipped: bool = False) -> None:
        self._notes.append(text + ("; its update is left out" if was_skipped else ""))

    def state(self) -> dict[str, Any]:
        """All that later decisions depend on, as plain JSON values."""
        return {
            "n_skipped": self.n_skipped,
            "n_spikes": self.n_spikes,
            "n_roll_backs": self.n_roll_backs,
            "consecutive": self.consecutive,
            "data_offset": self.data_offset,
            "last_step": self.last_step,
            "last_good_step": self.last_good_step,
            "recent": list(self._recent),
            "before": list(self._before),
            "trouble": list(self._trouble),
            "roll_backs": [list(pair) for pair in self._roll_backs],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        for name in ("n_skipped", "n_spikes", "n_roll_backs", "consecutive", "data_offset"):
            setattr(self, name, int(state[name]))
        self.last_step, self.last_good_step = state["last_step"], state["last_good_step"]
        self._recent, self._before = list(state["recent"]), list(state["before"])
        self._trouble = list(state["trouble"])
        self._roll_backs = [list(pair) for pair in state["roll_backs"]]

    def explain(self, label: str, lr: float) -> str:
        """Three lines for a run that stops: what happened, why most likely, what to change."""
        assert self._trouble, "there is nothing to explain"
        first, what, _ = self._trouble
        happened = f"{label}: stopped at step {self.last_step}: {what} at step {first}"
        if self._before:
            loss, norm = self._before
            happened += f", {loss:.4g} and {norm:.4g} before it"
        if self._roll_backs:
            places = ", ".join(f"{step} to {to_step}" for step, to_step in self._roll_backs)
            happened += f"; went back from step {places} before"
        why, change = self._cause(label, lr)
        return f"{happened}.\n{why}.\nTry {change}."

    def _cause(self, label: str, lr: float) -> tuple[str, str]:
        """What most likely is to blame, and what to change."""
        first, _, only_gradient = self._trouble
        batches = f"batches {first - 1 + self.data_offset} to {self._last_batch}"
        precision = f"--set {label}.loop.precision=float32"
        slower = f"--set {label}.optimizer.lr={lr / 3:.1g} (it was {lr:g})"
        if not self._before:
            why = "No step was finite, so it is the first weights, the data or the precision"
            return why, f"{precision}, and look at the data of {batches}"
        if only_gradient:
            why = "The loss is finite and its gradient is not: an overflow on the way back"
            return why, f"{precision}, then {slower}"
        if self._roll_backs:
            why = "Other data did not help: most likely the learning rate is too high"
            return why, f"{slower}, then {precision}"
        why = "Most likely the learning rate is too high, or these data are damaged"
        return why, f"{slower}, or look at the data of {batches}"

    @property
    def _last_batch(self) -> int:
        return self.last_step - 1 + self.data_offset


def _mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, the latter no smaller than rounding.

    >>> _mean_and_deviation([1.0, 3.0])
    (2.0, 1.0)
    """
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return mean, max(deviation, DEVIATION_FLOOR * abs(mean), 1e-12)
