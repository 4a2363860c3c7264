from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.model import Decoder, ModelConfig, build_decoder, initialize
from groundup.model.transformer import Block

from .shapes import SHAPES


def test_a_token_changes_nothing_before_it(model: Decoder, input_ids: Tensor) -> None:
    before = model(input_ids)
    for t in (0, 11, 23):
        changed = input_ids.clone()
        changed[0, t] = (changed[0, t] + 1) % model.config.vocab_size
        after = model(changed)
        assert torch.equal(after[0, :t], before[0, :t])
        assert torch.equal(after[1], before[1])
        assert (after[0, t:] != before[0, t:]).any(dim=-1).all()


def test_a_packed_row_is_each_document_alone(model: Decoder, input_ids: Tensor) -> None:
    lengths = [7, 1, 12, 4]
    document_ids = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    row = input_ids[:1]
    packed = model(row, document_ids=document_ids, positions=positions)
    alone = [model(document) for document in row.split(lengths, dim=1)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), rtol=1e-5, atol=1e-5)


def test_without_the_mask_documents_see_each_other(model: Decoder, input_ids: Tensor) -> None:
    positions = torch.cat([torch.arange(12), torch.arange(12)])[None]
    mixed = model(input_ids[:1], positions=positions)
    alone = model(input_ids[:1, 12:])
    assert (mixed[:, 12:] - alone).abs().max() > 1e-2


def test_positions_count_from_zero_by_default(model: Decoder, input_ids: Tensor) -> None:
    assert torch.equal(model(input_ids, positions=torch.arange(24)[None]), model(input_ids))
    shuffled = torch.arange(24).flip(0)[None]
    assert not torch.allclose(model(input_ids, positions=shuffled), model(input_ids))


def test_select_is_indexing(model: Decoder, input_ids: Tensor) -> None:
    select = torch.rand(input_ids.shape) < 0.3
    select[0, -1] = True
    chosen = model(input_ids, select=select.flatten().nonzero().squeeze(1))
    assert chosen.shape == (int(select.sum()), model.config.vocab_size)
    torch.testing.assert_close(chosen, model(input_ids)[select])


# --- initialisation -------------------------------------------------------------------------------


def test_values_come_from_seed_and_name_alone(config: ModelConfig) -> None:
    model = build_decoder(config, seed=7)
    again = Decoder(config)
    torch.manual_seed(123)
    reordered = dict(reversed(list(again.named_parameters())))
    again.named_parameters = lambda: reordered.items()  # type: ignore[method-assign, assignment]
    initialize(again, seed=7)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, reordered[name]), name
    other = build_decoder(config, seed=8)
    assert not torch.equal(model.embedding.weight, other.embedding.weight)


def test_a_deeper_model_begins_with_the_same_first_block() -> None:
    config = SHAPES["qwen3"]
    shallow = build_decoder(config, seed=7)
    deep = build_decoder(dataclasses.replace(config, n_layers=8), seed=7)
    name = "blocks.1.attention.qkv.weight"
    assert torch.equal(shallow.get_parameter(name), deep.get_parameter(name))
    # those that write to the residual stream shrink with depth: 1/sqrt(2 · 2) and 1/sqrt(2 · 8)
    name = "blocks.1.feedforward.down.weight"
    torch.testing.assert_close(shallow.get_parameter(name), 2 * deep.get_parameter(name))


def test_spread_of_initial_values() -> None:
    config = ModelConfig(
        vocab_size=500, d_model=128, n_layers=2, n_heads=4, d_ff=384, tied_embeddings=False
    )
    model = build_decoder(config, seed=1)
    expected = {
        "embedding.weight": 0.02,
        "head.weight": 0.02,
        "blocks.0.attention.qkv.weight": 1 / math.sqrt(128),
        "blocks.0.attention.out.weight": 1 / math.sqrt(128) / 2,
        "blocks.0.feedforward.gate_up.weight": 1 / math.sqrt(128),
        "blocks.1.feedforward.down.weight": 1 / math.sqrt(384) / 2,
    }
    for name, std in expected.items():
        assert model.get_parameter(name).std().item() == pytest.approx(std, rel=0.03), name


def test_gains_are_one_and_biases_zero(config: ModelConfig) -> None:
    for name, parameter in build_decoder(config, seed=1).named_parameters():
        if parameter.ndim == 1:
            assert set(parameter.tolist()) == {1.0 if name.endswith("weight") else 0.0}, name


def test_the_first_loss_is_that_of_a_uniform_guess(config: ModelConfig) -> None:
    input_ids = torch.randint(config.vocab_size, (8, 33))
    with torch.no_grad():
        logits = build_decoder(config, seed=1)(input_ids[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=0.1)


def test_tied_weights_are_one_tensor(config: ModelConfig) -> None:
    model = build_decoder(config, seed=1)
    assert (model.head.weight is model.embedding.weight) == config.tied_embeddings
    assert ("head.weight" in dict(model.named_parameters())) != config.tied_embeddings


def test_stacked_rows_cover_their_parameters(config: ModelConfig) -> None:
    model = Decoder(config)
    stacked = model.stacked_rows()
    for name, rows in stacked.items():
        assert sum(rows) == len(model.get_parameter(name))
    n_stacked = 2 if config.feedforward == "swiglu" else 1
    assert len(stacked) == config.n_layers * n_stacked * (2 if config.bias else 1)


def test_gradients_of_a_block_are_those_of_the_numbers() -> None:
    """GPT-2's block: LayerNorm keeps float64, which RMSNorm does not."""
    config = ModelConfig(
        vocab_size=5,
        d_model=4,
        n_heads=2,
        d_ff=6,
        norm="layernorm",
        feedforward="gelu",
        position="learned",
        qk_norm=False,
        bias=True,
    )
    block = Block(config, layer=0).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = tuple(block.parameters())

    def forward(x: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip(dict(block.named_parameters()), weights, strict=True))
        inputs = {"rope": None, "mask": None, "cache": None}
        return torch.func.functional_call(block, named, (x,), inputs)

    assert torch.autograd.gradcheck(forward, (x, *weights))


# --- padding of the vocabulary --------------------------------------------------------------------


def test_padded_rows_change_nothing(config: ModelConfig, unpadded: ModelConfig) -> None:
    padded, plain = build_decoder(config, 7), build_decoder(unpadded, 7)
    ids = torch.randint(config.vocab_size, (2, 24))
    assert len(padded.embedding.weight) == 128
    assert torch.equal(padded.embedding.weight[:97], plain.embedding.weight)
    logits = padded(ids)
    assert logits.shape[-1] == config.vocab_size
    torch.testing.assert_close(logits, plain(ids))


# --- dropout --------------------------------------------------------------------------------------


def test_dropout_acts_in_training_alone_and_keeps_the_mean(config: ModelConfig) -> None:
    model = build_decoder(dataclasses.replace(config, dropout=0.2), 7)
    ids = torch.randint(config.vocab_size, (2, 24))
    plain = build_decoder(config, 7)(ids)
    assert torch.equal(model.eval()(ids), plain)
    model.train()
    torch.manual_seed(1)
    first = model(ids)
    torch.manual_seed(1)
    assert torch.equal(model(ids), first)
    assert not torch.equal(model(ids), first)
    embedded = torch.stack([model.dropout(model.embedding(ids)) for _ in range(400)])
    torch.testing.assert_close(embedded.mean(0), model.embedding(ids), rtol=0.3, atol=0.01)
