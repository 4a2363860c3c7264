"""Train a tokenizer on text: count its pre-tokens, learn the merges.

Two trainers find the same merges, id for id: `readable` is `bpe.train_bpe`, made to be understood;
`fast` is Hugging Face tokenizers' BpeTrainer, in Rust. Called by the tokenizer stage of a build.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

import tokenizers

from groundup.runtime import TokenizerError, config
from groundup.tokenizer.bpe import CHARACTER_OF_ID, N_BYTES, Pair, train_bpe
from groundup.tokenizer.chat import SPECIAL_TOKENS
from groundup.tokenizer.pretokenize import PATTERNS, count_pretokens, well_formed
from groundup.tokenizer.tokenizer import Tokenizer

_SMALLEST_VOCABULARY = N_BYTES + len(SPECIAL_TOKENS) + 1


@config
class TokenizerConfig:
    """How to train a tokenizer.

    algorithm   how tokens are found: byte-level byte-pair encoding
    vocab_size  tokens in the whole vocabulary: 256 bytes, the merges, 3 special tokens
    pattern     whose regular expression cuts the text before any merge
    trainer     `fast` and `readable` give the same tokenizer; the second is there to be read
    """

    algorithm: Literal["bpe"] = "bpe"
    vocab_size: int = 1024
    pattern: Literal["gpt2", "llama3", "qwen2"] = "qwen2"
    trainer: Literal["fast", "readable"] = "fast"

    def __post_init__(self) -> None:
        if self.vocab_size < _SMALLEST_VOCABULARY:
            raise ValueError(
                f"vocab_size={self.vocab_size} must be at least {_SMALLEST_VOCABULARY} ({N_BYTES} "
                f"bytes, {len(SPECIAL_TOKENS)} special tokens, one merge); try vocab_size=1024"
            )

    @property
    def n_merges(self) -> int:
        """Merges to learn: the vocabulary without the bytes and the special tokens."""
        return self.vocab_size - N_BYTES - len(SPECIAL_TOKENS)


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """Learn a tokenizer of exactly `config.vocab_size` tokens from `texts`.

    The order of the texts does not matter. Raises TokenizerError when they hold too few different
    words for so many tokens.

    >>> tokenizer = train_tokenizer(["to be or not to be"], TokenizerConfig(vocab_size=262))
    >>> tokenizer.encode(" be"), [tokenizer.token_bytes(i) for i in tokenizer.encode(" be")]
    ([258], [b' be'])
    """
    match config.trainer:
        case "readable":
            merges = train_bpe(count_pretokens(texts, config.pattern), config.n_merges)
        case "fast":
            merges = _train_fast(texts, config.pattern, config.n_merges)
    if len(merges) < config.n_merges:
        supported = config.vocab_size - config.n_merges + len(merges)
        raise TokenizerError(
            f"tokenizer.vocab_size={config.vocab_size} is more than the text supports (it yields "
            f"{supported} tokens); use --set tokenizer.vocab_size={supported} or add text"
        )
    return Tokenizer(merges, config.pattern)


def _train_fast(texts: Iterable[str], pattern: str, n_merges: int) -> list[Pair]:
    """Merges from the Rust trainer.

    It is given no special tokens, which would take the first ids, and all 256 bytes, whether the
    text has them or not.
    """
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=N_BYTES + n_merges,
        initial_alphabet=list(CHARACTER_OF_ID),
        special_tokens=[],
        show_progress=False,
    )
    learner.train_from_iterator((well_formed(text) for text in texts), trainer)
    model = json.loads(learner.to_str())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]
