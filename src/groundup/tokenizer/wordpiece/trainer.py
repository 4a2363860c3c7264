"""Learn WordPiece's pieces: join the pair that occurs most often, again and again."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, pairwise

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import CHARACTER_OF_ID, Pair, join_pair
from groundup.tokenizer.wordpiece.model import (
    BERT_MAX_WORD_CHARS,
    PREFIXES,
    UNKNOWN,
    Units,
    WordPiece,
    as_text,
)


def train_wordpiece(
    counts: Mapping[bytes, int],
    vocab_size: int,
    *,
    units: Units = "bytes",
    alphabet: Sequence[bytes] = (),
    limit_alphabet: int | None = None,
) -> WordPiece:
    """Learn up to `vocab_size` pieces: the units, then what the most frequent pairs join to.

    Of pairs that occur equally often the one with the smallest ids goes first. Fewer pieces come
    back when every word has become a single one.

    The units come first. `bytes`: all 256 as they start a word, then all 256 as they continue one,
    in the order of GPT-2's characters; no text is unknown. `characters`: each that occurs, in the
    order of Unicode, then each that continues a word; the last id is that of unknown words. There
    `alphabet` names characters to include that may not occur, and `limit_alphabet` keeps only the
    most frequent (of equally frequent ones the first in Unicode); the others are unknown.

    Hugging Face's WordPieceTrainer breaks ties by ids too, but leaves the ids of its `##`
    characters to a hash table, in another order each run. Given ours as its first tokens
    (`special_tokens`, with `limit_alphabet=0` so that it adds none), it finds these pieces, id for
    id. Byte-level the prefix is `…`, which its trainer takes as any other.

    Schuster and Nakajima 2012 join, of all pairs, the one that raises the likelihood of the text
    most; with n(x) the count of x and N that of all pieces, about the largest n(xy) log(n(xy) N /
    (n(x) n(y))). Hugging Face's trainer, and so this one, takes the largest n(xy).

    The example of Sennrich et al. 2016. `##e ##s` and `##s ##t` both occur 6 + 3 times, and `##e`
    has the smaller id; then `##es ##t`; then `l ##o` and `lo ##w` (5 + 2 times); then of `n ##e`,
    `##e ##w` and `##w ##est` (6 times) the first by id, in which `n` comes before any `##`.

    >>> counts = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
    >>> model = train_wordpiece(counts, 26, units="characters")
    >>> [model.spelling(token_id) for token_id in range(18)]  # no `##l` and no `##n` occurs
    ... # doctest: +NORMALIZE_WHITESPACE
    ['d', 'e', 'i', 'l', 'n', 'o', 'r', 's', 't', 'w',
     '##d', '##e', '##i', '##o', '##r', '##s', '##t', '##w']
    >>> [model.spelling(token_id) for token_id in range(18, 25)], model.unk_id
    (['##es', '##est', 'lo', 'low', 'ne', '##west', 'newest'], 25)
    >>> [model.spelling(token_id) for token_id in model.encode_word(b"lowest")]
    ['low', '##est']

    On bytes the same are found. They spell any word, this one by its single bytes:

    >>> model = train_wordpiece(counts, 519)
    >>> [model.spelling(token_id) for token_id in range(512, 519)]
    ['…es', '…est', 'lo', 'low', 'ne', '…west', 'newest']
    >>> [model.spelling(token_id) for token_id in model.encode_word("né".encode())]
    ['n', '…Ã', '…©']
    """
    words = {as_text(word, units): word_count for word, word_count in counts.items()}
    first = _first_units(words, units, alphabet, limit_alphabet)
    special = [] if units == "bytes" else [UNKNOWN]
    n_least = len(first) + len(special)
    if vocab_size < n_least:
        raise TokenizerError(
            f"vocab_size={vocab_size} is less than the {n_least} tokens that a WordPiece on the "
            f"{units} of this text begins with; use vocab_size={n_least} or more"
            + (", or a smaller limit_alphabet" if units == "characters" else "")
        )
    spellings = learn_pieces(words, first, vocab_size - len(special), PREFIXES[units])
    if units == "bytes":
        return WordPiece.from_spellings(spellings, units=units)
    if UNKNOWN in spellings:
        raise TokenizerError(
            f"the text spells {UNKNOWN} so often that it became a piece, which would be taken for "
            "the unknown token; cut text at punctuation, as BERT does, or take it out of the text"
        )
    return WordPiece.from_spellings(
        [*spellings, UNKNOWN],
        units=units,
        unk_id=len(spellings),
        max_word_chars=BERT_MAX_WORD_CHARS,
    )


def _first_units(
    words: Mapping[str, int], units: Units, alphabet: Sequence[bytes], limit: int | None
) -> list[str]:
    """Spellings of the pieces that are there before any is learnt."""
    if units == "bytes":
        if alphabet or limit is not None:
            raise TokenizerError(
                f"alphabet={alphabet!r} and limit_alphabet={limit} go with units='characters'; "
                "on bytes all 256 always have a piece, so leave them out"
            )
        return [*CHARACTER_OF_ID, *(PREFIXES[units] + character for character in CHARACTER_OF_ID)]
    wanted = [as_text(character, units) for character in alphabet]
    if any(len(character) != 1 for character in wanted):
        raise TokenizerError(
            f"alphabet holds {max(wanted, key=len)!r}; each entry must be one character"
        )
    if limit is not None and limit < 1:
        raise TokenizerError(
            f"limit_alphabet={limit} leaves no character; try 1000, or None for all of them"
        )
    kept = choose_alphabet(words, wanted, limit)
    inside = set().union(*(word[1:] for word in words))
    return [*kept, *(PREFIXES[units] + character for character in kept if character in inside)]


def choose_alphabet(
    words: Mapping[str, int], wanted: Iterable[str] = (), limit: int | None = None
) -> list[str]:
    """The characters that get a piece, in the order of Unicode: those of the words and the wanted.

    Only the `limit` most frequent if that is a number; a wanted one counts as more frequent.

    >>> choose_alphabet({"banana": 2, "nose": 1}, wanted="x", limit=3)
    ['a', 'n', 'x']
    """
    counts: Counter[str] = Counter()
    for word, word_count in words.items():
        for character in word:
            counts[character] += word_count
    is_wanted = set(wanted)
    kept = sorted(is_wanted | counts.keys(), key=lambda c: (c not in is_wanted, -counts[c], c))
    return sorted(kept[:limit])


def learn_pieces(
    words: Mapping[str, int], first: Sequence[str], n_pieces: int, prefix: str
) -> list[str]:
    """Spellings of up to `n_pieces` pieces in the order of their ids, of which `first` are given.

    This is byte-pair encoding's loop but for one thing: where a word begins with the prefix, two
    pairs may join to the same spelling. Then the second takes the id of the first, and a pair may
    come to occur anew after it was joined; its count goes on from where it stood. A `#` at the
    start and one that continues, `###`, join to `##`. That and `###` join to `###`, which is there,
    so the word `###` adds no piece.

    >>> learn_pieces({"##": 5, "###": 3}, ["#", "###"], 10, prefix="##")
    ['#', '###', '##']
    """
    spellings = list(first)
    id_of = {spelling: token_id for token_id, spelling in enumerate(first)}
    spelled = [_unit_ids(word, id_of, prefix) for word in words]
    weights = list(words.values())
    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(spelled):
        for pair in pairwise(word):
            pair_counts[pair] += weights[index]
            where[pair].add(index)
    # An entry joins its pair in the words it names. A pair that comes to occur anew gets another.
    heap = [
        (-pair_counts[pair], pair, number, indices)
        for number, (pair, indices) in enumerate(where.items())
    ]
    heapq.heapify(heap)
    next_number = count(len(heap))
    while heap and len(spellings) < n_pieces:
        negative_count, best, number, indices = heapq.heappop(heap)
        if pair_counts[best] != -negative_count:  # out of date
            heapq.heappush(heap, (-pair_counts[best], best, number, indices))
            continue
        if pair_counts[best] < 1:
            break
        left, right = best
        spelling = spellings[left] + spellings[right].removeprefix(prefix)
        new_id = id_of.setdefault(spelling, len(spellings))
        if new_id == len(spellings):
            spellings.append(spelling)
        where.clear()
        for index in indices:
            spelled[index], lost, gained = join_pair(spelled[index], best, new_id)
            for pair in lost:
                pair_counts[pair] -= weights[index]
            for pair in gained:
                pair_counts[pair] += weights[index]
                where[pair].add(index)
        for pair, new_indices in where.items():
            if pair_counts[pair] > 0:
                heapq.heappush(heap, (-pair_counts[pair], pair, next(next_number), new_indices))
    return spellings


def _unit_ids(word: str, id_of: Mapping[str, int], prefix: str) -> list[int]:
    """The word as ids of its units; those without a piece are left out."""
    return [
        id_of[prefix + unit if place else unit] for place, unit in enumerate(word) if unit in id_of
    ]
