"""Train a tokenizer on text: count its words, learn a vocabulary from the counts.

Two trainers find the same vocabulary, id for id: `readable` is `bpe.train_bpe` and its like, made
to be understood; `fast` is the same over arrays (`compiled`). Called by the tokenizer stage of a
build and by `groundup tokenizer train`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from groundup.runtime import Listener, TokenizerError, config
from groundup.tokenizer.bpe import N_BYTES, byte_level_bpe, train_bpe
from groundup.tokenizer.counts import (
    CountConfig,
    CountLoop,
    Shard,
    WordCounts,
    count_plainly,
    count_words,
    count_words_in,
)
from groundup.tokenizer.formats.oniguruma import pattern_problem
from groundup.tokenizer.normalize import Nfc, Nfkc, Normalizer
from groundup.tokenizer.pretokenize import PATTERNS, PatternCutter
from groundup.tokenizer.templates import chat_format
from groundup.tokenizer.tokenizer import Tokenizer, WordModel
from groundup.tokenizer.unigram import train_unigram
from groundup.tokenizer.wordpiece import train_wordpiece


@config
class TokenizerConfig:
    """How to train a tokenizer. All are byte-level: no text is unknown.

    algorithm      how tokens are found: byte-pair encoding, WordPiece or Unigram
    vocab_size     tokens in the whole vocabulary: bytes, what is learnt, special tokens
    pattern        whose regular expression cuts the text into words; or one of your own, which
                   llama.cpp and Ollama will not know
    normalization  what is done to a text first; nfc and nfkc lose what they change
    chat_format    the layout of conversations, which decides the special tokens
    counting       what counts, and how much memory counting may take
    trainer        `fast` and `readable` give the same tokenizer; the second is there to be read
    """

    algorithm: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    vocab_size: int = 1024
    pattern: str = "qwen2"
    normalization: Literal["none", "nfc", "nfkc"] = "none"
    chat_format: Literal["chatml", "llama3", "alpaca"] = "chatml"
    counting: CountConfig = CountConfig()
    trainer: Literal["fast", "readable"] = "fast"

    def __post_init__(self) -> None:
        smallest = self.n_first + self.n_special + 1
        if self.vocab_size < smallest:
            raise ValueError(
                f"vocab_size={self.vocab_size} must be at least {smallest} ({self.n_first} for "
                f"single bytes, {self.n_special} special tokens, one that is learnt); "
                "try vocab_size=1024"
            )
        PatternCutter(self.pattern)
        problem = pattern_problem(self.pattern)
        if problem:
            raise ValueError(
                f"pattern={self.pattern!r} cannot be written into tokenizer.json: {problem}; take "
                f"one of {', '.join(PATTERNS)}, or write it with \\p{{...}}, \\s, groups, "
                "lookaheads and quantifiers only"
            )

    @property
    def n_special(self) -> int:
        """Special tokens, which come last."""
        return len(chat_format(self.chat_format).special_tokens)

    @property
    def n_first(self) -> int:
        """Tokens that are there before anything is learnt; WordPiece has each byte twice."""
        return 2 * N_BYTES if self.algorithm == "wordpiece" else N_BYTES

    @property
    def n_pieces(self) -> int:
        """Tokens without the special ones."""
        return self.vocab_size - self.n_special

    @property
    def cutter(self) -> PatternCutter:
        """What cuts texts into words."""
        return PatternCutter(self.pattern)

    @property
    def normalizer(self) -> Normalizer | None:
        """What is done to a text first."""
        return {"none": None, "nfc": Nfc(), "nfkc": Nfkc()}[self.normalization]


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a tokenizer of exactly `config.vocab_size` tokens from texts at hand.

    The order of the texts does not matter. Raises TokenizerError when they hold too few different
    words for so many tokens.

    >>> tokenizer = train_tokenizer(["to be or not to be"], TokenizerConfig(vocab_size=262))
    >>> tokenizer.encode(" be"), [tokenizer.token_bytes(i) for i in tokenizer.encode(" be")]
    ([258], [b' be'])
    """
    counts = count_words_in(
        texts, config.cutter, config.counting, normalizer=config.normalizer, loop=count_loop(config)
    )
    return tokenizer_of_counts(counts, config)


def train_tokenizer_on_files(
    shards: Sequence[Shard],
    config: TokenizerConfig,
    *,
    folder: Path,
    listener: Listener | None = None,
) -> Tokenizer:
    """`train_tokenizer` on a corpus that may be larger than memory, counted in processes.

    `folder` keeps the counts of each shard for when it is called again.
    """
    counts = count_words(
        shards,
        config.cutter,
        config.counting,
        folder=folder,
        normalizer=config.normalizer,
        loop=count_loop(config),
        listener=listener,
    )
    return tokenizer_of_counts(counts, config)


def tokenizer_of_counts(counts: WordCounts, config: TokenizerConfig) -> Tokenizer:
    """Learn a tokenizer from the words of a corpus. Raises TokenizerError for too few of them."""
    model = _learn(counts, config)
    if len(model.pieces) < config.n_pieces:
        supported = len(model.pieces) + config.n_special
        raise TokenizerError(
            f"tokenizer.vocab_size={config.vocab_size} is more than the text supports (it yields "
            f"{supported} tokens); use --set tokenizer.vocab_size={supported} or add text"
        )
    return Tokenizer.with_chat_format(
        model, config.cutter, config.chat_format, normalizer=config.normalizer
    )


def count_loop(config: TokenizerConfig) -> CountLoop:
    """The inner loop of counting that goes with a trainer."""
    if config.trainer == "readable":
        return count_plainly
    from groundup.tokenizer.compiled.count import count_compiled

    return count_compiled


def _learn(counts: WordCounts, config: TokenizerConfig) -> WordModel:
    if config.trainer == "fast":
        return _learn_fast(counts, config)
    words = counts.as_dict()
    match config.algorithm:
        case "bpe":
            return byte_level_bpe(train_bpe(words, config.n_pieces - N_BYTES))
        case "wordpiece":
            return train_wordpiece(words, config.n_pieces)
        case "unigram":
            return train_unigram(words, config.n_pieces)


def _learn_fast(counts: WordCounts, config: TokenizerConfig) -> WordModel:
    from groundup.tokenizer.compiled.bpe import train_bpe_compiled
    from groundup.tokenizer.compiled.unigram import train_unigram_compiled
    from groundup.tokenizer.compiled.wordpiece import train_wordpiece_compiled

    match config.algorithm:
        case "bpe":
            return byte_level_bpe(train_bpe_compiled(counts.table, config.n_pieces - N_BYTES))
        case "wordpiece":
            return train_wordpiece_compiled(counts.table, config.n_pieces)
        case "unigram":
            return train_unigram_compiled(counts.table, config.n_pieces)
