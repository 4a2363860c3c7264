"""What the owner of prepared data may not have known: the sentences its page begins with.

Each is one look at the facts, and says nothing where nothing stands out. Those of what went and of
the sources are here, those of the texts in `data_findings_text.py`. Called by `data_page.py` and by
`groundup data report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from groundup.report.data_facts import DataFacts
from groundup.report.data_figures import (
    drops,
    ends,
    limit_of,
    lost_by_source,
    refusals,
    seen,
    spoken,
    stage_of,
    talk_of,
)
from groundup.report.data_findings_text import (
    about_changes,
    about_guesses,
    about_languages,
    about_large,
    about_tokens,
)
from groundup.report.data_removed import Clusters, Reason
from groundup.report.data_stages import counted, unread
from groundup.report.data_words import meaning, plain, plural, share
from groundup.report.format import format_bytes

MOST = 0.5  # of the text: more than this from one source is worth a word, and so is a loss
_MANY = 20  # documents of a source, before its share of dropped ones is compared
_FAR = 0.2  # between the shares that sources lose
_SHOWN_LOSERS = 4
_SHOWN_FILES = 3


def headline(facts: DataFacts) -> str:
    """The answer in one line."""
    n_in, n_out = ends(facts)
    if not n_in and (beside := spoken(facts)):
        return f"No documents, but {beside}"
    if n_in == n_out:
        return f"All {plural(n_in, 'document')} are left"
    return f"Of {plural(n_in, 'document')}, {n_out:,} {'is' if n_out == 1 else 'are'} left"


def findings(facts: DataFacts) -> list[str]:
    """The sentences, what takes most first."""
    found = [
        *_about_unread(facts),
        *_about_refusals(facts),
        *_about_drops(facts),
        *about_large(facts),
        *_about_losers(facts),
        *_about_copies(facts),
        *_about_cuts(facts),
        *_about_contamination(facts),
        *about_languages(facts),
        *_about_sources(facts),
        *about_tokens(facts),
        *about_guesses(facts),
        *about_changes(facts),
        *_about_spoken(facts),
    ]
    return found or ["Nothing was dropped, and nothing stands out."]


def mostly(reason: Reason) -> str:
    """Where most of a reason's documents lie, if that says anything.

    >>> from collections import Counter
    >>> mostly(Reason("empty", "read", 10, places=Counter({"web/old": 9, "books": 1})))
    ', 9 of them in web/old'
    >>> mostly(Reason("empty", "read", 2, places=Counter({"web": 2})))
    ', all in web'
    """
    [(place, n)] = reason.places.most_common(1)
    if n == reason.n:
        return f", all in {place}" if n > 1 else f", in {place}"
    return f", {n:,} of them in {place}" if n > MOST * reason.n else ""


# --- what could not be read -----------------------------------------------------------------------


def _about_unread(facts: DataFacts) -> Iterable[str]:
    """Files that gave nothing, in bytes: a large table counts for more than a small page."""
    n, n_bytes, files = unread(facts.manifest)
    total = sum(source["bytes"] for source in facts.manifest["sources"])
    if not n:
        return
    named = [f"{one['path']} ({format_bytes(one['bytes'])}, {plain(one['reason'])})"
             for one in files[:_SHOWN_FILES]]  # fmt: skip
    most = [one["name"] for one in facts.manifest["sources"] if n > 1 and _unread_share(one) > MOST]
    yield (
        f"{plural(n, 'file')} gave nothing: {format_bytes(n_bytes)} of the {format_bytes(total)} "
        f"in files. {'The largest are ' if n > 1 else 'It is '}{', '.join(named)}."
        + (f" More than half of {', '.join(most)} is in such files." if most else "")
    )


def _unread_share(source: Mapping[str, Any]) -> float:
    """Of the bytes of a source, those in files that gave nothing."""
    return float(source["unread"]["bytes"] / max(source["bytes"], 1))


def _about_refusals(facts: DataFacts) -> Iterable[str]:
    reasons = refusals(facts)
    n = sum(one.n for one in reasons)
    if not n:
        return
    top = reasons[0]
    yield (
        f"{plural(n, 'file or row', 'files and rows')} could not be read. The most frequent "
        f"reason is “{plain(top.reason)}” ({meaning(top.reason)}): {top.n:,}{mostly(top)}."
    )


# --- what was dropped -----------------------------------------------------------------------------


def _about_drops(facts: DataFacts) -> Iterable[str]:
    n_in, n_out = ends(facts)
    reasons = drops(facts)
    if not reasons or n_in == n_out:
        return
    top = max(reasons, key=lambda one: one.kinds["documents"])
    told = meaning(top.reason, limit_of(facts, top.reason))
    yield (
        f"{share(1 - n_out / n_in)} of the documents that were read were dropped. The most "
        f"frequent reason is “{plain(top.reason)}”{f' ({told})' if told else ''}: "
        f"{top.kinds['documents']:,}{'' if top.n_talk else mostly(top)}."
    )


def _about_losers(facts: DataFacts) -> Iterable[str]:
    """Sources that lose more than half; else the one that loses most, if it is far from the least.

    Of a source of which much was not read at all, nobody knows what it lost.
    """
    lost = lost_by_source(facts)
    most = sorted((name for name, (n, of) in lost.items() if n > MOST * of),
                  key=lambda name: (-lost[name][0], name))  # fmt: skip
    for name in most[:_SHOWN_LOSERS]:
        n, of = lost[name]
        top = max(drops(facts), key=lambda one: one.sources[name])
        yield (
            f"{name} lost {n:,} of the {plural(of, 'document')} read of it ({share(n / of)}), "
            f"{'all' if top.sources[name] == n else f'{top.sources[name]:,} of them'} for "
            f"“{plain(top.reason)}”."
        )
    if len(most) > _SHOWN_LOSERS:
        yield f"{len(most) - _SHOWN_LOSERS:,} more sources lost more than half of their documents."
    rates = {name: n / of for name, (n, of) in lost.items() if of >= _MANY and name not in most}
    partly = [one["name"] for one in facts.manifest["sources"] if _unread_share(one) > _FAR]
    whole = {name: rate for name, rate in rates.items() if name not in partly}
    if not rates or not whole:
        return
    worst, best = max(rates, key=lambda one: rates[one]), min(whole, key=lambda one: whole[one])
    if rates[worst] > _FAR + whole[best]:
        yield (
            f"The sources lose very different shares of the documents read of them: {worst} "
            f"{share(rates[worst])}, {best} {share(whole[best])}."
        )


def _about_copies(facts: DataFacts) -> Iterable[str]:
    compared = next((s for s in facts.manifest["stages"] if s["name"] == "dedup_exact"), None)
    kinds = {one.reason: one.kinds for one in drops(facts)}
    exact, near = (kinds.get(f"{one}_duplicate", {}) for one in ("exact", "near"))
    n_exact, n_near = exact.get("documents", 0), near.get("documents", 0)
    talk = counted({**exact, "documents": 0})
    if compared is None or not n_exact + n_near:
        if talk:
            yield f"{talk} were the same as others, byte for byte."
        return
    largest = largest_of(facts)
    n_across = facts.exact.n_across + facts.near.n_across
    yield (
        f"{share((n_exact + n_near) / max(compared['documents_in'], 1))} of the documents that "
        f"were compared were copies of others: {n_exact:,} the same byte for byte, {n_near:,} "
        "nearly so. "
        + (f"So were {talk}. " if talk else "")
        + (f"{n_across:,} had their original in another source. " if n_across else "")
        + f"The largest set of copies has {largest.largest:,} texts, of which {largest.kept} is "
        "kept."
    )


def largest_of(facts: DataFacts) -> Clusters:
    """The kind of copies that has the largest cluster."""
    return max(facts.near, facts.exact, key=lambda one: one.largest)


def _about_cuts(facts: DataFacts) -> Iterable[str]:
    for one in facts.reasons:
        if one.is_cut and one.stage.startswith("dedup"):
            stage = stage_of(facts, one.stage)
            lost = 1 - stage["bytes_out"] / max(stage["bytes_in"], 1)
            yield (
                f"{plural(one.n, 'document')} ({share(one.n / stage['documents_in'])}) lost a "
                f"part that other texts share, {share(lost)} of all text: "
                f"{meaning(one.reason) or plain(one.reason)}."
            )


def _about_contamination(facts: DataFacts) -> Iterable[str]:
    action = facts.manifest["parameters"].get("decontamination", {}).get("action", "document")
    for name, one in (facts.manifest["contamination"] or {}).items():
        if not one["items_found"]:
            yield f"No item of the evaluation set {name} was found in the text."
            continue
        n = one["documents"]
        done = f"{'it was' if n == 1 else 'they were'} dropped"
        if action == "span":
            done = "the words were cut out, or the whole text where little else was left"
        yield (
            f"{plural(n, 'text gives', 'texts give')} away {one['items_found']:,} of the "
            f"{one['findable']:,} items of the evaluation set {name} that can be looked for; "
            f"{done}."
        )


# --- sources --------------------------------------------------------------------------------------


def _about_sources(facts: DataFacts) -> Iterable[str]:
    amounts = seen(facts)
    total = sum(amounts.values())
    if len(amounts) > 1 and total:
        name, n = max(amounts.items(), key=lambda item: (item[1], item[0]))
        if n / total > MOST:
            yield f"{share(n / total)} of what a model would train on is from {name}."
    if len(amounts) > 1:
        left = {name: facts.n_left[name] or sum(talk_of(facts, name).values()) for name in amounts}
        gone = [name for name, n in left.items() if not n]
        if gone:
            yield f"Nothing at all is left of {', '.join(gone)}."


def _about_spoken(facts: DataFacts) -> Iterable[str]:
    if ends(facts)[0] and (beside := spoken(facts)):
        yield (
            f"Beside the documents there are {beside}; languages, lengths and shares are those of "
            "the documents."
        )
