"""What the page tells of what went: files that gave nothing, reasons with examples, and the rules.

Called by `data_page.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from groundup.data.stage_files import turns_of
from groundup.report.data_charts import meter
from groundup.report.data_excerpts import cut, excerpt
from groundup.report.data_facts import DataFacts
from groundup.report.data_figures import ends_of_kinds, how_many, limit_of, stage_of
from groundup.report.data_removed import Reason
from groundup.report.data_stages import NAMES, assumed, unread
from groundup.report.data_words import RULE_OF, STAGES, limit_words, meaning, measured, plain, share
from groundup.report.format import format_bytes

SHOWN_REASONS = 6  # with several examples, of refusals and of drops
_SHORT = 140  # characters of an example in a table
_SHOWN_LINES = 6
_SHOWN_FILES = 20


def unread_files(facts: DataFacts) -> dict[str, Any]:
    """The largest files of which nothing was read, and how many more there are."""
    n, n_bytes, files = unread(facts.manifest)
    total = sum(source["bytes"] for source in facts.manifest["sources"])
    shown = [
        {
            "path": one["path"],
            "size": format_bytes(one["bytes"]),
            "reason": plain(one["reason"]),
            "meaning": meaning(one["reason"]),
        }
        for one in files[:_SHOWN_FILES]
    ]
    return {
        "files": shown,
        "more": max(n - len(shown), 0),
        "bytes": format_bytes(n_bytes),
        "of": format_bytes(total),
    }


def guesses(facts: DataFacts) -> list[dict[str, str]]:
    """What reading assumed: how often, and in which sources."""
    rows = []
    for note, of in assumed(facts.manifest).items():
        where = ", ".join(f"{name} {n:,}" for name, n in of.most_common(6))
        rows.append({"note": note, "n": f"{of.total():,}", "where": where})
    return rows


def reasons(found: Sequence[Reason], facts: DataFacts) -> dict[str, Any]:
    """Reasons with their examples, and the rarer ones for a table."""
    shown = [reason(one, facts) for one in found[:SHOWN_REASONS]]
    rarer = [reason(one, facts) for one in found[SHOWN_REASONS:]]
    for one in rarer:
        example = one["examples"][0]
        told = " ".join((example["text"] or example["detail"]).split())
        one["example"] = {"id": example["id"], "text": cut(told, _SHORT)}
    return {"shown": shown, "rarer": rarer, "n": f"{sum(one.n for one in found):,}"}


def reason(one: Reason, facts: DataFacts) -> dict[str, Any]:
    """One reason with its figures, in the terms of what it is a part of."""
    part = _part(one, facts)
    places = one.places.most_common(4)
    told = ", ".join(f"{name} {n:,}" for name, n in places)
    rest = one.n - sum(n for _, n in places)
    return {
        "name": plain(one.reason),
        "n": how_many(one),
        "share": share(part),
        "meter": meter(part),
        "stage": STAGES.get(one.stage, one.stage),
        "meaning": meaning(one.reason, limit_of(facts, one.reason)),
        "places": f"{told}, elsewhere {rest:,}" if rest else told,
        "lines": [
            {"line": cut(line, _SHORT), "n": f"{n:,}"}
            for line, n in one.lines.most_common(_SHOWN_LINES)
            if n > 1
        ],
        "examples": [example(row) for row in one.examples],
    }


def _part(one: Reason, facts: DataFacts) -> float:
    """Of files and rows, of what came to the stage that cuts, or of what was read of its kinds."""
    if one.stage == "read":
        stage = stage_of(facts, "read")
        return one.n / max(sum(stage.get(f"{kind}_in", 0) for kind in NAMES), 1)
    if one.is_cut:
        return one.n / max(stage_of(facts, one.stage)["documents_in"], 1)
    read = ends_of_kinds(facts)[0]
    return one.n / max(sum(read[kind] for kind in NAMES if one.kinds.get(kind)), 1)


def example(row: dict[str, Any]) -> dict[str, Any]:
    """A removed row: its id, why, and how its text begins."""
    detail = row["detail"] or ""
    if row["score"] is not None and detail.startswith(f"{row['reason']} with "):
        detail = f"scored {row['score']:.3g}"
    turns = turns_of({"text": row["text"]})
    said = "\n".join(f"{who}: {what}" for who, what in turns) if turns else row["text"] or ""
    return {"id": row["id"], "detail": detail, "text": excerpt(said)}


def hits(facts: DataFacts) -> list[dict[str, Any]]:
    """A few texts that gave each evaluation set away: which, and the words that they share."""
    told = []
    for name, rows in facts.hits.items():
        examples = []
        for row in rows:
            what, _, words = (row["detail"] or "").partition(": ")
            examples.append({"id": row["id"], "detail": what, "text": excerpt(words)})
        if examples:
            told.append({"name": name, "examples": examples})
    return told


def rules(facts: DataFacts) -> list[dict[str, Any]]:
    """The rules that are on: what each drops first, and what it would drop alone."""
    first = Counter({one.reason: one.n for one in facts.reasons if one.stage == "clean"})
    several = not rules_from(facts)
    return [
        {
            "name": plain(rule.reason),
            "limit": limit_words(RULE_OF[rule.reason], rule.limit) or "any",
            "meaning": measured(rule.score) + (f"; {rule.source}" if several else ""),
            "beyond": f"{rule.n_beyond:,}",
            "first": f"{first[rule.reason]:,}",
        }
        for rule in facts.rules or []
        if rule.n_beyond
    ]


def rules_from(facts: DataFacts) -> str:
    """Where the limits are from, if from one place."""
    places = {rule.source for rule in facts.rules or [] if rule.n_beyond}
    return places.pop() if len(places) == 1 else ""
