from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundup.data.loader import TokenBatch
from groundup.export import load_model
from groundup.model import Decoder, count_parameters
from groundup.optim import (
    AdamWConfig,
    AveragingConfig,
    OptimizerConfig,
    ScheduleConfig,
    optimizer_state_bytes,
)
from groundup.runtime import GroundupError, read_json
from groundup.train.checkpoint import read_checkpoint
from groundup.train.context import StageContext
from groundup.train.job import LoopConfig
from groundup.train.loop import DivergedError
from groundup.train.memory import OutOfMemoryError, StepShape, predict_memory
from groundup.train.objectives import next_token_loss
from groundup.train.stage import MICRO_TOKENS_CPU, SHARE_OF_MEMORY, Training, train_stage

from ..tiny_build import Recorder
from .small_job import SEQ_LEN, RandomBatches, small_model, small_tokenizer

stage = importlib.import_module("groundup.train.stage")
CPU = torch.device("cpu")


@dataclass
class Batches(RandomBatches):
    """Random batches that remember how many rows were asked for at a time."""

    asked: set[int] = field(default_factory=set)

    def micro_batches(self, step: int, micro_rows: int, /) -> Iterator[TokenBatch]:
        self.asked.add(micro_rows)
        return super().micro_batches(step, micro_rows)


@dataclass(frozen=True)
class Settings:
    """What the config of a stage has of training."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(log_every=1, eval_every=1))
    optimizer: OptimizerConfig = field(default_factory=lambda: AdamWConfig(lr=1e-2))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup_steps=0))
    average: AveragingConfig | None = None


def context_of(folder: Path) -> StageContext:
    return StageContext(
        folder=folder / "pretrain",
        data=folder / "data",
        tokenizer=small_tokenizer(),
        seed=0,
        device=CPU,
        listener=Recorder(),
        identity={"fingerprint": "this"},
    )


def training_of(**changes: Any) -> Training:
    values: dict[str, Any] = {
        "label": "pretrain",
        "batches": Batches(),
        "loss_fn": next_token_loss,
        "n_steps": 4,
        "rows": 6,
        "seq_len": SEQ_LEN,
        "chat": False,
    }
    return Training(**{**values, **changes})


def weights(model: Decoder) -> dict[str, Tensor]:
    """The parameters but for the vocabulary's padding, which is not exported."""
    return {
        name: value.detach()[: model.config.vocab_size] if "embedding" in name else value.detach()
        for name, value in model.named_parameters()
    }


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


# --- micro-batches --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "seq_len", "expected"),
    [
        (0, 16, 6),  # more would do, the batch has 6
        (0, MICRO_TOKENS_CPU // 2, 2),
        (0, MICRO_TOKENS_CPU // 3 + 1, 2),
        (0, 2 * MICRO_TOKENS_CPU, 1),  # at least one
        (4, 16, 4),
        (5, 2 * MICRO_TOKENS_CPU, 5),  # asked for is asked for
        (99, 16, 6),
    ],
)
def test_rows_of_a_micro_batch_on_a_cpu(
    asked: int, seq_len: int, expected: int, tmp_path: Path
) -> None:
    settings = Settings(loop=LoopConfig(micro_rows=asked))
    training = training_of(seq_len=seq_len, n_steps=1)
    _, counts = train_stage(small_model(), training, settings, context_of(tmp_path))
    assert counts["micro_rows"] == expected
    assert training.batches.asked == {expected}


@pytest.mark.parametrize("free", [None, 1 << 40, 3_000_000, 1])
def test_rows_of_a_micro_batch_on_a_gpu(free: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as need no more than 0.8 of the free memory by the prediction; at least one."""
    monkeypatch.setattr(stage, "available_bytes", lambda device: free)
    model, cuda = small_model(), torch.device("cuda")
    shape = stage._step_shape(model, training_of(rows=512), LoopConfig(), 1000, cuda)

    def fits(rows: int) -> bool:
        step = StepShape(rows, SEQ_LEN, documents=True, device="cuda")
        needed = predict_memory(model.config, step, state_bytes=1000).total
        return free is None or needed <= SHARE_OF_MEMORY * free

    assert fits(shape.rows) or shape.rows == 1
    assert shape.rows == 512 or not fits(shape.rows + 1)
    assert (shape.rows == 512) is (free in (None, 1 << 40))


# --- what comes of it -----------------------------------------------------------------------------


def test_the_manifest_is_told_what_was_counted(tmp_path: Path) -> None:
    settings, model = Settings(), small_model()
    progress, counts = train_stage(model, training_of(), settings, context_of(tmp_path))
    state_bytes = optimizer_state_bytes(model, settings.optimizer)
    expected = predict_memory(
        model.config, StepShape(6, SEQ_LEN, documents=True), state_bytes=state_bytes
    )
    memory = counts["memory"]
    assert memory["predicted"]["total"] == expected.total
    assert memory["predicted"]["optimizer"] == state_bytes
    assert memory["measured"]["measure"] == "resident"
    assert memory["measured"]["peak_bytes"] >= memory["measured"]["start_bytes"]
    assert memory["measured_by_predicted"] is None
    assert (counts["steps"], counts["tokens"]) == (4, 4 * 96)
    assert counts["parameters"] == count_parameters(model.config).total
    assert counts["final_loss"] == progress.figures["loss"]
    assert counts["compiled"] is False
    assert counts["tokens_per_s"] == pytest.approx(4 * 96 / progress.seconds, rel=1e-3)


@pytest.mark.parametrize("chat", [False, True])
def test_the_model_folder_holds_the_trained_weights(tmp_path: Path, chat: bool) -> None:
    model = small_model()
    train_stage(model, training_of(chat=chat), Settings(), context_of(tmp_path))
    folder = tmp_path / "pretrain" / "model"
    assert same(weights(load_model(folder)), weights(model))
    assert not same(weights(model), weights(small_model()))
    ends = read_json(folder / "config.json")["eos_token_id"]
    assert isinstance(ends, list) is chat


# --- running out of memory ------------------------------------------------------------------------


def exhaust(_: Any) -> None:
    torch.empty(1 << 58)


def test_out_of_memory_says_what_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator that really refuses; the advice is a setting that takes less."""
    monkeypatch.setattr(stage, "train", exhaust)
    with pytest.raises(OutOfMemoryError) as caught:
        train_stage(small_model(), training_of(), Settings(), context_of(tmp_path))
    error = caught.value
    assert isinstance(error, GroundupError)
    assert isinstance(error.__cause__, RuntimeError)
    text = str(error)
    assert text.startswith("pretrain: out of memory of ")
    assert "micro-batches of 6 rows of 16 tokens need about" in text
    assert "use --set pretrain.loop." in text
    assert "\n" not in text
    assert "offload" not in text, "there is nowhere to, from a CPU"
    assert not (tmp_path / "pretrain" / "model").exists()


def test_python_running_out_of_memory_is_told_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_it(_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(stage, "train", raise_it)
    with pytest.raises(OutOfMemoryError, match="pretrain: out of memory"):
        train_stage(small_model(), training_of(), Settings(), context_of(tmp_path))


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), DivergedError("it diverged")])
def test_other_errors_are_what_they_are(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_it(_: Any) -> None:
        raise error

    monkeypatch.setattr(stage, "train", raise_it)
    with pytest.raises(type(error)) as caught:
        train_stage(small_model(), training_of(), Settings(), context_of(tmp_path))
    assert caught.value is error


def test_the_advice_is_to_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first change, given as a setting, is predicted to need clearly less, and trains."""
    model, settings = small_model(), Settings()
    with monkeypatch.context() as patch:
        patch.setattr(stage, "train", exhaust)
        with pytest.raises(OutOfMemoryError) as caught:
            train_stage(model, training_of(), settings, context_of(tmp_path))
    rows = int(re.findall(r"use --set pretrain\.loop\.micro_rows=(\d+)", str(caught.value))[0])
    state_bytes = optimizer_state_bytes(model, settings.optimizer)
    before, after = (
        predict_memory(model.config, StepShape(n, SEQ_LEN, documents=True), state_bytes=state_bytes)
        for n in (6, rows)
    )
    assert after.total <= 0.9 * before.total
    settings = Settings(loop=LoopConfig(micro_rows=rows))
    _, counts = train_stage(model, training_of(n_steps=1), settings, context_of(tmp_path))
    assert counts["micro_rows"] == rows


# --- which weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("average", [None, AveragingConfig(decay=0.5)], ids=["plain", "averaged"])
@pytest.mark.parametrize("result", ["last", "best"])
def test_the_result_is_the_last_or_the_best(
    result: Any, average: AveragingConfig | None, tmp_path: Path
) -> None:
    """Held-out losses 3, 1, 2, 4: the second step is the best, and no checkpoint was due there."""
    values, seen = iter([3.0, 1.0, 2.0, 4.0]), []

    def evaluate(model: Decoder) -> Mapping[str, float]:
        seen.append({name: value.clone() for name, value in weights(model).items()})
        return {"heldout_loss": next(values)}

    model, context = small_model(), context_of(tmp_path)
    training = training_of(evaluate=evaluate, result=result)
    progress, counts = train_stage(model, training, Settings(average=average), context)
    assert (progress.best_step, counts["best_step"], counts["best_value"]) == (2, 2, 1.0)
    found = weights(load_model(context.model_folder))
    assert same(found, seen[1 if result == "best" else 3])
    assert not same(found, seen[3 if result == "best" else 1])


def test_the_best_from_before_averaging_began_is_not_averaged(tmp_path: Path) -> None:
    """The best is step 1, averaging begins with step 2: its checkpoint holds no average."""
    values, seen = iter([1.0, 2.0, 3.0, 4.0]), []

    def evaluate(model: Decoder) -> Mapping[str, float]:
        seen.append({name: value.clone() for name, value in weights(model).items()})
        return {"heldout_loss": next(values)}

    context = context_of(tmp_path)
    settings = Settings(average=AveragingConfig(decay=0.5, start=0.5))
    training = training_of(evaluate=evaluate, result="best")
    train_stage(small_model(), training, settings, context)
    checkpoint = read_checkpoint(context.folder / "checkpoints" / "step-00000001")
    assert checkpoint.trainer_tensors("average") == {}
    assert same(weights(load_model(context.model_folder)), seen[0])


def test_a_stage_that_is_run_again_after_its_end_writes_the_same_model(tmp_path: Path) -> None:
    """Killed between the last step and the model folder: only the folder is left to be written."""
    values = iter([2.0, 1.0, 3.0, 4.0])

    def training() -> Training:
        return training_of(evaluate=lambda _: {"heldout_loss": next(values)}, result="best")

    settings = Settings(average=AveragingConfig(decay=0.5))
    train_stage(small_model(), training(), settings, context_of(tmp_path))
    file = tmp_path / "pretrain" / "model" / "model.safetensors"
    before = file.read_bytes()
    file.unlink()
    again = training()
    train_stage(small_model(7), again, settings, context_of(tmp_path))
    assert again.batches.served == []
    assert file.read_bytes() == before
