"""Rows without what gives away items of evaluation sets: an index, then a job for each shard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundup.data.decontaminate import (
    STAGE,
    DecontaminationConfig,
    build_index,
    decontaminate_shard,
    report_of,
)
from groundup.data.decontaminate.benchmarks import benchmark_files
from groundup.data.engine import Engine, Job
from groundup.data.steps.divide import spoken
from groundup.data.steps.shard import Shard, counts_of_files
from groundup.runtime import hash_file, to_dict

VERSION = 1
_LIBRARIES = ("numpy", "xxhash", "numba")
Report = dict[str, dict[str, int]]


def decontaminate(
    engine: Engine, shards: Sequence[Shard], config: DecontaminationConfig
) -> tuple[list[Shard], Report]:
    """The shards without hits, and for each benchmark what was found."""
    params = _params(config)
    places = {"benchmarks": [str(one.path.absolute()) for one in config.benchmarks]}
    [index] = engine.run(
        [Job("evaluation_sets", VERSION, _index, (), params, places, _LIBRARIES)],
        "read evaluation sets",
    )
    jobs = [
        Job(
            STAGE,
            VERSION,
            _decontaminate,
            (shard.artefact, index),
            {**params, "file": shard.file, "kind": shard.kind},
            places,
            _LIBRARIES,
        )
        for shard in shards
    ]
    made = engine.run(jobs, "decontaminate")
    report = report_of(index.folder, [artefact.folder for artefact in made])
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)], report


def _params(config: DecontaminationConfig) -> dict[str, Any]:
    """The config with hashes in place of paths."""
    sets = [
        {**to_dict(one), "path": [[name, hash_file(path)] for path, name in benchmark_files(one)]}
        for one in config.benchmarks
    ]
    return {"decontamination": {**to_dict(config), "benchmarks": sets}}


def _config_of(params: dict[str, Any]) -> DecontaminationConfig:
    told = params["decontamination"]
    sets = [
        {**one, "path": place}
        for one, place in zip(told["benchmarks"], params["benchmarks"], strict=True)
    ]
    return DecontaminationConfig(**{**told, "benchmarks": sets})


def _index(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    return build_index(_config_of(params), folder)


def _decontaminate(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard, index = inputs
    text_of = None if params["kind"] == "documents" else partial(spoken, between="\n")
    counts = decontaminate_shard(shard / params["file"], index, _config_of(params), folder, text_of)
    dropped = {"contaminated_document": counts["removed"]} if counts["removed"] else {}
    # removed.parquet also holds the hits that were cut from documents that stay
    return {**counts, **counts_of_files(folder), "dropped": dropped}
