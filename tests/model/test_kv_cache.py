from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.model import Decoder, KVCache


@pytest.mark.parametrize("pieces", [[1] * 24, [24], [10, 1, 1, 5, 7], [1, 22, 1]])
def test_reading_in_pieces_equals_reading_at_once(
    model: Decoder, input_ids: Tensor, pieces: list[int]
) -> None:
    cache = KVCache(model.config, 2, max_len=24)
    logits = torch.cat([model(part, cache=cache) for part in input_ids.split(pieces, dim=1)], dim=1)
    assert cache.length == 24
    torch.testing.assert_close(logits, model(input_ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pieces", [[1] * 8, [8], [3, 5]])
def test_padding_on_the_left_changes_nothing(
    model: Decoder, input_ids: Tensor, pieces: list[int]
) -> None:
    """Rows of 16, 9 and 1 tokens, then 8 more for each: every row as if it were alone."""
    row = input_ids[0]
    lengths = [16, 9, 1]
    n_padding = torch.tensor([16 - length for length in lengths])
    prompts = torch.stack(
        [torch.cat([torch.full((16 - length,), 3), row[:length]]) for length in lengths]
    )
    added = torch.stack([row[length : length + 8] for length in lengths])
    cache = KVCache(model.config, 3, max_len=24, n_padding=n_padding)
    logits = [model(part, cache=cache) for part in (prompts, *added.split(pieces, dim=1))]
    together = torch.cat(logits, dim=1)
    assert together.isfinite().all()
    for index, length in enumerate(lengths):
        alone = model(row[None, : length + 8])[0]
        torch.testing.assert_close(together[index, 16 - length :], alone, rtol=1e-4, atol=1e-5)


def test_what_padding_holds_does_not_matter(model: Decoder, input_ids: Tensor) -> None:
    n_padding = torch.tensor([0, 5])
    logits = []
    for filler in (0, 50):
        padded = input_ids.clone()
        padded[1, :5] = filler
        cache = KVCache(model.config, 2, max_len=24, n_padding=n_padding)
        logits.append(model(padded, cache=cache)[1, 5:])
    assert torch.equal(*logits)


def test_masks_and_positions(model: Decoder) -> None:
    plain = KVCache(model.config, 2, max_len=8)
    assert plain.mask(4) is None
    assert plain.positions(3).tolist() == [[0, 1, 2]]
    plain.advance(4)
    assert plain.mask(1) is None
    mask = plain.mask(2)
    assert mask is not None
    assert mask.int().tolist() == [[[[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]]]

    padded = KVCache(model.config, 2, max_len=8, n_padding=torch.tensor([0, 2]))
    assert padded.positions(4).tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    mask = padded.mask(4)
    assert mask is not None
    assert mask[1, 0].int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    padded.advance(4)
    mask = padded.mask(1)
    assert mask is not None
    assert mask[:, 0, 0].int().tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]


def test_no_padding_needs_no_mask(model: Decoder) -> None:
    cache = KVCache(model.config, 2, max_len=8, n_padding=torch.tensor([0, 0]))
    assert cache.mask(4) is None


def test_a_full_cache_is_our_mistake(model: Decoder, input_ids: Tensor) -> None:
    cache = KVCache(model.config, 2, max_len=10)
    with pytest.raises(AssertionError, match="the cache is full"):
        model(input_ids, cache=cache)
