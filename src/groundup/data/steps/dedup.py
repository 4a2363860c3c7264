"""Duplicates: the functions of `data/dedup` as jobs over shards and ranges of keys.

How many ranges (partitions) there are follows from how many keys there are, so that one fits into
memory, and not from who does the jobs.

A job is handed only the settings it uses: what it made is made again when one of them changes.

Many of these jobs read what all shards, or all ranges, have written. Such a job has one input, the
list of those artefacts (`_listed`): were it handed them all, jobs times artefacts would have to be
hashed, kept in headers and sent to workers, which grows with the square of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundup.data.dedup.clusters import cluster
from groundup.data.dedup.config import LinesConfig, NearConfig, SubstringsConfig
from groundup.data.dedup.cut import cut_repeats
from groundup.data.dedup.exact import hash_shard, match_exact
from groundup.data.dedup.lines import find_lines
from groundup.data.dedup.pairs import find_pairs
from groundup.data.dedup.remove import remove_duplicates
from groundup.data.dedup.repeats import match_repeats
from groundup.data.dedup.shingles import verify_pairs, write_shingles
from groundup.data.dedup.signatures import sign_shard
from groundup.data.dedup.substrings import find_windows
from groundup.data.engine import Artefact, Engine, Job
from groundup.data.executors import Serial
from groundup.data.steps.shard import ROWS, Shard, counts_of_files
from groundup.runtime import read_json, to_dict, write_json

VERSION = 4
KEYS_AT_A_TIME = 1 << 20  # of one range, about 20 bytes each and several times that while sorted
MOST_PARTITIONS = 4096  # past it ranges grow: each opens the files of every shard
LIST = "parts.json"
_LIBRARIES = ("numpy", "xxhash", "numba")


def drop_exact(engine: Engine, shards: Sequence[Shard]) -> list[Shard]:
    """The shards without documents whose text stands elsewhere too; the smallest id is kept."""
    if not shards:
        return []
    hashed = _each(engine, "exact_hashes", _hash, shards, "hash texts")
    n = _n_partitions(sum(artefact.counts["documents"] for artefact in hashed))
    edges = _partitions(engine, "exact_edges", _match, hashed, n, {}, "match texts")
    return _remove(engine, shards, edges, "dedup_exact")


def drop_near(engine: Engine, shards: Sequence[Shard], config: NearConfig) -> list[Shard]:
    """The shards without near duplicates; the smallest id of each cluster is kept."""
    if not shards:
        return []
    near = to_dict(config)
    signing = {name: value for name, value in near.items() if name != "threshold"}
    signed = _each(engine, "near_signatures", _sign, shards, "sign texts", {"near": signing})
    n = _n_partitions(sum(artefact.counts["keys"] for artefact in signed))
    found = _partitions(engine, "near_pairs", _pair, signed, n, {}, "pair texts")
    pairs = _listed(engine, found)
    jobs = [
        _job("near_shingles", _shingle, (shard.artefact, pairs), {
            "shingle_words": config.shingle_words, "file": shard.file, "number": number,
        })
        for number, shard in enumerate(shards)
    ]  # fmt: skip
    shingles = _listed(engine, engine.run(jobs, "cut shingles"))
    jobs = [
        _job("near_edges", _verify, (pairs, shingles), {
            "threshold": config.threshold, "number": number,
        })
        for number in range(len(shards))
    ]  # fmt: skip
    edges = engine.run(jobs, "compare pairs")
    return _remove(engine, shards, edges, "dedup_near", (shingles,))


def cut_shared(
    engine: Engine, shards: Sequence[Shard], config: LinesConfig | SubstringsConfig
) -> list[Shard]:
    """The shards without lines, or without long substrings, that stand in several documents."""
    if not shards:
        return []
    of = "lines" if isinstance(config, LinesConfig) else "substrings"
    params = {of: to_dict(config)}
    finding = {"min_bytes": config.min_bytes} if of == "lines" else params
    found = _each(engine, f"{of}_places", _find, shards, f"find {of}", finding)
    n = _n_partitions(sum(artefact.counts[_FOUND[of]] for artefact in found))
    matched = _partitions(engine, f"{of}_spans", _repeats, found, n, params, f"match {of}")
    spans = _listed(engine, matched)
    jobs = [
        _job(f"dedup_{of}", _cut, (shard.artefact, spans), {
            **params, "file": shard.file, "number": number,
        })
        for number, shard in enumerate(shards)
    ]  # fmt: skip
    made = engine.run(jobs, f"cut {of}")
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)]


_FOUND = {"lines": "lines", "substrings": "windows"}


# --- jobs -----------------------------------------------------------------------------------------


def _job(
    stage: str, run: Callable[..., Any], inputs: tuple[Artefact, ...], params: dict[str, Any]
) -> Job:
    return Job(stage, VERSION, run, inputs, params, libraries=_LIBRARIES)


def _each(
    engine: Engine,
    stage: str,
    run: Callable[..., Any],
    shards: Sequence[Shard],
    label: str,
    params: dict[str, Any] | None = None,
) -> list[Artefact]:
    """One job for each shard."""
    params = params or {}
    jobs = [_job(stage, run, (s.artefact,), {**params, "file": s.file}) for s in shards]
    return engine.run(jobs, label)


def _partitions(
    engine: Engine,
    stage: str,
    run: Callable[..., Any],
    inputs: Sequence[Artefact],
    n: int,
    params: dict[str, Any],
    label: str,
) -> list[Artefact]:
    """One job for each range of keys, which reads of all inputs what lies in it."""
    listed = _listed(engine, inputs)
    jobs = [
        _job(stage, run, (listed,), {**params, "partition": number, "n_partitions": n})
        for number in range(n)
    ]
    return engine.run(jobs, label)


def _n_partitions(n_keys: int) -> int:
    """
    >>> _n_partitions(0), _n_partitions(KEYS_AT_A_TIME + 1), _n_partitions(1 << 40)
    (1, 2, 4096)
    """
    return min(max(-(-n_keys // KEYS_AT_A_TIME), 1), MOST_PARTITIONS)


def _listed(engine: Engine, artefacts: Sequence[Artefact]) -> Artefact:
    """An artefact that names others of the engine's folder, in their order, with their hashes."""
    stage = f"{artefacts[0].folder.parent.name}_list"
    told = [[artefact.name, artefact.hash] for artefact in artefacts]
    job = Job(stage, VERSION, _write_list, (), {"parts": told})
    [artefact] = engine.run([job], "list parts", executor=Serial())
    return artefact


def _write_list(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    write_json(folder / LIST, params["parts"])
    return {"parts": len(params["parts"])}


def _parts(listed: Path) -> list[Path]:
    """The folders that a list names; they lie in the engine's folder, as it does."""
    return [listed.parent.parent / name for name, _ in read_json(listed / LIST)]


def _remove(
    engine: Engine,
    shards: Sequence[Shard],
    edges: Sequence[Artefact],
    stage: str,
    shingles: tuple[Artefact, ...] = (),
) -> list[Shard]:
    files = [shard.file for shard in shards]
    inputs = (*(shard.artefact for shard in shards), *edges)
    job = _job(f"{stage}_clusters", _cluster, inputs, {"files": files})
    [clusters] = engine.run([job], "join clusters")
    jobs = [
        _job(stage, _without, (shard.artefact, clusters, *shingles), {
            "file": shard.file, "number": number, "stage": stage,
        })
        for number, shard in enumerate(shards)
    ]  # fmt: skip
    made = engine.run(jobs, "drop duplicates")
    return [shard.now_in(artefact) for shard, artefact in zip(shards, made, strict=True)]


def _hash(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    return hash_shard(inputs[0] / params["file"], folder)


def _match(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    return match_exact(_parts(inputs[0]), params["partition"], params["n_partitions"], folder)


def _sign(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    return sign_shard(inputs[0] / params["file"], NearConfig(**params["near"]), folder)


def _pair(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    return find_pairs(_parts(inputs[0]), params["partition"], params["n_partitions"], folder)


def _shingle(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard, pairs = inputs[0] / params["file"], _parts(inputs[1])
    return write_shingles(shard, params["number"], pairs, params["shingle_words"], folder)


def _verify(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    pairs, shingles = (_parts(listed) for listed in inputs)
    return verify_pairs(params["number"], pairs, shingles, params["threshold"], folder)


def _cluster(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    n = len(params["files"])
    shards = [place / file for place, file in zip(inputs[:n], params["files"], strict=True)]
    return cluster(inputs[n:], shards, folder)


def _without(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard, clusters, *shingles = inputs
    file, number, stage = params["file"], params["number"], params["stage"]
    shingled = [part for listed in shingles for part in _parts(listed)]
    counts = remove_duplicates(shard / file, number, clusters, stage, folder, shingled)
    assert (folder / ROWS).exists()
    return {**counts, **counts_of_files(folder)}


def _shared(params: dict[str, Any]) -> LinesConfig | SubstringsConfig:
    if "lines" in params:
        return LinesConfig(**params["lines"])
    return SubstringsConfig(**params["substrings"])


def _find(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard = inputs[0] / params["file"]
    if "substrings" in params:
        return find_windows(shard, SubstringsConfig(**params["substrings"]), folder)
    return find_lines(shard, params["min_bytes"], folder)


def _repeats(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    partition, n = params["partition"], params["n_partitions"]
    return match_repeats(_parts(inputs[0]), partition, n, _shared(params), folder)


def _cut(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    shard, spans = inputs
    config = _shared(params)
    counts = cut_repeats(shard / params["file"], params["number"], _parts(spans), config, folder)
    of = "lines" if isinstance(config, LinesConfig) else "substrings"
    reason = f"only_repeated_{of}"
    dropped = {reason: counts["removed"]} if counts["removed"] else {}
    # removed.parquet also holds what was cut from documents that stay
    return {**counts, **counts_of_files(folder), "dropped": dropped}
