"""Figures of prepared data that its page and its findings both tell.

Called by `data_findings.py` and the modules that lay out the page.
"""

from __future__ import annotations

from typing import Any

from groundup.data.cleaning.rules import RULES
from groundup.data.stage_files import TALK
from groundup.report.data_facts import DataFacts
from groundup.report.data_measured import cleaning_of
from groundup.report.data_removed import Reason
from groundup.report.data_stages import LATER, came_out, counted


def ends(facts: DataFacts) -> tuple[int, int]:
    """Documents that were read, and documents left before they are cut to size."""
    read, left = ends_of_kinds(facts)
    return read["documents"], left["documents"]


def ends_of_kinds(facts: DataFacts) -> tuple[dict[str, int], dict[str, int]]:
    """The same of each kind."""
    stages = [one for one in facts.manifest["stages"] if one["name"] not in LATER]
    return came_out(stages[0]), came_out(stages[-1])


def spoken(facts: DataFacts) -> str:
    """Chats and preference pairs that are left, in words; nothing where there are none."""
    left = ends_of_kinds(facts)[1]
    return counted({**left, "documents": 0}).replace(", ", " and ")


def refusals(facts: DataFacts) -> list[Reason]:
    """Why files and rows could not be read."""
    return [one for one in facts.reasons if one.stage == "read" and not one.is_cut]


def drops(facts: DataFacts) -> list[Reason]:
    """Why what was read was dropped."""
    return [one for one in facts.reasons if one.stage != "read" and not one.is_cut]


def lost_by_source(facts: DataFacts) -> dict[str, tuple[int, int]]:
    """For each source how many of its documents were dropped, and how many were read."""
    found = {}
    for source in facts.manifest["sources"]:
        name = source["name"]
        lost = sum(one.sources[name] for one in drops(facts))
        found[name] = (lost, lost + facts.n_left[name])
    return found


def talk_of(facts: DataFacts, source: str) -> dict[str, int]:
    """Chats and preference pairs that are left of a source."""
    about = facts.counts.get("sources", {}).get(source, {})
    return {kind: sum(split["n"] for split in about.get(kind, {}).values()) for kind in TALK}


def seen(facts: DataFacts) -> dict[str, float]:
    """For each source how much of it is seen: its training tokens, or bytes, by its weight."""
    found = {}
    for name, about in facts.counts.get("sources", {}).items():
        amount = (
            facts.tokens.get(name, 0) if facts.tokens else about["documents"]["train"]["n_bytes"]
        )
        found[name] = amount * about["weight"]
    return found


def stage_of(facts: DataFacts, name: str) -> dict[str, Any]:
    """What the manifest says of a stage."""
    return next(stage for stage in facts.manifest["stages"] if stage["name"] == name)


def limit_of(facts: DataFacts, reason: str) -> float | None:
    """The limit of the rule that drops for a reason; None where it is no rule's."""
    config = cleaning_of(facts.manifest)
    return next((rule.limit(config) for rule in RULES if rule.reason == reason), None)


def how_many(reason: Reason) -> str:
    """How many went, in words where they are not documents alone.

    >>> from collections import Counter
    >>> how_many(Reason("a", "clean", 1200)), how_many(Reason("a", "b", 15, Counter(chats=3)))
    ('1,200', '12 documents, 3 chats')
    """
    return counted(reason.kinds) if reason.n_talk else f"{reason.n:,}"
