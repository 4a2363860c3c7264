"""torch.compile for the blocks, where it pays: their element-wise passes become a few kernels.

Each block is compiled for itself, with the shapes it meets: all blocks share one compilation, and
the same shapes always give the same kernels, so that a run that resumes goes on in the same bytes.
Evaluation and generation run the blocks as they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from groundup.model import Decoder
from groundup.runtime import GroundupError, compiler_missing

Compile = Literal["auto"] | bool

# Compiling takes half a minute on two CPU cores the first time; below this it is not won back.
WORTH_FROM_S = {"cpu": 150.0, "cuda": 60.0}
MAX_SHAPES = 64  # shapes of a micro-batch before torch gives up compiling for more of them


def compile_blocks(model: Decoder) -> None:
    """Compile each block's training pass, in place; no name of a parameter changes."""
    torch._dynamo.config.recompile_limit = MAX_SHAPES
    for block in model.blocks:
        block.forward = _training_pass(block.forward)


def _training_pass(plain: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(plain, dynamic=False)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and kwargs.get("cache") is None:
            return compiled(*args, **kwargs)
        return plain(*args, **kwargs)

    return forward


def decide(wanted: Compile, device: torch.device, expected_s: float) -> tuple[bool, str]:
    """Whether to compile, and why: true and false are taken at their word, `auto` weighs.

    expected_s: how long the training would take as it is written.

    Raises GroundupError if it is to be compiled and nothing here can.
    """
    if wanted is False:
        return False, "compile=false"
    missing = compiler_missing(device)
    if wanted is True:
        if missing:
            raise GroundupError(f"compile=true, but {missing}; install it or use compile=auto")
        return True, "compile=true"
    if missing:
        return False, missing
    if expected_s < WORTH_FROM_S.get(device.type, float("inf")):
        return False, f"{expected_s:.0f} s of training are too few to win it back"
    return True, f"{expected_s:.0f} s of training win it back"
