"""Causal self-attention with grouped-query heads.

x     (batch, seq_len, d_model)            q    (batch, n_heads, seq_len, d_head)
k, v  (batch, n_kv_heads, n_keys, d_head)  out  softmax(q kᵀ / sqrt(d_head) + mask) v
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.model.config import ModelConfig
from groundup.model.kv_cache import KVCache
from groundup.model.layers import RMSNorm
from groundup.model.position import apply_rope

# The first version whose kernel for documents takes fewer heads of keys than of queries.
TAKES_GROUPED_HEADS = torch.__version__ >= "2.12"
FIRST_CAPABILITY = (8, 0)  # of a GPU that has the kernel, Ampere's
LARGEST_D_HEAD = 192  # above it only some GPUs have its backward pass


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
        document_offsets: Tensor | None = None,
    ) -> Tensor:
        """Attend; `mask` None means plain causal, or everything when one token meets a cache.

        x: (batch, seq_len, d_model); mask: (batch or 1, 1, seq_len, n_keys), bool or as
        `as_addend` gives it; document_offsets: in its place, as `attend_within_documents` takes it
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
        if document_offsets is not None:
            q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
            attended = attend_within_documents(q, k, v, document_offsets, longest=seq_len)
            return self.out(attended.reshape(batch, seq_len, -1))
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


def attend_within_documents(
    q: Tensor, k: Tensor, v: Tensor, document_offsets: Tensor, *, longest: int
) -> Tensor:
    """Causal attention in each document of a flattened batch, which costs nothing across them.

    q: (n, n_heads, d_head); k, v: (n, n_kv_heads, d_head), in half precision on a GPU;
    document_offsets: (n_documents + 1,) int32 from 0 to n, not descending -> the shape of q

    longest: no document is longer; a loose bound gives the same result. The rows' width serves, and
        unlike the true length it is the same for every batch, so that a compiled block stays valid.
    """
    from torch.nn.attention.varlen import varlen_attn  # slow to import, and rarely needed

    attend: Callable[..., Any] = varlen_attn
    n_copies = q.shape[1] // k.shape[1]
    if n_copies > 1 and TAKES_GROUPED_HEADS:
        attend = partial(attend, enable_gqa=True)
    elif n_copies > 1:
        k, v = k.repeat_interleave(n_copies, dim=1), v.repeat_interleave(n_copies, dim=1)
    where = document_offsets
    window = (-1, 0)  # all that comes before, nothing that comes after
    attended: Tensor = attend(q, k, v, where, where, longest, longest, window_size=window)
    return attended


def keep_documents_apart(
    document_ids: Tensor, document_offsets: Tensor | None, *, dtype: torch.dtype, d_head: int
) -> tuple[Tensor | None, Tensor | None]:
    """What the blocks are to be given, a mask or offsets: the one place where that is chosen.

    document_ids: (batch, seq_len); document_offsets: (n_documents + 1,) or None; dtype: of the
    weights -> (batch, 1, seq_len, seq_len) or None, document_offsets or None

    The mask works everywhere and is what the offsets' kernel is held to.
    """
    dtype = _compute_type(dtype, document_ids.device)
    if document_offsets is not None and has_document_kernel(document_ids.device, dtype, d_head):
        return None, document_offsets
    return as_addend(document_mask(document_ids), dtype), None


def has_document_kernel(device: torch.device, dtype: torch.dtype, d_head: int) -> bool:
    """Whether `attend_within_documents` runs here; `torch.nn.attention.sdpa_kernel` can forbid it.

    >>> has_document_kernel(torch.device("cpu"), torch.bfloat16, d_head=64)
    False
    """
    return (
        device.type == "cuda"
        and torch.version.cuda is not None  # on others, empty documents are not known to work
        and dtype in (torch.bfloat16, torch.float16)
        and d_head % 8 == 0
        and d_head <= LARGEST_D_HEAD
        and torch.backends.cuda.flash_sdp_enabled()
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY
    )


def document_mask(document_ids: Tensor) -> Tensor:
    """Causal within each document, blind across: (batch, seq_len) -> (batch, 1, seq_len, seq_len).

    >>> document_mask(torch.tensor([[0, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    seq_len = document_ids.shape[1]
    same = document_ids[:, :, None] == document_ids[:, None, :]
    causal = torch.ones(seq_len, seq_len, dtype=torch.bool, device=document_ids.device).tril()
    return (same & causal)[:, None]


def as_addend(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` is true and -inf elsewhere, in the type that attention computes in.

    Made once, where every layer would make its own copy of a mask of booleans, and keep it.
    """
    dtype = _compute_type(dtype, mask.device)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


def _compute_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What products of weights of `dtype` are computed in: the type of autocast, where it is on."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
