"""A recipe: everything that decides what a build does, as YAML over frozen dataclasses.

Each part's config stands beside the part's code; here they are gathered, read, overridden,
checked against each other, and described as a JSON schema.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import types
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from groundup.align.preference import AlignConfig
from groundup.data.adopt import prepared_tokenizer
from groundup.data.prepare import DataConfig, source_names
from groundup.data.reading.config import HUB
from groundup.data.reading.hub import absolute_address
from groundup.data.reading.inputs import found_path
from groundup.demo import DemoConfig
from groundup.evaluate.stage import EvaluateConfig
from groundup.export.huggingface import architecture_of
from groundup.model import ModelConfig
from groundup.optim import OPTIMIZER_NAMES
from groundup.plan.sizes import parse_size, sized
from groundup.runtime import RecipeError, config, to_dict
from groundup.tokenizer import TokenizerConfig
from groundup.tokenizer.given import GivenTokenizer, given_tokenizer
from groundup.train.finetune import FinetuneConfig
from groundup.train.pretrain import PretrainConfig

DEMO = "demo"  # the source that is the embedded world


def _is_given(value: Any) -> str:
    given = "path" in value if isinstance(value, Mapping) else isinstance(value, GivenTokenizer)
    return "GivenConfig" if given else "TrainedConfig"


@config
class Recipe:
    """Everything that decides what a build does.

    name, description: what it is called and what it is for.
    seed: of initialisation, data order, the demo world and every draw.
    size: a number of parameters, as 14M: what the model and its pretraining do not say follows
        from it (plan/sizes.py), and is written out in the run's recipe.
    demo: how much is made of the embedded world, where `data.sources` names it.
    tokenizer: how to train one; or `path`, one that is there. That of prepared data is taken
        where no `path` is given, whatever else is said here of training one.
    sft, align: null leaves the stage out.
    """

    name: str
    description: str = ""
    seed: int = 1
    size: str | None = None
    data: DataConfig = DataConfig()
    demo: DemoConfig = DemoConfig()
    tokenizer: Annotated[
        Annotated[TokenizerConfig, Tag("TrainedConfig")]
        | Annotated[GivenTokenizer, Tag("GivenConfig")],
        Discriminator(_is_given),
    ] = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    sft: FinetuneConfig | None = None
    align: AlignConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"name={self.name!r} must be letters, digits, dots, dashes")
        architecture_of(self.model)
        if self.model.vocab_size not in (0, self.tokenizer.vocab_size):
            raise ValueError(
                f"model.vocab_size={self.model.vocab_size} must be tokenizer.vocab_size="
                f"{self.tokenizer.vocab_size}; leave it out and it follows"
            )
        if self.sft is not None and self.tokenizer.chat_format is None:
            raise ValueError(
                "tokenizer.path is a tokenizer without tokens for conversations, which sft needs; "
                "leave conversations out with sft=null and align=null, or train a tokenizer"
            )
        if len(self.data.sources) > 1:  # a single one may be prepared data, with sources of its own
            self.pretrain.mixing.check_names(source_names(self.data.sources))
        for stage in ("pretrain", "sft"):
            settings = getattr(self, stage)
            if settings is not None and settings.batch_tokens < self.model.max_seq_len:
                raise ValueError(
                    f"{stage}.batch_tokens={settings.batch_tokens} is less than one row of "
                    f"model.max_seq_len={self.model.max_seq_len} tokens; "
                    f"try {stage}.batch_tokens={8 * self.model.max_seq_len}"
                )

    @property
    def model_config(self) -> ModelConfig:
        """The model with its vocabulary's size filled in."""
        return dataclasses.replace(self.model, vocab_size=self.tokenizer.vocab_size)


# --- reading --------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML that reads 6e-4 as the number everybody means."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def shipped_recipes() -> dict[str, Traversable]:
    """The recipes that come with the package, by name."""
    folder = resources.files("groundup") / "recipes"
    return {
        file.name.removesuffix(".yaml"): file
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }


def load_recipe(name: str, *, overrides: Sequence[str] = (), data: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name or a YAML file by path, then apply what the user changed.

    overrides: `a.b=value`, the value read as YAML. data: paths that take the place of
    `data.sources` (see `checked_source`).

    Raises RecipeError in one line that names the key, what it got and the nearest right one.
    """
    values = _read_yaml(*_find(name))
    for override in overrides:
        _apply(values, override)
    if data:
        if not isinstance(values.get("data") or {}, Mapping):
            raise RecipeError(f"data={values['data']!r} must be a mapping of keys to values")
        sources = [{"path": checked_source(path)} for path in data]
        values["data"] = {**(values.get("data") or {}), "sources": sources}
    return build_recipe(values)


def build_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values, as YAML gives them."""
    align = values.get("align")
    if isinstance(align, Mapping) and align.get("method") in (None, "none") and "method" in align:
        values = {**values, "align": None}
    try:
        return _adapter().validate_python(_fill_optimizers(_fill_size(_fill_tokenizer(values))))
    except _SizeError as error:
        raise RecipeError(str(error)) from error
    except ValidationError as error:
        raise RecipeError(_describe(error)) from error


def data_recipe(
    sources: Sequence[str | Mapping[str, Any]], overrides: Sequence[str], recipe: str | None = None
) -> Recipe:
    """The smallest recipe of some sources, for data that is prepared alone.

    sources: if there are none, those of `recipe`. overrides: `a.b=value`, where the keys are those
    below `data`. recipe: a name or a YAML file, of which `data`, `demo` and `seed` are taken.
    """
    read = _read_yaml(*_find(recipe)) if recipe is not None else {}
    values = {key: read[key] for key in ("data", "demo", "seed") if key in read} | {"name": "data"}
    for override in overrides:
        _apply(values, override if override.startswith("data.") else f"data.{override}")
    data = values.get("data") or {}
    if not isinstance(data, Mapping):
        raise RecipeError(f"data={data!r} must be a mapping of keys to values")
    if sources and any(o.removeprefix("data.").startswith("sources=") for o in overrides):
        raise RecipeError("--data and --set sources name the sources twice; give one of them")
    values["data"] = {**data, "sources": list(sources)} if sources else data
    return build_recipe(values)


def checked_source(path: str) -> str:
    """What `--data` names: a built-in source, a data set of the hub, or a path, made absolute.

    Raises DataError if there is no such file or folder, or no one can tell.
    """
    if path.startswith(HUB):
        return absolute_address(path)
    if path == DEMO and not os.path.exists(path):
        return path
    return str(found_path(path, "--data").resolve())


class _SizeError(ValueError):
    """The dial is at a place where it cannot be."""


def _fill_tokenizer(values: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from a tokenizer that is there: named by its path, or of prepared data.

    Raises TokenizerError if it cannot be used.
    """
    filled = dict(values)
    written = filled.get("tokenizer")
    named = dict(written) if isinstance(written, Mapping) else {}
    if named.get("path") is None:
        named.pop("path", None)  # null is as good as nothing
        found = prepared_tokenizer(_paths_of(filled.get("data")))
        if found is None:
            return {**filled, "tokenizer": named} if isinstance(written, Mapping) else filled
        named["path"] = str(found)
    training = {field.name for field in dataclasses.fields(TokenizerConfig)}
    training -= {field.name for field in dataclasses.fields(GivenTokenizer)}
    given = given_tokenizer({key: v for key, v in named.items() if key not in training})
    return {**filled, "tokenizer": given}


def _paths_of(data: Any) -> list[str]:
    """The paths of `data.sources`, in whichever way they are written."""
    sources = data.get("sources") if isinstance(data, Mapping) else None
    entries = [sources] if isinstance(sources, str | Mapping) else sources
    if not isinstance(entries, list | tuple):
        return []
    paths = [entry.get("path") if isinstance(entry, Mapping) else entry for entry in entries]
    return [path for path in paths if isinstance(path, str)]


def _fill_size(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe with a `size` leaves open in its model and its pretraining."""
    filled = dict(values)
    if filled.get("size") is None:
        return filled
    model, pretrain, tokenizer = (
        dict(filled[key]) if isinstance(filled.get(key), Mapping) else {}
        for key in ("model", "pretrain", "tokenizer")
    )
    try:
        found = sized(
            parse_size(filled["size"]),
            int(tokenizer.get("vocab_size", TokenizerConfig().vocab_size)),
            int(model.get("max_seq_len", ModelConfig().max_seq_len)),
            pretrain.get("tokens"),
        )
    except (TypeError, ValueError) as error:
        raise _SizeError(str(error)) from error
    names = ["d_model", "n_layers", "tied_embeddings"]
    if not {"d_model", "n_heads"} & model.keys():  # heads have to fit a width
        names += ["n_heads", "n_kv_heads"]
    shape = {name: getattr(found, name) for name in names}
    given = pretrain.get("optimizer")
    optimizer = {"lr": found.lr, **(given if isinstance(given, Mapping) else {})}
    costs = {"tokens": found.tokens, "batch_tokens": found.batch_tokens}
    filled["size"] = str(filled["size"])
    filled["model"] = {**shape, **model}
    filled["pretrain"] = {**costs, **pretrain, "optimizer": optimizer}
    return filled


def _fill_optimizers(values: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer of which only some keys are given takes the others from its stage's default."""
    filled = dict(values)
    for stage, default in (
        ("pretrain", PretrainConfig()),
        ("sft", FinetuneConfig()),
        ("align", AlignConfig()),
    ):
        settings = filled.get(stage)
        given = settings.get("optimizer") if isinstance(settings, Mapping) else None
        if isinstance(settings, Mapping) and isinstance(given, Mapping):
            usual = to_dict(default.optimizer)
            if given.get("name", usual["name"]) == usual["name"]:
                filled[stage] = {**settings, "optimizer": {**usual, **given}}
    return filled


def _find(name: str) -> tuple[str, str]:
    """(what to call it in errors, its text)."""
    shipped = shipped_recipes()
    if name in shipped:
        return name, shipped[name].read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        try:
            return name, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {name} cannot be read; give a YAML file") from error
    nearest = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(shipped)}"
    raise RecipeError(f"no recipe is called {name!r}; {hint}")


def _read_yaml(name: str, text: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {name} must be a mapping of keys to values")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` in nested mappings, in place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            f"--set {override}: write it as key=value, such as pretrain.tokens=1000000"
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not YAML") from error
    *parents, last = key.strip().split(".")
    if any(part.isdigit() for part in parents):
        raise RecipeError(f"--set {override}: give the whole list, items cannot be set one by one")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[parent]
    values[last] = value


# --- telling what is wrong ------------------------------------------------------------------------


def _describe(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if not _is_tag(part)]
    if first["type"] == "unexpected_keyword_argument":
        return _unknown_key(path)
    if first["type"] == "missing":
        return f"the recipe has no {'.'.join(path)}; add it"
    if first["type"] == "union_tag_invalid":
        names = " or ".join(OPTIMIZER_NAMES)
        return f"{'.'.join(path)}.name={first['ctx']['tag']!r} must be {names}"
    message = first["msg"].removeprefix("Value error, ")
    where = ".".join(path)
    if first["type"] == "value_error":
        return f"{where}.{message}" if where and "=" in message.split(" ")[0] else message
    return f"{where}={first['input']!r}: {message[:1].lower()}{message[1:]}"


def _is_tag(part: Any) -> bool:
    """Pydantic puts the name of a union's member into the path."""
    return part in OPTIMIZER_NAMES or (isinstance(part, str) and part.endswith("Config"))


def _unknown_key(path: Sequence[str]) -> str:
    known = _keys_under(Recipe, path[:-1])
    nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    where = ".".join(path)
    if not nearest:
        everywhere = _all_keys(Recipe)
        elsewhere = [key for key in everywhere if key.split(".")[-1] == path[-1]]
        nearest_path = elsewhere[0] if elsewhere else None
    else:
        nearest_path = ".".join([*path[:-1], nearest[0]])
    hint = f"did you mean {nearest_path}?" if nearest_path else f"there are {', '.join(known)}"
    return f"unknown recipe key {where}; {hint}"


def _dataclasses_in(annotation: Any) -> list[type]:
    """The dataclasses that an annotation such as `Annotated[A | B, ...] | None` allows."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple):
        return [found for inner in get_args(annotation) for found in _dataclasses_in(inner)]
    return []


def _fields(owner: type) -> dict[str, Any]:
    hints = get_type_hints(owner, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(owner)}


def _keys_under(owner: type, path: Sequence[str]) -> list[str]:
    """Names of the fields at `path` below a config."""
    owners = [owner]
    for part in path:
        if part.isdigit():  # an item of a list
            continue
        owners = [found for one in owners for found in _dataclasses_in(_fields(one).get(part))]
    return list(dict.fromkeys(name for one in owners for name in _fields(one)))


def _all_keys(owner: type, prefix: str = "") -> list[str]:
    keys = []
    for name, annotation in _fields(owner).items():
        keys.append(prefix + name)
        for inner in _dataclasses_in(annotation):
            keys += _all_keys(inner, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


# --- writing --------------------------------------------------------------------------------------


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML, every default written out."""
    return yaml.safe_dump(to_dict(recipe), sort_keys=False, allow_unicode=True)


def recipe_schema() -> dict[str, Any]:
    """JSON schema of a recipe, for editors that complete and check YAML."""
    return _adapter().json_schema()


@cache
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)
