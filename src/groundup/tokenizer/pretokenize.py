r"""Cut text into pre-tokens: the words that no token ever crosses.

A pre-token is about a word with the space before it, a run of digits, of punctuation or of white
space. The cut is made by one regular expression, and software downstream (llama.cpp, Ollama) knows
a tokenizer by exactly that expression, so the published ones stand here to the letter. Called by
the trainers and by Tokenizer.encode; `compiled/scan.py` cuts by the same patterns without a regular
expression, and is held against this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

import regex

from groundup.runtime import TokenizerError
from groundup.tokenizer.normalize import library_part
from groundup.tokenizer.unicode_classes import at_this_unicode, is_known_alike

# What they share: a contraction, a word, a number, punctuation, and white space. `\s+(?!\S)`
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
        # github.com/openai/tiktoken, tiktoken_ext/openai_public.py: GPT-4
        "cl100k": (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
        ),
        # the same file: GPT-4o; words are also cut where a capital follows a small letter
        "o200k": (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
    }
)


@dataclass(frozen=True)
class PatternCutter:
    """Cut by a regular expression; the words joined are the text's UTF-8, every byte of it.

    pattern  a name of PATTERNS, or an expression of one's own, for which text between its matches
             is a word too

    >>> PatternCutter("qwen2").cut("It's 42 µm")
    [b'It', b"'s", b' ', b'4', b'2', b' \xc2\xb5m']
    >>> PatternCutter(r"[a-z]+").cut("one, two")
    [b'one', b', ', b'two']
    """

    pattern: str

    is_lossless = True

    def __post_init__(self) -> None:
        try:
            _compile(self.expression, as_it_stands=True)
        except regex.error as error:
            raise TokenizerError(
                f"pattern={self.pattern!r} is neither one of {', '.join(PATTERNS)} nor a regular "
                f"expression ({error}); correct it or take a published one"
            ) from error

    @property
    def expression(self) -> str:
        """The regular expression as it was published, or given."""
        return PATTERNS.get(self.pattern, self.pattern)

    def cut(self, text: str) -> list[bytes]:
        """The words of `text`."""
        return [piece.encode() for piece in self.split(text)]

    def split(self, text: str) -> list[str]:
        """The words of `text`, as text."""
        compiled = _compile(self.expression, as_it_stands=is_known_alike(text))
        if self.pattern in PATTERNS:  # which leave nothing between their matches
            return compiled.findall(text)
        pieces: list[str] = []
        end = 0
        for found in compiled.finditer(text):
            pieces += [text[end : found.start()], found[0]]
            end = found.end()
        return [piece for piece in (*pieces, text[end:]) if piece]


@dataclass(frozen=True)
class LibraryCutter:
    """Cut as a pre_tokenizer of the tokenizers library does, by that library.

    spec  its JSON, as tokenizer.json holds it

    >>> LibraryCutter('{"type": "BertPreTokenizer"}').cut("It's 42 µm")
    [b'It', b"'", b's', b'42', b'\xc2\xb5m']
    """

    spec: str

    is_lossless = False

    def cut(self, text: str) -> list[bytes]:
        """The words of `text`."""
        return [piece.encode() for piece, _ in self._library.pre_tokenize_str(text)]

    @cached_property
    def _library(self) -> Any:
        return library_part("pre_tokenizer", self.spec)


@dataclass(frozen=True)
class WholeText:
    """No cut: the text is one word.

    >>> WholeText().cut("It's 42"), WholeText().cut("")
    ([b"It's 42"], [])
    """

    is_lossless = True

    def cut(self, text: str) -> list[bytes]:
        """The text, if there is any."""
        return [text.encode()] if text else []


Cutter = PatternCutter | LibraryCutter | WholeText


def count_pretokens(texts: Iterable[str], cutter: Cutter) -> Counter[bytes]:
    """How often each word occurs in all of `texts`: all that a trainer has to know.

    >>> count_pretokens(["to be or", "not to be"], PatternCutter("gpt2")).most_common(2)
    [(b' be', 2), (b'to', 1)]
    """
    counts: Counter[bytes] = Counter()
    for text in texts:
        counts.update(cutter.cut(well_formed(text)))
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
def _compile(expression: str, *, as_it_stands: bool) -> regex.Pattern[str]:
    return regex.compile(expression if as_it_stands else at_this_unicode(expression))
