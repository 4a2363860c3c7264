"""Vocabularies side by side on one held-out text, and which of them to take.

`groundup tokenizer compare` calls `compare`, and `report/tokenizer_page.py` draws what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from groundup.runtime import Listener
from groundup.tokenizer.counts import WordCounts
from groundup.tokenizer.laboratory.candidates import Algorithm, Trainer, train_candidates
from groundup.tokenizer.laboratory.measure import (
    OFTEN,
    Measured,
    Support,
    TokenUse,
    longest_tokens,
    measure,
    support,
    uses_in_words,
    visible,
)
from groundup.tokenizer.laboratory.recommend import (
    Cost,
    ModelShape,
    Recommendation,
    Tried,
    recommend,
)
from groundup.tokenizer.laboratory.text import HeldOut, Part
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.trainer import TokenizerConfig, tokenizer_of_counts

_EXAMPLE_CHARACTERS = 280
_EXAMPLE_BYTES = 300
_LEAST_EXAMPLE_SHARE = 0.02  # of the text, from which a writing is shown


@dataclass(frozen=True)
class Question:
    """What is asked: which algorithms and sizes, for a model of which shape.

    config: pattern, normalisation and chat format, the same for all
    corpus_bytes: how much text there will be; None if it is what is trained on here
    """

    algorithms: Sequence[Algorithm]
    vocab_sizes: Sequence[int]
    shape: ModelShape
    config: TokenizerConfig
    corpus_bytes: float | None = None


@dataclass(frozen=True)
class Example:
    """The beginning of a held-out passage as vocabularies cut it.

    cuts: for each vocabulary's name the tokens; those that are no whole characters as ⟨hex⟩
    """

    writing: str
    cuts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Comparison:
    """All that was found.

    train_bytes, n_words, n_distinct_words: of the text that the candidates were trained on
    corpus_bytes: how much text there will be
    tried: candidates by algorithm and size, then references
    longest, rarest: tokens of the recommended vocabulary; rarest in the text it was trained on
    """

    train_bytes: int
    corpus_bytes: float
    n_words: int
    n_distinct_words: int
    whole: Part
    sources: tuple[Part, ...]
    writings: tuple[Part, ...]
    characters: Mapping[str, int]
    shape: ModelShape
    tried: tuple[Tried, ...]
    recommendation: Recommendation
    longest: tuple[TokenUse, ...]
    rarest: tuple[TokenUse, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...]

    @property
    def recommended(self) -> Tried:
        """The vocabulary to take."""
        return next(one for one in self.tried if one.name == self.recommendation.name)


def compare(
    counts: WordCounts,
    held_out: HeldOut,
    question: Question,
    *,
    references: Mapping[str, Tokenizer],
    listener: Listener,
    trainer: Trainer = tokenizer_of_counts,
) -> Comparison:
    """Train the candidates on `counts`, measure them and the references on `held_out`, choose.

    trainer: trains one candidate, or knows it from before. Raises TokenizerError if the text
    supports none of the sizes.
    """
    heard = _Heard(listener)
    trained = train_candidates(
        counts,
        question.config,
        algorithms=question.algorithms,
        vocab_sizes=question.vocab_sizes,
        listener=heard,
        trainer=trainer,
    )
    named = {f"{one.algorithm} {one.vocab_size:,}": one for one in trained}
    train_bytes = counts.report.n_text_bytes
    corpus_bytes = question.corpus_bytes or train_bytes
    often = OFTEN * min(train_bytes / corpus_bytes, 1)
    tried: list[Tried] = []
    uses: dict[str, np.ndarray] = {}  # in the text that was trained on
    everything = [*named.items(), *references.items()]
    for n_done, (name, tokenizer) in enumerate(everything):
        heard.progress("measure", n_done, len(everything), {})
        measured, _ = measure(tokenizer, held_out)
        found = None
        if name in named:
            uses[name] = uses_in_words(tokenizer, counts.table)
            found = support(tokenizer, uses[name], often)
        tried.append(_tried(name, tokenizer, measured, found, question.shape))
    heard.progress("measure", len(everything), len(everything), {})
    recommendation = recommend(tried, question.shape)
    chosen = named[recommendation.name]
    return Comparison(
        train_bytes=train_bytes,
        corpus_bytes=corpus_bytes,
        n_words=counts.report.n_words,
        n_distinct_words=counts.report.n_distinct,
        whole=held_out.whole,
        sources=held_out.sources,
        writings=held_out.writings,
        characters=held_out.characters,
        shape=question.shape,
        tried=tuple(tried),
        recommendation=recommendation,
        longest=longest_tokens(chosen, uses[recommendation.name]),
        rarest=support(chosen, uses[recommendation.name], often).rarest,
        examples=_examples(held_out, _shown(tried, recommendation, named, references)),
        notes=tuple(heard.notes),
    )


def _tried(
    name: str, tokenizer: Tokenizer, measured: Measured, found: Support | None, shape: ModelShape
) -> Tried:
    return Tried(
        name,
        tokenizer.algorithm,
        tokenizer.vocab_size,
        tokenizer.is_lossless,
        measured,
        Cost.of(shape, tokenizer.vocab_size, measured.whole.bytes_per_token),
        found,
    )


# --- examples -------------------------------------------------------------------------------------


def _shown(
    tried: Sequence[Tried],
    recommendation: Recommendation,
    candidates: Mapping[str, Tokenizer],
    references: Mapping[str, Tokenizer],
) -> dict[str, Tokenizer]:
    """The vocabularies whose cuts are shown: smallest, recommended and largest, and a reference."""
    line = [name for name, one in candidates.items() if one.algorithm == recommendation.algorithm]
    names = list(dict.fromkeys([line[0], recommendation.name, line[-1]]))
    shown = {name: candidates[name] for name in names}
    best = min((one for one in tried if one.name in references), key=_n_tokens, default=None)
    return shown | ({best.name: references[best.name]} if best else {})


def _n_tokens(one: Tried) -> int:
    return one.measured.whole.n_tokens


def _examples(held_out: HeldOut, shown: Mapping[str, Tokenizer]) -> tuple[Example, ...]:
    """A stretch of prose in each of the writings that the text has most of, three at most."""
    writings = [
        part.name
        for part in held_out.writings
        if part.n_bytes >= _LEAST_EXAMPLE_SHARE * held_out.whole.n_bytes
    ]
    examples = []
    for writing in writings[:3]:
        texts = [passage.text for passage in held_out.passages if passage.writing == writing]
        text = excerpt(max(texts, key=_prose))
        cuts = {name: tokens_of(tokenizer, text) for name, tokenizer in shown.items()}
        examples.append(Example(writing, cuts))
    return tuple(examples)


def excerpt(text: str) -> str:
    r"""The first long line of a text, cut after a word.

    >>> excerpt("# Title\n\nOne fine day.\n")
    'One fine day.'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if len(line) > 80), max(lines, key=len, default=""))
    end = min(_EXAMPLE_CHARACTERS, len(line))
    while end > 1 and len(line[:end].encode(errors="replace")) > _EXAMPLE_BYTES:
        end -= 1
    if end == len(line):
        return line
    return line[:end].rsplit(" ", 1)[0] if " " in line[end // 2 : end] else line[:end]


def tokens_of(tokenizer: Tokenizer, text: str) -> tuple[str, ...]:
    """What each token of a text stands for, to be read by people."""
    return tuple(visible(tokenizer.token_bytes(token_id)) for token_id in tokenizer.encode(text))


def _prose(text: str) -> float:
    """How much a passage's excerpt reads like prose: its letters, up to a length."""
    found = excerpt(text)
    if not found:
        return 0.0
    plain = sum(character.isalpha() or character.isspace() for character in found) / len(found)
    return plain * min(len(found), _EXAMPLE_CHARACTERS)


# --- listening ------------------------------------------------------------------------------------


@dataclass
class _Heard:
    """Hands on what it hears, and keeps the messages."""

    listener: Listener
    notes: list[str] = field(default_factory=list)

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        self.listener.progress(label, done, total, figures)

    def message(self, text: str) -> None:
        self.notes.append(text)
        self.listener.message(text)
