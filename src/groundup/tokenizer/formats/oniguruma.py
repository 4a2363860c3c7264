"""The patterns that cut text as Oniguruma reads them, which the tokenizers library cuts with.

Most mean the same there as to the regex module, which `PatternCutter` uses; some do not. Called by
the reader and the writer of tokenizer.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import regex

from groundup.tokenizer.pretokenize import PATTERNS

# The pattern that the library writes differently: Oniguruma takes {1,3}+ for a repetition of
# {1,3}, and $ for the end of each line.
ONIGURUMA_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        **PATTERNS,
        "cl100k": (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++\z|\s*[\r\n]|\s+(?!\S)|\s"
        ),
    }
)

# What means the same to the regex module and to Oniguruma: characters, the escapes and classes of
# the published patterns, groups, lookaheads and quantifiers. Not so a possessive {1,3}+, \w, ^, $,
# a set within a set, and letters of any case, of which ss is ß in one of the two.
_PROPERTIES = (
    "[LMNPSZ][a-z]?|Han|Hiragana|Katakana|Hangul|Latin|Greek|Cyrillic|Arabic|Hebrew|Devanagari|Thai"
)
_ESCAPE = rf"\\(?:[pP]\{{(?:{_PROPERTIES})\}}|[sSrntf]|[^\w\s])"
_SHARED_SYNTAX = re.compile(
    rf"(?:{_ESCAPE}"
    rf"|\[\^?(?:{_ESCAPE}|(?!&&|--|\|\||~~)[^\[\]\\])+\]"
    r"|'?\(\?i:(?:'s\|'t\|'re\|'ve\|'m\|'ll\|'d|\[sdmt\]\|ll\|ve\|re)\)"
    r"|\(\?[:=!]|\((?!\?)|\)|\|"
    r"|\{\d+(?:,\d*)?\}(?![+?])"
    r"|[?*+.]"
    r"|[^\[\](){}\\^$.|?*+])*"
)
_LOOKAHEAD = regex.compile(
    r"\(\?[=!](?P<inside>(?:[^()\[\]\\]|\\.|\[(?:[^\]\\]|\\.)*\]|\((?&inside)\))*)\)"
)


def pattern_problem(pattern: str) -> str | None:
    r"""Why tokenizer.json cannot hold a pattern of one's own; None if it can.

    >>> pattern_problem(r" ?\p{L}+| ?[^\s\p{L}]+|\s+"), pattern_problem("qwen2")
    (None, None)
    >>> print(pattern_problem(r"\w+|\W"))
    the part '\\w+|\\W' of the pattern means another thing to the tokenizers library
    """
    if pattern in PATTERNS:
        return None
    understood = _SHARED_SYNTAX.match(pattern)
    assert understood is not None
    rest = pattern[understood.end() :]
    if rest:
        return f"the part {rest!r} of the pattern means another thing to the tokenizers library"
    if regex.fullmatch(_LOOKAHEAD.sub("(?:)", pattern), ""):
        return (
            "the pattern also matches no text at all, which the tokenizers library takes otherwise"
        )
    return None
