"""What a model costs, in closed form: parameters, and arithmetic for each token.

V vocab_size   d d_model   L n_layers   h n_heads   g n_kv_heads   e d_head   f d_ff   T seq_len
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.model.config import ModelConfig


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters. A tied output projection counts once, in `embedding`."""

    embedding: int
    attention: int
    feedforward: int
    norms: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.attention + self.feedforward + self.norms + self.head


def count_parameters(config: ModelConfig) -> Parameters:
    """Parameters of `Decoder(config)`: Vd + L(2dhe + 2dge + 3df) + norms for a Llama.

    >>> gpt2 = ModelConfig(vocab_size=50257, max_seq_len=1024, d_model=768, n_layers=12,
    ...     n_heads=12, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False,
    ...     bias=True)
    >>> count_parameters(gpt2).total  # the number that transformers gives for GPT-2
    124439808
    """
    d, layers = config.d_model, config.n_layers
    d_q, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    embedding = config.vocab_size * d
    if config.position == "learned":
        embedding += config.max_seq_len * d
    attention = 2 * d * d_q + 2 * d * d_kv
    n_hidden = 2 if config.feedforward == "swiglu" else 1
    feedforward = (n_hidden + 1) * d * config.d_ff
    if config.bias:
        attention += d_q + 2 * d_kv + d
        feedforward += n_hidden * config.d_ff + d
    norm = 2 * d if config.norm == "layernorm" else d
    qk_norm = 2 * config.d_head if config.qk_norm else 0
    return Parameters(
        embedding=embedding,
        attention=layers * attention,
        feedforward=layers * feedforward,
        norms=layers * (2 * norm + qk_norm) + norm,
        head=0 if config.tied_embeddings else config.vocab_size * d,
    )


def forward_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """Floating-point operations of one token's forward pass in a row of `seq_len` tokens.

    Two for each weight of each matrix product (an embedding look-up costs none), and for attention
    2 · 2 · h·e · (T + 1)/2, since a causal query meets (T + 1)/2 keys on average. Norms, rotations
    and activations are left out: they are a few thousandths.
    """
    d, d_q = config.d_model, config.n_heads * config.d_head
    d_kv = config.n_kv_heads * config.d_head
    n_hidden = 2 if config.feedforward == "swiglu" else 1
    weights = config.n_layers * (2 * d * d_q + 2 * d * d_kv + (n_hidden + 1) * d * config.d_ff)
    weights += config.vocab_size * d
    attention = config.n_layers * 4 * d_q * (seq_len + 1) / 2
    return 2 * weights + attention


def training_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """Forward and backward: three times the forward pass (Kaplan et al., 2020)."""
    return 3 * forward_flops_per_token(config, seq_len)
