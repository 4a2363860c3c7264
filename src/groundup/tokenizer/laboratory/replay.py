"""How a word comes to its tokens, step by step: merges replayed, pieces matched, cuts weighed.

Called by `groundup tokenizer play`; its page does the same in the browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from groundup.tokenizer.bpe import Bpe
from groundup.tokenizer.laboratory.measure import mark_spaces, visible
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.unigram import Unigram
from groundup.tokenizer.wordpiece import WordPiece


@dataclass(frozen=True)
class Step:
    """The state of a word and what brought it there.

    ids: what spells the word now; in WordPiece and Unigram, as far as it is spelled
    rest: the bytes that are not spelled yet
    told: what was done
    """

    ids: tuple[int, ...]
    rest: bytes
    told: str


def replay(tokenizer: Tokenizer, word: bytes) -> list[Step]:
    """The steps in which the tokenizer's model spells one word; the last has the ids that it gives.

    >>> from groundup.tokenizer.bpe import train_bpe
    >>> counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    >>> tokenizer = Tokenizer.byte_level(train_bpe(counts, n_merges=4))
    >>> for step in replay(tokenizer, b"lowest"):
    ...     print(" ".join(tokenizer.token_string(i) for i in step.ids), "|", step.told)
    l o w e s t | begins as 6 bytes
    l o w es t | merge 1: e + s
    l o w est | merge 2: es + t
    lo w est | merge 3: l + o
    low est | merge 4: lo + w
    """
    match tokenizer.model:
        case Bpe() as model:
            return list(_merges(model, word))
        case WordPiece() as model:
            return list(_pieces(model, word))
        case Unigram() as model:
            return list(_scores(model, word))
        case model:
            raise AssertionError(model.name)


def _merges(model: Bpe, word: bytes) -> Iterator[Step]:
    ids = model.unit_ids(word)
    unit = model.units.removesuffix("s")
    yield Step(tuple(ids), b"", f"begins as {len(ids)} {unit}{'' if len(ids) == 1 else 's'}")
    if model.whole_words and (whole := model.id_of.get(word)) is not None:
        if ids != [whole]:
            yield Step((whole,), b"", "is a token as a whole")
        return
    no_rank = len(model.merges)
    while len(ids) > 1:
        ranks = [model.ranks.get(pair, no_rank) for pair in pairwise(ids)]
        best = min(ranks)
        if best == no_rank:
            return
        place = ranks.index(best)
        left, right, joined = model.merges[best]
        ids[place : place + 2] = [joined]
        spelled = [_shown(model.pieces[token_id]) for token_id in (left, right)]
        yield Step(tuple(ids), b"", f"merge {best + 1:,}: {' + '.join(spelled)}")


def _pieces(model: WordPiece, word: bytes) -> Iterator[Step]:
    ids = model.encode_word(word)
    yield Step((), word, f"begins as {len(word)} bytes")
    if ids == [model.unk_id]:
        yield Step(tuple(ids), b"", "cannot be spelled, so it is unknown")
        return
    at = 0
    for place, token_id in enumerate(ids):
        at += len(model.pieces[token_id])
        where = "continues it" if place else "begins the word"
        told = f"{_shown(model.pieces[token_id])} is the longest piece that {where}"
        yield Step(tuple(ids[: place + 1]), word[at:], told)


def _scores(model: Unigram, word: bytes) -> Iterator[Step]:
    ids = model.encode_word(word)
    yield Step((), word, f"begins as {len(word)} bytes")
    total = sum(model.scores[token_id] for token_id in ids)
    told = " ".join(
        f"{_shown(model.pieces[token_id])} ({model.scores[token_id]:.1f})" for token_id in ids
    )
    yield Step(tuple(ids), b"", f"the likeliest cut, log probability {total:.1f}: {told}")


def _shown(piece: bytes) -> str:
    return mark_spaces(visible(piece))
