from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from pydantic import ValidationError

from groundup.model import ModelConfig


def test_zeros_are_filled_in() -> None:
    config = ModelConfig(d_model=96, n_heads=6)
    assert (config.n_kv_heads, config.d_head) == (6, 16)
    assert config.d_ff == 256  # 8/3 · 96
    assert ModelConfig(d_model=128).d_ff == 352  # 341.3, up to a multiple of 32
    assert ModelConfig(d_model=128, feedforward="gelu").d_ff == 512
    assert ModelConfig(d_model=128, d_ff=100).d_ff == 100


def test_filling_in_is_done_once() -> None:
    config = ModelConfig(d_model=96, n_heads=6, n_kv_heads=2)
    assert dataclasses.replace(config) == config
    assert dataclasses.replace(config, vocab_size=7).vocab_size == 7


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"d_model": 256, "n_heads": 6}, "n_heads=6 must divide d_model=256; try n_heads=4"),
        ({"d_model": 100, "n_heads": 8}, "n_heads=8 must divide d_model=100; try n_heads=10"),
        ({"n_heads": 8, "n_kv_heads": 3}, "n_kv_heads=3 must divide n_heads=8; try n_kv_heads=2"),
        ({"n_heads": 4, "n_kv_heads": 8}, "n_kv_heads=8 must divide n_heads=4; try n_kv_heads=4"),
        ({"d_head": 7}, "d_head=7 must be even for rotary positions"),
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"max_seq_len": 0}, "max_seq_len=0 must be at least 1"),
        ({"d_ff": -1}, "d_ff=-1 must not be negative"),
        ({"vocab_size": -1}, "vocab_size=-1 must not be negative"),
    ],
)
def test_what_does_not_hold_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(f"Value error, {message} [")):
        ModelConfig(**values)


def test_the_try_in_a_message_works() -> None:
    assert ModelConfig(d_model=100, n_heads=10).d_head == 10
    assert ModelConfig(n_heads=8, n_kv_heads=2).n_kv_heads == 2


def test_an_odd_head_is_fine_without_rotation() -> None:
    assert ModelConfig(d_head=7, position="learned").d_head == 7


def test_unknown_names_and_wrong_types_are_refused() -> None:
    with pytest.raises(ValidationError, match="n_head\n  Unexpected keyword argument"):
        ModelConfig(n_head=4)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Input should be 'rmsnorm' or 'layernorm'"):
        ModelConfig(norm="batchnorm")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="should be a valid integer"):
        ModelConfig(d_model=12.5)  # type: ignore[arg-type]
