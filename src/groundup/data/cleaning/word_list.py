"""How often words of the user's own list occur, such as C4's list of obscene words.

Raffel et al. 2020, section 2.2, removed each page with any word on a list. No list comes with the
project. Called by `scores.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.repetition import gram_hashes
from groundup.data.cleaning.words import find_words
from groundup.runtime import DataError


@dataclass(frozen=True)
class WordList:
    """Words and phrases by the number of their words, as sorted hashes.

    They match in whatever case and whole: `art` is not in `cart`, but 中 is in 中国, since scripts
    that do not part words have a word for each character.

    >>> WordList.of(["Foul word", "art"]).count("A foul  WORD about art, not a cart.")
    2
    """

    hashes: dict[int, np.ndarray]

    @staticmethod
    def of(phrases: list[str]) -> WordList:
        """A list of words and phrases."""
        found: dict[int, set[int]] = {}
        for phrase in phrases:
            words = find_words(code_points(phrase.lower()))
            if len(words):
                gram = gram_hashes(words.hashes, len(words))
                found.setdefault(len(words), set()).add(int(gram[0]))
        return WordList(
            {n: np.array(sorted(grams), dtype=np.uint64) for n, grams in sorted(found.items())}
        )

    @staticmethod
    def load(path: Path) -> WordList:
        """A file with one word or phrase a line; lines that begin with # are comments.

        Raises DataError if it cannot be read or holds none.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"word_list={path} cannot be read as UTF-8 text: {error}") from error
        phrases = [line.strip() for line in lines if not line.lstrip().startswith("#")]
        words = WordList.of(phrases)
        if not words.hashes:
            raise DataError(f"word_list={path} holds no words; write one on each line")
        return words

    def count(self, text: str) -> int:
        """How often listed words and phrases occur."""
        hashes = find_words(code_points(text.lower())).hashes
        return sum(
            int(np.isin(gram_hashes(hashes, n), listed).sum()) for n, listed in self.hashes.items()
        )
