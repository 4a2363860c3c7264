"""Prepared data as a page of its own in the look of the report: `groundup data report`.

The page is for somebody who knows what he collected and not what is in it: what the folder holds
that he did not know, then the stream from files to tokens, then each part of that with examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from groundup.report.data_charts import difference, histogram, meter, size_bins, stream, tidy
from groundup.report.data_facts import (
    Clusters,
    DataFacts,
    Language,
    Lengths,
    Pair,
    Reason,
)
from groundup.report.data_findings import (
    drops,
    ends,
    findings,
    headline,
    limit_of,
    lost_by_source,
    n_at,
    refusals,
    seen,
)
from groundup.report.data_words import (
    RULE_OF,
    STAGES,
    language_name,
    limit_words,
    meaning,
    measured,
    plain,
    plural,
    share,
)
from groundup.report.format import format_bytes, format_number
from groundup.report.tokenizer_page import read_page, report_style
from groundup.runtime import GroundupError, write_text

SHOWN_REASONS = 6  # with several examples, of refusals and of drops
EXCERPT = 360  # characters of an example
_SHORT = 140  # and of one in a table
_SMALL = 0.001  # of the text: languages with less are told together, they are mostly guesses
_SHOWN_LANGUAGES = 14
_SHOWN_HITS = 3
_SHOWN_LINES = 6
_NO_LANGUAGE = (None, "zxx", "und")
_SIZES = ((2, 2), (3, 3), (4, 5), (6, 9), (10, 19), (20, 99), (100, 1 << 62))


def write_data_page(facts: DataFacts, path: Path | None = None) -> Path:
    """Write the page of a prepared folder or a run, of which `facts_of` gives the facts.

    path: the file to write; data.html in that folder if it is not given. Raises GroundupError if
    it is a folder.
    """
    path = path or facts.prepared.folder / "data.html"
    if path.is_dir():
        raise GroundupError(f"{path} is a folder; give a file, such as {path / 'data.html'}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(read_page("data.html"))
    write_text(path, template.render(_view(facts), style=report_style()))
    return path


def _view(facts: DataFacts) -> dict[str, Any]:
    n_read, n_refused = ends(facts)[0], sum(one.n for one in refusals(facts))
    dropped = [one for one in drops(facts) if one.stage != "decontaminate"]
    return {
        "title": ", ".join(source["name"] for source in facts.manifest["sources"]),
        "headline": headline(facts),
        "findings": findings(facts),
        "tiles": _tiles(facts),
        "flow": _flow(facts),
        "refused": _reasons(refusals(facts), facts, n_read + n_refused),
        "dropped": _reasons(dropped, facts, n_read),
        "cuts": [
            _reason(one, facts, n_at(facts, one.stage)) for one in facts.reasons if one.is_cut
        ],
        "rules": _rules(facts),
        "rules_from": _rules_from(facts),
        "languages": _languages(facts),
        "language_note": _language_note(facts),
        "lengths": _lengths(facts),
        "clusters": _clusters(facts),
        "pairs": [_pair(one) for one in facts.pairs],
        "contamination": _contamination(facts),
        "hits": _hits(facts),
        "sources": _sources(facts),
        "has_tokens": bool(facts.tokens),
        "packed": _packed(facts),
        "packing_note": facts.packing_note,
        "fingerprint": facts.manifest["fingerprint"],
        "versions": ", ".join(f"{k} {v}" for k, v in facts.manifest["versions"].items() if v),
    }


def _tiles(facts: DataFacts) -> list[dict[str, str]]:
    n_in, n_out = ends(facts)
    stages = facts.manifest["stages"]
    copies = facts.exact.n_removed + facts.near.n_removed
    tiles = [
        (share(1 - n_out / max(n_in, 1)), "dropped", f"{n_in - n_out:,} of {n_in:,} documents"),
        (
            format_bytes(stages[-1]["bytes_out"]),
            "of text left",
            f"of {format_bytes(stages[0]['bytes_in'])} in files",
        ),
        (f"{copies:,}", "copies", f"{facts.near.n_removed:,} of them not quite the same"),
    ]
    if facts.languages:
        told = [one for one in _told_languages(facts)[0] if one.code not in _NO_LANGUAGE]
        most = f"most text in {language_name(told[0].code)}" if told else ""
        tiles.append((f"{len(told)}", "languages" if len(told) != 1 else "language", most))
    typical = facts.lengths_read or facts.lengths
    unit = "characters" if facts.lengths_read else "bytes"
    tiles.append((rounded(typical.median), f"{unit} in a document", "about half are shorter"))
    if facts.tokens:
        heldout = facts.counts.get("tokens", {}).get("heldout", 0)
        n_tokens = format_number(sum(facts.tokens.values()))
        tiles.append((n_tokens, "tokens to train on", f"{format_number(heldout)} held out"))
    return [{"value": v, "name": name, "remark": remark} for v, name, remark in tiles]


# --- the stream -----------------------------------------------------------------------------------


def _flow(facts: DataFacts) -> list[dict[str, Any]]:
    """Each stage with what goes in, what is lost and what comes out.

    The stream is of the documents that were read; what could not be read never was in it.
    """
    left, rows = 1.0, []
    for stage in facts.manifest["stages"]:
        n_in, n_out, name = stage["documents_in"], stage["documents_out"], stage["name"]
        loses = name not in ("read", "divide", "tokenize")
        after = left * n_out / max(n_in, 1) if loses else left
        dropped = Counter(stage["dropped"])
        lost = f"\u2212{dropped.total():,}" if dropped else ""
        if dropped and name == "read":
            lost = f"\u2212{plural(dropped.total(), 'file or row', 'files and rows')}"
        if loses and not dropped and stage["bytes_out"] < stage["bytes_in"]:
            lost = f"\u2212{format_bytes(stage['bytes_in'] - stage['bytes_out'])}"
        rows.append(
            {
                "name": STAGES.get(name, name),
                "figures": _figures(stage, facts),
                "svg": stream(left, after, title=f"{name}: {n_in:,} documents in, {n_out:,} out"),
                "lost": lost,
                "dropped": [f"{plain(reason)} {n:,}" for reason, n in dropped.most_common(5)],
                "more": max(len(dropped) - 5, 0),
            }
        )
        left = after
    return rows


def _figures(stage: dict[str, Any], facts: DataFacts) -> str:
    """What comes out of a stage, in words."""
    if stage["tokens_out"] is not None:
        return f"{stage['tokens_out']:,} tokens, training and held out"
    n_out = stage["documents_out"]
    figures = [plural(n_out, "document"), format_bytes(stage["bytes_out"])]
    if stage["name"] == "divide":
        splits = facts.counts.get("documents", {})
        held = splits["heldout"]["n"] if splits else 0
        figures = [
            plural(n_out, "piece"),
            f"{n_out - held:,} to train on and {held:,} held out",
        ]
    for kind in ("chats", "preferences"):
        if f"{kind}_out" in stage:
            figures.append(f"{stage[f'{kind}_out']:,} {kind}")
    return ", ".join(figures)


# --- what went ------------------------------------------------------------------------------------


def _reasons(reasons: Sequence[Reason], facts: DataFacts, n_all: int) -> dict[str, Any]:
    """Reasons with their examples, and the rarer ones for a table."""
    shown = [_reason(one, facts, n_all) for one in reasons[:SHOWN_REASONS]]
    rarer = [_reason(one, facts, n_all) for one in reasons[SHOWN_REASONS:]]
    for one in rarer:
        example = one["examples"][0]
        told = " ".join((example["text"] or example["detail"]).split())
        one["example"] = {"id": example["id"], "text": _cut(told, _SHORT)}
    n = sum(one.n for one in reasons)
    return {"shown": shown, "rarer": rarer, "n": f"{n:,}", "of": f"{n_all:,}"}


def _reason(one: Reason, facts: DataFacts, n_all: int) -> dict[str, Any]:
    part = one.n / max(n_all, 1)
    places = one.places.most_common(4)
    told = ", ".join(f"{name} {n:,}" for name, n in places)
    rest = one.n - sum(n for _, n in places)
    return {
        "name": plain(one.reason),
        "n": f"{one.n:,}",
        "share": share(part),
        "meter": meter(part),
        "stage": STAGES.get(one.stage, one.stage),
        "meaning": meaning(one.reason, limit_of(facts, one.reason)),
        "places": f"{told}, elsewhere {rest:,}" if rest else told,
        "lines": [
            {"line": _cut(line, _SHORT), "n": f"{n:,}"}
            for line, n in one.lines.most_common(_SHOWN_LINES)
            if n > 1
        ],
        "examples": [_example(row) for row in one.examples],
    }


def _example(row: dict[str, Any]) -> dict[str, Any]:
    detail = row["detail"] or ""
    if row["score"] is not None and detail.startswith(f"{row['reason']} with "):
        detail = f"scored {row['score']:.3g}"
    return {"id": row["id"], "detail": detail, "text": _cut(tidy(row["text"] or ""), EXCERPT)}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} …"


def _rules(facts: DataFacts) -> list[dict[str, Any]]:
    """The rules that are on: what each drops first, and what it would drop alone."""
    first = Counter({one.reason: one.n for one in facts.reasons if one.stage == "clean"})
    several = not _rules_from(facts)
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


def _rules_from(facts: DataFacts) -> str:
    """Where the limits are from, if from one place."""
    places = {rule.source for rule in facts.rules or [] if rule.n_beyond}
    return places.pop() if len(places) == 1 else ""


# --- languages, lengths, copies -------------------------------------------------------------------


def _told_languages(facts: DataFacts) -> tuple[list[Language], list[Language]]:
    """Languages that hold enough of the text to be told, and the rest."""
    found = facts.languages or []
    total = max(sum(one.n_characters for one in found), 1)
    told = [one for one in found if one.n_characters >= _SMALL * total][:_SHOWN_LANGUAGES]
    return told, found[len(told) :]


def _languages(facts: DataFacts) -> list[dict[str, Any]]:
    total = max(sum(one.n_characters for one in facts.languages or []), 1)
    told, rest = _told_languages(facts)
    rows = [(language_name(one.code), one) for one in told]
    if rest:
        joined = Language(None)
        for one in rest:
            joined.n += one.n
            joined.n_characters += one.n_characters
            joined.n_dropped += one.n_dropped
        rows.append((f"{len(rest):,} others", joined))
    return [
        {
            "name": name,
            "share": share(one.n_characters / total),
            "meter": meter(one.n_characters / total),
            "n": f"{one.n:,}",
            "dropped": f"{one.n_dropped:,}",
            "dropped_share": share(one.n_dropped / max(one.n, 1)),
            "dropped_meter": meter(one.n_dropped / max(one.n, 1)),
        }
        for name, one in rows
    ]


def _language_note(facts: DataFacts) -> str:
    if facts.languages is None:
        if facts.rules is not None:
            return "Languages were not identified (cleaning.identify_language is off)."
        return "What the stages measured was deleted, or nothing was cleaned: languages unknown."
    _, rest = _told_languages(facts)
    names = ", ".join(language_name(one.code) for one in rest[:8])
    more = " and more" if len(rest) > 8 else ""
    return f"The others: {names}{more}. Of short texts the language is a guess." if rest else ""


def _lengths(facts: DataFacts) -> list[dict[str, Any]]:
    told: list[tuple[str, str, str, Lengths | None]] = [
        ("Documents as they were read", "characters", "documents", facts.lengths_read),
        ("Pieces, training and held out", "bytes", "pieces", facts.lengths),
        ("Training pieces in tokens", "tokens", "pieces", facts.token_lengths),
    ]
    return [
        {
            "name": name,
            "unit": unit,
            "svg": histogram(size_bins(one.bins), title=f"{name}, {unit}", unit=things),
            "median": rounded(one.median),
            "longest": f"{one.longest:,}",
            "n": f"{one.n:,} {things}",
        }
        for name, unit, things, one in told
        if one is not None and one.n
    ]


def rounded(n: int) -> str:
    """Two digits of a length that is known from bins.

    >>> rounded(262), rounded(9), rounded(1545)
    ('260', '9', '1,500')
    """
    return f"{int(float(f'{n:.2g}')):,}"


def _clusters(facts: DataFacts) -> list[dict[str, Any]]:
    rows = []
    for name, one in (("of exact copies", facts.exact), ("of near copies", facts.near)):
        if one.n:
            rows.append(
                {
                    "name": name,
                    "n": plural(one.n, "cluster"),
                    "removed": f"{one.n_removed:,}",
                    "largest": f"{one.largest:,}",
                    "kept": one.kept,
                    "svg": histogram(cluster_bins(one), title=f"clusters {name}", unit="clusters"),
                }
            )
    return rows


def cluster_bins(clusters: Clusters) -> dict[str, int]:
    """Clusters by how many documents they hold.

    >>> cluster_bins(Clusters({2: 7, 4: 1, 5: 1}))
    {'2': 7, '3': 0, '4–5': 2}
    """
    bins: dict[str, int] = {}
    for low, high in _SIZES:
        name = f"{low}" if low == high else f"{low}–{high}" if high < 1 << 62 else f"{low}+"
        if low <= clusters.largest:
            bins[name] = sum(n for size, n in clusters.sizes.items() if low <= size <= high)
    return bins


def _pair(pair: Pair) -> dict[str, Any]:
    row = pair.removed
    kept, removed = tidy(pair.kept_text), tidy(pair.removed_text)
    told = difference(kept, removed) if kept and removed else ("", tidy(row["text"] or ""))
    return {
        "removed_id": row["id"],
        "kept_id": row["kept_id"],
        "similarity": f"{row['score']:.2f}" if row["score"] is not None else "",
        "kept": told[0],
        "removed": told[1],
    }


def _contamination(facts: DataFacts) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "n_items": f"{one['items']:,}",
            "findable": f"{one['findable']:,}",
            "found": f"{one['items_found']:,}",
            "share": share(one["items_found"] / max(one["findable"], 1)),
            "documents": f"{one['documents']:,}",
        }
        for name, one in (facts.manifest["contamination"] or {}).items()
    ]


def _hits(facts: DataFacts) -> list[dict[str, Any]]:
    """A few documents that hold items: which, and the words that they share."""
    rows = [row for one in facts.reasons if one.stage == "decontaminate" for row in one.examples]
    told = []
    for row in rows[:_SHOWN_HITS]:
        what, _, words = (row["detail"] or "").partition(": ")
        told.append({"id": row["id"], "detail": what, "text": _cut(tidy(words), EXCERPT)})
    return told


# --- mixture and packing --------------------------------------------------------------------------


def _sources(facts: DataFacts) -> list[dict[str, Any]]:
    amounts, lost = seen(facts), lost_by_source(facts)
    total = max(sum(amounts.values()), 1e-9)
    rows = []
    for told in facts.manifest["sources"]:
        name = told["name"]
        about = facts.counts.get("sources", {}).get(name)
        if about is None:
            continue
        kept = about["documents"]
        licences = told["licences"] or ({told["licence"]: 0} if told["licence"] else {})
        rows.append(
            {
                "name": name,
                "licence": ", ".join(licences) or "unknown",
                "read": format_bytes(told["bytes"]) if not told["built_in"] else "made here",
                "bytes": format_bytes(kept["train"]["n_bytes"] + kept["heldout"]["n_bytes"]),
                "tokens": format_number(facts.tokens.get(name, 0)),
                "weight": f"{about['weight']:g}",
                "left": f"{lost[name][1] - lost[name][0]:,} of {lost[name][1]:,}",
                "per_token": _per_token(facts, name),
                "share": share(amounts[name] / total),
                "meter": meter(amounts[name] / total),
            }
        )
    return rows


def _per_token(facts: DataFacts, name: str) -> str:
    n = facts.tokens.get(name, 0)
    return f"{facts.token_bytes[name] / n:.1f}" if n else ""


def _packed(facts: DataFacts) -> list[dict[str, Any]]:
    """A row for each length and way of packing, the ways of one length together."""
    per_length = Counter(one.seq_len for one in facts.packed)
    rows: list[dict[str, Any]] = []
    for one in facts.packed:
        is_first = not rows or rows[-1]["seq_len"] != f"{one.seq_len:,}"
        rows.append(
            {
                "seq_len": f"{one.seq_len:,}",
                "span": per_length[one.seq_len] if is_first else 0,
                "packing": one.packing,
                "left_out": ", ".join(one.left_out),
                "n_rows": f"{one.n_rows:,}",
                "padding": share(one.padding_share),
                "unseen": share(one.unseen_share),
                "cut": share(one.cut_share),
            }
        )
    return rows
