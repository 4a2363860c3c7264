"""The decoder: embedding, blocks, norm, output projection.

It knows nothing of optimizers, data or parallelism; those are applied to it from outside.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from groundup.model.attention import Attention, document_mask
from groundup.model.config import ModelConfig
from groundup.model.feedforward import build_feedforward
from groundup.model.kv_cache import KVCache
from groundup.model.layers import build_norm
from groundup.model.position import rope_table
from groundup.runtime import torch_generator


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)) (pre-norm, as GPT-2).

    x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = build_norm(config)
        self.attention = Attention(config, layer)
        self.feedforward_norm = build_norm(config)
        self.feedforward = build_feedforward(config)

    def forward(
        self,
        x: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)"""
        x = x + self.attention(self.attention_norm(x), rope=rope, mask=mask, cache=cache)
        return x + self.feedforward(self.feedforward_norm(x))


class Decoder(nn.Module):
    """A decoder-only language model: token ids in, next-token logits out."""

    rope: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.vocab_size > 0, "a model needs its vocabulary's size"
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = (
            nn.Embedding(config.max_seq_len, config.d_model)
            if config.position == "learned"
            else None
        )
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = build_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.head.weight = self.embedding.weight
        table = rope_table(config.max_seq_len, config.d_head, config.rope_theta)
        self.register_buffer("rope", table, persistent=False)

    def forward(
        self,
        input_ids: Tensor,
        *,
        positions: Tensor | None = None,
        document_ids: Tensor | None = None,
        cache: KVCache | None = None,
        select: Tensor | None = None,
    ) -> Tensor:
        """Logits of the next token at every position, or only where `select` is true.

        input_ids, positions, document_ids, select: (batch, seq_len)
        -> (batch, seq_len, vocab_size), or (n_selected, vocab_size)

        Without `positions` they count from 0. Without `document_ids` a row is one document. With
        a cache the positions and the mask are the cache's.
        """
        _, seq_len = input_ids.shape
        mask = None
        if cache is not None:
            positions, mask = cache.positions(seq_len), cache.mask(seq_len)
        elif document_ids is not None:
            mask = document_mask(document_ids)
        if positions is None:
            positions = torch.arange(seq_len, device=input_ids.device)[None]
        x = self.embedding(input_ids)  # (batch, seq_len, d_model)
        rope = None
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        else:
            cos, sin = self.rope[:, positions].unsqueeze(-2)  # (batch or 1, seq_len, 1, d_head/2)
            rope = (cos, sin)
        for block in self.blocks:
            x = block(x, rope=rope, mask=mask, cache=cache)
        if cache is not None:
            cache.advance(seq_len)
        if select is not None:
            x = x[select]  # (n_selected, d_model)
        return self.head(self.norm(x))

    def stacked_rows(self) -> dict[str, tuple[int, ...]]:
        """Row counts of the matrices that a parameter stacks: q, k and v; gate and up."""
        config = self.config
        d_q, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        stacked: dict[str, tuple[int, ...]] = {}
        for name, _ in self.named_parameters():
            if ".qkv." in name:
                stacked[name] = (d_q, d_kv, d_kv)
            elif ".gate_up." in name:
                stacked[name] = (config.d_ff, config.d_ff)
        return stacked


@torch.no_grad()
def initialize(model: Decoder, seed: int) -> None:
    """Fill every parameter from (seed, its name), so that any layout of devices starts the same.

    Matrices: normal, std 1/sqrt(fan-in); those that write to the residual stream another
    1/sqrt(2 n_layers) smaller (Radford et al., 2019), so that the stream's variance does not grow
    with depth. Embeddings and the output projection: std 0.02, so that first logits are near zero.
    Biases 0, gains 1.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        at_an_end = "embedding" in name or name == "head.weight"
        std = 0.02 if at_an_end else 1 / math.sqrt(parameter.shape[1])
        if name.endswith(("attention.out.weight", "feedforward.down.weight")):
            std /= math.sqrt(2 * model.config.n_layers)
        values = torch.empty(parameter.shape).normal_(0, std, generator=torch_generator(seed, name))
        parameter.copy_(values)


def build_decoder(config: ModelConfig, seed: int) -> Decoder:
    """A freshly initialised decoder."""
    model = Decoder(config)
    initialize(model, seed)
    return model
