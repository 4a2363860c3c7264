"""Causal self-attention with grouped-query heads.

x     (batch, seq_len, d_model)            q    (batch, n_heads, seq_len, d_head)
k, v  (batch, n_kv_heads, n_keys, d_head)  out  softmax(q kᵀ / sqrt(d_head) + mask) v
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.model.config import ModelConfig
from groundup.model.kv_cache import KVCache
from groundup.model.layers import RMSNorm
from groundup.model.position import apply_rope


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017), grouped-query (Ainslie et al., 2023).

    x: (batch, seq_len, d_model) -> (batch, seq_len, d_model)
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.d_head = config.d_head
        d_qkv = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        self.qkv = nn.Linear(config.d_model, d_qkv, bias=config.bias)
        self.out = nn.Linear(self.n_heads * self.d_head, config.d_model, bias=config.bias)
        self.q_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        *,
        rope: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """Attend; `mask` None means plain causal, or everything when one token meets a cache.

        x: (batch, seq_len, d_model); mask: (batch or 1, 1, seq_len, n_keys) bool
        -> (batch, seq_len, d_model)
        """
        batch, seq_len, _ = x.shape
        n_kv = self.n_kv_heads
        heads = self.qkv(x).view(batch, seq_len, self.n_heads + 2 * n_kv, self.d_head)
        q, k, v = heads.split([self.n_heads, n_kv, n_kv], dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = apply_rope(q, *rope).to(v.dtype), apply_rope(k, *rope).to(v.dtype)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        attended = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None and seq_len > 1,
            enable_gqa=self.n_heads != n_kv,
        )  # (batch, n_heads, seq_len, d_head)
        return self.out(attended.transpose(1, 2).reshape(batch, seq_len, -1))


def reference_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q kᵀ / sqrt(d_head) + mask) v, written out: the truth that fast kernels are held to.

    q: (batch, n_heads, seq_len, d_head); k, v: (batch, n_heads, n_keys, d_head);
    mask: (..., seq_len, n_keys) bool, true where the query may look -> the shape of q

    With equal scores the answer is the mean of the values in sight:

    >>> q = k = torch.zeros(1, 1, 2, 1)
    >>> v = torch.tensor([[[[1.0], [3.0]]]])
    >>> reference_attention(q, k, v, torch.tensor([[True, False], [True, True]])).flatten().tolist()
    [1.0, 2.0]
    """
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1) @ v


def document_mask(document_ids: Tensor) -> Tensor:
    """Causal within each document, blind across: (batch, seq_len) -> (batch, 1, seq_len, seq_len).

    >>> document_mask(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    seq_len = document_ids.shape[1]
    same = document_ids[:, :, None] == document_ids[:, None, :]
    causal = torch.ones(seq_len, seq_len, dtype=torch.bool, device=document_ids.device).tril()
    return (same & causal)[:, None]
