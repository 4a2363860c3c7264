"""Vocabularies of several sizes and algorithms from one count of words.

BPE and WordPiece learn one piece after the other and never look back, so a smaller vocabulary is
the beginning of a larger one: the largest is trained, the others are cut from it. Unigram takes
pieces away from a large vocabulary, and is trained for each size. Called by `compare.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError

from groundup.runtime import Listener, TokenizerError
from groundup.tokenizer.bpe import N_BYTES, Bpe
from groundup.tokenizer.counts import WordCounts
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.trainer import TokenizerConfig, tokenizer_of_counts
from groundup.tokenizer.wordpiece import WordPiece

Algorithm = Literal["bpe", "wordpiece", "unigram"]
Trainer = Callable[[WordCounts, TokenizerConfig], Tokenizer]
NESTED = ("bpe", "wordpiece")  # smaller vocabularies are the beginning of larger ones


def train_candidates(
    counts: WordCounts,
    config: TokenizerConfig,
    *,
    algorithms: Sequence[Algorithm],
    vocab_sizes: Sequence[int],
    listener: Listener,
    trainer: Trainer = tokenizer_of_counts,
) -> list[Tokenizer]:
    """A tokenizer for each algorithm and size that the text supports, smaller ones first.

    trainer: trains one, or knows it from before. The listener hears of what the text does not
    support. Raises TokenizerError if nothing is left.
    """
    found: list[Tokenizer] = []
    sizes = sorted(set(vocab_sizes), reverse=True)
    for algorithm in dict.fromkeys(algorithms):
        trained: list[Tokenizer] = []
        for n_done, vocab_size in enumerate(sizes):
            wanted = _config(config, algorithm, vocab_size, listener)
            if wanted is None:
                continue
            if trained and algorithm in NESTED:
                trained.append(cut_to(trained[0], wanted))
                continue
            listener.progress(f"train {algorithm}", n_done, len(sizes), {})
            try:
                trained.append(trainer(counts, wanted))
            except TokenizerError as error:
                listener.message(f"{algorithm} of {vocab_size:,} tokens is left out: {_why(error)}")
        found += reversed(trained)
    if not found:
        raise TokenizerError(
            f"no vocabulary of {', '.join(map(str, sizes))} tokens can be learnt from this text; "
            "give more text, or smaller sizes"
        )
    return found


def cut_to(tokenizer: Tokenizer, config: TokenizerConfig) -> Tokenizer:
    """The beginning of a BPE or WordPiece vocabulary: what training to the smaller size would give.

    >>> from groundup.tokenizer.trainer import train_tokenizer
    >>> config = TokenizerConfig(vocab_size=262)
    >>> large = train_tokenizer(["to be or not to be"], config)
    >>> small = cut_to(large, TokenizerConfig(vocab_size=260))
    >>> small.vocab_size, [small.token_bytes(i) for i in small.encode(" be")]
    (260, [b' ', b'be'])
    """
    model = tokenizer.model
    n_pieces = config.n_pieces
    match model:
        case Bpe():
            merges = model.merges[: n_pieces - N_BYTES]
            cut: Any = replace(model, pieces=model.pieces[:n_pieces], merges=merges)
        case WordPiece():
            marks = model.continuing[:n_pieces]
            cut = replace(model, pieces=model.pieces[:n_pieces], continuing=marks)
        case _:
            raise AssertionError(f"a smaller {model.name} is no part of a larger one")
    assert len(cut.pieces) == n_pieces, "to cut is to make smaller"
    return Tokenizer.with_chat_format(
        cut, tokenizer.cutter, config.chat_format, normalizer=tokenizer.normalizer
    )


def _config(
    config: TokenizerConfig, algorithm: Algorithm, vocab_size: int, listener: Listener
) -> TokenizerConfig | None:
    """The settings of one candidate; None where the size is too small for the algorithm."""
    try:
        return replace(config, algorithm=algorithm, vocab_size=vocab_size)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ").split(";")[0]
        listener.message(f"{algorithm} of {vocab_size:,} tokens is left out: {reason}")
        return None


def _why(error: TokenizerError) -> str:
    """What a trainer says, without the advice that goes with a recipe."""
    return str(error).split(";")[0].removeprefix("tokenizer.")
