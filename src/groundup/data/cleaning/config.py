"""What is cleaned and which limits decide: the published thresholds, each a field.

A limit that is None is off. Where a rule's paper and its well-known implementation differ, the
class says which is followed. Called by the data stage's config.

The papers' limits were set on English pages of the web. FineWeb-2 (Penedo et al. 2025) took words
from a segmenter of each language and limits from the texts of each. Here the limits stay, and what
is measured is brought to their scale: of scripts that do not part words, two ideographs or three
letters count as a word, an ideograph is as wide as three letters, and what a script has no sign for
is not asked of it (`words.py`, `lines.py`, `Rule.only`). Fenced blocks of code are left out of what
is measured, and source code is asked no rule on prose (`prose.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo

from groundup.runtime import config, to_dict

Preset = Literal["none", "light", "web"]
FromPreset = Literal["preset"]


@config
class RepetitionConfig:
    """Gopher's repetition rules: Rae et al. 2021, section A.1.1, thresholds of table A1.

    max_duplicate_lines: share of lines that came before in the text; blank ones do not count
    max_duplicate_paragraphs: share of paragraphs that came before
    max_duplicate_line_characters, max_duplicate_paragraph_characters: their share of the characters
    max_top_2_gram ... max_top_4_gram: share of characters in the commonest n-gram of words
    max_repeated_5_grams ... max_repeated_10_grams: share of characters in n-grams that come again
    """

    max_duplicate_lines: float | None = 0.30
    max_duplicate_paragraphs: float | None = 0.30
    max_duplicate_line_characters: float | None = 0.20
    max_duplicate_paragraph_characters: float | None = 0.20
    max_top_2_gram: float | None = 0.20
    max_top_3_gram: float | None = 0.18
    max_top_4_gram: float | None = 0.16
    max_repeated_5_grams: float | None = 0.15
    max_repeated_6_grams: float | None = 0.14
    max_repeated_7_grams: float | None = 0.13
    max_repeated_8_grams: float | None = 0.12
    max_repeated_9_grams: float | None = 0.11
    max_repeated_10_grams: float | None = 0.10


@config
class GopherQualityConfig:
    """Gopher's quality rules: Rae et al. 2021, section A.1.1 ("Quality Filtering").

    min_words, max_words: words with a letter or number in them
    min_mean_word_length, max_mean_word_length: characters of those words; not asked of texts most
        of whose words are in a script that does not part them, whose characters never count here
    max_hashes_per_word, max_ellipses_per_word: the paper's symbol-to-word ratio
    max_bullet_lines, max_ellipsis_lines: share of lines that begin with • or -, that end in ...
    min_alphabetic_words: share of words with a letter, where punctuation counts among the words, as
        in the implementation that FineWeb used; it drops every fourth piece of a novel, for its
        quotation marks, and is not asked of unspaced scripts, whose words are fewer by the mark
    min_alphabetic_full_words: the same among words with a letter or number, which is how the
        paper's sentence reads; the `web` preset asks this one
    min_stop_words: how many of `the be to of and that have with` occur, written so; asked of texts
        in English, and of all in spaced scripts where the language is not identified
    """

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_length: float | None = 3.0
    max_mean_word_length: float | None = 10.0
    max_hashes_per_word: float | None = 0.1
    max_ellipses_per_word: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_alphabetic_words: float | None = 0.8
    min_alphabetic_full_words: float | None = None
    min_stop_words: int | None = 2


@config
class C4Config:
    """C4's rules: Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2.

    Those on lines (they decide what `drop_lines` drops and which sentences count):

    require_end_mark: a line must end in . ? ! or a straight quote, and not in three points; or as
        sentences end in other scripts, such as in 。 or 」
    min_line_words: words that spaces part (the paper's three; its first version had five), or two
        ideographs each, or three letters of another unspaced script
    max_word_characters: a line with a longer word is dropped (not in the paper, in its code); no
        run of an unspaced script is one
    remove_citations: take out [1], [edit], [citation needed] (not in the paper, in its code)
    drop_javascript, drop_policies: lines that name JavaScript, terms of use, privacy, cookies

    Those on texts, by the lines that stay:

    min_sentences: sentences; not asked of texts in scripts that need not mark where they end (Thai,
        Lao, Tibetan, Burmese, Khmer)
    refuse_lorem_ipsum, refuse_curly_bracket: no text with a line that holds one
    """

    require_end_mark: bool = True
    min_line_words: int | None = 3
    max_word_characters: int | None = 1000
    remove_citations: bool = True
    drop_javascript: bool = True
    drop_policies: bool = True
    min_sentences: int | None = 5
    refuse_lorem_ipsum: bool = True
    refuse_curly_bracket: bool = True


@config
class FineWebConfig:
    """FineWeb's own rules: Penedo et al. 2024, "The FineWeb Datasets", section 3.6.

    The paper and datatrove, the code FineWeb was made with, differ. A limit is the paper's where it
    has one. What is at a limit is kept and a line of 30 characters is short, as in the code; the
    paper drops what is at a limit and calls lines short below 30.

    min_end_mark_lines: share of lines that end a sentence; blank lines do not count here. Not asked
        of Thai, Lao, Tibetan, Burmese and Khmer (FineWeb-2 has 0 for Thai)
    max_short_lines: share of lines of at most `short_line_characters`, of which an ideograph counts
        as three
    max_duplicate_line_characters: share of characters in lines that came before (0.1 in the paper,
        beside MassiveText's 0.2; datatrove's FineWebQualityFilter has 0.01)
    max_newlines_per_word: newlines by words, high where a text is a list (not in the paper, in
        datatrove)
    """

    min_end_mark_lines: float | None = 0.12
    max_short_lines: float | None = 0.67
    short_line_characters: int = 30
    max_duplicate_line_characters: float | None = 0.1
    max_newlines_per_word: float | None = 0.3


@config
class Rules:
    """The groups of rules with their limits; None is off."""

    repetition: RepetitionConfig | None = None
    gopher_quality: GopherQualityConfig | None = None
    c4: C4Config | None = None
    fineweb: FineWebConfig | None = None


_PRESETS = {
    "none": Rules(),
    "light": Rules(
        repetition=RepetitionConfig(
            max_duplicate_lines=None,
            max_duplicate_paragraphs=None,
            max_duplicate_line_characters=0.5,
            max_duplicate_paragraph_characters=0.5,
            max_top_2_gram=None,
            max_top_3_gram=None,
            max_top_4_gram=None,
            max_repeated_5_grams=None,
            max_repeated_6_grams=None,
            max_repeated_7_grams=None,
            max_repeated_8_grams=None,
            max_repeated_9_grams=None,
            max_repeated_10_grams=0.4,  # half of the words: spaces do not count in the share
        )
    ),
    "web": Rules(
        repetition=RepetitionConfig(),
        gopher_quality=GopherQualityConfig(
            min_alphabetic_words=None, min_alphabetic_full_words=0.8
        ),
        c4=C4Config(require_end_mark=False),
        fineweb=FineWebConfig(),
    ),
}


def _from_preset(value: Any, info: ValidationInfo) -> Any:
    """Let a mapping say only what differs from the preset's group."""
    if not isinstance(value, Mapping) or "preset" not in info.data or info.field_name is None:
        return value
    group = getattr(_PRESETS[info.data["preset"]], info.field_name)
    if group is not None:
        return {**to_dict(group), **value}
    return {**_without_limits(_GROUPS[info.field_name]), **value} if value else value


_GROUPS: dict[str, Any] = {
    "repetition": RepetitionConfig,
    "gopher_quality": GopherQualityConfig,
    "c4": C4Config,
    "fineweb": FineWebConfig,
}


def _without_limits(group: Any) -> dict[str, Any]:
    """A group of rules with each of them off.

    >>> _without_limits(C4Config)["min_sentences"], _without_limits(C4Config)["drop_policies"]
    (None, False)
    """
    found = to_dict(group())
    kept = ("short_line_characters",)
    return {
        name: value if name in kept else False if isinstance(value, bool) else None
        for name, value in found.items()
    }


def _as_codes(value: Any) -> Any:
    """Let a single language be written without a list, and Norwegian as YAML reads it."""
    values = (value,) if isinstance(value, str | bool) else value
    is_list = isinstance(values, list | tuple)
    return tuple("no" if one is False else one for one in values) if is_list else values


def _as_switch(value: Any) -> Any:
    """`off` as YAML reads it."""
    return "off" if value is False else value


_FILLED = BeforeValidator(_from_preset)


@config
class CleaningConfig:
    """What is repaired, which texts are dropped, and what is masked in those that stay.

    preset: which groups of rules are on where a group says "preset". `none` drops nothing. `light`
        is for texts somebody chose, such as books, poems and manuals: it drops those of which half
        says again what the text has said, and nothing for being short, a list or a play, which the
        published limits on repetition do. `web` is for pages nobody has looked at, FineWeb's order
        of rules: repetition, Gopher's quality (but for one limit, see there), C4 without its end
        marks, FineWeb. It drops most manuals, for their curly brackets and repeated headings
    repair: mend encodings, line ends and control characters first (`repair.py`)
    identify_language: score the language, which takes py3langid; off where None is wanted
    languages: codes of ISO 639, such as en or yue, of languages that are kept; None keeps all
    min_language_score: of the identified language's probability, where `languages` are given
        (0.65 is FineWeb's for another identifier)
    min_characters, max_characters: the length window; None is no bound
    repetition, gopher_quality, c4, fineweb: a group's limits, "preset", or None for off. A mapping
        (as from a recipe or `--set`) says what differs from the preset's group; where the preset
        has none, only the limits it names are on, or all of the paper's if it is empty
    drop_lines: drop the lines that C4's line rules name before texts are scored
    word_list: a file with a word or phrase on each line; None is off
    max_listed_words: how often listed words may occur (none in Raffel et al. 2020, section 2.2)
    classifier: a file that `QualityClassifier.save` wrote; None is off
    min_quality: of the classifier's probability that a text is good
    pii: `mask` replaces addresses, numbers and keys by placeholders (`pii.py`), in documents, in
        what is said in chats and pairs, and in what `removed/` shows of dropped ones. The stages'
        own files, which nothing is trained on, hold what was read
    """

    preset: Preset = "light"
    repair: bool = True
    identify_language: bool = True
    languages: Annotated[tuple[str, ...] | None, BeforeValidator(_as_codes)] = None
    min_language_score: float = 0.65
    min_characters: int | None = None
    max_characters: int | None = None
    repetition: Annotated[RepetitionConfig | FromPreset | None, _FILLED] = "preset"
    gopher_quality: Annotated[GopherQualityConfig | FromPreset | None, _FILLED] = "preset"
    c4: Annotated[C4Config | FromPreset | None, _FILLED] = "preset"
    fineweb: Annotated[FineWebConfig | FromPreset | None, _FILLED] = "preset"
    drop_lines: bool = False
    word_list: Path | None = None
    max_listed_words: int = 0
    classifier: Path | None = None
    min_quality: float = 0.5
    pii: Annotated[Literal["off", "mask"], BeforeValidator(_as_switch)] = "off"

    def __post_init__(self) -> None:
        least, most = self.min_characters, self.max_characters
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_characters={least} must be at most max_characters={most}")
        if self.languages is not None and not self.languages:
            raise ValueError("languages=() keeps nothing; name some, or leave it out to keep all")
        for code in self.languages or ():
            if not re.fullmatch("[a-z]{2,3}", code):
                raise ValueError(f"languages={code} is no code of a language; write them as en, de")
        if self.languages is not None and not self.identify_language:
            raise ValueError("languages needs identify_language=true to know them")
        for name in ("min_language_score", "min_quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to 1")

    @property
    def rules(self) -> Rules:
        """The groups of rules that are on, presets filled in."""
        preset = _PRESETS[self.preset]
        return Rules(
            repetition=preset.repetition if self.repetition == "preset" else self.repetition,
            gopher_quality=preset.gopher_quality
            if self.gopher_quality == "preset"
            else self.gopher_quality,
            c4=preset.c4 if self.c4 == "preset" else self.c4,
            fineweb=preset.fineweb if self.fineweb == "preset" else self.fineweb,
        )

    @property
    def line_rules(self) -> C4Config:
        """C4's rules on lines, by which sentences count also where C4's rules are off."""
        return self.rules.c4 or C4Config()
