"""From raw text to training batches: read, split, prepare, shard, pack, mix, load.

The batches (`data/loader.py`) are not imported here: they need torch, and the processes that
prepare data do not.
"""

from groundup.data.mixture import Mixture, Permutation
from groundup.data.pack import Packing, RowPlan, plan_rows
from groundup.data.prepare import DataConfig, prepare, source_names
from groundup.data.prepared import read_chats, read_preferences, read_texts
from groundup.data.reading import ReadingConfig, SourceConfig, source_fingerprint
from groundup.data.records import Chat, Document, Preference, Record
from groundup.data.shard_writer import ShardWriter, write_masked_shards, write_shards
from groundup.data.shards import TokenShards
from groundup.data.split import Split

__all__ = [
    "Chat",
    "DataConfig",
    "Document",
    "Mixture",
    "Packing",
    "Permutation",
    "Preference",
    "ReadingConfig",
    "Record",
    "RowPlan",
    "ShardWriter",
    "SourceConfig",
    "Split",
    "TokenShards",
    "plan_rows",
    "prepare",
    "read_chats",
    "read_preferences",
    "read_texts",
    "source_fingerprint",
    "source_names",
    "write_masked_shards",
    "write_shards",
]
