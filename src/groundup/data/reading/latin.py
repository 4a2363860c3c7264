"""Which encoding text in Latin letters is in, told by the letters that its language has.

Called by `encoding.py`. A few bytes above ASCII are enough here: read in one encoding they give
letters that the language of the text writes, in places where letters and quotes can stand, and in
the others `caf\u017d`, `tr\u010ds` or `It\u00d5s`. What could be read in two ways is not decided.
"""

from __future__ import annotations

import re
from typing import Any

# Those that are told apart; of two that read the same bytes alike, the first.
ENCODINGS = (
    "cp1252", "cp1250", "cp1254", "cp1257", "iso8859_2", "iso8859_15", "mac_roman", "cp850",
)  # fmt: skip
_WINDOWS = ENCODINGS[:4]
_RARE = ("mac_roman", "cp850")  # of computers before Windows
_FEWEST_OF_RARE = 3  # bytes above ASCII

# Letters beyond ASCII of each language in its own words (Unicode CLDR, exemplar characters), and
# for English those of the words and names it takes from its neighbours.
_LETTERS = {
    "ca": "àçéèíïóòúü",
    "cs": "áčďéěíňóřšťúůýž",
    "da": "æøåéö",
    "de": "äöüßéàè",
    "en": "àáâãäåæçèéêëíîïñóôöøœúûü",
    "es": "áéíñóúü",
    "et": "äõöüšž",
    "fi": "äöåé",
    "fr": "àâæçéèêëîïôœùûüÿ",
    "hr": "čćđšž",
    "hu": "áéíóöőúüű",
    "is": "áðéíóúýþæö",
    "it": "àèéìíîòóù",
    "lt": "ąčęėįšųūž",
    "lv": "āčēģīķļņšūž",
    "nl": "áäéèêëïíóöúûü",
    "no": "æøåéèêóòôö",
    "pl": "ąćęłńóśźż",
    "pt": "ãáàâçéêíõóôúü",
    "ro": "ăâîşţ",
    "sk": "áäčďéíľĺňóôŕšťúýž",
    "sl": "čšž",
    "sv": "åäöéàü",
    "tr": "çğıöşüâîû",
}
_FEWEST_CHARACTERS = 200  # by which a language is told, or
_FEWEST_LETTERS = 8  # above ASCII, which bear it out; of less text only `_COMMON` is certain
_N_LANGUAGES = 3  # that a text may be in
_COMMON = "äéöü"  # the same in all of `_WINDOWS`
_ALONE = {  # letters that are words
    "ca": "àéíó", "da": "åø", "en": "à", "es": "áéóú", "fr": "àô", "hu": "éő", "is": "áíó",
    "it": "àèéòó", "lt": "į", "no": "åøæ", "pt": "àéó", "sv": "åö",
}  # fmt: skip
_MOST_MISFITS = 0.03  # of the characters above ASCII
_BYTES_PER_WORD = re.compile(rb"[a-zA-Z\x80-\xff]+")
_HIGH = re.compile(rb"[\x80-\xff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_CONTRACTION = re.compile(r"(?:s|t|d|m|n|ll|re|ve|em|er)(?![a-z])", re.IGNORECASE)
_ELIDED = re.compile(r"(?<![a-z])[a-z]{1,2}$", re.IGNORECASE)
_MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|</?[a-z][^<>]*>", re.DOTALL | re.IGNORECASE)
_AFTER_NUMBERS = "°²³¹¼½¾ªº£€¥¢µ§±"
_APART = "×÷†‡%™®©¶•·\xa0\xad"  # never within words


def looks_latin(data: bytes) -> bool:
    """Whether the bytes above ASCII stand in words of ASCII letters or alone, nine in ten of them.

    >>> looks_latin("déjà vu".encode("cp1252")), looks_latin("это да".encode("cp1251"))
    (True, False)
    """
    n_high = n_within = 0
    for found in _BYTES_PER_WORD.finditer(data):
        word = found.group()
        high = len(_HIGH.findall(word))
        n_high += high
        if high == 1 or 3 * high <= 2 * len(word):
            n_within += high
    return n_within >= 0.9 * n_high


def latin_encoding(data: bytes, used: frozenset[int]) -> str | None:
    """The one encoding in which `data` reads as its language is written, None if none is certain.

    used: the bytes above ASCII of all of the text that `data` is a part of
    """
    n_high = len(_HIGH.findall(data))
    languages: dict[str, str | None] = {}
    misfits: dict[str, int] = {}
    for name in ENCODINGS:
        text = data.decode(name, "replace")
        tried = [(_n_misfits(text, language), language) for language in _languages_of(text, n_high)]
        misfits[name], languages[name] = min(tried, key=lambda one: one[0])
    best = min(ENCODINGS, key=lambda name: misfits[name])
    if misfits[best] > _MOST_MISFITS * n_high or (best in _RARE and n_high < _FEWEST_OF_RARE):
        return None
    is_english = languages[best] == "en"
    spelled = {name: _spelled(name, used) for name in ENCODINGS}
    for name in ENCODINGS:
        rival = spelled[name] != spelled[best] and misfits[name] <= 2 * misfits[best]
        if rival and not (is_english and best == "cp1252" and name not in _WINDOWS):
            return None
    return None if "\ufffd" in spelled[best] else best


def _languages_of(text: str, n_high: int) -> list[str | None]:
    """Which languages it may be in, the likeliest first; None for one that is not known."""
    from resiliparse.parse.lang import detect_fast

    if len(text) < _FEWEST_CHARACTERS and n_high < _FEWEST_LETTERS:
        return [None]
    found: Any = detect_fast(_MARKUP.sub(" ", text), n_results=_N_LANGUAGES)
    return [name for name, _ in found if name in _LETTERS] or [None]


def _spelled(name: str, used: frozenset[int]) -> str:
    return bytes(sorted(used)).decode(name, "replace")


def _n_misfits(text: str, language: str | None) -> int:
    """How many characters above ASCII stand where they cannot, or are none of the language."""
    letters = _LETTERS.get(language or "", _COMMON)
    letters, alone = letters + letters.upper() + "İŸ", _ALONE.get(language or "", "")
    n_misfits = 0
    for found in _NOT_ASCII.finditer(text):
        at, character = found.start(), found.group()
        before, behind = text[at - 1 : at], text[at + 1 : at + 2]
        if character in letters:
            fits = _letter_fits(character, before, behind, alone + alone.upper())
        elif character == "’":
            within = before.isalpha() and behind.isalpha()
            fits = not within or language != "en" or _is_apostrophe(text, at)
        else:
            fits = _mark_fits(character, before, behind, language)
        n_misfits += not fits
    return n_misfits


def _letter_fits(character: str, before: str, behind: str, alone: str) -> bool:
    if before.isdigit() or (character.islower() and behind.isupper()):
        return False
    if character.isupper() and before.islower():
        return False
    return before.isalpha() or behind.isalpha() or character in alone


def _is_apostrophe(text: str, at: int) -> bool:
    """Whether it stands in a word as in English: it's, O'Brien.

    >>> _is_apostrophe("it’s", 2), _is_apostrophe("Garc’a", 4)
    (True, False)
    """
    return bool(_CONTRACTION.match(text, at + 1) or _ELIDED.search(text, max(at - 3, 0), at))


def _mark_fits(character: str, before: str, behind: str, language: str | None) -> bool:
    within = before.isalpha() and behind.isalpha()
    if character in "“”‘":
        return not (before.isalnum() and behind.isalnum())
    if character in "„‚«»‹›":
        return not (language == "en" or (before.isalnum() and behind.isalnum()))
    if character == "·" and language == "ca":
        return True
    if character in _AFTER_NUMBERS:
        return not before.isalpha()
    if character in _APART:
        return not (before.isalpha() or behind.isalpha()) or (
            character in "™®©•\xa0" and not within
        )
    if character in "¿¡":
        return language in ("es", "ca") and not before.isalpha()
    return character in "–—…"
