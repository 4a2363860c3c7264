"""What is measured in a text, one number for each thing a rule may ask: limits play no part.

So limits can be changed without reading the texts again. `SCORES` says what each column is;
`rules.py` holds them against limits. What the rules on prose ask is measured without fenced blocks
of code (`prose.py`). Called by `stage.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from groundup.data.cleaning.boilerplate import judge_lines
from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.classifier import QualityClassifier
from groundup.data.cleaning.config import CleaningConfig, FineWebConfig
from groundup.data.cleaning.languages import LanguageIdentifier
from groundup.data.cleaning.lines import (
    BLANK,
    BULLET,
    ELLIPSIS,
    ENDS_SENTENCE,
    Lines,
    count_marks,
    find_lines,
    find_paragraphs,
)
from groundup.data.cleaning.prose import is_source_code, prose_of
from groundup.data.cleaning.repetition import (
    DUPLICATE_N_GRAMS,
    TOP_N_GRAMS,
    count_duplicates,
    n_gram_characters,
)
from groundup.data.cleaning.word_list import WordList
from groundup.data.cleaning.words import (
    HAS_LETTER,
    IDEOGRAPHS_OF_WORD,
    IS_ALPHABET,
    IS_SYMBOL,
    IS_UNSPACED,
    LETTERS_OF_WORD,
    Words,
    count_known,
    count_words,
    find_words,
    hash_words,
)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, A.1.1

SCORES = {
    "language": "likeliest language, ISO 639-1; null where it is not identified",
    "language_score": "that language's probability",
    "n_characters": "characters",
    "code": "share of characters in fenced blocks of code; 1 of source code",
    "n_words": "words, punctuation among them; two ideographs are one, or three letters of Thai",
    "unspaced_words": "share of words in a script that does not part them",
    "unmarked_words": "share of words in a script of them that need not mark where sentences end",
    "repetition_lines": "share of non-empty lines that came before",
    "repetition_paragraphs": "share of paragraphs that came before",
    "repetition_line_characters": "share of characters in lines that came before",
    "repetition_paragraph_characters": "share of characters in paragraphs that came before",
    **{
        f"repetition_top_{n}_gram": f"share of characters in the commonest {n}-gram of words"
        for n in TOP_N_GRAMS
    },
    **{
        f"repetition_{n}_grams": f"share of characters in {n}-grams that come again"
        for n in DUPLICATE_N_GRAMS
    },
    "gopher_words": "words with a letter or number",
    "gopher_mean_word_length": "characters of those words, their mean",
    "gopher_hashes": "number signs by words",
    "gopher_ellipses": "ellipses by words",
    "gopher_bullet_lines": "share of lines that begin with a bullet",
    "gopher_ellipsis_lines": "share of lines that end in an ellipsis",
    "gopher_alphabetic_words": "share of words with a letter",
    "gopher_alphabetic_full_words": "the same among words with a letter or number",
    "gopher_stop_words": "how many of the eight stop words occur",
    "c4_lorem_ipsum": "1 where a line holds `lorem ipsum`",
    "c4_curly_bracket": "1 where a line holds a curly bracket",
    "c4_sentences": "sentences in the lines that C4's rules keep",
    "fineweb_end_mark_lines": "share of non-blank lines that end a sentence",
    "fineweb_short_lines": "share of non-blank lines that are short",
    "fineweb_duplicate_line_characters": "share of characters in lines that came before",
    "fineweb_newlines_per_word": "newlines by words",
    "listed_words": "occurrences of words on the word list; null without one",
    "quality": "the classifier's probability of being good; null without one",
}
SCORE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("language", pa.string()),
        *(pa.field(name, pa.float64()) for name in SCORES if name != "language"),
    ]
)


class Scorer:
    """Scores texts; holds the language model, the word list and the classifier.

    Raises DataError if one of them is asked for and not there.

    >>> config = CleaningConfig(preset="web", identify_language=False)
    >>> scores = Scorer(config).score("To be.\\nTo be.")
    >>> scores["repetition_lines"], scores["gopher_stop_words"], scores["c4_sentences"]
    (0.5, 1.0, 0.0)
    """

    def __init__(self, config: CleaningConfig) -> None:
        fineweb = config.rules.fineweb or FineWebConfig()
        self._short_line, self._line_rules = fineweb.short_line_characters, config.line_rules
        self._identifier = LanguageIdentifier.load() if config.identify_language else None
        self._words = WordList.load(config.word_list) if config.word_list else None
        self._classifier = QualityClassifier.load(config.classifier) if config.classifier else None
        self._stop_words = hash_words(STOP_WORDS)

    def score(self, text: str, path: str | None = None) -> dict[str, Any]:
        """The score of each name in `SCORES`; floats, but for the language, or None.

        path: of the file that the text is from, by which source code is known
        """
        is_source = is_source_code(path)
        prose = text if is_source else prose_of(text)
        points = code_points(prose)
        words, lines = find_words(points), find_lines(points)
        n_words = count_words(words)
        n_unspaced, n_unmarked = _count_unspaced(words)
        language = self._identifier.identify(prose) if self._identifier else (None, None)
        return {
            "language": language[0],
            "language_score": language[1],
            "n_characters": float(len(text)),
            "code": 1.0 if is_source else _share(len(text) - len(prose), len(text)),
            "n_words": n_words,
            "unspaced_words": _share(n_unspaced, n_words),
            "unmarked_words": _share(n_unmarked, n_words),
            **_repetition(points, words, lines),
            **_words(points, words, n_words, n_words - n_unspaced, self._stop_words),
            **_lines(points, lines, n_words, self._short_line),
            **self._c4(prose),
            "listed_words": float(self._words.count(text)) if self._words else None,
            "quality": self._classifier.probability(text) if self._classifier else None,
        }

    def _c4(self, text: str) -> dict[str, float]:
        judged = judge_lines(text, self._line_rules)
        return {
            "c4_lorem_ipsum": float(judged.has_lorem_ipsum),
            "c4_curly_bracket": float(judged.has_curly_bracket),
            "c4_sentences": float(judged.n_sentences),
        }


def score_table(table: pa.Table, config: CleaningConfig, scorer: Scorer | None = None) -> pa.Table:
    """Scores of a table with `id`, `text` and perhaps `path`, of `SCORE_SCHEMA`, row for row.

    Of the config only what is measured counts: C4's rules on lines, what a short line is, the word
    list, the classifier and whether languages are identified.
    """
    scorer = scorer or Scorer(config)
    columns: dict[str, list[Any]] = {name: [] for name in SCORES}
    texts = table.column("text")
    paths = table.column("path") if "path" in table.schema.names else pa.nulls(len(table))
    for text, path in zip(texts, paths, strict=True):
        for name, value in scorer.score(text.as_py(), path.as_py()).items():
            columns[name].append(value)
    ids = table.column("id").to_pylist()
    return pa.table({"id": ids, **columns}, schema=SCORE_SCHEMA)


def _words(
    points: np.ndarray, words: Words, n_words: float, n_spaced: float, stop_words: np.ndarray
) -> dict[str, float]:
    """What Gopher's rules ask of words; `n_spaced` of them are not of an unspaced script."""
    _, n_hashes, n_ellipses = count_marks(points)
    is_symbol = (words.kinds & IS_SYMBOL) > 0
    is_plain = ~is_symbol & ((words.kinds & IS_UNSPACED) == 0)
    n_symbols = _count(is_symbol)
    n_full = n_words - n_symbols
    n_alphabetic = n_words - n_spaced + _count(is_plain & ((words.kinds & HAS_LETTER) > 0))
    return {
        "gopher_words": n_full,
        "gopher_mean_word_length": _share(int(words.lengths[is_plain].sum()), _count(is_plain)),
        "gopher_hashes": _share(n_hashes, n_words),
        "gopher_ellipses": _share(n_ellipses, n_words),
        "gopher_alphabetic_words": _share(n_alphabetic, n_words),
        "gopher_alphabetic_full_words": _share(n_alphabetic, n_full),
        "gopher_stop_words": float(count_known(words.hashes, stop_words)),
    }


def _lines(points: np.ndarray, lines: Lines, n_words: float, short_line: int) -> dict[str, float]:
    """What Gopher's and FineWeb's rules ask of lines."""
    n_newlines, _, _ = count_marks(points)
    n_lines = len(lines.kinds)
    is_full = (lines.kinds & BLANK) == 0
    n_full = _count(is_full)
    _, duplicate_characters = count_duplicates(lines.hashes[is_full], lines.lengths[is_full])
    is_short = is_full & (lines.widths <= short_line)
    return {
        "gopher_bullet_lines": _share(_count(lines.kinds & BULLET), n_lines),
        "gopher_ellipsis_lines": _share(_count(lines.kinds & ELLIPSIS), n_lines),
        "fineweb_end_mark_lines": _share(_count(lines.kinds & ENDS_SENTENCE), n_full),
        "fineweb_short_lines": _share(_count(is_short), n_full),
        "fineweb_duplicate_line_characters": _share(duplicate_characters, len(points) - n_newlines),
        "fineweb_newlines_per_word": _share(n_newlines, n_words),
    }


def _repetition(points: np.ndarray, words: Words, lines: Lines) -> dict[str, float]:
    n_characters = len(points)
    is_full = (lines.kinds & BLANK) == 0
    n_lines, line_characters = count_duplicates(lines.hashes[is_full], lines.lengths[is_full])
    paragraphs = find_paragraphs(points)
    n_paragraphs, paragraph_characters = count_duplicates(*paragraphs)
    grams = n_gram_characters(words).tolist()
    names = [f"repetition_top_{n}_gram" for n in TOP_N_GRAMS]
    names += [f"repetition_{n}_grams" for n in DUPLICATE_N_GRAMS]
    return {
        "repetition_lines": _share(n_lines, _count(is_full)),
        "repetition_paragraphs": _share(n_paragraphs, len(paragraphs[0])),
        "repetition_line_characters": _share(line_characters, n_characters),
        "repetition_paragraph_characters": _share(paragraph_characters, n_characters),
        **{name: _share(n, n_characters) for name, n in zip(names, grams, strict=True)},
    }


def _count(flags: np.ndarray) -> int:
    return int(np.count_nonzero(flags))


def _count_unspaced(words: Words) -> tuple[float, float]:
    """Words of unspaced scripts, and those of them in scripts that need not mark sentences."""
    n_letters = _count(words.kinds & IS_ALPHABET)
    n_ideographs = _count(words.kinds & IS_UNSPACED) - n_letters
    n_unmarked = n_letters / LETTERS_OF_WORD
    return n_unmarked + n_ideographs / IDEOGRAPHS_OF_WORD, n_unmarked


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
