"""Tiny models of every shape that groundup builds."""

from __future__ import annotations

from groundup.model import ModelConfig

SIZE = {"vocab_size": 97, "max_seq_len": 48, "d_model": 32, "n_layers": 2, "n_heads": 4}
SHAPES = {
    "qwen3": ModelConfig(**SIZE),
    "qwen3_grouped_untied": ModelConfig(**SIZE, n_kv_heads=2, tied_embeddings=False),
    "qwen3_wide_heads": ModelConfig(**SIZE, n_kv_heads=1, d_head=12, d_ff=40),
    "llama": ModelConfig(**SIZE, qk_norm=False, tied_embeddings=False),
    "llama_grouped": ModelConfig(**SIZE, qk_norm=False, n_kv_heads=2),
    "gpt2": ModelConfig(
        **SIZE, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False, bias=True
    ),
    "mixed": ModelConfig(**SIZE, norm="layernorm", feedforward="gelu", bias=True, n_kv_heads=2),
}
