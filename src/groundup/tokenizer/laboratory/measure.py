"""What a vocabulary does to a text: how many tokens, of which kind, used how often.

Called by `compare.py` for each candidate and by `groundup tokenizer inspect` for one tokenizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundup.tokenizer.compiled import CompiledEncoder
from groundup.tokenizer.counts import CountedWords
from groundup.tokenizer.laboratory.text import HeldOut, Part
from groundup.tokenizer.tokenizer import Tokenizer

N_EXAMPLES = 24  # tokens shown of a kind
OFTEN = 100  # occurrences from which a token counts as well trained: Gowda and May 2020
_BATCH_WORDS = 1 << 17
_LONG_PART = 64  # bytes; longer parts of a token, of rulers and the like, are not looked for
_SIGNS = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


@dataclass(frozen=True)
class TokenUse:
    """A token and how often a text has it; text: what it stands for, broken characters as ⟨hex⟩."""

    id: int
    text: str
    n_bytes: int
    count: int


@dataclass(frozen=True)
class PartMeasured:
    """What a vocabulary makes of a part of the text.

    tokens_per_word: fertility (Rust et al. 2021); of writings without spaces, tokens per character
    """

    name: str
    n_tokens: int
    bytes_per_token: float
    tokens_per_word: float

    @classmethod
    def of(cls, part: Part, n_tokens: int) -> PartMeasured:
        """What `n_tokens` for this part of the text amount to."""
        return cls(
            part.name,
            n_tokens,
            bytes_per_token=part.n_bytes / max(n_tokens, 1),
            tokens_per_word=n_tokens / max(part.n_words, 1),
        )


@dataclass(frozen=True)
class Measured:
    """What a vocabulary makes of held-out text: of the whole, of each source, of each writing.

    n_text_tokens: tokens that text can give, the special ones left out
    n_used, share_used: how many of these the held-out text has
    n_unknown: tokens of the text that say only that something is unknown
    """

    whole: PartMeasured
    sources: tuple[PartMeasured, ...]
    writings: tuple[PartMeasured, ...]
    n_text_tokens: int
    n_used: int
    share_used: float
    n_unknown: int


@dataclass(frozen=True)
class Support:
    """How often the text that a vocabulary was trained on has each of its tokens.

    n_learnt: tokens but for the single bytes, which are there whatever the text
    n_inner: of these, how many the text has often enough, but hardly outside of longer tokens:
        steps on the way to those, which a new text hardly has either
    n_often, share_often: of the others, how many occur OFTEN times or more
    rarest: some of those that occur least
    """

    n_learnt: int
    n_inner: int
    n_often: int
    share_often: float
    rarest: tuple[TokenUse, ...]


def measure(tokenizer: Tokenizer, held_out: HeldOut) -> tuple[Measured, np.ndarray]:
    """Encode held-out text; also how often it has each id: (vocab_size,) int64."""
    passages = held_out.passages
    ids = tokenizer.encode_arrays([passage.text for passage in passages])
    n_tokens: Counter[tuple[str, str]] = Counter()
    for passage, found in zip(passages, ids, strict=True):
        n_tokens["source", passage.source] += len(found)
        n_tokens["writing", passage.writing] += len(found)
    none = np.zeros(0, dtype=np.int64)
    uses = np.bincount(np.concatenate([none, *ids]), minlength=tokenizer.vocab_size)
    n_text_tokens, n_used = sum(map(bool, tokenizer.model.pieces)), int(np.count_nonzero(uses))
    unk_id = tokenizer.model.unk_id
    measured = Measured(
        whole=PartMeasured.of(held_out.whole, int(uses.sum())),
        sources=_parts(held_out.sources, "source", n_tokens),
        writings=_parts(held_out.writings, "writing", n_tokens),
        n_text_tokens=n_text_tokens,
        n_used=n_used,
        share_used=n_used / max(n_text_tokens, 1),
        n_unknown=0 if unk_id is None else int(uses[unk_id]),
    )
    return measured, uses


def _parts(
    parts: Sequence[Part], kind: str, n_tokens: Counter[tuple[str, str]]
) -> tuple[PartMeasured, ...]:
    return tuple(PartMeasured.of(part, n_tokens[kind, part.name]) for part in parts)


def uses_in_words(tokenizer: Tokenizer, words: CountedWords) -> np.ndarray:
    """How often each id stands in counted words, which its cutter has cut: (vocab_size,) int64."""
    encoder = CompiledEncoder(tokenizer.model, tokenizer.cutter, None)
    uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for begin in range(0, len(words), _BATCH_WORDS):
        part = words.part(begin, min(begin + _BATCH_WORDS, len(words)))
        ids = encoder.encode_words(part.words())
        counts = np.repeat(part.counts.astype(np.int64), [len(found) for found in ids])
        np.add.at(uses, np.concatenate(ids), counts)
    return uses


def support(tokenizer: Tokenizer, uses: np.ndarray, n_often: float = OFTEN) -> Support:
    """How well a text bears a vocabulary; uses: of the text it was trained on, (vocab_size,).

    `n_often` is another number than OFTEN where the text is a sample of what there will be.
    """
    pieces = tokenizer.model.pieces
    is_learnt = np.array([len(piece) > 1 for piece in pieces], dtype=bool)
    learnt = np.flatnonzero(is_learnt)
    of_learnt = uses[learnt]
    is_often = (of_learnt >= n_often) & (of_learnt > 0)
    is_inner = ~is_often & (uses_within(tokenizer, uses)[learnt] >= max(n_often, 1))
    n_inner, n_enough = int(is_inner.sum()), int(is_often.sum())
    rarest = learnt[np.lexsort((-learnt, of_learnt))][:N_EXAMPLES]
    return Support(
        n_learnt=len(learnt),
        n_inner=n_inner,
        n_often=n_enough,
        share_often=n_enough / max(len(learnt) - n_inner, 1),
        rarest=token_uses(tokenizer, rarest.tolist(), uses),
    )


def uses_within(tokenizer: Tokenizer, uses: np.ndarray) -> np.ndarray:
    """How often a text has what each id stands for, alone or within a longer token: as `uses`.

    >>> tokenizer = Tokenizer.byte_level([(72, 84), (256, 82)])  # i u, iu s
    >>> uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    >>> uses[[256, 257]] = 1, 10
    >>> uses_within(tokenizer, uses)[[256, 257]].tolist()
    [11, 10]
    """
    pieces = tokenizer.model.pieces
    continues = getattr(tokenizer.model, "continuing", None) or [False] * len(pieces)
    has_starts = any(continues)  # a piece that begins a word is another than the same inside one
    id_of = {(piece, continues[i]): i for i, piece in enumerate(pieces) if len(piece) > 1}
    found = uses.copy()
    for token_id in np.flatnonzero(uses).tolist():
        piece = pieces[token_id] if token_id < len(pieces) else b""
        within = {
            id_of.get((piece[begin:end], continues[token_id] or (has_starts and begin > 0)))
            for begin in range(len(piece) - 1)
            for end in range(begin + 2, min(begin + _LONG_PART, len(piece)) + 1)
        }
        for inner_id in within - {None, token_id}:
            found[inner_id] += uses[token_id]
    return found


def longest_tokens(tokenizer: Tokenizer, uses: np.ndarray | None = None) -> tuple[TokenUse, ...]:
    """The tokens that stand for most characters, of equal ones those with the most bytes."""
    pieces = tokenizer.model.pieces
    order = sorted(
        range(len(pieces)), key=lambda i: (-_n_characters(pieces[i]), -len(pieces[i]), i)
    )
    found = [token_id for token_id in order[:N_EXAMPLES] if pieces[token_id]]
    return token_uses(tokenizer, found, uses)


def token_uses(
    tokenizer: Tokenizer, ids: Sequence[int], uses: np.ndarray | None
) -> tuple[TokenUse, ...]:
    """The tokens of some ids with their counts, 0 where there are none."""
    return tuple(
        TokenUse(
            token_id,
            visible(tokenizer.token_bytes(token_id)),
            len(tokenizer.token_bytes(token_id)),
            0 if uses is None else int(uses[token_id]),
        )
        for token_id in ids
    )


def visible(spelled: bytes) -> str:
    r"""What a token stands for; bytes that make no whole character as ⟨hex⟩.

    >>> visible(" né".encode()), visible("é".encode()[:1] + b"a")
    (' né', '⟨c3⟩a')
    """
    parts: list[str] = []
    while spelled:
        try:
            return "".join([*parts, spelled.decode()])
        except UnicodeDecodeError as error:
            broken = spelled[error.start : error.end].hex()
            parts += [spelled[: error.start].decode(), f"⟨{broken}⟩"]
            spelled = spelled[error.end :]
    return "".join(parts)


def mark_spaces(text: str) -> str:
    r"""White space as signs that can be seen.

    >>> mark_spaces(" a\n")
    '·a↵'
    """
    return text.translate(_SIGNS)


def _n_characters(spelled: bytes) -> int:
    """Characters that begin in the bytes of a token."""
    return sum(byte & 0xC0 != 0x80 for byte in spelled)
