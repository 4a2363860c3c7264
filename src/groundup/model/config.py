"""What a decoder is made of: the one description that model, costs and export share."""

from __future__ import annotations

from typing import Literal

from groundup.runtime import config


@config
class ModelConfig:
    """A transformer decoder. The defaults are Qwen3's choices; GPT-2's and Llama's are a few words.

    vocab_size: tokens; 0 in a recipe means "the tokenizer's".
    max_seq_len: the longest context, in tokens.
    d_model, d_ff: widths of the residual stream and of the feed-forward's hidden layer;
        d_ff 0 takes 8/3 d_model for SwiGLU, 4 d_model for GELU, rounded up to a multiple of 32.
    n_layers, n_heads, n_kv_heads: blocks, query heads, key-value heads (0: as many as n_heads).
    d_head: width of one head; 0 takes d_model / n_heads.
    norm, norm_eps: RMSNorm (Zhang and Sennrich, 2019) or LayerNorm (Ba et al., 2016).
    position, rope_theta: rotary (Su et al., 2021) or learned absolute positions.
    feedforward: SwiGLU (Shazeer, 2020) or GELU (tanh form, as GPT-2).
    qk_norm: RMSNorm with a learned gain on each head's queries and keys (Qwen3).
    bias: biases in every linear layer (GPT-2).
    tied_embeddings: the output projection is the embedding matrix.
    dropout: share of what the embedding and each block's two halves add to the residual stream that
        is zeroed in training (Srivastava et al., 2014); not a part of the exported model.
    vocab_multiple: rows of the embedding and of the output projection are padded to a multiple of
        this, which tensor cores need; no padded id is ever predicted, learned or exported.
    """

    vocab_size: int = 0
    max_seq_len: int = 256
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 0
    d_head: int = 0
    d_ff: int = 0
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_eps: float = 1e-6
    position: Literal["rope", "learned"] = "rope"
    rope_theta: float = 10_000.0
    feedforward: Literal["swiglu", "gelu"] = "swiglu"
    qk_norm: bool = True
    bias: bool = False
    tied_embeddings: bool = True
    dropout: float = 0.0
    vocab_multiple: int = 64

    @property
    def n_vocab_rows(self) -> int:
        """Rows of the embedding and of the output projection, padding included."""
        return -(-self.vocab_size // self.vocab_multiple) * self.vocab_multiple

    def __post_init__(self) -> None:
        for name in ("max_seq_len", "d_model", "n_layers", "n_heads", "vocab_multiple"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("vocab_size", "n_kv_heads", "d_head", "d_ff"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        for name in ("norm_eps", "rope_theta"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1); try dropout=0.1")
        self._fill_in()
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads={self.n_kv_heads} must divide n_heads={self.n_heads}; "
                f"try n_kv_heads={_nearest_divisor(self.n_heads, self.n_kv_heads)}"
            )
        if self.position == "rope" and self.d_head % 2:
            raise ValueError(f"d_head={self.d_head} must be even for rotary positions")

    def _fill_in(self) -> None:
        """Replace each 0 that stands for a default by the number it stands for."""
        if not self.n_kv_heads:
            object.__setattr__(self, "n_kv_heads", self.n_heads)
        if not self.d_head:
            if self.d_model % self.n_heads:
                raise ValueError(
                    f"n_heads={self.n_heads} must divide d_model={self.d_model}; "
                    f"try n_heads={_nearest_divisor(self.d_model, self.n_heads)}"
                )
            object.__setattr__(self, "d_head", self.d_model // self.n_heads)
        if not self.d_ff:
            width = 8 * self.d_model / 3 if self.feedforward == "swiglu" else 4 * self.d_model
            object.__setattr__(self, "d_ff", 32 * -(-int(width) // 32))


def _nearest_divisor(n: int, wanted: int) -> int:
    """The divisor of `n` nearest to `wanted`, the smaller of two equally near.

    >>> _nearest_divisor(256, 6)
    4
    """
    return min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: (abs(d - wanted), d))
