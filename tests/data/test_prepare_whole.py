"""The whole pipeline on one input: whoever does the jobs, every byte in the folder is the same."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from groundup.data.executors import ExecutorConfig, ExecutorName, open_executor
from groundup.data.manifest import read_manifest, verify
from groundup.data.prepare import DataConfig, TokenizerChoice, prepare
from groundup.runtime import hash_file
from groundup.tokenizer import TokenizerConfig
from groundup.tokenizer.counts import CountConfig

from .reading.samples import zip_of
from .test_manifest import write_sources

HAS_RAY = importlib.util.find_spec("ray") is not None
SMALL_FILE_BYTES = 2500  # so that there are several jobs, and something to do at the same time


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Stories, a table, an archive, and some of what cannot be read."""
    stories = write_sources(tmp_path / "stories", 16)
    rows = "".join(json.dumps({"text": f"Row {i} tells of the sea, {i * i} times."}) + "\n"
                   for i in range(120))  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    (other / "rows.jsonl").write_text(rows)
    (other / "cut.jsonl.gz").write_bytes(gzip.compress(rows.encode(), mtime=0)[:-20])
    (other / "some.zip").write_bytes(zip_of({"a.txt": "In a zip.", "../b.txt": "out"}))
    chat = {"messages": [{"role": "user", "content": "Hi"},
                         {"role": "assistant", "content": "Hello"}]}  # fmt: skip
    (other / "chats.jsonl").write_text((json.dumps(chat) + "\n") * 2)
    return [stories, other]


def tree(folder: Path) -> dict[str, str]:
    """Every file but locks, the artefacts of the stages among them."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def prepared(out: Path, sources: list[Path], executor: ExecutorConfig) -> dict[str, str]:
    told: dict[str, Any] = {"sources": [str(path) for path in sources], "heldout_fraction": 0.2}
    counting = CountConfig(n_workers=1)
    choice = TokenizerChoice(config=TokenizerConfig(vocab_size=300, counting=counting))
    with open_executor(executor) as opened:
        prepare(DataConfig(**told), out, executor=opened, tokenizer=choice)
    return tree(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "ray"])
def test_each_executor_gives_every_byte_that_one_process_gives(
    tmp_path: Path, sources: list[Path], name: ExecutorName, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ray" and not HAS_RAY:
        pytest.skip("Ray is not installed here; pip install 'groundup[ray]'")
    monkeypatch.setattr("groundup.data.steps.read.FILE_BYTES", SMALL_FILE_BYTES)
    expected = prepared(tmp_path / "serial", sources, ExecutorConfig())
    assert len(list((tmp_path / "serial/stages/read").iterdir())) > 3
    found = prepared(tmp_path / name, sources, ExecutorConfig(name=name, n_workers=2))
    assert found == expected
    assert verify(tmp_path / name) == []


def test_what_one_run_made_another_place_makes_too(tmp_path: Path, sources: list[Path]) -> None:
    """The folder that is written has no part in what is written."""
    first = prepared(tmp_path / "a", sources, ExecutorConfig())
    assert prepared(tmp_path / "b/c", sources, ExecutorConfig()) == first
    (read, *_) = read_manifest(tmp_path / "a")["stages"]
    assert read["dropped"] == {"has_nul": 1, "path_escapes": 1, "truncated": 1}
