from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from groundup.evaluate.likelihood import _windows, score_documents
from groundup.model import Decoder, ModelConfig, build_decoder
from groundup.tokenizer import Tokenizer

SEQ_LEN = 16
BYTES = Tokenizer.byte_level([])  # a token for each byte, so that lengths can be counted


def small_model(*, uniform: bool = False) -> Decoder:
    config = ModelConfig(
        vocab_size=BYTES.vocab_size, max_seq_len=SEQ_LEN, d_model=32, n_layers=2, n_heads=2
    )
    model = build_decoder(config, seed=1).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 2:
            parameter.mul_(4)  # far from uniform, so that a wrong token or place shows
    if uniform:
        model.embedding.weight.zero_()
    return model


def test_short_documents_agree_with_a_loop_over_tokens() -> None:
    model = small_model()
    texts = ["abc", "é", "a longer one", "x" * SEQ_LEN]
    found = score_documents(model, BYTES, texts)
    for text, bits in zip(texts, found.bits, strict=True):
        ids = [BYTES.end_of_text_id, *BYTES.encode(text)]
        expected = 0.0
        for place in range(1, len(ids)):
            logits = model(torch.tensor([ids[:place]]))[0, -1]
            expected -= float(logits.log_softmax(-1)[ids[place]]) / math.log(2)
        assert bits == pytest.approx(expected, rel=1e-5)
    assert found.n_bytes.tolist() == [3, 2, 12, 16]
    assert found.bits_per_byte.value == pytest.approx(found.bits.sum() / 33)


def test_a_long_document_is_scored_with_at_least_half_a_context() -> None:
    """Window by window as the docstring says: each token by the loop over its own window."""
    model = small_model()
    text = "the quick brown fox jumps over the lazy dog"
    ids = [BYTES.end_of_text_id, *BYTES.encode(text)]
    half = SEQ_LEN // 2
    expected = 0.0
    for place in range(1, len(ids)):
        block = 0 if place <= SEQ_LEN else -(-(place - SEQ_LEN) // half)
        end = min(SEQ_LEN + block * half, len(ids) - 1)
        start = max(0, end - SEQ_LEN)
        assert place - start >= min(place, half)
        logits = model(torch.tensor([ids[start:place]]))[0, -1]
        expected -= float(logits.log_softmax(-1)[ids[place]]) / math.log(2)
    assert score_documents(model, BYTES, [text]).bits[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 18, 23, 24, 25, 40, 100])
def test_a_uniform_model_pays_the_same_for_each_token_once(n: int) -> None:
    bits = score_documents(small_model(uniform=True), BYTES, ["a" * n]).bits
    assert bits[0] == pytest.approx(n * math.log2(259), rel=1e-6)


@pytest.mark.parametrize("seq_len", [1, 2, 3, 16])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 16, 33])
def test_windows_fit_the_context_and_score_each_token_once(n: int, seq_len: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(n))
    scored: list[int] = []
    for window in _windows(BYTES, [text], seq_len):
        assert len(window.ids) - 1 <= seq_len
        assert window.n_context >= 1
        scored += window.ids[window.n_context :]
    assert BYTES.decode(scored) == text


def test_the_batch_a_document_is_in_changes_nothing() -> None:
    model = small_model()
    texts = [f"text number {i} " * (1 + i % 5) for i in range(20)]
    together = score_documents(model, BYTES, texts).bits
    alone = np.concatenate([score_documents(model, BYTES, [text]).bits for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_bits_per_byte_does_not_depend_on_the_tokenizer_for_a_uniform_byte_model() -> None:
    (a,) = BYTES.encode("a")
    merged = Tokenizer.byte_level([(a, a)])
    assert len(merged.encode("aaaa")) == 2
    config = ModelConfig(
        vocab_size=merged.vocab_size, max_seq_len=SEQ_LEN, d_model=32, n_layers=1, n_heads=2
    )
    model = build_decoder(config, seed=1).eval()
    torch.nn.init.zeros_(model.embedding.weight)
    found = score_documents(model, merged, ["aaaa"])
    assert found.bits_per_byte.value == pytest.approx(2 * math.log2(260) / 4, rel=1e-6)
