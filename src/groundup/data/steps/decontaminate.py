"""Rows without what gives away items of evaluation sets: an index, then a job for each shard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundup.data.decontaminate import (
    STAGE,
    DecontaminationConfig,
    benchmark_hashes,
    build_index,
    decontaminate_shard,
    report_of,
)
from groundup.data.decontaminate.benchmarks import benchmark_files
from groundup.data.engine import Engine, Job
from groundup.data.steps.divide import spoken
from groundup.data.steps.shard import Shard, counts_of_files
from groundup.runtime import to_dict

VERSION = 3  # 3: what went of a chat or a pair is its JSON, as at other stages
_OF_CUTTING = ("action", "margin_bytes", "min_piece_bytes", "max_pieces")
_LIBRARIES = ("numpy", "xxhash", "numba")
Report = dict[str, dict[str, int]]


def decontaminate(
    engine: Engine, shards: Sequence[Shard], config: DecontaminationConfig
) -> tuple[list[Shard], Report]:
    """The shards without hits, and for each benchmark what was found."""
    places = {"benchmarks": [str(one.path.absolute()) for one in config.benchmarks]}
    [index] = engine.run(
        [Job("evaluation_sets", VERSION, _index, (), _looking(config), places, _LIBRARIES)],
        "read evaluation sets",
    )
    cutting = {name: getattr(config, name) for name in _OF_CUTTING}
    jobs = [
        Job(
            STAGE,
            VERSION,
            _decontaminate,
            (shard.artefact, index),
            {"cutting": cutting, "file": shard.file, "kind": shard.kind},
            libraries=_LIBRARIES,
        )
        for shard in shards
    ]
    made = engine.run(jobs, "decontaminate")
    report = report_of(index.folder, [artefact.folder for artefact in made])
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)], report


def _looking(config: DecontaminationConfig) -> dict[str, Any]:
    """What decides the index, with hashes in place of paths."""
    hashes = benchmark_hashes(config)
    told = {name: value for name, value in to_dict(config).items() if name not in _OF_CUTTING}
    told["benchmarks"] = [
        {**to_dict(one), "path": [[name, hashes[name]] for _, name in benchmark_files(one)]}
        for one in config.benchmarks
    ]
    return {"looking": told}


def _index(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    told = params["looking"]
    sets = [
        {**one, "path": place}
        for one, place in zip(told["benchmarks"], params["benchmarks"], strict=True)
    ]
    return build_index(DecontaminationConfig(**{**told, "benchmarks": sets}), folder)


def _decontaminate(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard, index = inputs
    text_of = None if params["kind"] == "documents" else partial(spoken, between="\n")
    config = DecontaminationConfig(**params["cutting"])
    counts = decontaminate_shard(shard / params["file"], index, config, folder, text_of)
    dropped = {"contaminated_document": counts["removed"]} if counts["removed"] else {}
    # removed.parquet also holds the hits that were cut from documents that stay
    return {**counts, **counts_of_files(folder), "dropped": dropped}
