"""The steps of deduplication in order, in one process: from shards to shards without duplicates.

Each step is a function of files that writes a folder, so an engine may do the steps of many shards
and partitions at once, anywhere; what they write is the same. What is written by this:

    FOLDER/hash, match, cluster             exact     hash_shard, match_exact, cluster
    FOLDER/sign, pair, shingle, verify      near      sign_shard, find_pairs, write_shingles,
           cluster                                    verify_pairs, cluster
    FOLDER/find, repeat                     repeats   find_lines or find_windows, match_repeats
    FOLDER/remove or cut                    all       remove_duplicates or cut_repeats: a folder
                                                      with documents.parquet and removed.parquet
                                                      for each shard
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from groundup.data.dedup.clusters import cluster
from groundup.data.dedup.config import LinesConfig, NearConfig, SubstringsConfig
from groundup.data.dedup.cut import cut_repeats
from groundup.data.dedup.exact import hash_shard, match_exact
from groundup.data.dedup.lines import find_lines
from groundup.data.dedup.pairs import find_pairs
from groundup.data.dedup.remove import KEPT, remove_duplicates
from groundup.data.dedup.repeats import match_repeats
from groundup.data.dedup.shingles import verify_pairs, write_shingles
from groundup.data.dedup.signatures import sign_shard
from groundup.data.dedup.substrings import find_windows


def deduplicate_exact(shards: Sequence[Path], folder: Path) -> list[Path]:
    """The shards without documents whose text is that of another; of each text the smallest id."""
    n = len(shards)
    hashed, matched = (_folders(folder, name, n) for name in ("hash", "match"))
    for shard, out in zip(shards, hashed, strict=True):
        hash_shard(shard, out)
    for partition, out in enumerate(matched):
        match_exact(hashed, partition, n, out)
    cluster(matched, shards, folder / "cluster")
    return _remove(shards, folder, "dedup_exact")


def deduplicate_near(shards: Sequence[Path], config: NearConfig, folder: Path) -> list[Path]:
    """The shards without near duplicates; of each cluster the smallest id stays."""
    n = len(shards)
    signed, paired, shingled, verified = (
        _folders(folder, name, n) for name in ("sign", "pair", "shingle", "verify")
    )
    for shard, out in zip(shards, signed, strict=True):
        sign_shard(shard, config, out)
    for partition, out in enumerate(paired):
        find_pairs(signed, partition, n, out)
    for number, shard in enumerate(shards):
        write_shingles(shard, number, paired, config.shingle_words, shingled[number])
    for number, out in enumerate(verified):
        verify_pairs(number, paired, shingled, config.threshold, out)
    cluster(verified, shards, folder / "cluster")
    return _remove(shards, folder, "dedup_near", shingled)


def cut_repeated(
    shards: Sequence[Path], config: LinesConfig | SubstringsConfig, folder: Path
) -> list[Path]:
    """The shards without lines, or without long substrings, that stand in several documents."""
    n = len(shards)
    found, matched = (_folders(folder, name, n) for name in ("find", "repeat"))
    for shard, out in zip(shards, found, strict=True):
        match config:
            case LinesConfig():
                find_lines(shard, config.min_bytes, out)
            case SubstringsConfig():
                find_windows(shard, config, out)
    for partition, out in enumerate(matched):
        match_repeats(found, partition, n, config, out)
    cut = _folders(folder, "cut", n)
    for number, shard in enumerate(shards):
        cut_repeats(shard, number, matched, config, cut[number])
    return [out / KEPT for out in cut]


def _remove(
    shards: Sequence[Path], folder: Path, stage: str, shingled: Sequence[Path] = ()
) -> list[Path]:
    removed = _folders(folder, "remove", len(shards))
    for number, shard in enumerate(shards):
        remove_duplicates(shard, number, folder / "cluster", stage, removed[number], shingled)
    return [out / KEPT for out in removed]


def _folders(folder: Path, name: str, n: int) -> list[Path]:
    folders = [folder / name / f"{index:05d}" for index in range(n)]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    return folders
