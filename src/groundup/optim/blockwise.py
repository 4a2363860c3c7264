"""Eight bits for a number: blocks of 256, each with a scale of its own (Dettmers et al., 2022).

A codebook holds 256 values up to 1. A block is divided by its largest magnitude and each entry is
replaced by the code of the nearest value.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 256
N_DECADES = 7  # of magnitudes that a codebook reaches, down from 1


def dynamic_map(*, signed: bool) -> Tensor:
    """The values of the 256 codes, in rising order. -> (256,)

    Decade e holds numbers between 10^(-e-1) and 10^(-e). The nearer to 1, the finer: of the bits
    that follow the sign, e zeros and a 1 name the decade, and the others cut it into equal parts,
    of which the middles are the values (dynamic tree quantisation; Dettmers, 2016). Without a sign
    its bit makes every decade twice as fine. 0 and 1 are values too.

    >>> dynamic_map(signed=True)[-3:]
    tensor([0.9789, 0.9930, 1.0000])
    """
    n_bits = 6 if signed else 7
    middles = []
    for decade in range(N_DECADES):
        n_parts = 1 << (n_bits - decade)
        parts = (torch.arange(n_parts, dtype=torch.float64) + 0.5) / n_parts
        middles.append((0.1 + 0.9 * parts) * 10.0**-decade)
    positive = torch.cat(middles)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    values = [positive, ends, -positive] if signed else [positive, ends]
    return torch.cat(values).sort().values.float()


class Codebook:
    """Numbers to codes and back, on one device."""

    def __init__(self, *, signed: bool, device: torch.device) -> None:
        values = dynamic_map(signed=signed)
        self.signed = signed
        self.values = values.to(device)
        self.borders = ((values[1:] + values[:-1]) / 2).to(device)

    def quantize(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """values: (n, n_entries) -> codes (n, n_entries) uint8, scales (n, n_blocks) float32

        Without a sign, a number above 0 never becomes 0: a second moment of 0 would blow up the
        update it divides (Li et al., 2023).
        """
        n, n_entries = values.shape
        blocks = _in_blocks(values)  # (n, n_blocks, 256)
        scales = blocks.abs().amax(-1)
        shares = blocks / scales.clamp(min=torch.finfo(scales.dtype).tiny).unsqueeze(-1)
        codes = torch.bucketize(shares, self.borders, out_int32=True)
        if not self.signed:
            codes = torch.maximum(codes, (shares > 0).to(codes.dtype))
        return codes.to(torch.uint8).view(n, -1)[:, :n_entries], scales

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        """codes: (n, n_entries) uint8, scales: (n, n_blocks) -> (n, n_entries) float32"""
        n, n_entries = codes.shape
        shares = self.values.index_select(0, codes.flatten().int()).view(n, n_entries)
        blocks = _in_blocks(shares) * scales.unsqueeze(-1)  # (n, n_blocks, 256)
        return blocks.view(n, -1)[:, :n_entries]


def n_blocks(n_entries: int) -> int:
    """How many blocks hold so many entries.

    >>> n_blocks(256), n_blocks(257)
    (1, 2)
    """
    return -(-n_entries // BLOCK)


def _in_blocks(values: Tensor) -> Tensor:
    """values: (n, n_entries) -> (n, n_blocks, 256), the last block filled up with 0"""
    n, n_entries = values.shape
    missing = n_blocks(n_entries) * BLOCK - n_entries
    return torch.nn.functional.pad(values, (0, missing)).view(n, -1, BLOCK)
