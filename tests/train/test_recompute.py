from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.model import Decoder, KVCache, ModelConfig, build_decoder
from groundup.train import recompute
from groundup.train.recompute import Recompute, apply_recompute

from ..model.shapes import SHAPES, SIZE
from .live_storages import LiveStorages, saved_bytes, state_of

MODES: list[Recompute] = ["selective", "layers"]
ROWS, SEQ_LEN = 3, 40


def row_of_documents() -> Tensor:
    """(ROWS, SEQ_LEN): documents of ten tokens."""
    return (torch.arange(SEQ_LEN) // 10).expand(ROWS, SEQ_LEN)


def loss_of(model: Decoder, document_ids: Tensor | None = None) -> Tensor:
    ids = torch.randint(SIZE["vocab_size"], (ROWS, SEQ_LEN), generator=torch.Generator())
    logits = model(ids, document_ids=document_ids)
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="sum")


def gradients(model: Decoder, document_ids: Tensor | None = None) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(1)
    loss_of(model, document_ids).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_same_bits(shape: str, mode: Recompute, documents: bool) -> None:
    model = build_decoder(SHAPES[shape], seed=0)
    document_ids = row_of_documents() if documents else None
    plain = gradients(model, document_ids)
    apply_recompute(model, mode)
    assert_equal(gradients(model, document_ids), plain)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_mode_keeps_less_than_the_one_before(shape: str) -> None:
    model = build_decoder(SHAPES[shape], seed=0)
    kept = {}
    for mode in ("none", *MODES):
        apply_recompute(model, mode)
        with LiveStorages(state_of(model)) as storages:
            loss = loss_of(model)
        kept[mode] = storages.alive()
        loss.backward()
    assert kept["none"] > kept["selective"] > kept["layers"]
    assert kept["selective"] < 0.7 * kept["none"]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("shape", ["qwen3_grouped_untied", "gpt2"])
def test_selective_computes_no_product_and_no_attention_twice(shape: str, dropout: float) -> None:
    model = build_decoder(replace(SHAPES[shape], dropout=dropout), seed=0)
    counts: dict[str, dict[Any, int]] = {}
    for mode in ("none", *MODES):
        apply_recompute(model, mode)
        with LiveStorages() as storages:
            loss_of(model).backward()
        counts[mode] = storages.n_calls
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    products = [torch.ops.aten.mm.default, torch.ops.aten.addmm.default, attention]
    for operation in products:
        assert counts["selective"].get(operation) == counts["none"].get(operation)
    assert counts["none"][attention] == SIZE["n_layers"]
    assert counts["layers"][attention] == 2 * SIZE["n_layers"]


@pytest.mark.parametrize("mode", MODES)
def test_names_do_not_change_and_none_takes_it_back(mode: Recompute) -> None:
    model = build_decoder(SHAPES["qwen3"], seed=0)
    names, keys = [name for name, _ in model.named_parameters()], list(model.state_dict())
    apply_recompute(model, mode)
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == keys
    apply_recompute(model, "none")
    assert all("forward" not in vars(block) for block in model.blocks)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_checkpointed_without_gradients_or_with_a_cache(
    mode: Recompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SHAPES["qwen3"]
    model = build_decoder(config, seed=0)
    ids = torch.randint(SIZE["vocab_size"], (ROWS, SEQ_LEN))
    plain = model(ids)
    apply_recompute(model, mode)

    def refuse(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("checkpointed")

    monkeypatch.setattr(recompute, "checkpoint", refuse)
    with torch.no_grad():
        assert torch.equal(model(ids), plain)
        torch.testing.assert_close(model(ids, cache=KVCache(config, ROWS, SEQ_LEN)), plain)
    with pytest.raises(AssertionError, match="checkpointed"):
        model(ids)


@pytest.mark.parametrize("mode", MODES)
def test_dropout_is_the_same_the_second_time(mode: Recompute) -> None:
    model = build_decoder(ModelConfig(**SIZE, dropout=0.5), seed=0)
    plain = gradients(model)
    apply_recompute(model, mode)
    assert_equal(gradients(model), plain)


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_runs_its_own_blocks(mode: Recompute) -> None:
    model = build_decoder(SHAPES["qwen3"], seed=0)
    plain = gradients(model)
    apply_recompute(model, mode)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert_equal(gradients(other), plain)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize(
    ("shape", "order", "precision"),
    [
        ("qwen3_grouped_untied", "block.compile, recompute", torch.float32),
        ("gpt2", "recompute, block.compile", torch.bfloat16),
        ("qwen3_grouped_untied", "recompute, compile forward", torch.bfloat16),
    ],
)
def test_compiled_blocks_recompute_as_well(shape: str, order: str, precision: torch.dtype) -> None:
    kept, found = {}, {}
    for mode in ("none", *MODES):
        torch.compiler.reset()
        model = build_decoder(SHAPES[shape], seed=0)
        for part in order.split(", "):
            if part == "recompute":
                apply_recompute(model, mode)
            for block in model.blocks:
                if part == "block.compile":
                    block.compile(backend="aot_eager")
                elif part == "compile forward":
                    block.forward = torch.compile(block.forward, backend="aot_eager")
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            loss, kept[mode] = saved_bytes(model, lambda model=model: loss_of(model))
        loss.backward()
        found[mode] = {name: p.grad for name, p in model.named_parameters()}
    assert kept["none"] > kept["selective"] > kept["layers"]
    assert_equal(found["selective"], found["none"])
    assert_equal(found["layers"], found["none"])


def test_a_replaced_forward_is_not_lost() -> None:
    model = build_decoder(SHAPES["qwen3"], seed=0)
    model.blocks[1].forward = model.blocks[1].forward
    with pytest.raises(AssertionError, match="recompute comes before"):
        apply_recompute(model, "layers")


def test_a_model_of_one_width_keeps_what_it_must() -> None:
    # d_ff equal to the other widths: `down` cannot be told from the rest, and nothing breaks.
    config = ModelConfig(**SIZE, d_ff=SIZE["d_model"], qk_norm=False)
    model = build_decoder(config, seed=0)
    plain = gradients(model)
    apply_recompute(model, "selective")
    assert_equal(gradients(model), plain)
