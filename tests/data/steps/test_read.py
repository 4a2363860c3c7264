"""Which files share a job, and what of it is made again when a file comes or goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.data.config import DataConfig
from groundup.data.prepare import prepare
from groundup.data.reading import InputFile
from groundup.data.steps.read import _groups

from ...tiny_build import Recorder

Group = tuple[str, ...]


def groups_of(folder: Path, limit_bytes: int) -> list[Group]:
    files = sorted(folder.iterdir())
    found = _groups([(InputFile(path, path.name), "") for path in files], limit_bytes)
    return [tuple(file.relative for file, _ in group) for group in found]


@pytest.mark.parametrize("new", ["000", "0500", "zzz"])
def test_a_file_more_moves_few_borders(tmp_path: Path, new: str) -> None:
    for n in range(1000):
        (tmp_path / f"{n:03}").write_bytes(b"x" * (20 + n % 37))
    before = groups_of(tmp_path, 1000)
    sizes = [sum((tmp_path / name).stat().st_size for name in group) for group in before]
    assert max(sizes) <= 1000
    assert len(before) < 3 * sum(sizes) / 1000
    assert [name for group in before for name in group] == [f"{n:03}" for n in range(1000)]
    (tmp_path / f"{new}+").write_bytes(b"y" * 40)
    after = groups_of(tmp_path, 1000)
    assert len(set(before) - set(after)) <= 3
    assert len(set(after) - set(before)) <= 4


def test_a_file_above_the_limit_has_its_own(tmp_path: Path) -> None:
    for name, n_bytes in (("a", 10), ("b", 5000), ("c", 10)):
        (tmp_path / name).write_bytes(b"x" * n_bytes)
    assert ("b",) in groups_of(tmp_path, 1000)
    assert groups_of(tmp_path, 10) == [("a",), ("b",), ("c",)]


def test_few_jobs_are_done_again_for_a_new_file(tmp_path: Path) -> None:
    source = tmp_path / "tales"
    source.mkdir()
    for n in range(60):
        text = f"Tale {n}: the owl of hill {n * n} sang to fox {n}. " * 8000
        (source / f"{n:02}.txt").write_text(text)
    config = DataConfig(
        sources=[str(source)], cleaning={"identify_language": False}, dedup={"near": None}
    )  # type: ignore[arg-type]
    prepare(config, tmp_path / "out")
    jobs = list((tmp_path / "out/stages/score").iterdir())
    before = {path.name for path in (tmp_path / "out/stages/score").iterdir()}
    (source / "00a.txt").write_text("One more tale of the hen. " * 400)
    prepare(config, tmp_path / "out", listener=Recorder())
    after = {path.name for path in (tmp_path / "out/stages/score").iterdir()}
    assert len(jobs) >= 4
    assert len(after - before) <= 2
