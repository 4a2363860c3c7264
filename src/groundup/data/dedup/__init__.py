"""Deduplication: texts that are the same, texts that are nearly so, and what texts share.

Each step is a function of files that writes files, with memory that does not grow with the corpus.
`serial.py` has them in order.
"""

from groundup.data.dedup.clusters import cluster
from groundup.data.dedup.config import LinesConfig, NearConfig, SubstringsConfig
from groundup.data.dedup.cut import cut_repeats
from groundup.data.dedup.exact import hash_shard, match_exact, text_hash
from groundup.data.dedup.lines import find_lines
from groundup.data.dedup.pairs import find_pairs
from groundup.data.dedup.remove import KEPT, REMOVED, remove_duplicates
from groundup.data.dedup.repeats import match_repeats
from groundup.data.dedup.serial import cut_repeated, deduplicate_exact, deduplicate_near
from groundup.data.dedup.shingles import verify_pairs, write_shingles
from groundup.data.dedup.signatures import sign_shard
from groundup.data.dedup.substrings import find_windows

__all__ = [
    "KEPT",
    "REMOVED",
    "LinesConfig",
    "NearConfig",
    "SubstringsConfig",
    "cluster",
    "cut_repeated",
    "cut_repeats",
    "deduplicate_exact",
    "deduplicate_near",
    "find_lines",
    "find_pairs",
    "find_windows",
    "hash_shard",
    "match_exact",
    "match_repeats",
    "remove_duplicates",
    "sign_shard",
    "text_hash",
    "verify_pairs",
    "write_shingles",
]
