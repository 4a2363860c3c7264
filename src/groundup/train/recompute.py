"""Activation checkpointing: keep less of the forward pass, compute it again in the backward pass.

A block's backward needs what its forward computed. Keeping all of it is fastest; keeping only some
and computing the rest again (Chen et al., 2016) gives the same gradients, bit for bit, from less
memory. It is applied to a decoder from outside: the blocks and their parameters stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from groundup.model import Decoder
from groundup.model.transformer import Block

Recompute = Literal["none", "selective", "layers"]
"""What the backward pass computes again.

none: nothing.
selective: all but matrix products and attention (Korthikanti et al., 2022), which are kept: nearly
    as fast as `none`.
layers: every block as a whole, from its input: the least memory, a third more arithmetic.
"""


def apply_recompute(model: Decoder, mode: Recompute) -> None:
    """Make every block of `model` recompute from now on; a second call replaces the first.

    Names of parameters do not change. A block that meets a cache, or runs without gradients, works
    as if nothing had been applied. Where `forward` itself is replaced by a compiled one, this comes
    first, so that recomputation is a part of what is compiled; with `block.compile()` either order
    comes to that.
    """
    for module in model.blocks:
        block = cast(Block, module)
        earlier = vars(block).pop("forward", None)  # what stands in the class is the plain one
        is_ours = isinstance(earlier, partial) and earlier.func is _recomputed
        assert earlier is None or is_ours, "recompute comes before whatever else replaces forward"
        if mode != "none":
            # A partial, unlike a closure, follows the block when the model is deep-copied.
            block.forward = partial(_recomputed, block, mode)  # type: ignore[method-assign]


def _recomputed(block: Block, mode: Recompute, x: Tensor, **inputs: Any) -> Tensor:
    """`block(x)`, keeping only what `mode` says: (batch, seq_len, d_model) -> the same."""
    if inputs["cache"] is not None or not torch.is_grad_enabled():
        return Block.forward(block, x, **inputs)
    forward = partial(Block.forward, block, **inputs)
    if mode == "layers":
        return checkpoint(forward, x, use_reentrant=False, preserve_rng_state=True)
    down = cast(nn.Linear, block.feedforward.down)
    unneeded = None if block.dropout.p else down.in_features
    policy = partial(_keep_products, unneeded)
    contexts = partial(create_selective_checkpoint_contexts, policy)
    return checkpoint(forward, x, use_reentrant=False, preserve_rng_state=True, context_fn=contexts)


def _keep_products(
    unneeded: int | None, _: SelectiveCheckpointContext, operation: Any, *args: Any, **kwargs: Any
) -> CheckpointPolicy:
    """Keep results of attention and of matrix products, but for those over `unneeded` numbers.

    That is d_ff: `down` ends a block that has no dropout, its result is only added to the residual
    stream, and so no gradient needs it.
    """
    if operation in _attention_operations():
        return CheckpointPolicy.MUST_SAVE
    position = _products().get(operation)  # of the left factor among the arguments
    if position is None or args[position].shape[-1] == unneeded:
        return CheckpointPolicy.PREFER_RECOMPUTE
    return CheckpointPolicy.MUST_SAVE


def _products() -> dict[Any, int]:
    aten = torch.ops.aten
    return {
        aten.mm.default: 0,
        aten.bmm.default: 0,
        aten.addmm.default: 1,
        aten._scaled_mm.default: 0,
        aten.linear.default: 0,  # where a device has its own, and autograd sees it whole
    }


def _attention_operations() -> set[Any]:
    aten = torch.ops.aten
    within_documents = getattr(torch.ops.torch_attn, "_varlen_attn", None)  # once it is imported
    return {
        *([within_documents.default] if within_documents else []),
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
    }
