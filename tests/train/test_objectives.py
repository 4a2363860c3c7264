from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from groundup.train.objectives import next_token_loss

from .small_job import SEQ_LEN, VOCAB, small_model, token_batch


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, VOCAB, (3, SEQ_LEN + 1), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def reply_mask() -> torch.Tensor:
    """Only the last five labels of each row are trained, as if the rest were a prompt."""
    return (torch.arange(SEQ_LEN) >= SEQ_LEN - 5).expand(3, SEQ_LEN)


@torch.no_grad()
def test_the_loss_is_the_sum_over_trained_labels_computed_one_by_one(
    ids: torch.Tensor, reply_mask: torch.Tensor
) -> None:
    model = small_model()
    loss = next_token_loss(model, token_batch(ids, reply_mask))
    expected = 0.0
    for row in ids:
        for place in range(SEQ_LEN - 5, SEQ_LEN):
            logits = model(row[None, : place + 1])[0, -1]
            expected -= float(logits.log_softmax(-1)[row[place + 1]])
    assert loss.count == 15
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)


def test_prompt_labels_change_neither_loss_nor_gradient(
    ids: torch.Tensor, reply_mask: torch.Tensor
) -> None:
    model = small_model()
    batch = token_batch(ids, reply_mask)
    other_labels = torch.where(reply_mask, batch.labels, (batch.labels + 7) % VOCAB)
    results = []
    for labels in (batch.labels, other_labels):
        model.zero_grad()
        loss = next_token_loss(model, replace(batch, labels=labels)).total
        loss.backward()
        results.append((loss.detach(), [p.grad.clone() for p in model.parameters()]))
    (loss, gradients), (other_loss, other_gradients) = results
    assert torch.equal(loss, other_loss)
    assert all(map(torch.equal, gradients, other_gradients))


def test_a_trained_label_does_change_the_loss(ids: torch.Tensor, reply_mask: torch.Tensor) -> None:
    model = small_model()
    batch = token_batch(ids, reply_mask)
    other = replace(batch, labels=(batch.labels + 7) % VOCAB)
    assert next_token_loss(model, batch).total != next_token_loss(model, other).total


def test_a_mask_that_is_all_true_gives_what_no_selection_gives(ids: torch.Tensor) -> None:
    model = small_model()
    mask = torch.ones(3, SEQ_LEN, dtype=torch.bool)
    whole = token_batch(ids, mask)
    unselected = replace(whole, trained=None)
    torch.testing.assert_close(
        next_token_loss(model, whole).total, next_token_loss(model, unselected).total
    )
