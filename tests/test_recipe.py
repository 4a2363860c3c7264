from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundup.model import build_decoder, count_parameters
from groundup.optim import AdamWConfig, MuonConfig
from groundup.recipe import (
    Recipe,
    build_recipe,
    dump_recipe,
    load_recipe,
    recipe_schema,
    shipped_recipes,
)
from groundup.runtime import RecipeError

from .tiny_build import tiny_values, write_recipe

SHIPPED = tuple(shipped_recipes())


def load(*overrides: str, name: str = "quickstart") -> Recipe:
    return load_recipe(name, overrides=overrides)


def message(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(*overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what ships -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_counts_and_says_what_it_is_for(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.description) > 20
    assert count_parameters(recipe.model_config).total > 100_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_survives_dump_and_load(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_the_count_of_quickstart_is_that_of_the_model_it_builds() -> None:
    config = load_recipe("quickstart").model_config
    n_built = sum(parameter.numel() for parameter in build_decoder(config, 0).parameters())
    assert count_parameters(config).total == n_built


# --- overriding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["6e-4", "6.0e-4", "0.0006", "6E-4"])
def test_a_rate_is_read_however_it_is_written(text: str) -> None:
    assert load(f"pretrain.optimizer.lr={text}").pretrain.optimizer.lr == 6e-4


@pytest.mark.parametrize("text", ["1e6", "1_000_000", "1000000", "1e+6"])
def test_a_count_is_read_however_it_is_written(text: str) -> None:
    recipe = load(f"pretrain.tokens={text}")
    assert recipe.pretrain.tokens == 1_000_000
    assert type(recipe.pretrain.tokens) is int


def test_null_leaves_a_stage_out() -> None:
    recipe = load("sft=null", "align=null")
    assert recipe.sft is None
    assert recipe.align is None
    assert load("data.split_long_documents_bytes=null").data.split_long_documents_bytes is None


@pytest.mark.parametrize("text", ["none", "null"])
def test_align_method_none_leaves_it_out(text: str) -> None:
    assert load("align.epochs=2", f"align.method={text}").align is None


def test_lists_and_mappings_are_read() -> None:
    recipe = load("data.sources=[demo, {path: ./mine, weight: 2}]")
    assert [(source.path, source.weight) for source in recipe.data.sources] == [
        ("demo", 1.0),
        ("./mine", 2.0),
    ]


def test_evaluation_sets_may_be_written_as_paths() -> None:
    for text in ("exam.jsonl", "[exam.jsonl]", "{path: exam.jsonl}", "[{path: exam.jsonl}]"):
        [one] = load(f"data.decontamination.benchmarks={text}").data.decontamination.benchmarks
        assert str(one.path) == "exam.jsonl"


def test_setting_one_key_turns_a_stage_on_with_its_defaults() -> None:
    recipe = load("sft=null", "sft.epochs=3")
    assert recipe.sft is not None
    assert (recipe.sft.epochs, recipe.sft.batch_tokens) == (3.0, 2048)


def test_the_later_of_two_overrides_wins() -> None:
    assert load("seed=2", "seed=3").seed == 3


def test_the_optimizers_name_chooses_its_config() -> None:
    assert isinstance(load("pretrain.optimizer={name: adamw}").pretrain.optimizer, AdamWConfig)
    assert not isinstance(load("pretrain.optimizer={name: adamw}").pretrain.optimizer, MuonConfig)
    assert isinstance(load("pretrain.optimizer={lr: 1e-3}").pretrain.optimizer, MuonConfig)


def test_data_takes_the_place_of_the_sources(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    recipe = load_recipe("quickstart", data=[str(tmp_path / "a"), str(tmp_path / "b")])
    assert [source.path for source in recipe.data.sources] == [
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    ]


# --- telling what is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("modle.d_model=5", "unknown recipe key modle; did you mean model?"),
        ("model.d_modle=5", "unknown recipe key model.d_modle; did you mean model.d_model?"),
        ("pretrain.lr=5", "unknown recipe key pretrain.lr; did you mean pretrain.optimizer.lr?"),
        (
            "pretrain.optimizer.lrr=5",
            "unknown recipe key pretrain.optimizer.lrr; did you mean pretrain.optimizer.lr?",
        ),
        (
            "data.sources=[{path: a, weigth: 2}]",
            "unknown recipe key data.sources.0.weigth; did you mean data.sources.0.weight?",
        ),
        ("sft.epoch=2", "unknown recipe key sft.epoch; did you mean sft.epochs?"),
        ("align.bta=2", "unknown recipe key align.bta; did you mean align.beta?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(override: str, expected: str) -> None:
    assert message(override) == expected


def test_a_key_that_is_like_none_is_answered_with_those_there_are() -> None:
    assert message("zzzz=1").startswith(
        "unknown recipe key zzzz; there are name, description, seed"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.n_heads=5", "model.n_heads=5 must divide d_model=128; try n_heads=4"),
        ("model.n_kv_heads=3", "model.n_kv_heads=3 must divide n_heads=4; try n_kv_heads=2"),
        ("pretrain.optimizer.lr=-1", "pretrain.optimizer.lr=-1.0 must be positive; try lr=0.001"),
        ("pretrain.tokens=0", "pretrain.tokens=0 must be at least 1"),
        ("seed=abc", "seed='abc': input should be a valid integer"),
        ("sft.batch_tokens=10", "sft.batch_tokens=10 is less than one row of model.max_seq_len"),
        ("model.vocab_size=7", "model.vocab_size=7 must be tokenizer.vocab_size=1024; leave it"),
        ("model.norm=layernorm", "norm=layernorm, position=rope, feedforward=swiglu together are"),
        ("align.method=ppo", "align.method='ppo': input should be 'dpo'"),
        ("tokenizer.vocab_size=9", "tokenizer.vocab_size=9 must be at least 260"),
        ("name=a/b", "name='a/b' must be letters, digits, dots, dashes"),
        ("sft=5", "sft=5: "),
        ("pretrain.optimizer=5", "pretrain.optimizer=5: "),
        ("pretrain.optimizer.name=[a]", "pretrain.optimizer"),
        ("pretrain.optimizer.name=sgd", "pretrain.optimizer"),
        ("data=5", "data=5: "),
        ("data.sources=5", "data.sources=5: "),
        ("pretrain.optimizer.lr=.nan", "pretrain.optimizer.lr=nan"),
        ("pretrain.optimizer.lr=.inf", "pretrain.optimizer.lr=inf"),
        ("seed", "--set seed: write it as key=value"),
        ("=3", "--set =3: write it as key=value"),
        ("seed=[", "--set seed=[: the value is not YAML"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(override: str, expected: str) -> None:
    assert message(override).startswith(expected)


def test_an_unknown_optimizer_is_answered_with_those_there_are() -> None:
    found = message("pretrain.optimizer.name=sgd")
    assert "adamw" in found
    assert "muon" in found
    assert "_tag" not in found, "the name of our function is no help"


def test_a_list_item_cannot_be_set_alone_and_the_message_says_so() -> None:
    assert "data.sources" in message("data.sources.0.weight=2")
    assert "list" in message("data.sources.0.weight=2")


def test_data_beside_an_override_of_data_that_is_no_mapping_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        load_recipe("quickstart", overrides=["data=5"], data=[str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quickstrat", "no recipe is called 'quickstrat'; did you mean quickstart?"),
        ("zzzz", "no recipe is called 'zzzz'; there are "),
        ("no/such.yaml", "recipe no/such.yaml cannot be read; give a YAML file"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "is not YAML"),
        ("- a\n- b\n", "must be a mapping of keys to values"),
        ("", "must be a mapping of keys to values"),
        ("seed: 1\n", "the recipe has no name; add it"),
        ("name: !!python/object:os.system x\n", "is not YAML"),
        ("1: 2\nname: a\n", "1"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=expected) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


# --- the schema -----------------------------------------------------------------------------------


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        inner = set().union(*map(references, schema.values())) if schema else set()
        return inner | ({schema["$ref"]} if isinstance(schema.get("$ref"), str) else set())
    if isinstance(schema, list):
        return set().union(*map(references, schema)) if schema else set()
    return set()


def resolve(schema: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = schema
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def accepts(schema: dict[str, Any], value: Any, part: dict[str, Any]) -> bool:
    """Whether a value meets the part of a JSON schema that recipes use."""
    if "$ref" in part:
        return accepts(schema, value, resolve(schema, part["$ref"]))
    for word in ("anyOf", "oneOf"):
        if word in part:
            return any(accepts(schema, value, option) for option in part[word])
    if "const" in part and value != part["const"]:
        return False
    if "enum" in part and value not in part["enum"]:
        return False
    match part.get("type"):
        case "object":
            properties = part.get("properties", {})
            return (
                isinstance(value, dict)
                and set(value) <= set(properties)
                and set(part.get("required", ())) <= set(value)
                and all(accepts(schema, value[key], properties[key]) for key in value)
            )
        case "array":
            return isinstance(value, list) and all(
                accepts(schema, item, part.get("items", {})) for item in value
            )
        case "integer":
            is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return is_whole and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
    return True


def test_the_schema_is_whole_and_describes_every_key() -> None:
    schema = recipe_schema()
    for reference in references(schema):
        assert resolve(schema, reference)
    assert set(schema["properties"]) == set(Recipe.__dataclass_fields__)
    assert schema["required"] == ["name"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_accepts_what_ships_as_written_and_dumped(name: str) -> None:
    """An editor that checks by the schema must not mark the shipped recipes as wrong."""
    schema = recipe_schema()
    assert accepts(schema, yaml.safe_load(dump_recipe(load_recipe(name))), schema)
    text = shipped_recipes()[name].read_text(encoding="utf-8")
    text = re.sub(r"(?<![\d.])\d+e-?\d+", lambda found: f"{float(found[0]):.12f}", text)  # YAML 1.2
    assert accepts(schema, yaml.safe_load(text), schema)


@pytest.mark.parametrize("change", [{"seed": "a"}, {"modle": 1}, {"model": {"d_model": "x"}}])
def test_the_schema_refuses_what_the_recipe_refuses(change: dict[str, Any]) -> None:
    schema = recipe_schema()
    assert not accepts(schema, {"name": "a", **change}, schema)
    with pytest.raises(RecipeError):
        build_recipe({"name": "a", **change})


def test_values_survive_dump_and_load(tmp_path: Path) -> None:
    recipe = build_recipe(tiny_values(pretrain={"optimizer": {"name": "adamw", "lr": 1e-05}}))
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe
    assert load_recipe(str(write_recipe(path, tiny_values(align=None)))).align is None


# --- the dial -------------------------------------------------------------------------------------


def test_a_size_fills_in_what_is_left_open_and_nothing_else() -> None:
    values = {
        "name": "dialled",
        "size": "3M",
        "tokenizer": {"vocab_size": 4096},
        "model": {"max_seq_len": 256, "n_layers": 7},
        "pretrain": {"tokens": 4_000_000, "optimizer": {"weight_decay": 0.05}},
    }
    recipe = build_recipe(values)
    assert (recipe.model.d_model, recipe.model.n_layers) == (192, 7)
    assert recipe.pretrain.tokens == 4_000_000
    assert recipe.pretrain.optimizer.weight_decay == 0.05
    assert recipe.pretrain.optimizer.lr == pytest.approx(2.6e-3)
    assert recipe.pretrain.batch_tokens % 256 == 0


def test_what_a_size_filled_in_is_written_out_and_read_back(tmp_path: Path) -> None:
    recipe = load_recipe("base", overrides=["size=14M", "tokenizer.vocab_size=8192"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert "d_model: " in path.read_text()
    assert load_recipe(str(path)) == recipe


def test_a_size_that_cannot_be_is_told_in_one_line() -> None:
    for override in ("size=big", "size=100k"):
        with pytest.raises(RecipeError, match=r"size"):
            load_recipe("base", overrides=[override])
