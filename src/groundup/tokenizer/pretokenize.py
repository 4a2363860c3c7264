r"""Cut text into pre-tokens: the pieces that byte-pair merges never cross.

A pre-token is about a word with the space before it, a run of digits, of punctuation or of white
space. The cut is made by one regular expression, and software downstream (llama.cpp, Ollama) knows
a tokenizer by exactly that expression, so the published ones stand here to the letter. Called by
the trainers, and by tests as the plain path beside the encoder's own cutting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

import regex

# What the three share: a contraction, a word, a number, punctuation, and white space. `\s+(?!\S)`
# takes a run of spaces but for the last, which goes with the word that follows.
PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        # github.com/openai/gpt-2, src/encoder.py (Radford et al. 2019, section 2.2)
        "gpt2": (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        # github.com/meta-llama/llama3, llama/tokenizer.py: digits in groups of up to three
        "llama3": (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        # huggingface.co/Qwen/Qwen2-7B, tokenizer.json: as Llama 3's, every digit alone
        "qwen2": (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
    }
)


def split_text(text: str, pattern: str) -> list[str]:
    """Cut `text` by the pattern of that name; the pieces joined give the text back.

    >>> split_text("It's 1999, \\n  friend!", "qwen2")
    ['It', "'s", ' ', '1', '9', '9', '9', ',', ' \\n', ' ', ' friend', '!']
    >>> split_text("It's 1999", "gpt2"), split_text("It's 1999", "llama3")
    (['It', "'s", ' 1999'], ['It', "'s", ' ', '199', '9'])
    """
    return _compiled(pattern).findall(text)


def count_pretokens(texts: Iterable[str], pattern: str) -> Counter[str]:
    """How often each pre-token occurs in all of `texts`: all that a trainer has to know.

    >>> count_pretokens(["to be or", "not to be"], "gpt2").most_common(2)
    [(' be', 2), ('to', 1)]
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_text(well_formed(text), pattern))
    return counts


def well_formed(text: str) -> str:
    r"""`text` as Unicode allows it: surrogate pairs joined, a lone surrogate becomes U+FFFD.

    Python strings may hold halves of UTF-16 characters (from broken JSON, for one), which have no
    bytes in UTF-8 and so no tokens.

    >>> well_formed("a\ud83d\ude00b\ud83dc") == "a\U0001f600b\ufffdc"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(PATTERNS[pattern])
