from __future__ import annotations

import pytest
import torch

from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

TEXTS = [
    "The cat sat on the mat. The dog sat on the log. Who sat where, and why did they sit there?",
    "user assistant system: hello there, how are you? I am well, thank you. Ça va? 天地玄黄",
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 4, TokenizerConfig(vocab_size=300))


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Decoder:
    """Untrained, with embeddings large enough that its likeliest tokens are clear winners."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, max_seq_len=64, d_model=32, n_layers=2, n_kv_heads=2
    )
    model = build_decoder(config, seed=2)
    with torch.no_grad():
        model.embedding.weight.mul_(40)
        for name, parameter in model.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                parameter.mul_(6)
    return model.eval().requires_grad_(False)
