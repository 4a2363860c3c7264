"""A model that somebody else trained: stories260K, a Llama of llama2.c (Karpathy, 2023).

Its greedy text is known from llama2.c's own tests, so embedding, rotation, grouped heads, norms,
SwiGLU and cache are held together against an implementation that shares nothing with ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from groundup.generate import SamplingConfig, stream_tokens
from groundup.model import Decoder, ModelConfig

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "weights_stories260k"
KNOWN_TEXT = """\
Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, \
"I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she"""


def _read_model(path: Path) -> Decoder:
    d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len = np.fromfile(
        path, dtype="<i4", count=7
    ).tolist()
    config = ModelConfig(
        vocab_size=vocab_size,
        max_seq_len=max_seq_len,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        norm_eps=1e-5,
        qk_norm=False,
    )
    values = torch.from_numpy(np.fromfile(path, dtype="<f4", offset=28))

    def take(*shape: int) -> Tensor:
        nonlocal values
        n = int(np.prod(shape))
        taken, values = values[:n].view(shape), values[n:]
        return taken

    d_kv = n_kv_heads * config.d_head
    embedding = take(vocab_size, d_model)
    attention_norm = take(n_layers, d_model)
    q, k = take(n_layers, d_model, d_model), take(n_layers, d_kv, d_model)
    v, out = take(n_layers, d_kv, d_model), take(n_layers, d_model, d_model)
    feedforward_norm = take(n_layers, d_model)
    gate, down = take(n_layers, d_ff, d_model), take(n_layers, d_model, d_ff)
    up, norm = take(n_layers, d_ff, d_model), take(d_model)

    def half_pairs(matrix: Tensor) -> Tensor:
        """llama2.c rotates neighbours (2i, 2i + 1), groundup (i, i + d_head/2)."""
        pairs = matrix.view(-1, config.d_head // 2, 2, d_model)
        return pairs.transpose(1, 2).reshape(-1, d_model)

    weights = {"embedding.weight": embedding, "norm.weight": norm}
    for layer in range(n_layers):
        block = f"blocks.{layer}."
        qkv = torch.cat([half_pairs(q[layer]), half_pairs(k[layer]), v[layer]])
        weights[block + "attention_norm.weight"] = attention_norm[layer]
        weights[block + "attention.qkv.weight"] = qkv
        weights[block + "attention.out.weight"] = out[layer]
        weights[block + "feedforward_norm.weight"] = feedforward_norm[layer]
        weights[block + "feedforward.gate_up.weight"] = torch.cat([gate[layer], up[layer]])
        weights[block + "feedforward.down.weight"] = down[layer]
    model = Decoder(config).requires_grad_(False)
    parameters = dict(model.named_parameters())
    assert weights.keys() == parameters.keys()
    for name, value in weights.items():
        parameters[name].copy_(value)
    return model


def _read_vocabulary(path: Path) -> list[bytes]:
    data = path.read_bytes()
    pieces, at = [], 4
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")  # after a score of four bytes
        pieces.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return pieces


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no trained model at {FOLDER}")
def test_the_known_text_comes_out() -> None:
    model = _read_model(FOLDER / "stories260K.bin")
    vocabulary = _read_vocabulary(FOLDER / "tok512.bin")
    assert len(vocabulary) == model.config.vocab_size == 512
    greedy = SamplingConfig(temperature=0, max_tokens=200)
    tokens = stream_tokens(model, [1], stop_ids={1, 2}, config=greedy)  # 1 begins, 2 ends a text
    text = b"".join(vocabulary[token] for token in tokens).decode()
    assert text.strip().replace("<0x0A>", "\n") == KNOWN_TEXT
