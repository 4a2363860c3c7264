"""How the kernels of this folder are compiled: by numba, once a machine, outside Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numpy arrays and numbers when it is first called, and keep the result.

    It is kept beside the source or in the user's cache, whichever can be written; where neither
    can, each process compiles anew.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "no locator available"
        compiled = numba.njit(**options)(function)
    return compiled
