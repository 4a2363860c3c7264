from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.model import Labels, ModelConfig, build_decoder, token_loss
from groundup.model.token_loss import summed_loss, token_losses

VOCAB, ROWS, D_MODEL, N = 61, 64, 8, 150


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks, the last of them shorter."""
    monkeypatch.setitem(token_loss.BLOCK_BYTES, "cpu", 4 * ROWS * 64)


@pytest.fixture
def operands() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(N, D_MODEL, generator=generator, dtype=torch.float64)
    weight = torch.randn(ROWS, D_MODEL, generator=generator, dtype=torch.float64)
    labels = torch.randint(VOCAB, (N,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), labels


def plain(hidden: Tensor, weight: Tensor, labels: Tensor, z_weight: float) -> Tensor:
    """All logits at once, as torch does it."""
    logits = hidden @ weight[:VOCAB].t()
    z_loss = logits.logsumexp(-1).square()
    return F.cross_entropy(logits, labels, reduction="none") + z_weight * z_loss


def as_float32(operands: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    hidden, weight, labels = operands
    return (
        hidden.detach().float().requires_grad_(),
        weight.detach().float().requires_grad_(),
        labels,
    )


@pytest.mark.parametrize("z_weight", [0.0, 1e-2])
def test_sum_and_gradients_are_those_of_all_logits_at_once(operands, z_weight: float) -> None:
    hidden, weight, labels = as_float32(operands)
    total, loss = summed_loss(hidden, weight, labels, vocab_size=VOCAB, z_weight=z_weight)
    (3 * total).backward()
    expected = plain(*operands, z_weight)
    (3 * expected.sum()).backward()
    assert float(total.detach()) == pytest.approx(float(expected.sum().detach()), rel=1e-6)
    assert float(loss.detach()) == pytest.approx(
        float(plain(*operands, 0.0).sum().detach()), rel=1e-6
    )
    torch.testing.assert_close(hidden.grad, operands[0].grad.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight.grad, operands[1].grad.float(), rtol=1e-4, atol=1e-4)


def test_each_loss_and_its_gradient_at_any_weight_of_the_tokens(operands) -> None:
    hidden, weight, labels = as_float32(operands)
    share = torch.linspace(-1, 2, N)
    losses = token_losses(hidden, weight, labels, vocab_size=VOCAB)
    (losses * share).sum().backward()
    expected = plain(*operands, 0.0)
    (expected * share).sum().backward()
    torch.testing.assert_close(losses.detach(), expected.detach().float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden.grad, operands[0].grad.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight.grad, operands[1].grad.float(), rtol=1e-4, atol=1e-4)


def test_padded_rows_have_no_share_and_no_gradient(operands) -> None:
    hidden, weight, labels = as_float32(operands)
    with torch.no_grad():
        weight[VOCAB:] = 100.0  # they would take all the probability
    total, _ = summed_loss(hidden, weight, labels, vocab_size=VOCAB)
    total.backward()
    assert float(total.detach()) == pytest.approx(float(plain(*operands, 0.0).sum().detach()))
    assert torch.equal(weight.grad[VOCAB:], torch.zeros(ROWS - VOCAB, D_MODEL))


def test_a_token_of_no_probability_has_a_finite_loss() -> None:
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    total, _ = summed_loss(hidden, weight, torch.tensor([1]), vocab_size=2)
    total.backward()
    assert float(total.detach()) == 400.0
    assert torch.isfinite(weight.grad).all()


def test_no_gradient_is_made_where_none_is_wanted(operands) -> None:
    with torch.no_grad():
        total, _ = summed_loss(*as_float32(operands), vocab_size=VOCAB)
    assert total.grad_fn is None


def test_memory_does_not_grow_with_the_vocabulary_times_the_tokens() -> None:
    """What autograd keeps is the size of the operands, not of the logits."""
    hidden = torch.randn(1000, D_MODEL, requires_grad=True)
    weight = torch.randn(ROWS, D_MODEL, requires_grad=True)
    labels = torch.randint(VOCAB, (1000,))
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    for losses in (summed_loss, token_losses):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses(hidden, weight, labels, vocab_size=VOCAB)
        assert 0 < sum(kept) <= hidden.numel() + weight.numel() + len(labels)


def test_bfloat16_products_under_autocast(operands) -> None:
    hidden, weight, labels = as_float32(operands)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = summed_loss(hidden, weight, labels, vocab_size=VOCAB)
        each = token_losses(hidden, weight, labels, vocab_size=VOCAB)
    (total + each.sum()).backward()
    exact = plain(*operands, 0.0).sum()
    exact.backward()
    assert total.dtype == torch.float32
    assert float(total.detach()) == pytest.approx(float(exact.detach()), rel=1e-2)
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32
    error = (weight.grad / 2 - operands[1].grad.float()).norm() / operands[1].grad.norm()
    assert 0 < float(error) < 0.02


def test_the_decoder_gives_the_loss_of_its_own_logits() -> None:
    config = ModelConfig(vocab_size=61, d_model=16, n_layers=1, n_heads=2, max_seq_len=12)
    model = build_decoder(config, 0)
    ids = torch.randint(61, (3, 12), generator=torch.Generator().manual_seed(1))
    labels = ids.roll(-1, 1)
    expected = F.cross_entropy(model(ids).flatten(0, 1), labels.flatten(), reduction="none")
    each = model(ids, labels=Labels(labels.flatten(), per_token=True))
    torch.testing.assert_close(each, expected)
    total = model(ids, labels=Labels(labels.flatten()))[0]
    torch.testing.assert_close(total, expected.sum())
    select = torch.tensor([0, 5, 20])
    some = model(ids, select=select, labels=Labels(labels.flatten()[select], per_token=True))
    torch.testing.assert_close(some, expected[select])
