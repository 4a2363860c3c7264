"""Tokens that were added to a vocabulary and that text gives: cut out before anything else is done.

Others' tokenizers hold strings that no merge or score leads to and that yet are not special: runs
of spaces, `<think>`, a user's own words. Their libraries look for them first, in the text as it
stands, and treat what lies between them as texts of their own. They are words here, and the model
has each as a whole piece. Special tokens are not among them: no text gives those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from groundup.tokenizer.normalize import LibraryNormalizer, Nfc, Nfkc
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter, WholeText

Inner = PatternCutter | LibraryCutter | WholeText


@dataclass(frozen=True)
class AddedTokensCutter:
    """Added tokens are words; what stands between two of them is normalised and cut on its own.

    The leftmost is found first, and the longest of those that begin at one place.

    tokens         what is cut out of the text as it stands
    cutter         what cuts the rest
    normalizer     what is done to the rest before it is cut
    in_normalized  whether the tokens are meant to be found in normalised text; then the tokenizer
                   normalises before it comes here

    >>> cutter = AddedTokensCutter(("<think>",), PatternCutter("gpt2"))
    >>> cutter.cut("so <think>ing")
    [b'so', b' ', b'<think>', b'ing']
    """

    tokens: tuple[str, ...]
    cutter: Inner | AddedTokensCutter
    normalizer: Nfc | Nfkc | LibraryNormalizer | None = None
    in_normalized: bool = False

    @property
    def is_lossless(self) -> bool:
        """Whether the words joined are the text."""
        return self.normalizer is None and self.cutter.is_lossless

    def cut(self, text: str) -> list[bytes]:
        """The words of `text`."""
        words: list[bytes] = []
        end = 0
        for found in self._expression.finditer(text):
            words += self._cut_rest(text[end : found.start()])
            words.append(found[0].encode())
            end = found.end()
        return words + self._cut_rest(text[end:])

    def _cut_rest(self, text: str) -> list[bytes]:
        if not text:
            return []
        return self.cutter.cut(self.normalizer(text) if self.normalizer else text)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        longest_first = sorted(self.tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))
