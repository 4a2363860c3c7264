"""The shares of sources: temperature by hand, caps kept exactly, stages, refusals with figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from groundup.data.curriculum import (
    MixingConfig,
    MixingStageConfig,
    MixturePlan,
    MixtureSource,
    plan_mixture,
)
from groundup.data.mixture import BLOCK, Mixture, Stretch
from groundup.runtime import DataError


def plan(
    sources: list[MixtureSource], n_samples: int, *, sample_tokens: int = 1, **config: Any
) -> MixturePlan:
    return plan_mixture(
        MixingConfig(**config), sources, n_samples=n_samples, sample_tokens=sample_tokens
    )


def two(**changes: Any) -> list[MixtureSource]:
    return [MixtureSource("web", 900), MixtureSource("books", 100, **changes)]


def seen(found: MixturePlan, seed: int = 0) -> np.ndarray:
    """Samples of each source in the run, counted one by one."""
    mixture = Mixture([source.size for source in found.sources], found.stretches, seed)
    source, _ = mixture(np.arange(int(found.given.sum())))
    return np.bincount(source, minlength=len(found.sources))


# --- by hand --------------------------------------------------------------------------------------


def test_without_settings_shares_are_sizes_times_weights() -> None:
    found = plan(two(weight=3.0), 1200)
    assert found.given.tolist() == [[900, 300]]
    assert found.stretches == (Stretch.of([900.0, 300.0]),)
    assert not found.messages()


def test_temperature_evens_sizes() -> None:
    sources = [MixtureSource("web", 900), MixtureSource("books", 100, weight=2.0)]
    assert plan(sources, 1000, temperature=2.0).given.tolist() == [[600, 400]]  # 30 : 2 x 10
    assert plan(sources, 3000, temperature=1e9).given.tolist() == [[1000, 2000]]


def test_a_capped_source_gives_its_share_to_the_others() -> None:
    sources = [*two(weight=9.0, max_epochs=2.0), MixtureSource("code", 300)]
    found = plan(sources, 2100)  # asked: 900, 900, 300 parts of 2100
    assert found.asked.tolist() == [[900, 900, 300]]
    assert found.given.tolist() == [[1425, 200, 475]]  # 1900 left, divided 3 : 1
    assert found.messages() == [
        "books: 9.00 epochs by its weight, max_epochs=2; has 9.5% of the rows and not 42.9%, "
        "the others have the rest"
    ]
    assert found.figures()["books"] == {
        "rows": 100,
        "max_epochs": 2.0,
        "asked_epochs": 9.0,
        "epochs": 2.0,
        "share": 0.095238,
        "stage_shares": [0.095238],
    }
    assert seen(found).tolist() == [1425, 200, 475]


def test_what_one_capped_source_gives_can_bring_another_to_its_cap() -> None:
    sources = [
        MixtureSource("a", 100, max_epochs=1.0),
        MixtureSource("b", 110, max_epochs=1.0),
        MixtureSource("c", 1000, weight=0.1),
    ]
    assert plan(sources, 310).given.tolist() == [[100, 110, 100]]


def test_stages_change_the_shares_at_their_token_counts() -> None:
    stages = [{"until": 4000, "weights": {"books": 0}}, {"weights": {"books": 9}}]
    found = plan(two(), 400 + 2 * BLOCK, sample_tokens=10, stages=stages)
    assert found.given.tolist() == [[400, 0], [BLOCK, BLOCK]]
    mixture = Mixture([900, 100], found.stretches, seed=3)
    source, _ = mixture(np.arange(400 + 2 * BLOCK))
    assert not source[:400].any()
    assert source[400:].sum() == BLOCK


def test_after_the_last_stage_the_sources_have_their_own_weights() -> None:
    found = plan(two(), 1400, stages=[{"until": 400, "weights": {"web": 0}}])
    assert found.given.tolist() == [[0, 400], [900, 100]]


def test_a_border_inside_a_row_is_moved_to_its_end() -> None:
    found = plan(two(), 100, sample_tokens=32, stages=[{"until": 65, "weights": {"web": 0}}])
    assert found.given[0].tolist() == [0, 3]


def test_a_cap_lowers_a_source_in_all_stages_by_one_factor() -> None:
    """books has 1/2 and 9/10 of 1,000 samples each; with weights divided by f it has 200."""
    stages = [{"until": 1000, "weights": {"books": 9}}, {"weights": {"books": 81}}]
    found = plan(two(max_epochs=2.0), 2000, stages=stages)
    assert found.asked.tolist() == [[500, 500], [100, 900]]
    given_odds = found.given[:, 1] / found.given[:, 0]
    assert 198 <= found.given[:, 1].sum() <= 200  # each stage rounds
    assert given_odds[1] / given_odds[0] == pytest.approx(9, rel=0.1)


def test_a_source_that_one_stage_cannot_do_without_is_kept_for_it() -> None:
    """In the first stage there is only web; so it leaves nearly all of the second to books."""
    sources = [MixtureSource("web", 100, max_epochs=1.0), MixtureSource("books", 100)]
    found = plan(sources, 200, stages=[{"until": 100, "weights": {"books": 0}}])
    assert found.given.tolist() == [[100, 0], [0, 100]]


# --- for all --------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[MixtureSource], int, list[dict[str, Any]]]:
    n_sources = draw(st.integers(1, 4))
    sources = [
        MixtureSource(
            f"s{k}",
            draw(st.integers(1, 2000)),
            draw(st.floats(0.01, 10)),
            draw(st.none() | st.floats(0.1, 8)),
        )
        for k in range(n_sources)
    ]
    ends = sorted(draw(st.sets(st.integers(1, 3 * BLOCK), max_size=3)))
    n_samples = (ends[-1] if ends else 0) + draw(st.integers(1, 2 * BLOCK))
    weights = st.dictionaries(
        st.sampled_from([s.name for s in sources]), st.sampled_from([0.0, 0.5, 20.0])
    )
    stages = [{"until": end, "weights": draw(weights)} for end in ends]
    return sources, n_samples, stages


@settings(max_examples=80, deadline=None)
@given(case=cases(), temperature=st.sampled_from([0.7, 1.0, 3.3]), seed=st.integers(0, 99))
def test_caps_are_kept_or_the_run_is_refused(
    case: tuple[list[MixtureSource], int, list[dict[str, Any]]], temperature: float, seed: int
) -> None:
    sources, n_samples, stages = case
    if not can_be_given(sources, n_samples, stages):
        with pytest.raises(DataError, match=r"raise max_epochs|are 0"):
            plan(sources, n_samples, stages=stages, temperature=temperature)
        return
    found = plan(sources, n_samples, stages=stages, temperature=temperature)
    totals = found.given.sum(axis=0)
    assert found.given.sum() == n_samples
    assert all(total <= source.limit for total, source in zip(totals, found.sources, strict=True))
    if all(source.max_epochs is None for source in sources):
        assert found.stretches[-1].n_samples is None
    else:
        assert seen(found, seed).tolist() == totals.tolist()
        assert sum(s.n_samples or 0 for s in found.stretches) == n_samples
    rounding = len(sources) * (len(stages) + 1)
    for asked, total, source in zip(found.asked.sum(axis=0), totals, found.sources, strict=True):
        assert total >= min(asked, source.limit) - rounding  # only a cap takes samples away


def can_be_given(
    sources: list[MixtureSource], n_samples: int, stages: list[dict[str, Any]]
) -> bool:
    """Hall's condition: no set of stages asks for more than its sources may give."""
    weights = [stage["weights"] for stage in stages] + [{}]
    ends = [stage["until"] for stage in stages] + [n_samples]
    lengths = np.diff([0, *ends])
    for subset in range(1, 1 << len(weights)):
        chosen = [i for i in range(len(weights)) if subset >> i & 1]
        able = [s for s in sources if any(weights[i].get(s.name, s.weight) > 0 for i in chosen)]
        if sum(s.limit for s in able) < sum(lengths[i] for i in chosen):
            return False
    return True


def unimax(sizes: list[int], n_samples: int, max_epochs: float) -> list[float]:
    """The published algorithm: smallest first, each an even part of what is left, or its cap."""
    found = [0.0] * len(sizes)
    left = float(n_samples)
    for place, k in enumerate(sorted(range(len(sizes)), key=lambda k: sizes[k])):
        found[k] = min(left / (len(sizes) - place), max_epochs * sizes[k])
        left -= found[k]
    return found


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=2, max_size=12),
    max_epochs=st.integers(1, 5),
    fill=st.floats(0.01, 0.95),
)
def test_even_shares_with_caps_are_unimax(sizes: list[int], max_epochs: int, fill: float) -> None:
    n_samples = int(fill * max_epochs * sum(sizes))
    assume(n_samples >= len(sizes))
    sources = [MixtureSource(str(k), n, 1 / n, max_epochs) for k, n in enumerate(sizes)]
    found = plan(sources, n_samples).given[0]
    expected = np.array(unimax(sizes, n_samples, max_epochs))
    assert (abs(found - expected) <= len(sizes) + 1e-6 * expected).all()


# --- what is refused ------------------------------------------------------------------------------


def test_a_run_that_caps_leave_short_is_refused_with_figures() -> None:
    sources = [MixtureSource("web", 900, max_epochs=1.0), MixtureSource("books", 100, 1.0, 4.0)]
    with pytest.raises(DataError) as error:
        plan(sources, 2000)
    assert str(error.value) == (
        "stage 1 of the mixture needs 2000 rows and max_epochs leaves 1300 (web 1 x 900, "
        "books 4 x 100); raise max_epochs of a source, lower pretrain.tokens or add text"
    )


def test_weights_that_sum_to_nothing_are_refused() -> None:
    with pytest.raises(DataError, match=r"in stage 1 of the mixture the weights .*web, books"):
        plan(two(), 100, stages=[{"until": 50, "weights": {"web": 0, "books": 0}}])


def test_stages_without_a_row_are_refused() -> None:
    stages = [{"until": 10, "weights": {}}, {"until": 12, "weights": {}}]
    with pytest.raises(DataError, match="stage 2 of the mixture has no row of 100 tokens"):
        plan(two(), 50, sample_tokens=100, stages=stages)
    with pytest.raises(DataError, match="stage 2 of the mixture has no row"):
        plan(two(), 50, stages=[{"until": 50, "weights": {}}])


def test_settings_that_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature=0\.0 must be above 0"):
        MixingConfig(temperature=0.0)
    with pytest.raises(ValueError, match="all but the last need `until`"):
        MixingConfig(stages=(MixingStageConfig(), MixingStageConfig(until=5)))
    with pytest.raises(ValueError, match="until=5 must be above the one before it, 5"):
        MixingConfig(stages=(MixingStageConfig(until=5), MixingStageConfig(until=5)))
    with pytest.raises(ValueError, match="until=0 must be at least 1"):
        MixingStageConfig(until=0)
    with pytest.raises(ValueError, match=r"weights\.a=-1\.0 must be at least 0"):
        MixingStageConfig(weights={"a": -1.0})


def test_a_name_that_is_no_source_is_told_with_the_nearest() -> None:
    config = MixingConfig(stages=(MixingStageConfig(weights={"boks": 2.0}),))
    with pytest.raises(DataError, match="weighs 'boks', which is no source; did you mean books"):
        config.check_names(["web", "books"])
    config.check_names(["boks"])
