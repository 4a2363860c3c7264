"""Decontamination: documents that give away items of evaluation sets are found and taken out."""

from groundup.data.decontaminate.benchmarks import (
    Item,
    benchmark_hashes,
    check_benchmarks,
    items_of,
)
from groundup.data.decontaminate.clean import HITS, STAGE, decontaminate_shard, report_of
from groundup.data.decontaminate.config import BenchmarkConfig, DecontaminationConfig
from groundup.data.decontaminate.hits import Hit, find_hits
from groundup.data.decontaminate.index import Index, build_index, index_of, load_index

__all__ = [
    "HITS",
    "STAGE",
    "BenchmarkConfig",
    "DecontaminationConfig",
    "Hit",
    "Index",
    "Item",
    "benchmark_hashes",
    "build_index",
    "check_benchmarks",
    "decontaminate_shard",
    "find_hits",
    "index_of",
    "items_of",
    "load_index",
    "report_of",
]
