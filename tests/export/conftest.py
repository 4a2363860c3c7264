from __future__ import annotations

import pytest
import torch

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

TEXTS = [
    "The cat sat on the mat. The dog sat on the log. Who sat where, and why did they sit there?",
    "Ça va? 天地玄黄, def area(radius): return 3.14159 * radius ** 2",
]
SIZE = {"vocab_size": 300, "max_seq_len": 64, "d_model": 32, "n_layers": 2, "n_heads": 4}
SHAPES = {
    "qwen3_tied": ModelConfig(**SIZE),
    "qwen3_grouped_untied": ModelConfig(
        **SIZE, n_kv_heads=2, tied_embeddings=False, norm_eps=1e-5, rope_theta=5_000.0
    ),
    "qwen3_wide_heads": ModelConfig(**SIZE, n_kv_heads=1, d_head=12, d_ff=40),
    "llama_tied_grouped": ModelConfig(**SIZE, qk_norm=False, n_kv_heads=2),
    "llama_untied": ModelConfig(**SIZE, qk_norm=False, tied_embeddings=False),
    "gpt2": ModelConfig(
        **SIZE, norm="layernorm", position="learned", feedforward="gelu", qk_norm=False, bias=True
    ),
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 4, TokenizerConfig(vocab_size=300))


def build(config: ModelConfig) -> Decoder:
    """Weights large enough that every tensor shows in the logits."""
    model = build_decoder(config, seed=2)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embedding" in name:
                parameter.mul_(15)
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest) -> Decoder:
    return build(SHAPES[request.param])


@pytest.fixture
def small_model() -> Decoder:
    return build(SHAPES["qwen3_grouped_untied"])
