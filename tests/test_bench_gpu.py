"""The GPU bench runs as a whole, on a CPU with tiny models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[1] / "bench" / "gpu.py"
SIDES = {
    "ours",
    "ours-float8",
    "ours-muon",
    "transformers-sdpa",
    "transformers-sdpa-compiled",
}


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_dry_run_writes_what_the_real_one_would(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    result = tmp_path / "gpu.json"
    ran = run_bench("--dry", "--sizes", "124m", "--rounds", "1", "--json", str(result))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found.keys() == {"machine", "commit", "figures", "details"}
    size, smoke = found["details"]["124m"], found["details"]["smoke"]
    assert smoke["last_loss"] < 0.5 * smoke["first_loss"]
    assert found["details"]["left_out"] == []
    assert size["sides"].keys() == SIDES
    for side in size["sides"].values():
        assert side["tokens_per_s"] > 0
        assert side["peak_bytes"] > 0
        assert side["loss"] == pytest.approx(6.24, abs=0.15)  # log 512, tokens are random
    for kind in ("", "_float8", "_muon"):
        figure = found["figures"][f"124m{kind}_tokens_per_s"]
        assert figure["peer_name"].startswith("transformers")
        assert figure["ratio"] == pytest.approx(figure["ours"] / figure["peer"], abs=1e-3)
        memory = found["figures"][f"124m{kind}_peak_bytes"]
        assert memory["ratio"] == pytest.approx(memory["peer"] / memory["ours"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_without_a_gpu_it_says_so() -> None:
    ran = run_bench("--sizes", "124m")
    assert ran.returncode == 1
    assert "no CUDA device here; --dry runs" in ran.stderr
