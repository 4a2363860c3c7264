from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.train.watch import MIN_HISTORY, WINDOW, Verdict, Watch, WatchConfig

NAN, INF = math.nan, math.inf


EVENTS = st.lists(
    st.one_of(st.floats(1.0, 3.0), st.floats(3.0, 1e3), st.sampled_from([NAN, INF])),
    min_size=1,
    max_size=40,
)


def limit(watch: Watch) -> float:
    return watch.spike_limit(watch.last_step + 1)


def see(watch: Watch, *losses: float, norm: float = 1.0) -> list[Verdict]:
    """The verdicts on further steps; those not finite are left out, as the loop does."""
    return [
        watch.observe(
            watch.last_step + 1,
            loss=loss,
            gradient_norm=norm,
            was_skipped=not math.isfinite(loss) or not math.isfinite(norm),
        )
        for loss in losses
    ]


def noise(n: int, seed: int = 0, mean: float = 3.0) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(mean, 0.05) for _ in range(n)]


# --- steps that are no numbers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "norm"), [(NAN, 1.0), (INF, 1.0), (-INF, 1.0), (2.0, NAN), (2.0, INF)]
)
def test_after_so_many_in_a_row_it_goes_back(loss: float, norm: float) -> None:
    watch = Watch(WatchConfig(roll_back_after=3))
    see(watch, 2.0, 1.9)
    assert see(watch, loss, loss, loss, norm=norm) == ["go_on", "go_on", "roll_back"]
    assert (watch.n_skipped, watch.consecutive, watch.last_good_step) == (3, 3, 2)


def test_a_good_step_between_starts_the_count_again() -> None:
    watch = Watch(WatchConfig(roll_back_after=2))
    assert see(watch, NAN, 2.0, NAN, 2.0, NAN, NAN)[:-1] == ["go_on"] * 5
    assert watch.n_skipped == 4


def test_it_goes_back_so_often_and_then_stops() -> None:
    watch = Watch(WatchConfig(roll_back_after=1, stop_after=2))
    verdicts = []
    for _ in range(3):
        verdicts += see(watch, 2.0, NAN)
        if verdicts[-1] == "roll_back":
            watch.rolled_back(watch.last_good_step)
    assert verdicts[1::2] == ["roll_back", "roll_back", "stop"]


def test_without_any_going_back_it_stops_at_once() -> None:
    assert see(Watch(WatchConfig(roll_back_after=1, stop_after=0)), NAN) == ["stop"]


def test_an_update_that_was_taken_all_the_same_cannot_wait() -> None:
    watch = Watch(WatchConfig(roll_back_after=5))
    assert watch.observe(1, loss=NAN, gradient_norm=1.0, was_skipped=False) == "roll_back"
    assert watch.n_skipped == 0


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 19)), min_size=1, max_size=6))
def test_no_batch_comes_twice(going_back: list[tuple[int, int]]) -> None:
    """Each pair: good steps before the trouble, and how many of them are lost by going back."""
    watch = Watch(WatchConfig(roll_back_after=2, stop_after=100))
    used: list[int] = []

    def step(loss: float) -> Verdict:
        used.append(watch.last_step + watch.data_offset)  # the loop's 0-based step, shifted
        return see(watch, loss)[0]

    for n_good, n_lost in going_back:
        for _ in range(n_good):
            step(2.0)
        assert [step(NAN), step(NAN)] == ["go_on", "roll_back"]
        watch.rolled_back(watch.last_good_step - min(n_lost, n_good))
    step(2.0)
    assert used == list(range(len(used)))


def test_a_checkpoint_from_within_the_trouble_is_none_to_go_back_to() -> None:
    watch = Watch(WatchConfig(roll_back_after=2))
    see(watch, 2.0, NAN, NAN)
    with pytest.raises(AssertionError, match="2 is after the trouble began"):
        watch.rolled_back(2)
    watch.rolled_back(1)


# --- spikes ---------------------------------------------------------------------------------------


def test_the_limit_is_the_mean_and_so_many_deviations_of_the_last_128() -> None:
    watch = Watch(WatchConfig(spike_sigmas=4.0))
    losses = noise(WINDOW + 40)
    see(watch, *losses)
    assert watch.n_spikes == 0
    last = np.array(losses[-WINDOW - 1 : -1])  # the step before is not known yet
    assert limit(watch) == pytest.approx(last.mean() + 4 * last.std(), rel=1e-12)
    see(watch, NAN)  # now it is
    last = np.array(losses[-WINDOW:])
    assert limit(watch) == pytest.approx(last.mean() + 4 * last.std(), rel=1e-12)


def test_a_planted_spike_is_counted_and_told() -> None:
    watch = Watch(WatchConfig(spike_sigmas=6.0))
    see(watch, *[1.0, 3.0] * 50, 2.5)  # the last is not known yet
    assert watch.take_notes() == []
    watch.observe(102, loss=9.0, gradient_norm=1.0, was_skipped=True)
    assert (watch.n_spikes, watch.n_skipped, watch.consecutive) == (1, 1, 0)
    assert watch.take_notes() == [
        "step 102: the loss 9 is a spike, 7.0 deviations above its recent mean of 2; "
        "its update is left out"
    ]
    assert watch.take_notes() == []
    see(watch, 7.9)
    assert watch.n_spikes == 1


def test_a_spike_hardly_hides_the_next_one() -> None:
    """Taken as it is, a loss of 1000 would lift the mean to 11 and the deviation to 90."""
    watch = Watch(WatchConfig(spike_sigmas=6.0))
    see(watch, *noise(WINDOW))
    before = limit(watch)
    see(watch, 1000.0, 3.0)
    assert before < limit(watch) < before + 0.1
    see(watch, 4.0)
    assert watch.n_spikes == 2


def test_a_lasting_rise_becomes_normal() -> None:
    watch = Watch(WatchConfig(spike_sigmas=6.0))
    see(watch, *noise(WINDOW))
    see(watch, *noise(WINDOW, seed=1, mean=4.0))
    n_spikes = watch.n_spikes
    assert 1 <= n_spikes < WINDOW / 4
    see(watch, *noise(2 * WINDOW, seed=2, mean=4.0))
    assert watch.n_spikes == n_spikes


def test_ordinary_noise_a_falling_loss_and_one_that_stands_still_have_no_spikes() -> None:
    falling = [2 + 8 / (1 + step / 20) + x for step, x in enumerate(noise(600, mean=0.0))]
    for losses in (noise(2000), falling, [2.5, 2.5001] * 200):
        watch = Watch(WatchConfig(spike_sigmas=6.0))
        see(watch, *losses)
        assert watch.n_spikes == 0


def test_nothing_is_a_spike_before_there_is_a_history_or_when_it_is_off() -> None:
    early = Watch(WatchConfig(spike_sigmas=1.0))
    see(early, *[1.0] * MIN_HISTORY)
    assert limit(early) == INF
    see(early, 1.0)
    assert limit(early) == pytest.approx(1.001)
    off = Watch(WatchConfig(spike_sigmas=0.0))
    see(off, *noise(WINDOW), 1e9)
    assert (off.n_spikes, limit(off)) == (0, INF)


@given(EVENTS)
def test_the_limit_is_the_same_a_step_ahead(events: list[float]) -> None:
    """A loop on a GPU asks for a step's limit before it has observed the step before."""
    watch = Watch(WatchConfig(spike_sigmas=3.0, stop_after=100))
    see(watch, *noise(MIN_HISTORY + 1))
    for loss in events:
        ahead = watch.spike_limit(watch.last_step + 2)
        see(watch, loss)
        assert watch.spike_limit(watch.last_step + 1) == ahead
    with pytest.raises(AssertionError, match="out of order"):
        watch.spike_limit(watch.last_step + 3)
    with pytest.raises(AssertionError, match="out of order"):
        watch.spike_limit(watch.last_step)


def test_a_step_that_is_no_number_is_not_taken_into_the_mean() -> None:
    watch = Watch(WatchConfig())
    see(watch, *noise(WINDOW))
    after_next = watch.spike_limit(WINDOW + 2)
    see(watch, NAN, INF)
    assert limit(watch) == after_next < INF


# --- going on -------------------------------------------------------------------------------------


def drive(watch: Watch, losses: Sequence[float], history: list[Any]) -> None:
    """What a loop would do on these losses, with all that it would learn from the watch."""
    for loss in losses:
        step = watch.last_step + 1
        highest = watch.spike_limit(step)
        skips = not math.isfinite(loss) or (watch.config.skip_spikes and loss > highest)
        verdict = watch.observe(step, loss=loss, gradient_norm=1.0, was_skipped=skips)
        explained = watch.explain("sft", 1e-3) if watch.consecutive else ""
        if verdict == "roll_back":
            watch.rolled_back(watch.last_good_step // 2)
        history.append((highest, verdict, explained, watch.take_notes(), watch.state()))


@given(EVENTS, st.data(), st.booleans())
def test_a_resumed_watch_decides_as_the_uninterrupted_one(
    events: list[float], data: st.DataObject, skip_spikes: bool
) -> None:
    config = WatchConfig(roll_back_after=2, spike_sigmas=3.0, skip_spikes=skip_spikes)
    losses = [*noise(MIN_HISTORY + 1), *events]
    whole: list[Any] = []
    drive(Watch(config), losses, whole)
    at = data.draw(st.integers(0, len(losses)))
    parts: list[Any] = []
    first = Watch(config)
    drive(first, losses[:at], parts)
    second = Watch(config)
    second.load_state(json.loads(json.dumps(first.state(), allow_nan=False)))
    drive(second, losses[at:], parts)
    assert parts == whole


def test_a_state_holds_all_there_is() -> None:
    """At every cut of a run with a spike, trouble that passes, going back, and trouble again."""
    config = WatchConfig(roll_back_after=2)
    whole = Watch(config)
    for loss in [*noise(WINDOW), 50.0, NAN, 2.0, 2.1, NAN, NAN, 2.2, INF]:
        drive(whole, [loss], [])
        copy = Watch(config)
        copy.load_state(json.loads(json.dumps(whole.state(), allow_nan=False)))
        assert vars(copy) == vars(whole)
    assert (whole.n_spikes, whole.n_roll_backs, whole.consecutive) == (1, 1, 1)


def test_going_back_forgets_the_recent_losses() -> None:
    watch = Watch(WatchConfig(roll_back_after=1))
    see(watch, *noise(WINDOW))
    assert limit(watch) < INF
    see(watch, NAN)
    watch.rolled_back(10)
    assert limit(watch) == INF


def test_a_state_does_not_change_afterwards() -> None:
    watch = Watch(WatchConfig(roll_back_after=1))
    see(watch, 2.0, NAN)
    state = watch.state()
    kept = json.dumps(state)
    watch.rolled_back(1)
    see(watch, 1.0, NAN)
    watch.rolled_back(1)
    assert json.dumps(state) == kept


# --- telling --------------------------------------------------------------------------------------


def test_what_is_told_on_the_way() -> None:
    watch = Watch(WatchConfig(roll_back_after=2))
    see(watch, 2.0, NAN, NAN)
    watch.rolled_back(0)
    assert watch.take_notes() == [
        "step 2: the loss is nan and the gradient norm 1; its update is left out",
        "step 3: the loss is nan and the gradient norm 1; its update is left out",
        "step 3: back to the weights of step 0, on with the data that comes 3 batches later",
    ]


def test_the_explanation_when_other_data_did_not_help() -> None:
    watch = Watch(WatchConfig(roll_back_after=2, stop_after=1))
    see(watch, 2.5, 2.0, 1.9, NAN, NAN)
    watch.rolled_back(2)
    assert see(watch, 2.25, NAN, NAN)[-1] == "stop"
    assert watch.explain("pretrain", 3e-3) == (
        "pretrain: stopped at step 5: the loss is nan and the gradient norm 1 at step 4, "
        "2.25 and 1 before it; went back from step 5 to 2 before.\n"
        "Other data did not help: most likely the learning rate is too high.\n"
        "Try --set pretrain.optimizer.lr=0.001 (it was 0.003), "
        "then --set pretrain.loop.precision=float32."
    )


@pytest.mark.parametrize(
    ("good", "loss", "norm", "why", "change"),
    [
        (
            [],
            NAN,
            1.0,
            "No step was finite",
            "precision=float32, and look at the data of batches 0",
        ),
        ([2.0], 2.0, INF, "an overflow on the way back", "Try --set sft.loop.precision=float32"),
        ([2.0], NAN, NAN, "learning rate is too high, or", "lr=0.0003 (it was 0.001), or look at"),
    ],
)
def test_the_explanation_follows_what_was_seen(
    good: list[float], loss: float, norm: float, why: str, change: str
) -> None:
    watch = Watch(WatchConfig(roll_back_after=1, stop_after=0))
    see(watch, *good)
    see(watch, loss, norm=norm)
    lines = watch.explain("sft", 1e-3).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"sft: stopped at step {len(good) + 1}: ")
    assert why in lines[1]
    assert change in lines[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spike_sigmas": -1.0}, "spike_sigmas=-1.0 must not be negative; 0 is off"),
        ({"spike_sigmas": INF}, "spike_sigmas=inf must not be"),
        ({"stall_timeout_s": -1.0}, "stall_timeout_s=-1.0 must not be negative"),
        ({"skip_spikes": True, "spike_sigmas": 0.0}, "skip_spikes needs spike_sigmas above 0; try"),
        ({"roll_back_after": 0}, "roll_back_after=0 must be at least 1"),
        ({"stop_after": -1}, "stop_after=-1 must not be negative"),
        ({"update_stats_every": -1}, "update_stats_every=-1 must not be negative"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WatchConfig(**changes)
