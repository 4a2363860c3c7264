"""What the page tells of what is there: languages, lengths, copies, sources, packing.

Called by `data_page.py`.
"""

from __future__ import annotations

from typing import Any

from groundup.report.data_charts import histogram, metered, size_bins
from groundup.report.data_excerpts import cut, difference, excerpt, same_but_for_space, tidy
from groundup.report.data_facts import DataFacts
from groundup.report.data_figures import lost_by_source, seen, talk_of
from groundup.report.data_findings_text import joined
from groundup.report.data_lengths import Lengths
from groundup.report.data_measured import Language
from groundup.report.data_removed import Clusters, Pair
from groundup.report.data_stages import counted
from groundup.report.data_tokens import Packed
from groundup.report.data_words import language_name, plural, share
from groundup.report.format import format_bytes, format_number

SMALL = 0.001  # of the text: languages with less are told together, they are mostly guesses
_SHOWN_LANGUAGES = 14
_NO_LANGUAGE = (None, "zxx", "und")
_SIZES = ((2, 2), (3, 3), (4, 5), (6, 9), (10, 19), (20, 99), (100, 1 << 62))
_ALMOST = 0.999


# --- languages ------------------------------------------------------------------------------------


def told_languages(facts: DataFacts) -> tuple[list[Language], list[Language]]:
    """Languages that hold enough of the text to be told, and the rest."""
    found = facts.languages or []
    total = max(sum(one.n_characters for one in found), 1)
    told = [one for one in found if one.n_characters >= SMALL * total][:_SHOWN_LANGUAGES]
    return told, found[len(told) :]


def human_languages(facts: DataFacts) -> list[Language]:
    """Of those that are told, the ones that people speak."""
    return [one for one in told_languages(facts)[0] if one.code not in _NO_LANGUAGE]


def languages(facts: DataFacts) -> list[dict[str, Any]]:
    """A row for each language, the smallest in one."""
    total = max(sum(one.n_characters for one in facts.languages or []), 1)
    told, rest = told_languages(facts)
    rows = [(language_name(one.code), one) for one in told]
    if rest:
        rows.append((f"{len(rest):,} with less", joined(rest)))
    return [
        {
            "name": name,
            "share": metered(one.n_characters / total),
            "n": f"{one.n:,}",
            "dropped": f"{one.n_dropped:,}",
            "dropped_share": metered(one.n_dropped / max(one.n, 1)),
        }
        for name, one in rows
    ]


def language_note(facts: DataFacts) -> str:
    """What is to be known about the table, or why there is none."""
    if facts.languages is None:
        if facts.rules is not None:
            return "Languages were not identified (cleaning.identify_language is off)."
        return "What the stages measured was deleted, or nothing was cleaned: languages unknown."
    _, rest = told_languages(facts)
    names = ", ".join(language_name(one.code) for one in rest[:8])
    more = " and more" if len(rest) > 8 else ""
    return (
        f"With less than {share(SMALL)} of the text each: {names}{more}. Of short texts the "
        "language is a guess."
        if rest
        else ""
    )


# --- lengths and copies ---------------------------------------------------------------------------


def lengths(facts: DataFacts) -> list[dict[str, Any]]:
    """A histogram for documents, for pieces, and for pieces in tokens."""
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
            "of_text": rounded(one.median_of_text, one.longest),
            "longest": f"{one.longest:,}",
            "n": f"{one.n:,} {things}",
            "things": things,
        }
        for name, unit, things, one in told
        if one is not None and one.n
    ]


def length_note(facts: DataFacts) -> str:
    """That what is very long counts as several documents, where something is."""
    if not facts.n_cut:
        return ""
    most = format_bytes(facts.manifest["parameters"]["reading"]["piece_bytes"])
    return (
        f"{plural(facts.n_cut, 'document is', 'documents are')} longer than {most} and "
        f"{'goes' if facts.n_cut == 1 else 'go'} through the stages in parts, each of which is "
        "counted there as a document; here it is one."
    )


def rounded(n: int, longest: int | None = None) -> str:
    """Two digits of a length that is known from bins, and no more than the longest there is.

    >>> rounded(262), rounded(9), rounded(1545), rounded(9975, 9980)
    ('260', '9', '1,500', '9,980')
    """
    near = int(float(f"{n:.2g}"))
    return f"{near if longest is None else min(near, longest):,}"


def clusters(facts: DataFacts) -> list[dict[str, Any]]:
    """Sets of copies by how many are in one."""
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


def cluster_bins(found: Clusters) -> dict[str, int]:
    """Clusters by how many documents they hold.

    >>> cluster_bins(Clusters({2: 7, 4: 1, 5: 1}))
    {'2': 7, '3': 0, '4–5': 2}
    """
    bins: dict[str, int] = {}
    for low, high in _SIZES:
        name = f"{low}" if low == high else f"{low}–{high}" if high < 1 << 62 else f"{low}+"
        if low <= found.largest:
            bins[name] = sum(n for size, n in found.sizes.items() if low <= size <= high)
    return bins


def pair(one: Pair) -> dict[str, Any]:
    """Two texts that are nearly the same, side by side."""
    row = one.removed
    told: tuple[str, str] = ("", excerpt(row["text"] or ""))
    note = ""
    if one.kept_text and one.removed_text:
        kept, removed = tidy(one.kept_text), tidy(one.removed_text)
        if same_but_for_space(kept, removed):
            note, told = "they differ in white space only", (excerpt(kept), excerpt(removed))
        else:
            told = difference(kept, removed)
            if row["score"] == 1:
                note = "the same runs of words: other order, marks or capitals"
    return {
        "removed_id": row["id"],
        "kept_id": row["kept_id"],
        "similarity": similarity(row["score"]),
        "note": note,
        "kept": told[0],
        "removed": told[1],
    }


def similarity(score: float | None) -> str:
    """A similarity in two digits, or three where two would say that all is the same.

    >>> similarity(0.9687), similarity(0.9968), similarity(0.99996), similarity(1.0)
    ('0.97', '0.997', '0.999', '1')
    """
    if score is None:
        return ""
    if score == 1:
        return "1"
    return f"{score:.2f}" if score < 0.995 else f"{min(score, _ALMOST):.3f}"


def contamination(facts: DataFacts) -> list[dict[str, Any]]:
    """A row for each evaluation set."""
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


# --- mixture and packing --------------------------------------------------------------------------


def sources(facts: DataFacts) -> list[dict[str, Any]]:
    """A row for each source: what is left of it, and how much of it a model would see."""
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
        n_lost, n_read = lost[name]
        rows.append(
            {
                "name": name,
                "licence": cut(", ".join(licences) or "unknown", 60),
                "read": format_bytes(told["bytes"]) if not told["built_in"] else "made here",
                "bytes": format_bytes(kept["train"]["n_bytes"] + kept["heldout"]["n_bytes"]),
                "tokens": format_number(facts.tokens.get(name, 0)),
                "weight": f"{about['weight']:g}",
                "left": f"{n_read - n_lost:,} of {n_read:,}" if n_read else "none",
                "talk": counted(talk_of(facts, name)),
                "per_token": _per_token(facts, name),
                "share": metered(amounts[name] / total),
            }
        )
    return rows


def _per_token(facts: DataFacts, name: str) -> str:
    n = facts.tokens.get(name, 0)
    return f"{facts.token_bytes[name] / n:.1f}" if n else ""


def packed(facts: DataFacts) -> list[dict[str, Any]]:
    """A row for each length, with what each way of packing loses there."""
    found: dict[int, dict[str, Packed]] = {}
    for one in facts.packed:
        found.setdefault(one.seq_len, {})[one.packing] = one
    return [
        {
            "seq_len": f"{seq_len:,}",
            "n_rows": f"{ways['best_fit'].n_rows:,}",
            "padding": share(ways["best_fit"].padding_share),
            "cut": share(ways["best_fit"].cut_share),
            "concat_cut": share(ways["concat"].cut_share),
            "unseen": share(ways["bos_crop"].unseen_share),
        }
        for seq_len, ways in found.items()
    ]


def packing_example(facts: DataFacts) -> str:
    """What `bos_crop` throws away where it throws away most."""
    crops = [one for one in facts.packed if one.packing == "bos_crop"]
    if not crops:
        return ""
    worst = max(crops, key=lambda one: one.unseen_share)
    return f"{share(worst.unseen_share)} of the tokens in rows of {worst.seq_len:,}"
