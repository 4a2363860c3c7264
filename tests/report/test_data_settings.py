"""The command on the page prepares the same, and names what is not the default."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from groundup.cli_data.prepare import _config_of
from groundup.data.prepare import DataConfig, prepare
from groundup.report.data_facts import facts_of
from groundup.report.data_settings import command, settings
from groundup.runtime import to_dict


@pytest.mark.parametrize(
    ("source", "changed", "names"),
    [
        ({}, {}, []),
        (
            {"weight": 2.0, "licence": "CC0-1.0", "name": "the stories"},
            {"heldout_fraction": 0.25, "dedup": {"near": None, "exact": False}},
            ["heldout_fraction", "dedup.exact", "dedup.near"],
        ),
        (
            {},
            {
                "cleaning": {
                    "preset": "light",
                    "languages": ["en", "de"],
                    "identify_language": True,
                    "repetition": {"max_top_2_gram": 0.9},
                },
                "split_long_documents_bytes": None,
            },
            [
                "split_long_documents_bytes",
                "cleaning.preset",
                "cleaning.languages",
                "cleaning.repetition",
            ],
        ),
        (
            {},
            {"cleaning": {"preset": "light", "repetition": {"max_duplicate_lines": None}}},
            ["cleaning.preset", "cleaning.repetition"],
        ),
    ],
)
def test_the_command_gives_the_same_settings(
    tmp_path: Path, source: dict[str, Any], changed: dict[str, Any], names: list[str]
) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    for n in range(9):
        text = f"This is the story of number {n}, and of what it did to the others that day. "
        (folder / f"{n}.txt").write_text(text + f"They were {n * 3} in all.")
    config = DataConfig(sources=[{"path": str(folder), **source}], **changed)
    prepare(config, tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    assert [name for name, _ in settings(facts)] == names
    program, *words = shlex.split(command(facts).replace("\\\n", ""))
    assert (program, words[:2], words[-2:]) == ("groundup", ["data", "prepare"], ["--out", "DIR"])
    options = list(zip(words[2:-2:2], words[3:-2:2], strict=True))
    data = [value for name, value in options if name == "--data"]
    sets = [value for name, value in options if name == "--set"]
    assert len(data) + len(sets) == len(options)
    again, _ = _config_of(data, sets, None, None)
    assert to_dict(again) == to_dict(config)
