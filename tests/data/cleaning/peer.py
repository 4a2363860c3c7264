"""datatrove's filters, given our words and sentences, and what each of their rules is called here.

datatrove asks spaCy for English words. A language may be a tokenizer of one's own there, so theirs
and ours are given the same words, and the rules alone are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from groundup.data.cleaning import FineWebConfig
from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.words import find_words, split_sentences


def plain_tokenizer() -> Any:
    """A tokenizer for datatrove that cuts as ours."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Plain(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            """What `split_words` gives, by the kernel, so that their side does not wait for it."""
            found = find_words(code_points(text))
            ends = (found.starts + found.lengths).tolist()
            return [text[a:b] for a, b in zip(found.starts.tolist(), ends, strict=True)]

        def sent_tokenize(self, text: str) -> list[str]:
            return split_sentences(text)

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            """datatrove counts these; from each end to the next."""
            spans, end = [], 0
            for sentence in split_sentences(text):
                start = text.index(sentence, end)
                end = start + len(sentence)
                spans.append((start, end))
            return spans

    return Plain()


Filter = Callable[[str], str | None]  # a text to the reason it is dropped for, or None


def whole_filters(language: Any) -> dict[str, Filter]:
    """datatrove's four filters as they come, but for one limit in which its code and FineWeb's
    paper differ: the share of characters in duplicate lines is ours.
    """
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    made = {
        "repetition": GopherRepetitionFilter(language=language),
        "gopher_quality": GopherQualityFilter(language=language),
        "c4": C4QualityFilter(language=language),
        "fineweb": FineWebQualityFilter(
            language=language,
            char_duplicates_ratio=FineWebConfig().max_duplicate_line_characters,
        ),
    }
    return {name: reasons_of(filter_) for name, filter_ in made.items()}


def single_filter(reason: str, limit: float, language: Any) -> Filter:
    """datatrove's filter with only the rule that is called `reason` here, at this limit.

    `too_many_symbols` is our hashes and ellipses together, for which datatrove has one limit.
    """
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    made: Any
    if reason in _REPETITION or "gram" in reason:
        made, off = GopherRepetitionFilter, dict.fromkeys(_REPETITION.values())
        off |= {"top_n_grams": (), "dup_n_grams": ()}
    elif reason in _GOPHER:
        made, off = GopherQualityFilter, dict.fromkeys(_GOPHER.values())
    elif reason in _C4:
        made, off = C4QualityFilter, {"filter_lorem_ipsum": False, "filter_curly_bracket": False}
        off["min_num_sentences"] = -1
    else:
        made, off = FineWebQualityFilter, dict.fromkeys(_FINEWEB.values(), 1e9)
        off["line_punct_thr"] = 0
    if found := re.fullmatch(r"(\d+)_gram_too_common", reason):
        off["top_n_grams"] = ((int(found[1]), limit),)
    elif found := re.fullmatch(r"too_many_repeated_(\d+)_grams", reason):
        off["dup_n_grams"] = ((int(found[1]), limit),)
    else:
        name = {**_REPETITION, **_GOPHER, **_C4, **_FINEWEB}[reason]
        off[name] = True if name.startswith("filter") else limit
    return reasons_of(made(**off, language=language))


# What datatrove calls the limits of our rules.
_REPETITION = {
    "too_many_duplicate_lines": "dup_line_frac",
    "too_many_duplicate_paragraphs": "dup_para_frac",
    "too_many_duplicate_line_characters": "dup_line_char_frac",
    "too_many_duplicate_paragraph_characters": "dup_para_char_frac",
}
_GOPHER = {
    "too_few_words": "min_doc_words",
    "too_many_words": "max_doc_words",
    "words_too_short": "min_avg_word_length",
    "words_too_long": "max_avg_word_length",
    "too_many_symbols": "max_symbol_word_ratio",
    "too_many_bullet_lines": "max_bullet_lines_ratio",
    "too_many_ellipsis_lines": "max_ellipsis_lines_ratio",
    "too_few_alphabetic_words": "max_non_alpha_words_ratio",
    "too_few_stop_words": "min_stop_words",
}
_C4 = {
    "has_lorem_ipsum": "filter_lorem_ipsum",
    "has_curly_bracket": "filter_curly_bracket",
    "too_few_sentences": "min_num_sentences",
}
_FINEWEB = {
    "too_few_end_marks": "line_punct_thr",
    "too_many_short_lines": "short_line_thr",
    "too_many_characters_in_duplicate_lines": "char_duplicates_ratio",
    "too_many_newlines": "new_line_ratio",
}


def reasons_of(made: Any) -> Filter:
    """A filter of datatrove's as a function."""
    from datatrove.data import Document

    def reason(text: str) -> str | None:
        kept = made.filter(Document(text=text, id="0"))
        return None if kept is True else kept[1] if isinstance(kept, tuple) else "dropped"

    return reason
