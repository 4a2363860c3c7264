from __future__ import annotations

import pytest
import torch
from torch import nn

from groundup.model import ModelConfig, build_decoder
from groundup.optim import parameter_groups

SIZE = {"vocab_size": 61, "max_seq_len": 16, "d_model": 32, "n_layers": 2, "n_heads": 4}


def test_a_decoder_by_hand() -> None:
    model = build_decoder(ModelConfig(**{**SIZE, "n_layers": 1}, tied_embeddings=False), seed=1)
    groups = parameter_groups(model)
    assert list(groups.matrices) == [
        "blocks.0.attention.qkv.weight",
        "blocks.0.attention.out.weight",
        "blocks.0.feedforward.gate_up.weight",
        "blocks.0.feedforward.down.weight",
    ]
    assert list(groups.others) == [
        "embedding.weight",
        "blocks.0.attention_norm.weight",
        "blocks.0.attention.q_norm.weight",
        "blocks.0.attention.k_norm.weight",
        "blocks.0.feedforward_norm.weight",
        "norm.weight",
        "head.weight",
    ]
    by_name = dict(model.named_parameters())
    both = {**groups.matrices, **groups.others}
    assert all(both[name] is by_name[name] for name in by_name)


@pytest.mark.parametrize("tied", [True, False])
def test_every_trained_parameter_is_in_one_group(tied: bool) -> None:
    config = ModelConfig(
        **SIZE, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False, bias=True
    )
    model = build_decoder(config, seed=1)
    model.norm.requires_grad_(False)
    groups = parameter_groups(model)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert groups.matrices.keys() | groups.others.keys() == trained
    assert not groups.matrices.keys() & groups.others.keys()
    assert all(value.ndim == 2 for value in groups.matrices.values())


def test_an_embedding_in_a_block_is_none_of_its_matrices() -> None:
    """Experts with three dimensions are; so are matrices of blocks deeper in the model."""
    model = nn.Module()
    model.encoder = nn.Module()
    block = nn.Module()
    block.experts = nn.Parameter(torch.zeros(2, 3, 4))
    block.distance = nn.Embedding(8, 2)
    model.encoder.blocks = nn.ModuleList([block])
    model.classifier = nn.Linear(4, 2)
    groups = parameter_groups(model)
    assert list(groups.matrices) == ["encoder.blocks.0.experts"]
    assert list(groups.others) == [
        "encoder.blocks.0.distance.weight",
        "classifier.weight",
        "classifier.bias",
    ]
