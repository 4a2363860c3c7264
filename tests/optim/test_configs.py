from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from groundup.optim import (
    OPTIMIZER_NAMES,
    AdafactorConfig,
    AdamW8bitConfig,
    AdamWConfig,
    AnyOptimizerConfig,
    LionConfig,
    MuonConfig,
    OptimizerConfig,
)
from groundup.runtime import to_dict

ADAPTER: TypeAdapter[AnyOptimizerConfig] = TypeAdapter(OptimizerConfig)
CONFIGS: dict[str, AnyOptimizerConfig] = {
    "adamw": AdamWConfig(lr=3e-3, cautious=True),
    "muon": MuonConfig(lr=3e-3, orthogonalization="polar_express"),
    "lion": LionConfig(lr=3e-4, offload=True),
    "adafactor": AdafactorConfig(beta1=0.9),
    "adamw8bit": AdamW8bitConfig(beta2=0.99),
}


def test_every_name_has_its_config() -> None:
    assert tuple(CONFIGS) == OPTIMIZER_NAMES
    assert {type(config) for config in CONFIGS.values()} == set(get_args(AnyOptimizerConfig))
    for name, config in CONFIGS.items():
        assert type(config)().name == name
        assert len(fields(config)) <= 15


def test_the_name_chooses_the_config() -> None:
    assert ADAPTER.validate_python({"name": "adamw", "lr": 0.1}) == AdamWConfig(lr=0.1)
    muon = ADAPTER.validate_python({"name": "muon", "momentum": 0.9})
    assert type(muon) is MuonConfig
    assert muon.momentum == 0.9


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_come_back_from_plain_values(name: str) -> None:
    config = CONFIGS[name]
    again = ADAPTER.validate_python(to_dict(config))
    assert again == config
    assert type(again) is type(config)
    assert ADAPTER.validate_python(config) is config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.1}, "Unable to extract tag"),
        ({"name": "sgd"}, "'sgd' .*'adamw', 'muon', 'lion', 'adafactor', 'adamw8bit'"),
        ({"name": "adamw", "momentum": 0.9}, "momentum\n  Unexpected keyword argument"),
        ({"name": "lion", "eps": 1e-8}, "eps\n  Unexpected keyword argument"),
        ({"name": "adamw", "lr": 0}, r"lr=0.0 must be positive; try lr=0.001"),
        ({"name": "muon", "lr": -1}, r"lr=-1.0 must be positive; try lr=0.001"),
        ({"name": "lion", "lr": 0}, r"lr=0.0 must be positive; try lr=0.0001"),
        ({"name": "adamw", "beta2": 1}, r"beta1=0.9 and beta2=1.0 must lie in \[0, 1\)"),
        ({"name": "lion", "beta1": -1}, r"beta1=-1.0 and beta2=0.99 must lie in \[0, 1\)"),
        ({"name": "adamw8bit", "eps": 0}, r"eps=0.0 must be positive; try eps=1e-8"),
        ({"name": "muon", "other_lr_ratio": 0}, "other_lr_ratio=0.0 must be positive; try 1.0"),
        ({"name": "muon", "orthogonalization": "svd"}, "'newton_schulz' or 'polar_express'"),
        ({"name": "adafactor", "beta1": 1}, r"beta1=1.0 must lie in \[0, 1\), or be left out"),
        ({"name": "adafactor", "decay_rate": 0}, r"decay_rate=0.0 must lie in \(0, 1\]; try 0.8"),
        ({"name": "adafactor", "eps": 0}, "eps=0.0 must be positive; try eps=1e-30"),
        ({"name": "adafactor", "clip": 0}, "clip=0.0 must be positive; try clip=1.0"),
        ({"name": "adafactor", "weight_decay": -1}, "weight_decay=-1.0 must not be negative"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(values)


def test_a_bare_name_is_refused_as_a_wrong_value() -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python("adamw")


@pytest.mark.parametrize("values", [{"momentum": 1.5}, {"momentum": -0.1}, {"weight_decay": -1}])
def test_impossible_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        MuonConfig(**values)
