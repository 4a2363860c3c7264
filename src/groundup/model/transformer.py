"""The decoder: embedding, blocks, norm, output projection.

It knows nothing of optimizers, data or parallelism; those are applied to it from outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from groundup.model.attention import Attention, keep_documents_apart
from groundup.model.config import ModelConfig
from groundup.model.feedforward import build_feedforward
from groundup.model.kv_cache import KVCache
from groundup.model.layers import build_norm
from groundup.model.position import rope_table
from groundup.model.token_loss import Labels
from groundup.runtime import torch_generator

VOCABULARY = ("embedding.weight", "head.weight")  # a row for each token, then padding


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
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: KVCache | None,
        document_offsets: Tensor | None = None,
    ) -> Tensor:
        """x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)"""
        attended = self.attention(
            self.attention_norm(x),
            rope=rope,
            mask=mask,
            cache=cache,
            document_offsets=document_offsets,
        )
        x = x + self.dropout(attended)
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class Decoder(nn.Module):
    """A decoder-only language model: token ids in, next-token logits out, or their loss."""

    rope: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.vocab_size > 0, "a model needs its vocabulary's size"
        self.config = config
        self.embedding = nn.Embedding(config.n_vocab_rows, config.d_model)
        self.position_embedding = (
            nn.Embedding(config.max_seq_len, config.d_model)
            if config.position == "learned"
            else None
        )
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.norm = build_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, config.n_vocab_rows, bias=False)
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
        document_offsets: Tensor | None = None,
        cache: KVCache | None = None,
        select: Tensor | None = None,
        labels: Labels | None = None,
    ) -> Tensor:
        """Logits of the next token at every position, or at those of `select`; or their loss.

        input_ids, positions, document_ids: (batch, seq_len); document_offsets: (n_documents + 1,)
        int32 and select: (n_selected,) int64, both places in the flattened batch
        -> (batch, seq_len, vocab_size), or (n_selected, vocab_size), or what `labels.loss` gives

        Without `positions` they count from 0. Without `document_ids` a row is one document; beside
        them `document_offsets` may say again where documents begin, for a GPU to need no mask. With
        a cache the positions and the mask are the cache's.
        """
        x = self.hidden(input_ids, positions, document_ids, cache, document_offsets)
        if select is not None:
            x = x.flatten(0, 1).index_select(0, select)  # (n_selected, d_model)
        x = self.norm(x)
        if labels is not None:
            return labels.loss(x.flatten(0, -2), self.head.weight, self.config.vocab_size)
        logits: Tensor = self.head(x)
        return logits[..., : self.config.vocab_size]

    def hidden(
        self,
        input_ids: Tensor,
        positions: Tensor | None,
        document_ids: Tensor | None,
        cache: KVCache | None,
        document_offsets: Tensor | None = None,
    ) -> Tensor:
        """The residual stream after the last block.

        input_ids: (batch, seq_len) -> (batch, seq_len, d_model)
        """
        _, seq_len = input_ids.shape
        mask = offsets = None
        if cache is not None:
            positions, mask = cache.positions(seq_len), cache.mask(seq_len)
        elif document_ids is not None:
            mask, offsets = keep_documents_apart(
                document_ids,
                document_offsets,
                dtype=self.embedding.weight.dtype,
                d_head=self.config.d_head,
            )
        if positions is None:
            positions = torch.arange(seq_len, device=input_ids.device)[None]
        x = self.embedding(input_ids)  # (batch, seq_len, d_model)
        rope = None
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        else:
            cos, sin = self.rope[:, positions].unsqueeze(-2)  # (batch or 1, seq_len, 1, d_head)
            rope = (cos, sin)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, rope=rope, mask=mask, cache=cache, document_offsets=offsets)
        if cache is not None:
            cache.advance(seq_len)
        return x

    def stacked_rows(self) -> dict[str, tuple[int, ...]]:
        """Row counts of the matrices that a parameter stacks: q, k and v; gate and up."""
        return stacked_rows(self.config, (name for name, _ in self.named_parameters()))


def stacked_rows(config: ModelConfig, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Row counts of the matrices that the parameters of these names stack."""
    d_q, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    stacked: dict[str, tuple[int, ...]] = {}
    for name in names:
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
        is_vocabulary = name in VOCABULARY
        at_an_end = is_vocabulary or "embedding" in name
        std = 0.02 if at_an_end else 1 / math.sqrt(parameter.shape[1])
        if name.endswith(("attention.out.weight", "feedforward.down.weight")):
            std /= math.sqrt(2 * model.config.n_layers)
        n_rows = model.config.vocab_size if is_vocabulary else len(parameter)
        values = torch.empty(n_rows, parameter.shape[1])
        values.normal_(0, std, generator=torch_generator(seed, name))
        parameter.zero_()[:n_rows].copy_(values)  # padded rows stay zero


def build_decoder(config: ModelConfig, seed: int) -> Decoder:
    """A freshly initialised decoder."""
    model = Decoder(config)
    initialize(model, seed)
    return model
