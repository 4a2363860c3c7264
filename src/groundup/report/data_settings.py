"""How prepared data was made: the settings that are not the defaults, and the command.

Called by `data_page.py`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from groundup.data.config import DataConfig
from groundup.data.reading import SourceConfig
from groundup.report.data_facts import DataFacts
from groundup.report.data_words import plural
from groundup.runtime import to_dict

_NOT_SETTINGS = ("sources",)


def settings(facts: DataFacts) -> list[tuple[str, str]]:
    """What differs from the defaults, as `--set` takes it, and the sources as they were given."""
    parameters = facts.manifest["parameters"]
    given = {key: value for key, value in parameters.items() if key not in _NOT_SETTINGS}
    return [
        (name, json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value)
        for name, value in differences(given, to_dict(DataConfig()))
    ]


def differences(
    given: Mapping[str, Any], usual: Mapping[str, Any], within: str = ""
) -> Iterator[tuple[str, Any]]:
    """Names and values of settings that are not what they usually are.

    >>> list(differences({"a": {"b": 1, "c": 2}, "d": None}, {"a": {"b": 1, "c": 3}, "d": 4}))
    [('a.c', 2), ('d', None)]
    """
    for key, value in given.items():
        name, default = f"{within}{key}", usual.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from differences(value, default, f"{name}.")
        elif json.dumps(value) != json.dumps(default):
            yield name, value


def command(facts: DataFacts) -> str:
    """The command that prepares the same; empty for the data of a run, which has a recipe, and for
    what groundup made itself, which follows from a recipe's seed and sizes.
    """
    is_made_here = any(source["built_in"] for source in facts.manifest["sources"])
    if is_made_here or (facts.prepared.folder.parent / "run.json").is_file():
        return ""
    usual = to_dict(SourceConfig(path="demo"))
    sources = facts.manifest["parameters"]["sources"]
    changed = [
        {key: value for key, value in one.items() if key == "path" or value != usual.get(key)}
        for one in sources
    ]
    parts = ["groundup data prepare"]
    if all(set(one) == {"path"} for one in changed):
        parts += [f"--data {shlex.quote(one['path'])}" for one in changed]
    else:
        parts.append(f"--set {shlex.quote(f'sources={json.dumps(changed, ensure_ascii=False)}')}")
    parts += [f"--set {shlex.quote(f'{name}={value}')}" for name, value in settings(facts)]
    if facts.manifest["tokenizer"]:
        parts.append(f"--tokenizer {shlex.quote(str(facts.prepared.folder / 'tokenizer'))}")
    parts.append("--out DIR")
    return " \\\n  ".join(parts)


def tokenizer_words(facts: DataFacts) -> str:
    """The tokenizer that wrote the tokens, if one did."""
    about = facts.manifest["tokenizer"]
    return f"{plural(about['vocab_size'], 'entry', 'entries')}, {about['hash']}" if about else ""
