"""Which texts are dropped, and why: scores held against limits, in an order that is fixed.

The order is FineWeb's: what the text is at all (length, language), Gopher's repetition and quality,
C4, FineWeb, then the user's word list and classifier. A text is dropped for the first rule it
breaks. `RULES` is that order; each rule says where it is from. Source code is asked no rule on
prose nor on languages: the length window, the word list and the classifier decide of it. Called by
`stage.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from groundup.data.cleaning.config import CleaningConfig
from groundup.data.cleaning.repetition import DUPLICATE_N_GRAMS, TOP_N_GRAMS

_GOPHER = "Rae et al. 2021 (Gopher), section A.1.1"
_TABLE = "Rae et al. 2021 (Gopher), table A1"
_C4 = "Raffel et al. 2020 (C4), section 2.2"
_FINEWEB = "Penedo et al. 2024 (FineWeb), section 3.6"
_FINEWEB_DUPLICATES = f"{_FINEWEB} (datatrove's code: 0.01)"
_FINEWEB_CODE = "datatrove's FineWebQualityFilter (not in Penedo et al. 2024)"
_LANGUAGE = "Penedo et al. 2024 (FineWeb), section 3.3"
_MOSTLY = 0.5  # of the words
Drops = Literal["below", "above"]
Only = Literal["all", "english", "spaced", "marked"]


@dataclass(frozen=True)
class Rule:
    """Drops a text whose score lies beyond a limit.

    reason: the slug under which a dropped text is counted
    score: the column of the scores it looks at
    drops: whether it drops what lies below or above the limit; at the limit a text is kept
    field: where in the config the limit stands, as `group.field`
    source: paper and section, and where its well-known code differs
    only: of which texts it is asked. "spaced": not of those most of whose words are in a script
        that does not part them (Chinese, Japanese, Thai ...); "marked": not of those most of whose
        words are in Thai, Lao, Tibetan, Burmese or Khmer, where sentences may end with no mark;
        "english": of English alone, or spaced texts where the language is not identified
    """

    reason: str
    score: str
    drops: Drops
    field: str
    source: str
    only: Only = "all"

    @property
    def is_on_prose(self) -> bool:
        """Whether it is never asked of source code."""
        return "." in self.field or self.field == "min_language_score"

    def limit(self, config: CleaningConfig) -> float | None:
        """The limit, None where the rule is off.

        >>> RULES[0].field, RULES[0].limit(CleaningConfig(min_characters=10))
        ('min_characters', 10.0)
        """
        group, _, name = self.field.rpartition(".")
        rules = getattr(config.rules, group) if group else config
        value = None if rules is None else getattr(rules, name)
        if self.field in _SWITCHES:
            return 0.0 if value else None
        if _NEEDS.get(self.field) is not None and getattr(config, _NEEDS[self.field]) is None:
            return None
        return None if value is None else float(value)

    def breaks(self, scores: pa.Table, config: CleaningConfig) -> np.ndarray:
        """Which rows break the rule, bool: (n_rows,)."""
        limit = self.limit(config)
        if limit is None:
            return np.zeros(len(scores), dtype=bool)
        values = _numbers(scores, self.score)
        broken = values < limit if self.drops == "below" else values > limit
        if self.only == "english":
            languages = scores.column("language").to_pylist()
            broken &= np.array([code in (None, "en") for code in languages], dtype=bool)
        if self.only in ("english", "spaced"):
            broken &= _numbers(scores, "unspaced_words") <= _MOSTLY
        elif self.only == "marked":
            broken &= _numbers(scores, "unmarked_words") <= _MOSTLY
        if self.is_on_prose:
            broken &= _numbers(scores, "code") < 1
        return broken


# Switches: a text is dropped where the score is above 0.
_SWITCHES = ("c4.refuse_lorem_ipsum", "c4.refuse_curly_bracket")
# Limits that count only where something else is given.
_NEEDS = {
    "min_language_score": "languages",
    "max_listed_words": "word_list",
    "min_quality": "classifier",
}

_GOPHER_RULES: tuple[tuple[str, str, Drops, str, Only], ...] = (
    ("too_few_words", "words", "below", "min_words", "all"),
    ("too_many_words", "words", "above", "max_words", "all"),
    ("words_too_short", "mean_word_length", "below", "min_mean_word_length", "spaced"),
    ("words_too_long", "mean_word_length", "above", "max_mean_word_length", "spaced"),
    ("too_many_hashes", "hashes", "above", "max_hashes_per_word", "all"),
    ("too_many_ellipses", "ellipses", "above", "max_ellipses_per_word", "all"),
    ("too_many_bullet_lines", "bullet_lines", "above", "max_bullet_lines", "all"),
    ("too_many_ellipsis_lines", "ellipsis_lines", "above", "max_ellipsis_lines", "all"),
    ("too_few_alphabetic_words", "alphabetic_words", "below", "min_alphabetic_words", "spaced"),
    (
        "too_few_alphabetic_full_words",
        "alphabetic_full_words",
        "below",
        "min_alphabetic_full_words",
        "all",
    ),
    ("too_few_stop_words", "stop_words", "below", "min_stop_words", "english"),
)
_FINEWEB_RULES: tuple[tuple[str, str, Drops, str, str, Only], ...] = (
    ("too_few_end_marks", "end_mark_lines", "below", "min_end_mark_lines", _FINEWEB, "marked"),
    ("too_many_short_lines", "short_lines", "above", "max_short_lines", _FINEWEB, "all"),
    (
        "too_many_characters_in_duplicate_lines",
        "duplicate_line_characters",
        "above",
        "max_duplicate_line_characters",
        _FINEWEB_DUPLICATES,
        "all",
    ),
    (
        "too_many_newlines",
        "newlines_per_word",
        "above",
        "max_newlines_per_word",
        _FINEWEB_CODE,
        "all",
    ),
)
_DUPLICATES = ("lines", "paragraphs", "line_characters", "paragraph_characters")


def _repetition(reason: str, score: str, field: str) -> Rule:
    return Rule(reason, f"repetition_{score}", "above", f"repetition.{field}", _TABLE)


RULES: tuple[Rule, ...] = (
    Rule("too_few_characters", "n_characters", "below", "min_characters", "the length window"),
    Rule("too_many_characters", "n_characters", "above", "max_characters", "the length window"),
    Rule("language_unsure", "language_score", "below", "min_language_score", _LANGUAGE),
    *(_repetition(f"too_many_duplicate_{x}", x, f"max_duplicate_{x}") for x in _DUPLICATES),
    *(
        _repetition(f"{n}_gram_too_common", f"top_{n}_gram", f"max_top_{n}_gram")
        for n in TOP_N_GRAMS
    ),
    *(
        _repetition(f"too_many_repeated_{n}_grams", f"{n}_grams", f"max_repeated_{n}_grams")
        for n in DUPLICATE_N_GRAMS
    ),
    *(
        Rule(reason, f"gopher_{score}", drops, f"gopher_quality.{field}", _GOPHER, only)
        for reason, score, drops, field, only in _GOPHER_RULES
    ),
    Rule("has_lorem_ipsum", "c4_lorem_ipsum", "above", "c4.refuse_lorem_ipsum", _C4),
    Rule("has_curly_bracket", "c4_curly_bracket", "above", "c4.refuse_curly_bracket", _C4),
    Rule("too_few_sentences", "c4_sentences", "below", "c4.min_sentences", _C4, "marked"),
    *(
        Rule(reason, f"fineweb_{score}", drops, f"fineweb.{field}", source, only)
        for reason, score, drops, field, source, only in _FINEWEB_RULES
    ),
    Rule("has_listed_words", "listed_words", "above", "max_listed_words", _C4),
    Rule("poor_quality", "quality", "below", "min_quality", "the user's classifier"),
)
LANGUAGE_RULE = 2  # texts in other languages are dropped before this one of `RULES`
OTHER_LANGUAGE = "other_language"


def judge(scores: pa.Table, config: CleaningConfig) -> tuple[list[str | None], list[float]]:
    """For each row the reason of the first rule that drops it and the score it broke it with.

    A row that is kept has None and NaN.

    >>> row = {"id": "a", "n_characters": 3.0}
    >>> judge(pa.Table.from_pylist([row]), CleaningConfig(preset="none", min_characters=9))
    (['too_few_characters'], [3.0])
    """
    reasons = np.full(len(scores), None, dtype=object)
    values = np.full(len(scores), np.nan)
    is_open = np.ones(len(scores), dtype=bool)

    def drop(broken: np.ndarray, reason: str, score: str) -> None:
        broken = broken & is_open
        if broken.any():
            reasons[broken] = reason
            values[broken] = _numbers(scores, score)[broken]
            is_open[broken] = False

    for number, rule in enumerate(RULES):
        if number == LANGUAGE_RULE and config.languages is not None:
            codes = scores.column("language").to_pylist()
            other = np.array([code not in config.languages for code in codes], dtype=bool)
            other &= _numbers(scores, "code") < 1
            drop(other, OTHER_LANGUAGE, "language_score")
        drop(rule.breaks(scores, config), rule.reason, rule.score)
    return reasons.tolist(), values.tolist()


def _numbers(scores: pa.Table, name: str) -> np.ndarray:
    """A column as floats, NaN where it is null: no comparison holds of NaN."""
    column: Callable[..., np.ndarray] = scores.column(name).to_numpy
    return np.asarray(column(zero_copy_only=False), dtype=np.float64)
