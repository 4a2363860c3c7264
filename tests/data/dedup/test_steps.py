"""Deduplication as jobs of the engine: the same as in one process, and not quadratic in shards."""

from pathlib import Path
from typing import Any

import pytest

from groundup.data.dedup import LinesConfig, NearConfig, deduplicate_exact, deduplicate_near
from groundup.data.engine import Engine, Job
from groundup.data.steps import dedup
from groundup.data.steps.shard import ROWS, Shard
from groundup.runtime import read_json
from tests.data.dedup.shards import documents, kept, removed, write_shards
from tests.data.dedup.test_near import made_up


class Seen(Engine):
    """An engine that keeps the jobs it was handed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jobs: list[Job] = []

    def run(self, jobs: Any, label: str, **options: Any) -> Any:
        self.jobs += jobs
        return super().run(jobs, label, **options)


def as_shards(engine: Engine, paths: list[Path]) -> list[Shard]:
    def write(path: Path, folder: Path) -> dict[str, Any]:
        (folder / ROWS).write_bytes(path.read_bytes())
        return {}

    return [
        Shard("t", "documents", engine.keep("read", lambda folder, p=path: write(p, folder)), 0, 0)
        for path in paths
    ]


@pytest.mark.parametrize("keys_at_a_time", [1 << 20, 50])
def test_the_jobs_leave_what_the_functions_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys_at_a_time: int
) -> None:
    monkeypatch.setattr(dedup, "KEYS_AT_A_TIME", keys_at_a_time)
    texts = made_up(60, n_words=60)
    rows = documents({**texts, "t/again": texts["t/0000"]})
    paths = write_shards(tmp_path, rows, 4)
    engine = Engine(tmp_path / "stages")
    exact = dedup.drop_exact(engine, as_shards(engine, paths))
    near = dedup.drop_near(engine, exact, NearConfig())
    plain = deduplicate_exact(paths, tmp_path / "exact")
    plainly = deduplicate_near(plain, NearConfig(), tmp_path / "near")
    assert "t/again" in removed(plain)
    assert removed(plainly)
    for jobs, functions in ((exact, plain), (near, plainly)):
        assert kept([shard.path for shard in jobs]) == kept(functions)
        assert removed([shard.path for shard in jobs]) == removed(functions)


def test_a_job_has_a_few_inputs_however_many_shards_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup, "KEYS_AT_A_TIME", 20)
    texts = {f"t/{n:02d}": f"A line that stands in all of them.\nIt is {n}." for n in range(30)}
    engine = Seen(tmp_path / "stages")
    shards = as_shards(engine, write_shards(tmp_path, documents(texts), 12))
    dedup.drop_near(engine, shards, NearConfig())
    cut = dedup.cut_shared(engine, shards, LinesConfig())
    assert sum(shard.n for shard in cut) == 30
    n_inputs = {job.stage: len(job.inputs) for job in engine.jobs}
    assert n_inputs.pop("dedup_near_clusters") > 12  # the one job of its kind
    assert max(n_inputs.values()) == 2
    [listed] = (engine.folder / "near_signatures_list").glob("*/parts.json")
    assert len(read_json(listed)) == 12


def test_a_changed_shard_changes_what_is_made_from_the_list(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "stages")
    for text, n_left in (("One two three four five.", 2), ("Six seven eight nine.", 1)):
        rows = documents({"t/a": text, "t/b": "Six seven eight nine!"})
        shards = as_shards(engine, write_shards(tmp_path, rows, 2))
        found = dedup.drop_near(engine, shards, NearConfig())
        assert sum(shard.n for shard in found) == n_left
    made = engine.n_made
    dedup.drop_near(engine, shards, NearConfig())
    assert engine.n_made == made
