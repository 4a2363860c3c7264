from __future__ import annotations

import pytest

from groundup.model import ModelConfig, count_parameters
from groundup.plan.sizes import parse_size, sized


@pytest.mark.parametrize(
    ("text", "expected"), [("300k", 3e5), ("14M", 14e6), ("1.3b", 1.3e9), ("7e9", 7e9), (5e7, 5e7)]
)
def test_sizes_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "big", "14MB", "-3M", "5", "1e30"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="try size=14M"):
        parse_size(text)


@pytest.mark.parametrize("size", [3e5, 1e6, 3e6, 14e6, 124e6, 350e6, 1e9, 3e9, 7e9])
def test_the_shape_has_about_that_many_parameters(size: float) -> None:
    vocab_size = 1024 if size < 5e6 else 32768 if size > 3e7 else 8192
    found = sized(size, vocab_size, 1024)
    config = ModelConfig(
        vocab_size=vocab_size,
        d_model=found.d_model,
        n_layers=found.n_layers,
        n_heads=found.n_heads,
        n_kv_heads=found.n_kv_heads,
        tied_embeddings=found.tied_embeddings,
    )
    assert 0.7 < count_parameters(config).total / size < 1.45
    assert found.tokens == 20 * count_parameters(config).total
    assert found.batch_tokens % 1024 == 0


def test_everything_grows_with_the_size_but_the_learning_rate() -> None:
    found = [sized(size, 8192, 512) for size in (1e7, 1e8, 1e9, 1e10)]
    for name in ("d_model", "n_layers", "n_heads", "tokens", "batch_tokens"):
        values = [getattr(one, name) for one in found]
        assert values == sorted(values)
    rates = [one.lr for one in found]
    assert rates == sorted(rates, reverse=True)


def test_the_constants_hold_where_they_were_found() -> None:
    """A million parameters on two million tokens: the sweep's best rate and batch."""
    found = sized(1e6, 1024, 256, tokens=2_000_000)
    assert found.batch_tokens == 2048
    assert found.lr == pytest.approx(4e-3, rel=0.05)


def test_a_vocabulary_that_is_larger_than_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"smaller tokenizer\.vocab_size or a larger size"):
        sized(1e6, 65536, 256)
