"""Text to measure vocabularies on: what it is written in, where it comes from, how long it is.

A vocabulary that suits English may cut Hindi to bytes, so held-out text is divided into passages,
each of one source and one writing, and every figure of the laboratory is a sum over passages.

Legend
    source    the sub-folder or the file that a text comes from
    script    Unicode's property of a character: Latin, Han, Cyrillic; signs and digits have none
    writing   what a passage is written in: its script, or the language where scripts make one
    word      letters, marks and digits in a row; where a writing has no spaces, one character
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import regex

# The scripts that text is written in today (unicode.org/reports/tr31, table 5, and a few more);
# all others together are `Other`.
SCRIPTS = (
    "Latin", "Han", "Cyrillic", "Arabic", "Devanagari", "Hiragana", "Katakana", "Hangul", "Greek",
    "Hebrew", "Thai", "Bengali", "Tamil", "Telugu", "Gujarati", "Gurmukhi", "Kannada", "Malayalam",
    "Oriya", "Sinhala", "Georgian", "Armenian", "Ethiopic", "Khmer", "Lao", "Myanmar", "Tibetan",
    "Mongolian", "Bopomofo", "Thaana", "Cherokee", "Tifinagh", "Syriac", "Javanese",
)  # fmt: skip
SIGNS = "signs"  # characters of no script: spaces, digits, punctuation, symbols, emoji
OTHER = "Other"
NO_LETTERS = "no letters"
# Writings without spaces between words: there a character counts as a word.
WITHOUT_SPACES = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
WRITINGS_WITHOUT_SPACES = ("Chinese", "Japanese", *WITHOUT_SPACES[3:])
_LANGUAGES = {"Han": "Chinese", "Hiragana": "Japanese", "Katakana": "Japanese", "Hangul": "Korean"}
# Of a document's Han and kana, the share of kana from which its Han is Japanese. Japanese prose has
# about half, Chinese none but in quotations.
_KANA_SHARE = 0.05

_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{Script={name}}})" for name in SCRIPTS))
_OF_NO_SCRIPT = regex.compile(r"\p{Script=Common}|\p{Script=Inherited}")
_ALONE = "".join(rf"\p{{Script={name}}}" for name in WITHOUT_SPACES)
_WORD = regex.compile(
    rf"(?V1)[[\p{{L}}\p{{M}}\p{{N}}_]--[{_ALONE}]]+(?:['’][[\p{{L}}]--[{_ALONE}]]+)*"
    rf"|[[{_ALONE}]&&[\p{{L}}]]"
)
_ASCII_WORD = re.compile(
    r"[A-Za-z0-9_]+(?:'[A-Za-z]+)*"
)  # the same for ASCII, several times as fast


@dataclass(frozen=True)
class Sample:
    """A text and where it comes from."""

    source: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A stretch of a text that is written in one writing."""

    source: str
    writing: str
    text: str


@dataclass(frozen=True)
class Part:
    """How much text there is of a source, of a writing, or of all."""

    name: str
    n_bytes: int
    n_characters: int
    n_words: int


@dataclass(frozen=True)
class HeldOut:
    """Text that no vocabulary was trained on, divided, and what can be counted without any.

    `sources` and `writings` begin with the largest; `characters` counts those of each script.
    """

    passages: tuple[Passage, ...]
    whole: Part
    sources: tuple[Part, ...]
    writings: tuple[Part, ...]
    characters: dict[str, int]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> HeldOut:
        """Divide samples into passages.

        >>> samples = [Sample("news", "Hello, world\\n"), Sample("poems", "春眠不觉晓")]
        >>> held_out = HeldOut.of(samples)
        >>> held_out.writings[0]
        Part(name='Chinese', n_bytes=15, n_characters=5, n_words=5)
        >>> held_out.characters
        {'Latin': 10, 'Han': 5, 'signs': 3}
        """
        found: list[Passage] = []
        characters: Counter[str] = Counter()
        for sample in samples:
            found += (Passage(sample.source, *stretch) for stretch in stretches(sample.text))
            for character, n in Counter(sample.text).items():
                characters[script_of(character)] += n
        by_source: dict[str, list[Part]] = defaultdict(list)
        by_writing: dict[str, list[Part]] = defaultdict(list)
        counted = [_counted(passage.text) for passage in found]
        for passage, part in zip(found, counted, strict=True):
            by_source[passage.source].append(part)
            by_writing[passage.writing].append(part)
        return cls(
            tuple(found),
            _sum("all", counted),
            _sums(by_source),
            _sums(by_writing),
            dict(characters.most_common()),
        )


def stretches(text: str) -> Iterator[tuple[str, str]]:
    """(writing, text) of a text's passages: lines of the same writing, one after the other.

    A line's writing is the script that takes most of its bytes; a line without letters goes with
    the one before it. The stretches joined are the text.

    >>> list(stretches("1.\\nOne\\n---\\nРаз, two\\n")) # doctest: +NORMALIZE_WHITESPACE
    [('Latin', '1.\\nOne\\n---\\n'), ('Cyrillic', 'Раз, two\\n')]
    """
    if not text:
        return
    if text.isascii():
        yield ("Latin" if any(map(str.isalpha, text)) else NO_LETTERS), text
        return
    is_japanese = _is_japanese(text)
    writing, begin, at = "", 0, 0
    for line in text.splitlines(keepends=True):
        found = _writing_of(line, is_japanese)
        if found and writing and found != writing:
            yield writing, text[begin:at]
            begin = at
        writing = found or writing
        at += len(line)
    yield writing or NO_LETTERS, text[begin:]


def count_words(text: str) -> int:
    """Words of a text; of Chinese, Japanese, Thai and their like, characters.

    >>> count_words("It's 2 o'clock"), count_words("春眠不觉晓, he said")
    (3, 7)
    """
    return len(_ASCII_WORD.findall(text) if text.isascii() else _WORD.findall(text))


@lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str:
    """The script of one character.

    >>> [script_of(character) for character in "aЖ中あ7𐌰"]
    ['Latin', 'Cyrillic', 'Han', 'Hiragana', 'signs', 'Other']
    """
    if found := _SCRIPT.match(character):
        assert found.lastgroup is not None
        return str(found.lastgroup)
    return SIGNS if _OF_NO_SCRIPT.match(character) else OTHER


def _writing_of(line: str, is_japanese: bool) -> str:
    """What a line is written in; nothing if it has no letters."""
    n_bytes: Counter[str] = Counter()
    for character, n in Counter(line).items():
        if character.isalpha() and (script := script_of(character)) != SIGNS:
            if script == "Han" and is_japanese:
                script = "Hiragana"
            n_bytes[_LANGUAGES.get(script, script)] += n * len(character.encode(errors="replace"))
    return n_bytes.most_common(1)[0][0] if n_bytes else ""


def _is_japanese(text: str) -> bool:
    """Whether the Han characters of a document are Japanese."""
    n: Counter[str] = Counter()
    for character, times in Counter(text).items():
        n[script_of(character)] += times
    n_kana = n["Hiragana"] + n["Katakana"]
    return n_kana > _KANA_SHARE * (n_kana + n["Han"])


def _counted(text: str) -> Part:
    n_bytes = len(text.encode(errors="replace"))
    return Part("", n_bytes, len(text), count_words(text))


def _sums(groups: dict[str, list[Part]]) -> tuple[Part, ...]:
    parts = [_sum(name, passages) for name, passages in groups.items()]
    return tuple(sorted(parts, key=lambda part: -part.n_bytes))


def _sum(name: str, parts: Iterable[Part]) -> Part:
    parts = list(parts)
    return Part(
        name,
        n_bytes=sum(part.n_bytes for part in parts),
        n_characters=sum(part.n_characters for part in parts),
        n_words=sum(part.n_words for part in parts),
    )
