from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundup.data.curriculum import MixingConfig, MixingStageConfig
from groundup.data.prepare import DataConfig, prepare
from groundup.data.prepared import read_texts
from groundup.data.reading import SourceConfig
from groundup.evaluate.likelihood import score_documents
from groundup.export import load_model
from groundup.model import ModelConfig
from groundup.optim import MuonConfig
from groundup.recipe import Recipe
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer
from groundup.train.context import StageContext, bits_per_byte, take_bytes
from groundup.train.job import LoopConfig
from groundup.train.metrics import MetricsFile
from groundup.train.pretrain import PretrainConfig, pretrain

from ..tiny_build import Recorder

SEQ_LEN = 32


def stage(folder: Path, data: Path, tokenizer: Tokenizer) -> StageContext:
    return StageContext(
        folder=folder,
        data=data,
        tokenizer=tokenizer,
        seed=1,
        device=torch.device("cpu"),
        listener=Recorder(),
        identity={},
    )


def model_config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=SEQ_LEN, d_model=32, n_layers=2, n_heads=2
    )


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """A folder of long words and one of short ones, the second seen twice as often."""
    top = tmp_path_factory.mktemp("sources")
    for name, text in (("one", "The red fox ran over hill {}. "), ("two", "A cat {} sat. ")):
        for number in range(12):
            path = top / name / f"{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text((text.format(number)) * 6)
    sources = ({"path": str(top / "one")}, {"path": str(top / "two"), "weight": 2.0})
    return DataConfig(sources=sources, heldout_fraction=0.1)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def prepared(two_sources: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(two_sources, folder)
    return folder


def settings(**changes: object) -> PretrainConfig:
    loop = LoopConfig(log_every=1, eval_every=5, checkpoint_every=5)
    values = {
        "tokens": 15 * 128,
        "batch_tokens": 128,
        "optimizer": MuonConfig(lr=1e-2),
        "loop": loop,
    }
    return PretrainConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_the_loss_falls_and_the_counts_are_right(
    two_sources: DataConfig, prepared: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    context = stage(tmp_path / "pretrain", prepared, tiny_tokenizer)
    counts = pretrain(settings(), model_config(tiny_tokenizer), two_sources, context)
    lines = list(MetricsFile(context.folder / "metrics.jsonl"))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == counts["steps"] == 15
    assert losses[0] == pytest.approx(5.77, abs=0.3)  # ln 320: the first logits are near zero
    assert losses[-1] < losses[0] - 1
    assert counts["tokens"] <= 15 * 128
    assert counts["epochs"] == pytest.approx(15 * 4 / counts["rows"], abs=1e-3)
    assert load_model(context.model_folder).config == model_config(tiny_tokenizer)
    assert {path.name for path in (context.folder / "tokens").iterdir()} == {
        "train-one",
        "train-two",
        "heldout",
    }


def test_the_curve_agrees_with_the_evaluation_where_texts_fit_one_row(
    two_sources: DataConfig, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Short held-out documents are whole in both, so both score the same tokens alike."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(40):
        (texts / f"{number}.txt").write_text(f"A cat {number} sat.")
    data = DataConfig(sources=({"path": str(texts)},), heldout_fraction=0.2)  # type: ignore[arg-type]
    prepare(data, tmp_path / "data")
    context = stage(tmp_path / "pretrain", tmp_path / "data", tiny_tokenizer)
    pretrain(settings(), model_config(tiny_tokenizer), data, context)
    curve = [
        line["heldout_bits_per_byte"]
        for line in MetricsFile(context.folder / "metrics.jsonl")
        if "heldout_bits_per_byte" in line
    ]
    heldout = list(take_bytes(read_texts(tmp_path / "data", "heldout"), 100_000))
    model = load_model(context.model_folder)
    likelihood = score_documents(model, tiny_tokenizer, heldout)
    assert curve[-1] == pytest.approx(likelihood.bits_per_byte.value, rel=1e-5)
    assert bits_per_byte(1.0, 1) == pytest.approx(1.4427, abs=1e-4)


@pytest.mark.parametrize("packing", ["best_fit", "concat", "bos_crop"])
def test_every_packing_trains(
    packing: str, two_sources: DataConfig, prepared: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    context = stage(tmp_path, prepared, tiny_tokenizer)
    counts = pretrain(
        settings(tokens=256, packing=packing), model_config(tiny_tokenizer), two_sources, context
    )
    assert counts["steps"] == 2
    assert counts["padding_share"] < (0.3 if packing == "best_fit" else 0.02)
    assert (counts["cropped_share"] > 0) == (packing == "bos_crop")
    assert isinstance(context.listener, Recorder)
    told = [line for line in context.listener.messages if "never shows" in line]
    assert bool(told) == (counts["cropped_share"] > 0.2)


def test_a_source_smaller_than_the_context_is_trained_on_with_the_others(
    two_sources: DataConfig, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("a red cat")
    sources = (*two_sources.sources, SourceConfig(path=str(tmp_path / "note.txt")))
    data = DataConfig(sources=sources)
    prepare(data, tmp_path / "data")
    context = stage(tmp_path / "pretrain", tmp_path / "data", tiny_tokenizer)
    config = model_config(tiny_tokenizer)
    counts = pretrain(settings(packing="concat", tokens=8192), config, data, context)
    assert 0 < counts["sources"]["note"]["tokens"] < SEQ_LEN
    assert counts["sources"]["note"]["rows_seen"] > 0


def test_a_staged_and_capped_mixture_is_kept_and_told(
    two_sources: DataConfig, prepared: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Stage 1 has one alone; then two may be seen half an epoch, where its weight asks for more."""
    one, two = two_sources.sources
    data = replace(two_sources, sources=(one, replace(two, weight=50.0, max_epochs=0.5)))
    stages = (MixingStageConfig(until=512, weights={"two": 0}),)
    context = stage(tmp_path, prepared, tiny_tokenizer)
    counts = pretrain(
        settings(mixing=MixingConfig(stages=stages)), model_config(tiny_tokenizer), data, context
    )
    sources = counts["sources"]
    assert sources["two"]["rows_seen"] == int(0.5 * sources["two"]["rows"])
    assert sources["one"]["rows_seen"] + sources["two"]["rows_seen"] == 15 * 4
    assert sources["two"]["stage_shares"][0] == 0
    assert sources["two"]["asked_epochs"] > 0.5
    assert isinstance(context.listener, Recorder)
    assert any("max_epochs=0.5" in line for line in context.listener.messages)


def test_a_mixture_that_names_no_source_is_refused_at_once(
    two_sources: DataConfig, prepared: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    mixing = MixingConfig(stages=(MixingStageConfig(weights={"tow": 1.0}),))
    with pytest.raises(DataError, match="weighs 'tow', which is no source; did you mean two"):
        pretrain(
            settings(mixing=mixing),
            model_config(tiny_tokenizer),
            two_sources,
            stage(tmp_path, prepared, tiny_tokenizer),
        )


def test_a_stage_beyond_the_end_is_refused() -> None:
    mixing = MixingConfig(stages=(MixingStageConfig(until=500),))
    with pytest.raises(ValueError, match="until=500 must lie below tokens=500; leave it out"):
        PretrainConfig(tokens=500, mixing=mixing)


@pytest.mark.parametrize("packing", ["best_fit", "concat"])
def test_a_corpus_smaller_than_the_context_is_refused(
    packing: str, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(2):
        (texts / f"{number}.txt").write_text(f"cat {number}")
    data = DataConfig(sources=({"path": str(texts)},))  # type: ignore[arg-type]
    prepare(data, tmp_path / "data")
    context = stage(tmp_path / "pretrain", tmp_path / "data", tiny_tokenizer)
    with pytest.raises(DataError, match=r"fewer than model\.max_seq_len=32.*max_seq_len="):
        pretrain(settings(packing=packing), model_config(tiny_tokenizer), data, context)


def test_the_best_weights_are_kept_when_asked_for(
    two_sources: DataConfig, prepared: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A learning rate this high gets worse after its best step."""
    loop = LoopConfig(log_every=1, eval_every=1, checkpoint_every=1)
    wild = settings(tokens=10 * 128, optimizer=MuonConfig(lr=3.0), loop=loop, result="best")
    context = stage(tmp_path, prepared, tiny_tokenizer)
    counts = pretrain(wild, model_config(tiny_tokenizer), two_sources, context)
    best = tmp_path / "checkpoints" / f"step-{counts['best_step']:08d}" / "model"
    assert counts["best_step"] < 10, "choose a rate that overshoots"
    name = "model.safetensors"
    assert (context.model_folder / name).read_bytes() == (best / name).read_bytes()


@pytest.mark.parametrize("name", ["tokens", "batch_tokens", "heldout_bytes"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        PretrainConfig(**{name: 0})


def test_a_pretrained_model_ends_at_the_end_of_a_text(tiny: Recipe, tiny_run: Path) -> None:
    folder = tiny_run / "pretrain" / "model"
    ids = json.loads((folder / "generation_config.json").read_text())
    assert ids["eos_token_id"] == Tokenizer.load(folder).end_of_text_id
    assert load_model(folder).config == tiny.model_config
