"""The figures of the stages of prepared data, as its manifest has them: by kind, in and out.

Documents, chats and preference pairs go through the same stages and are never added up without
saying so. Part of what the page tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from groundup.data.stage_files import TALK
from groundup.report.data_words import plural

NAMES = {
    "documents": ("document", "documents"),
    "chats": ("chat", "chats"),
    "preferences": ("preference pair", "preference pairs"),
}
LATER = ("divide", "tokenize")  # behind these, what is counted are pieces

Stage = Mapping[str, Any]


def counted(n: Mapping[str, int]) -> str:
    """How many there are of each kind, in words; empty where there are none.

    >>> counted({"documents": 12, "chats": 0, "preferences": 1})
    '12 documents, 1 preference pair'
    """
    return ", ".join(plural(n[kind], *NAMES[kind]) for kind in NAMES if n.get(kind))


def dropped_of(stage: Stage) -> Counter[str]:
    """How many went for each reason, of all kinds together."""
    found: Counter[str] = Counter(stage["dropped"])
    for kind in TALK:
        found.update(stage.get(f"{kind}_dropped", {}))
    return found


def lost(stage: Stage) -> dict[str, int]:
    """How many of each kind went at a stage; none where what is counted changes.

    >>> stage = {"name": "clean", "documents_in": 3, "documents_out": 2, "chats_in": 1}
    >>> lost({**stage, "chats_out": 1})
    {'documents': 1}
    """
    if stage["name"] in LATER:
        return {}
    n = {kind: stage.get(f"{kind}_in", 0) - stage.get(f"{kind}_out", 0) for kind in NAMES}
    return {kind: one for kind, one in n.items() if one}


def came_out(stage: Stage) -> dict[str, int]:
    """How many of each kind a stage passed on."""
    return {kind: stage.get(f"{kind}_out", 0) for kind in NAMES}


def n_bytes_out(stage: Stage) -> int:
    """Bytes of the text that a stage passed on, of all kinds as far as they were counted."""
    return int(sum(stage.get("bytes_out" if kind == "documents" else f"{kind}_bytes_out", 0)
                   for kind in NAMES))  # fmt: skip


def lost_kinds(stage: Stage, reason: str) -> list[str]:
    """The kinds of which a stage may have dropped some for a reason."""
    fields = {"documents": "dropped", **{kind: f"{kind}_dropped" for kind in TALK}}
    return [kind for kind, name in fields.items() if reason in stage.get(name, {})]


def unread(manifest: Mapping[str, Any]) -> tuple[int, int, list[dict[str, Any]]]:
    """Files of which nothing was read: how many, their bytes, and the largest of them.

    Their paths begin with the source.
    """
    n = n_bytes = 0
    files: list[dict[str, Any]] = []
    for source in manifest["sources"]:
        about = source["unread"]
        n += about["files"]
        n_bytes += about["bytes"]
        files += [{**file, "path": f"{source['name']}/{file['path']}"} for file in about["largest"]]
    return n, n_bytes, sorted(files, key=lambda file: (-file["bytes"], file["path"]))


def assumed(manifest: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """What was guessed when files were read: for each note, in how many files of which sources."""
    found: dict[str, Counter[str]] = {}
    for source in manifest["sources"]:
        for note, n in source["assumed"].items():
            found.setdefault(note, Counter())[source["name"]] += n
    return dict(sorted(found.items(), key=lambda item: (-item[1].total(), item[0])))
