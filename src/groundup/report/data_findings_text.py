"""What the owner of prepared data may not have known of the texts themselves.

Languages, tokens, the largest document, what was guessed and what was changed: more of the
sentences that the page begins with. Called by `data_findings.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from groundup.report.data_facts import DataFacts
from groundup.report.data_lengths import document_of
from groundup.report.data_measured import Language
from groundup.report.data_stages import assumed
from groundup.report.data_words import (
    language_name,
    masked_words,
    plural,
    share,
)
from groundup.report.format import format_bytes

_MANY = 20  # documents of a language, before its share of dropped ones means something
_SMALL = 0.005
_LARGE = 0.1  # of the text, in one document
_DEAR = 1.3  # a source whose text takes so many times the tokens of the others
_ENCODING = "encoding "  # what a note of a guessed encoding begins with
_FAULTY = "encoding utf-8 with faults"
_NO_LANGUAGE = ("zxx", "und")


def about_large(facts: DataFacts) -> Iterable[str]:
    """One document that holds much of what is left."""
    total = facts.lengths.total
    if not facts.largest or facts.n_left.total() <= _MANY:
        return
    one = facts.largest[0]
    if one.n_bytes <= _LARGE * total:
        return
    what = "document" if document_of(one.name) == one.name and "#" in one.name else "file"
    language = ""
    if one.language is not None:
        is_none = one.language in _NO_LANGUAGE
        language = f", in {'no human language' if is_none else language_name(one.language)}"
    yield (
        f"One {what}, {one.name}, holds {share(one.n_bytes / total)} of the text left "
        f"({format_bytes(one.n_bytes)}{language}). Leave it out if that is not what a model is to "
        "learn."
    )


def about_languages(facts: DataFacts) -> Iterable[str]:
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
        yield (
            f"The rules drop {share(hit.rate)} of the documents in {language_name(hit.code)}, but "
            f"{share(joined(facts.languages).rate)} of all. Most rules were made for English; look "
            "whether they are right for it."
        )


def hardest_hit(languages: Iterable[Language]) -> Language | None:
    """The language that loses most, if that is far more than the others lose.

    What is dropped because other languages were asked for is no loss.

    >>> en, hi = Language("en", 100, 9, 10), Language("hi", 40, 9, 30)
    >>> hardest_hit([en, hi]).code, hardest_hit([en])
    ('hi', None)
    >>> hardest_hit([en, Language("zh", 40, 9, 40, 40)])
    """
    known = [one for one in languages if one.n - one.n_unwanted >= _MANY]
    if len(known) < 2:
        return None
    part = joined(known).rate
    worst = max(known, key=lambda one: (one.rate, one.code or ""))
    return worst if worst.rate > max(1.5 * part, part + 0.1) else None


def joined(languages: Iterable[Language]) -> Language:
    """Several languages as one."""
    found = Language(None)
    for one in languages:
        found.n += one.n
        found.n_characters += one.n_characters
        found.n_dropped += one.n_dropped
        found.n_unwanted += one.n_unwanted
    return found


def about_tokens(facts: DataFacts) -> Iterable[str]:
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


def about_guesses(facts: DataFacts) -> Iterable[str]:
    """Encodings other than UTF-8, and faults in it."""
    notes = assumed(facts.manifest)
    faulty = notes.pop(_FAULTY, Counter())
    guessed = {note: of for note, of in notes.items() if note.startswith(_ENCODING)}
    if guessed:
        n = sum(of.total() for of in guessed.values())
        named = ", ".join(
            f"{note.removeprefix(_ENCODING)} ({of.total():,})" for note, of in guessed.items()
        )
        yield (
            f"{plural(n, 'file is', 'files are')} not UTF-8; the encoding was guessed, or taken "
            f"from what the file declares: {named}, {_where(guessed.values())}. A wrong guess "
            "gives wrong letters: look at them."
        )
    if faulty:
        yield (
            f"{plural(faulty.total(), 'file has', 'files have')} bytes that are not UTF-8 among "
            f"others that are, {_where([faulty])}; these were replaced."
        )


def _where(counts: Iterable[Counter[str]]) -> str:
    places: Counter[str] = Counter()
    for one in counts:
        places.update(one)
    return f"in {', '.join(name for name, _ in places.most_common(4))}"


def about_changes(facts: DataFacts) -> Iterable[str]:
    if facts.repaired:
        yield (
            f"{plural(facts.repaired, 'document')} had broken characters, line ends or control "
            "characters, which were repaired."
        )
    if facts.masked:
        kinds = ", ".join(masked_words(kind, n) for kind, n in facts.masked.most_common())
        yield f"Masked: {kinds}."
