from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundup.optim import ScheduleConfig, lr_factor

Shape = Literal["cosine", "wsd", "linear", "constant", "inverse_sqrt"]
SHAPES = st.sampled_from(["cosine", "wsd", "linear", "constant", "inverse_sqrt"])


def _factors(config: ScheduleConfig, n_steps: int) -> list[float]:
    return [lr_factor(config, step, n_steps) for step in range(n_steps)]


def test_cosine_by_hand() -> None:
    config = ScheduleConfig(shape="cosine", warmup_steps=0)
    # at 0, 1/4, 1/2 and 3/4 of the half turn: (1 + cos) / 2
    assert _factors(config, 4) == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_wsd_by_hand() -> None:
    config = ScheduleConfig(shape="wsd", warmup_steps=1, decay_fraction=0.4)
    assert _factors(config, 10) == pytest.approx([0.5] + [1.0] * 6 + [0.75, 0.5, 0.25])


def test_linear_by_hand() -> None:
    config = ScheduleConfig(shape="linear", warmup_steps=1)
    assert _factors(config, 10) == pytest.approx([0.5, *(left / 9 for left in range(9, 0, -1))])


def test_constant_by_hand() -> None:
    config = ScheduleConfig(shape="constant", warmup_steps=3, floor=0.2)
    assert _factors(config, 40) == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 37)


@pytest.mark.parametrize("warmup_steps", [0, 1, 39])
def test_inverse_sqrt_is_that_of_vaswani(warmup_steps: int) -> None:
    """min(step / warmup, sqrt(warmup / step)), where the paper counts steps from 1."""
    config = ScheduleConfig(shape="inverse_sqrt", warmup_steps=warmup_steps)
    warmup = warmup_steps + 1
    expected = [min(step / warmup, (warmup / step) ** 0.5) for step in range(1, 401)]
    assert _factors(config, 400) == pytest.approx(expected)


def test_inverse_sqrt_does_not_know_the_runs_length() -> None:
    config = ScheduleConfig(shape="inverse_sqrt", warmup_steps=10)
    assert _factors(config, 1000)[:200] == _factors(config, 200)


def test_inverse_sqrt_falls_towards_the_floor() -> None:
    config = ScheduleConfig(shape="inverse_sqrt", warmup_steps=0, floor=0.2)
    assert _factors(config, 4) == pytest.approx([1.0, 0.2 + 0.8 / 2**0.5, 0.2 + 0.8 / 3**0.5, 0.6])


def test_warmup_rises_by_equal_steps_to_the_peak() -> None:
    config = ScheduleConfig(shape="wsd", warmup_steps=4, decay_fraction=0.2)
    assert _factors(config, 100)[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    cosine = ScheduleConfig(shape="cosine", warmup_steps=4)
    assert lr_factor(cosine, 4, 100) == 1.0


def test_warmup_takes_at_most_a_tenth_of_the_run() -> None:
    long, tenth = ScheduleConfig(warmup_steps=1000), ScheduleConfig(warmup_steps=5)
    assert _factors(long, 50) == _factors(tenth, 50)
    assert lr_factor(long, 0, 5) == 1.0


def test_floor_is_where_the_fall_leads() -> None:
    """A run of n steps stops one step short of the floor: the floor is step n's."""
    shapes: tuple[Shape, ...] = ("cosine", "wsd", "linear")
    for shape in shapes:
        config = ScheduleConfig(shape=shape, warmup_steps=0, decay_fraction=0.5, floor=0.1)
        assert lr_factor(config, 1000, 1000) == pytest.approx(0.1)
        assert lr_factor(config, 999, 1000) == pytest.approx(0.1, abs=2e-3)
        assert lr_factor(config, 0, 1000) == 1.0
    half = ScheduleConfig(shape="wsd", warmup_steps=0, decay_fraction=1.0, floor=0.5)
    assert _factors(half, 4) == [1.0, 0.875, 0.75, 0.625]


def test_no_decay_stays_at_the_peak() -> None:
    assert set(_factors(ScheduleConfig(warmup_steps=0, decay_fraction=0), 7)) == {1.0}


@given(
    shape=SHAPES,
    warmup_steps=st.integers(0, 50),
    decay_fraction=st.floats(0, 1),
    floor=st.floats(0, 1),
    n_steps=st.integers(1, 300),
)
def test_factors_stay_between_zero_and_one(
    shape: Shape,
    warmup_steps: int,
    decay_fraction: float,
    floor: float,
    n_steps: int,
) -> None:
    config = ScheduleConfig(
        shape=shape, warmup_steps=warmup_steps, decay_fraction=decay_fraction, floor=floor
    )
    factors = _factors(config, n_steps)
    assert all(0 < factor <= 1 for factor in factors)
    warmup = min(warmup_steps, n_steps // 10)
    rise, fall = factors[:warmup], factors[warmup:]
    assert rise == sorted(set(rise))
    assert fall == sorted(fall, reverse=True)
    assert min(fall) >= floor - 1e-12


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"warmup_steps": -1}, "warmup_steps=-1 must not be negative"),
        ({"decay_fraction": 1.5}, "decay_fraction=1.5 must lie between 0 and 1"),
        ({"floor": -0.1}, "floor=-0.1 must lie between 0 and 1"),
        ({"shape": "step"}, "Input should be 'cosine', 'wsd', 'linear', 'constant' or"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScheduleConfig(**values)
