"""Divided documents as token shards, one job for each shard of text.

DIR/tokens/train-SOURCE and DIR/tokens/heldout are folders as training writes them for itself
(`data/shards.py`); training opens them with `TokenShards.open`.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from groundup.data.engine import Artefact, Engine, Job
from groundup.data.executors import Serial
from groundup.data.link import link_or_copy
from groundup.data.shard_writer import write_shards
from groundup.data.shards import shard_path
from groundup.data.split import SPLITS, Split
from groundup.data.steps.shard import Shard
from groundup.data.table import rows_of
from groundup.runtime import Listener, read_json, to_dict, write_json
from groundup.tokenizer import (
    Tokenizer,
    TokenizerConfig,
    open_tokenizer,
    train_tokenizer_on_files,
)
from groundup.tokenizer.counts import shards_of

VERSION = 1
STAGE = "tokenize"


@dataclass(frozen=True)
class TokenizerChoice:
    """A tokenizer that is there (`path`, a folder or file), or else the settings to train one."""

    path: Path | None = None
    config: TokenizerConfig | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.config is None):
            raise ValueError("a tokenizer is either given (path) or trained (config)")


def tokenizer_artefact(
    engine: Engine, choice: TokenizerChoice, shards: Sequence[Shard], listener: Listener
) -> Artefact:
    """The tokenizer's folder: saved from the one that is given, or trained on the documents."""
    if choice.path is not None:
        tokenizer = open_tokenizer(choice.path)

        def save(folder: Path) -> dict[str, Any]:
            return _save(tokenizer, folder)

        return engine.keep("tokenizer", save)
    assert choice.config is not None
    counting = {"counting": {"min_count": choice.config.counting.min_count}}
    job = Job(
        "tokenizer",
        VERSION,
        partial(_train, choice.config, listener),
        tuple(shard.artefact for shard in shards if shard.kind == "documents"),
        {"config": {**to_dict(choice.config), **counting}},
        {"counts_folder": str(engine.folder / "tokenizer.counts")},
        ("tokenizers", "regex"),
    )
    # Training has processes of its own, which a worker may not start.
    [artefact] = engine.run([job], "train the tokenizer", executor=Serial())
    return artefact


def _train(
    config: TokenizerConfig,
    listener: Listener,
    inputs: list[Path],
    params: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    files = [path for place in inputs for path in sorted(place.glob("train-*.parquet"))]
    counts = Path(params["counts_folder"])
    tokenizer = train_tokenizer_on_files(
        shards_of(files, config.counting), config, folder=counts, listener=listener
    )
    saved = _save(tokenizer, folder)
    shutil.rmtree(counts)
    return saved


def _save(tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    tokenizer.save(folder)
    return {"fingerprint": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size}


def tokenize(
    engine: Engine, shards: Sequence[Shard], tokenizer: Artefact
) -> dict[str, list[Artefact]]:
    """Token shards of all documents, by the name of the folder that they belong in."""
    jobs: list[Job] = []
    places: list[str] = []
    for shard in shards:
        for split in SPLITS:
            if shard.kind != "documents" or not shard.artefact.counts["splits"][split]["n"]:
                continue
            inputs, params = (shard.artefact, tokenizer), {"split": split}
            libraries = ("tokenizers", "tiktoken", "regex")
            jobs.append(Job(STAGE, VERSION, tokenize_files, inputs, params, libraries=libraries))
            places.append(f"train-{shard.source}" if split == "train" else "heldout")
    found: dict[str, list[Artefact]] = defaultdict(list)
    for place, artefact in zip(places, engine.run(jobs, STAGE), strict=True):
        found[place].append(artefact)
    return dict(found)


def tokenize_files(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Encode the documents of one split of one shard."""
    tokenizer = _opened(inputs[1])
    shards = write_shards(_texts(inputs[0], params["split"]), tokenizer, folder)
    return {
        "split": params["split"],
        "n": shards.n_documents,
        "n_bytes": shards.n_bytes,
        "n_tokens": shards.n_tokens,
    }


@lru_cache(maxsize=1)
def _opened(folder: Path) -> Tokenizer:
    """Kept from job to job; the folder's name follows from what is in it."""
    return open_tokenizer(folder)


def _texts(folder: Path, split: Split) -> Iterator[str]:
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        for row in rows_of(path, ["text"]):
            yield row["text"]


def join_token_shards(artefacts: Sequence[Artefact], folder: Path) -> None:
    """The shards of several artefacts in one folder, numbered on as one writer leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    stems = [
        artefact.path(name).with_suffix("")
        for artefact in artefacts
        for name in sorted(artefact.files)
        if name.endswith(".json")
    ]
    for number, stem in enumerate(stems):
        to = folder / f"train-{number:05d}"
        for ending in ("bin", "idx"):
            link_or_copy(shard_path(stem, ending), shard_path(to, ending))
        header = read_json(shard_path(stem, "json"))
        write_json(shard_path(to, "json"), {**header, "is_last": number == len(stems) - 1})
