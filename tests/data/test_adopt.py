"""A build on prepared data: the same documents, the same fingerprint, nothing prepared twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from groundup.data.adopt import prepared_source, sources_of
from groundup.data.config import DataConfig
from groundup.data.manifest import read_manifest, verify
from groundup.data.prepare import prepare
from groundup.data.prepared import read_texts
from groundup.data.reading import SourceConfig
from groundup.data.shards import TokenShards
from groundup.data.split import SPLITS
from groundup.data.steps.tokenize import TokenizerChoice
from groundup.pipeline import STAGE_NAMES
from groundup.recipe import Recipe, load_recipe
from groundup.runtime import DataError, RecipeError, TokenizerError
from groundup.tokenizer import Tokenizer, TokenizerConfig, open_tokenizer, train_tokenizer
from groundup.tokenizer.tokenizer import Roles

from ..tiny_build import Recorder, tiny_build, tiny_recipe, write_rows

SMALL = TokenizerConfig(vocab_size=270)


def rows(name: str, n: int) -> list[dict[str, object]]:
    return [{"text": f"The {name} number {i} is not the {name} number {i + 7}."} for i in range(n)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of different weight and a row that stands in both."""
    folder = tmp_path_factory.mktemp("prepared")
    foxes = write_rows(folder / "foxes.jsonl", [*rows("fox", 80), {"text": "Said twice."}])
    hens = write_rows(folder / "hens.jsonl", [*rows("hen", 60), {"text": "Said twice."}])
    config = DataConfig(
        sources=(SourceConfig(path=str(foxes)), SourceConfig(path=str(hens), weight=3.0)),
        heldout_fraction=0.1,
    )
    prepare(config, folder / "clean")
    return folder / "clean"


def recipe_of(*sources: Path) -> Recipe:
    return tiny_recipe(
        data={"sources": [str(source) for source in sources]},
        tokenizer={"vocab_size": 270},
        sft=None,
        align=None,
    )


def test_a_build_trains_on_what_was_prepared(prepared: Path, tmp_path: Path) -> None:
    listener = Recorder()
    build = tiny_build(recipe_of(prepared), tmp_path / "run", listener)
    build.run(("data", "tokenizer", "pretrain"))

    for split in SPLITS:
        assert list(read_texts(tmp_path / "run/data", split)) == list(read_texts(prepared, split))
    fingerprint = read_manifest(prepared)["fingerprint"]
    assert read_manifest(tmp_path / "run")["fingerprint"] == fingerprint
    assert verify(tmp_path / "run") == []
    assert any("as it was prepared" in line for line in listener.messages)
    assert not (tmp_path / "run/data.stages").exists()

    checkpoints = sorted((tmp_path / "run/pretrain/checkpoints").glob("step-*"))
    for checkpoint in checkpoints:
        state = json.loads((checkpoint / "trainer/state.json").read_text())
        assert state["identity"]["dataset"] == fingerprint
    assert checkpoints
    counts = json.loads((tmp_path / "run/pretrain/manifest.json").read_text())["counts"]
    assert set(counts["sources"]) == {"foxes", "hens"}

    again = Recorder()
    tiny_build(recipe_of(prepared), tmp_path / "run", again).run(("data", "tokenizer", "pretrain"))
    assert set(again.statuses().values()) == {"done"}


def test_weights_are_those_it_was_prepared_with(prepared: Path) -> None:
    found = sources_of(DataConfig(sources=(SourceConfig(path=str(prepared)),)))
    assert [(source.label, source.weight) for source in found.sources] == [
        ("foxes", 1.0),
        ("hens", 3.0),
    ]


def test_it_is_taken_alone_and_not_prepared_twice(prepared: Path, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "other.jsonl", rows("owl", 5))
    assert prepared_source([SourceConfig(path=str(other))]) is None
    with pytest.raises(DataError, match="cannot be mixed with other sources"):
        tiny_build(recipe_of(prepared, other), tmp_path / "run").run(STAGE_NAMES)
    with pytest.raises(DataError, match="is prepared data; give what it was made of"):
        prepare(DataConfig(sources=(SourceConfig(path=str(prepared)),)), tmp_path / "again")


def test_the_tokenizer_and_the_tokens_are_taken_too(prepared: Path, tmp_path: Path) -> None:
    sources = read_manifest(prepared)["parameters"]["sources"]
    config = DataConfig(sources=tuple(SourceConfig(**source) for source in sources))
    clean = tmp_path / "clean"
    prepare(config, clean, tokenizer=TokenizerChoice(config=TokenizerConfig(vocab_size=275)))
    recipe = recipe_of(clean)
    assert recipe.model_config.vocab_size == recipe.tokenizer.vocab_size == 275
    listener = Recorder()
    tiny_build(recipe, tmp_path / "run", listener).run(("data", "tokenizer", "pretrain"))

    made = Tokenizer.load(clean / "tokenizer").fingerprint
    assert Tokenizer.load(tmp_path / "run/tokenizer").fingerprint == made
    assert any("275 tokens, taken from" in line for line in listener.messages)
    for name in ("train-foxes", "train-hens"):
        tokens = TokenShards.open(tmp_path / "run/pretrain/tokens" / name)
        assert tokens.fingerprint == TokenShards.open(clean / "tokens" / name).fingerprint
        file = f"tokens/{name}/train-00000.bin"
        assert (tmp_path / "run/pretrain" / file).samefile(clean / file)
        texts = read_texts(clean, "train", name.removeprefix("train-"))
        tokenizer = Tokenizer.load(clean / "tokenizer")
        assert [ids[1:].tolist() for ids in tokens] == [tokenizer.encode(text) for text in texts]

    # The run's recipe can be read where the data is gone: it has a copy of the tokenizer.
    written = load_recipe(str(tmp_path / "run/recipe.yaml"))
    shutil.move(clean, tmp_path / "elsewhere")
    assert load_recipe(str(tmp_path / "run/recipe.yaml")) == written


def test_a_tokenizer_of_ones_own_makes_other_tokens(prepared: Path, tmp_path: Path) -> None:
    config = DataConfig(sources=(SourceConfig(path=read_manifest(prepared)["sources"][0]["path"]),))
    clean = tmp_path / "clean"
    prepare(config, clean, tokenizer=TokenizerChoice(config=TokenizerConfig(vocab_size=275)))
    mine = train_tokenizer([text for row in rows("fox", 40) for text in row.values()], SMALL)
    mine.save(tmp_path / "mine")
    recipe = tiny_recipe(
        data={"sources": [str(clean)]},
        tokenizer={"path": str(tmp_path / "mine"), "vocab_size": 999, "pattern": "llama3"},
        sft=None,
        align=None,
    )
    assert recipe.model_config.vocab_size == 270
    tiny_build(recipe, tmp_path / "run").run(("data", "tokenizer", "pretrain"))
    tokens = TokenShards.open(tmp_path / "run/pretrain/tokens/train-foxes")
    assert tokens.tokenizer_fingerprint == mine.fingerprint


def test_a_tokenizer_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.path=.*gone does not exist; give a"):
        tiny_recipe(tokenizer={"path": str(tmp_path / "gone")})
    mine = train_tokenizer(["one two three four five six seven " * 9], SMALL)
    bare = Tokenizer(mine.model, mine.cutter, special_tokens={}, roles=Roles())
    bare.save(tmp_path / "bare")
    with pytest.raises(TokenizerError, match="no token for end of text, which training needs"):
        tiny_recipe(tokenizer={"path": str(tmp_path / "bare")})
    end = {"<|endoftext|>": len(mine.model.pieces)}
    roles = Roles(end_of_text="<|endoftext|>")
    ends = Tokenizer(mine.model, mine.cutter, special_tokens=end, roles=roles)
    ends.save(tmp_path / "ends")
    assert open_tokenizer(tmp_path / "ends").chat_format is None
    with pytest.raises(RecipeError, match="without tokens for conversations, which sft needs"):
        tiny_recipe(tokenizer={"path": str(tmp_path / "ends")})
    with pytest.raises(RecipeError, match=r"unknown recipe key tokenizer\.paths"):
        tiny_recipe(tokenizer={"paths": "x"})
    mine.save(tmp_path / "mine")
    with pytest.raises(RecipeError, match=r"unknown recipe key tokenizer\.patern"):
        tiny_recipe(tokenizer={"path": str(tmp_path / "mine"), "patern": "x"})


def test_what_was_changed_since_is_refused(prepared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in read_manifest(prepared)["files"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((prepared / name).read_bytes())
    (copy / "manifest.json").write_bytes((prepared / "manifest.json").read_bytes())
    file = next(copy.glob("documents/train-*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"train-00000\.parquet is damaged.*; prepare .* again"):
        tiny_build(recipe_of(copy), tmp_path / "run").run(("data",))


def test_checkpoints_carry_the_fingerprint_of_the_data(tiny_run: Path, tmp_path: Path) -> None:
    build = tiny_build(load_recipe(str(tiny_run / "recipe.yaml")), tiny_run)
    identity = build.context("pretrain").identity
    assert identity["dataset"] == read_manifest(tiny_run)["fingerprint"]
    state = next((tiny_run / "pretrain/checkpoints").glob("step-*")) / "trainer/state.json"
    assert json.loads(state.read_text())["identity"]["dataset"] == identity["dataset"]
