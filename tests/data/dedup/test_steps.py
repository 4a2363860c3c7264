"""Deduplication as jobs of the engine: the same as in one process, and not quadratic in shards."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundup.data.dedup import (
    LinesConfig,
    NearConfig,
    SubstringsConfig,
    deduplicate_exact,
    deduplicate_near,
)
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
    assert max(n_inputs.values()) == 3
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


def made_again(folder: Path, run: Callable[[Engine], object]) -> dict[str, int]:
    """How many artefacts of each stage `run` makes that were not in the folder before it."""

    def standing() -> set[Path]:
        return {header.parent for header in folder.glob("*/*/header.json")}

    before = standing()
    engine = Engine(folder)
    run(engine)
    new = standing() - before
    assert len(new) == engine.n_made
    return dict(Counter(place.parent.name for place in new))


NEAR = {
    "near_signatures": 3,
    "near_signatures_list": 1,
    "near_pairs": 1,
    "near_pairs_list": 1,
    "near_shingles": 3,
    "near_shingles_list": 1,
    "near_edges": 3,
    "dedup_near_clusters": 1,
    "dedup_near": 3,
}
BEHIND_SHINGLES = ("near_edges", "dedup_near_clusters", "dedup_near")
LINES = {
    "lines_places": 3,
    "lines_places_list": 1,
    "lines_spans": 1,
    "lines_spans_list": 1,
    "dedup_lines": 3,
}
BEHIND_PLACES = ("lines_spans", "lines_spans_list", "dedup_lines")


def test_another_threshold_compares_again_and_signs_nothing_again(tmp_path: Path) -> None:
    folder = tmp_path / "stages"
    shards = as_shards(Engine(folder), write_shards(tmp_path, documents(made_up(30)), 3))

    def again(**settings: Any) -> dict[str, int]:
        config = NearConfig(**settings)
        return made_again(folder, lambda engine: dedup.drop_near(engine, shards, config))

    assert again() == NEAR
    assert again() == {}
    assert again(threshold=0.95) == {stage: NEAR[stage] for stage in BEHIND_SHINGLES}
    assert again(seed=2)["near_signatures"] == 3


def test_how_many_documents_share_a_line_does_not_change_where_lines_are(tmp_path: Path) -> None:
    texts = {f"t/{n}": f"A line of more than forty bytes, which all share.\n{n}" for n in range(6)}
    folder = tmp_path / "stages"
    shards = as_shards(Engine(folder), write_shards(tmp_path, documents(texts), 3))

    def again(**settings: Any) -> dict[str, int]:
        config = LinesConfig(**settings)
        return made_again(folder, lambda engine: dedup.cut_shared(engine, shards, config))

    assert again() == LINES
    behind = {stage: LINES[stage] for stage in BEHIND_PLACES}
    assert again(min_documents=4) == behind
    assert again(keep_one=False) == behind
    assert again(min_bytes=41)["lines_places"] == 3


def test_longer_substrings_are_looked_for_anew(tmp_path: Path) -> None:
    folder = tmp_path / "stages"
    shards = as_shards(Engine(folder), write_shards(tmp_path, documents(made_up(9)), 3))
    for n_bytes in (200, 300):
        config = SubstringsConfig(min_bytes=n_bytes)
        made = made_again(folder, lambda engine, c=config: dedup.cut_shared(engine, shards, c))
        assert made["substrings_places"] == made["dedup_substrings"] == 3
