"""Lines that are no running text: C4's rules on lines, and a text without them.

Raffel et al. 2020, section 2.2. Called by `scores.py`, which counts the sentences of the lines that
stay, and by `stage.py` where such lines are dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from groundup.data.cleaning.characters import character_bits, code_points
from groundup.data.cleaning.config import C4Config
from groundup.data.cleaning.lines import BRACE, ENDS_SENTENCE, measure_lines
from groundup.data.cleaning.prose import code_blocks, parts_of

CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
POLICIES = (
    "cookie policy",
    "privacy policy",
    "terms of use",
    "use cookies",
    "use of cookies",
    "uses cookies",
)
LOREM_IPSUM, JAVASCRIPT = "lorem ipsum", "javascript"
LINE_REASONS = (
    "word_too_long",
    "no_end_mark",
    "too_few_words_in_line",
    "names_javascript",
    "names_policy",
)
_LOREM, _SCRIPT, _POLICY = 1, 2, 4


@dataclass(frozen=True)
class JudgedLines:
    """A text's lines and what C4's rules say of them.

    text: without citations
    begins, ends: (n_lines,) of each line without the spaces around it
    reasons: (n_lines,) 0 for a line that stays, else 1 + its place in `LINE_REASONS`
    n_sentences: in the lines that stay
    has_lorem_ipsum, has_curly_bracket: in a line that would otherwise stay
    """

    text: str
    begins: np.ndarray
    ends: np.ndarray
    reasons: np.ndarray
    n_sentences: int
    has_lorem_ipsum: bool
    has_curly_bracket: bool


def judge_lines(text: str, rules: C4Config) -> JudgedLines:
    """Which lines stay, and what a text's verdict depends on.

    >>> found = judge_lines("A line that ends.\\nMenu\\nPlease turn on JavaScript now!", C4Config())
    >>> found.reasons.tolist(), found.n_sentences
    ([0, 2, 4], 1)
    """
    if rules.remove_citations and "[" in text:
        text = CITATION.sub("", text)
    points = code_points(text)
    n = text.count("\n") + 1
    begins, ends, n_words, longest, n_sentences = np.empty((5, n), dtype=np.int64)
    kinds = np.empty(n, dtype=np.uint8)
    n = measure_lines(points, character_bits(), begins, ends, n_words, longest, n_sentences, kinds)
    kinds, marks = kinds[:n], _phrases(text, n)
    reasons = np.zeros(n, dtype=np.int64)
    if rules.drop_policies:
        reasons[(marks & _POLICY) > 0] = 5
    if rules.drop_javascript:
        reasons[(marks & _SCRIPT) > 0] = 4
    if rules.min_line_words is not None:
        reasons[n_words[:n] < rules.min_line_words] = 3
    if rules.require_end_mark:
        reasons[(kinds & ENDS_SENTENCE) == 0] = 2
    if rules.max_word_characters is not None:
        reasons[longest[:n] > rules.max_word_characters] = 1
    is_lorem = (marks & _LOREM > 0) & ((reasons == 0) | (reasons > 3))
    is_curly = (kinds & BRACE > 0) & ((reasons == 0) | (reasons == 5))
    return JudgedLines(
        text,
        begins[:n],
        ends[:n],
        reasons,
        int(n_sentences[:n][reasons == 0].sum()),
        bool(is_lorem.any()),
        bool(is_curly.any()),
    )


def drop_lines(text: str, rules: C4Config) -> tuple[str, Counter[str]]:
    """The lines that stay, stripped and without citations, and how many went for each reason.

    Blank lines between lines that stay are kept, one at a time: they part paragraphs. Fenced blocks
    of code stay as they are.

    >>> text = "Home | About\\n\\nA fox [1] came by.\\n\\n\\nIt left again.\\n"
    >>> drop_lines(text, C4Config())
    ('A fox  came by.\\n\\nIt left again.', Counter({'no_end_mark': 1}))
    """
    kept: list[str] = []
    dropped: Counter[str] = Counter()
    for part, is_code in parts_of(text, code_blocks(text)):
        if is_code:
            kept += part.removesuffix("\n").split("\n")
        else:
            _keep_lines(part, rules, kept, dropped)
    return "\n".join(kept).strip("\n"), dropped


def _keep_lines(text: str, rules: C4Config, kept: list[str], dropped: Counter[str]) -> None:
    """Append the lines that stay."""
    judged = judge_lines(text, rules)
    stretches = zip(judged.begins.tolist(), judged.ends.tolist(), strict=True)
    for (begin, end), reason in zip(stretches, judged.reasons.tolist(), strict=True):
        if begin == end:
            if kept and kept[-1]:
                kept.append("")
        elif reason:
            dropped[LINE_REASONS[reason - 1]] += 1
        else:
            kept.append(judged.text[begin:end])


def _phrases(text: str, n_lines: int) -> np.ndarray:
    """Which lines hold which phrases, in whatever case, as bits: (n_lines,)."""
    marks = np.zeros(n_lines, dtype=np.uint8)
    lowered = text.lower()
    for bit, phrases in ((_LOREM, (LOREM_IPSUM,)), (_SCRIPT, (JAVASCRIPT,)), (_POLICY, POLICIES)):
        for phrase in phrases:
            place, line, counted = lowered.find(phrase), 0, 0
            while place >= 0:
                line += lowered.count("\n", counted, place)
                marks[line] |= bit
                counted = place
                place = lowered.find(phrase, place + 1)
    return marks
