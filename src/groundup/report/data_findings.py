"""What the owner of prepared data may not have known: the sentences its page begins with.

Each is one look at the facts, and says nothing where nothing stands out. Called by `data_page.py`
and by `groundup data report`.
"""

from __future__ import annotations

from collections.abc import Iterable

from groundup.data.cleaning.rules import RULES
from groundup.report.data_facts import Clusters, DataFacts, Language, Reason, cleaning_of
from groundup.report.data_words import (
    language_name,
    masked_words,
    meaning,
    plain,
    plural,
    share,
)

MOST = 0.5  # of the text: more than this from one source is worth a word
_MANY = 20  # documents of a language, before its share of dropped ones means something
_SMALL = 0.005
_FAR = 0.2  # between the shares that sources lose
_DEAR = 1.3  # a source whose text takes so many times the tokens of the others


def headline(facts: DataFacts) -> str:
    """The answer in one line."""
    n_in, n_out = ends(facts)
    if not n_in and (beside := spoken(facts)):
        return f"No documents, but {beside}"
    if n_in == n_out:
        return f"All {plural(n_in, 'document')} are left"
    return f"Of {plural(n_in, 'document')}, {n_out:,} {'is' if n_out == 1 else 'are'} left"


def ends(facts: DataFacts) -> tuple[int, int]:
    """Documents that were read, and documents left before they are cut to size."""
    stages = [one for one in facts.manifest["stages"] if one["name"] not in ("divide", "tokenize")]
    return stages[0]["documents_out"], stages[-1]["documents_out"]


def spoken(facts: DataFacts) -> str:
    """Chats and preference pairs that are left, in words; nothing where there are none."""
    divided = next(one for one in facts.manifest["stages"] if one["name"] == "divide")
    kinds = (("chats", "chat"), ("preferences", "preference pair"))
    told = [(divided.get(f"{kind}_out", 0), name) for kind, name in kinds]
    return " and ".join(plural(n, name) for n, name in told if n)


def refusals(facts: DataFacts) -> list[Reason]:
    """Why files and rows could not be read."""
    return [one for one in facts.reasons if one.stage == "read" and not one.is_cut]


def drops(facts: DataFacts) -> list[Reason]:
    """Why documents that were read were dropped."""
    return [one for one in facts.reasons if one.stage != "read" and not one.is_cut]


def lost_by_source(facts: DataFacts) -> dict[str, tuple[int, int]]:
    """For each source how many of its documents were dropped, and how many were read."""
    found = {}
    for source in facts.manifest["sources"]:
        name = source["name"]
        lost = sum(one.sources[name] for one in drops(facts))
        found[name] = (lost, lost + facts.n_left[name])
    return found


def n_at(facts: DataFacts, name: str) -> int:
    """Documents that came to a stage."""
    stages = {stage["name"]: stage["documents_in"] for stage in facts.manifest["stages"]}
    return int(stages[name])


def limit_of(facts: DataFacts, reason: str) -> float | None:
    """The limit of the rule that drops for a reason; None where it is no rule's."""
    config = cleaning_of(facts.manifest)
    return next((rule.limit(config) for rule in RULES if rule.reason == reason), None)


def findings(facts: DataFacts) -> list[str]:
    """The sentences, what takes most first."""
    found = [
        *_about_refusals(facts),
        *_about_drops(facts),
        *_about_losers(facts),
        *_about_copies(facts),
        *_about_cuts(facts),
        *_about_contamination(facts),
        *_about_languages(facts),
        *_about_sources(facts),
        *_about_tokens(facts),
        *_about_lengths(facts),
        *_about_changes(facts),
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


def _about_drops(facts: DataFacts) -> Iterable[str]:
    n_in, n_out = ends(facts)
    reasons = drops(facts)
    if not reasons or n_in == n_out:
        return
    top = reasons[0]
    told = meaning(top.reason, limit_of(facts, top.reason))
    yield (
        f"{share(1 - n_out / n_in)} of the documents that were read were dropped. The most "
        f"frequent reason is “{plain(top.reason)}”{f' ({told})' if told else ''}: "
        f"{top.n:,}{mostly(top)}."
    )


def _about_losers(facts: DataFacts) -> Iterable[str]:
    """The source that loses most and the one that loses least, if they lie far apart."""
    lost = {name: n / of for name, (n, of) in lost_by_source(facts).items() if of >= _MANY}
    if not lost:
        return
    most, least = max(lost, key=lambda one: lost[one]), min(lost, key=lambda one: lost[one])
    if lost[most] > _FAR + lost[least]:
        yield (
            f"The sources lose very different shares: {most} {share(lost[most])} of its documents, "
            f"{least} {share(lost[least])}."
        )


def _about_copies(facts: DataFacts) -> Iterable[str]:
    exact, near = facts.exact.n_removed, facts.near.n_removed
    compared = next((s for s in facts.manifest["stages"] if s["name"] == "dedup_exact"), None)
    if compared is None or not exact + near:
        return
    largest = largest_of(facts)
    n_across = facts.exact.n_across + facts.near.n_across
    yield (
        f"{share((exact + near) / max(compared['documents_in'], 1))} of the documents that were "
        f"compared were copies of others: {exact:,} the same byte for byte, {near:,} nearly so. "
        + (f"{n_across:,} of them had their original in another source. " if n_across else "")
        + f"The largest set of copies has {largest.largest:,} documents, of which "
        f"{largest.kept} is kept."
    )


def largest_of(facts: DataFacts) -> Clusters:
    """The kind of copies that has the largest cluster."""
    return max(facts.near, facts.exact, key=lambda one: one.largest)


def _about_cuts(facts: DataFacts) -> Iterable[str]:
    for one in facts.reasons:
        stage = next(s for s in facts.manifest["stages"] if s["name"] == one.stage)
        if one.is_cut:
            lost = 1 - stage["bytes_out"] / max(stage["bytes_in"], 1)
            yield (
                f"{plural(one.n, 'document')} ({share(one.n / stage['documents_in'])}) lost a "
                f"part that other texts share, {share(lost)} of all text: "
                f"{meaning(one.reason) or plain(one.reason)}."
            )


def _about_contamination(facts: DataFacts) -> Iterable[str]:
    for name, one in (facts.manifest["contamination"] or {}).items():
        if one["items_found"]:
            verb = "gives" if one["documents"] == 1 else "give"
            yield (
                f"{plural(one['documents'], 'document')} {verb} away {one['items_found']:,} of the "
                f"{one['findable']:,} items of the evaluation set {name} that can be looked for: a "
                "model trained on them would seem better than it is."
            )
        else:
            yield f"No item of the evaluation set {name} was found in the text."


def _about_languages(facts: DataFacts) -> Iterable[str]:
    if not facts.languages:
        return
    total = max(sum(one.n_characters for one in facts.languages), 1)
    shown = [one for one in facts.languages if one.n_characters / total >= _SMALL]
    if len(shown) > 1:
        told = [f"{language_name(one.code)} {share(one.n_characters / total)}" for one in shown]
        yield f"By language, the text is {', '.join(told[:6])}."
    elif shown:
        yield f"The text is in one language: {language_name(shown[0].code)}."
    hit = hardest_hit(facts.languages)
    if hit is not None:
        n, dropped = (sum(getattr(one, x) for one in facts.languages) for x in ("n", "n_dropped"))
        yield (
            f"The rules drop {share(hit.n_dropped / hit.n)} of the documents in "
            f"{language_name(hit.code)}, but {share(dropped / n)} of all. Most rules were made for "
            "English; look whether they are right for it."
        )


def hardest_hit(languages: Iterable[Language]) -> Language | None:
    """The language that loses most, if that is far more than the others lose.

    >>> en, hi = Language("en", 100, 9, 10), Language("hi", 40, 9, 30)
    >>> hardest_hit([en, hi]).code, hardest_hit([en])
    ('hi', None)
    """
    known = [one for one in languages if one.n >= _MANY]
    if len(known) < 2:
        return None
    part = sum(one.n_dropped for one in known) / sum(one.n for one in known)
    worst = max(known, key=lambda one: (one.n_dropped / one.n, one.code or ""))
    is_far = worst.n_dropped / worst.n > max(1.5 * part, part + 0.1)
    return worst if is_far else None


def seen(facts: DataFacts) -> dict[str, float]:
    """For each source how much of it is seen: its training tokens, or bytes, by its weight."""
    found = {}
    for name, about in facts.counts.get("sources", {}).items():
        amount = (
            facts.tokens.get(name, 0) if facts.tokens else about["documents"]["train"]["n_bytes"]
        )
        found[name] = amount * about["weight"]
    return found


def _about_sources(facts: DataFacts) -> Iterable[str]:
    amounts = seen(facts)
    total = sum(amounts.values())
    if len(amounts) < 2 or not total:
        return
    name, n = max(amounts.items(), key=lambda item: (item[1], item[0]))
    if n / total > MOST:
        yield f"{share(n / total)} of what a model would train on is from {name}."
    gone = [source for source, n in amounts.items() if not n]
    if gone:
        yield f"Nothing at all is left to train on of {', '.join(gone)}."


def _about_tokens(facts: DataFacts) -> Iterable[str]:
    rates = {
        name: facts.token_bytes[name] / n
        for name, n in facts.tokens.items()
        if n and facts.token_bytes.get(name)
    }
    if len(rates) < 2:
        return
    name = min(rates, key=lambda one: (rates[one], one))
    others = [one for one in rates if one != name]
    rest = sum(facts.token_bytes[x] for x in others) / sum(facts.tokens[x] for x in others)
    if rest / rates[name] > _DEAR:
        yield (
            f"The tokenizer serves {name} worst: {rates[name]:.1f} bytes a token, where the other "
            f"sources have {rest:.1f}."
        )


def _about_lengths(facts: DataFacts) -> Iterable[str]:
    lengths = facts.lengths_read
    if lengths and lengths.n > _MANY and lengths.longest > lengths.total / 10:
        yield (
            f"One document of {plural(lengths.longest, 'character')} holds "
            f"{share(lengths.longest / lengths.total)} of the text."
        )


def _about_changes(facts: DataFacts) -> Iterable[str]:
    if facts.repaired:
        yield (
            f"{plural(facts.repaired, 'document')} had broken characters, line ends or control "
            "characters, which were repaired."
        )
    if facts.masked:
        kinds = ", ".join(masked_words(kind, n) for kind, n in facts.masked.most_common())
        yield f"Masked: {kinds}."


def _about_spoken(facts: DataFacts) -> Iterable[str]:
    if ends(facts)[0] and (beside := spoken(facts)):
        yield f"Beside the documents there are {beside}; this page is about the documents."
