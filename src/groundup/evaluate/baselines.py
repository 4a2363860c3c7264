"""What compressors without a network reach on the same held-out text, in bits per byte.

A language model's bits per byte mean little alone. Evaluation sets two honest figures beside them:
`xz`, which finds repeated strings, and an n-gram model with Kneser-Ney smoothing, which counts what
followed the last few bytes. Both see the training text, both are scored on the held-out text.

Letters: w a byte; h the bytes before it (the context), h' the same without its first byte;
c(hw) how often h is followed by w.
"""

from __future__ import annotations

import lzma
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from groundup.runtime import DataError

MIB = 1 << 20
MOST_SYMBOLS = 1 << 27  # an n-gram's key and its position must fit 64 bits together
DEVELOPMENT_SHARE = 0.05  # of the training text, held back while the order is chosen
DEVELOPMENT_BYTES = 256 * 1024  # and no more than this
CHOICE_BYTES = 4 * MIB  # the training text that the order is chosen on, to save time
XZ_SMALLEST_DICTIONARY = 4096  # bytes; liblzma takes no less
START = 256  # stands before a document's first byte; never predicted
SYMBOL_BITS = 9  # 256 bytes and START
DEFAULT_DISCOUNT = 0.5  # where the counts of counts that estimate it are missing


@dataclass(frozen=True)
class XzBaseline:
    """Bits per byte of held-out text under xz, and how it was measured."""

    bits_per_byte: float  # the better of the next two
    after_training_text: float  # what the held-out text adds to the compressed training text
    alone: float  # the held-out text compressed by itself
    train_bytes: int  # the training text used


@dataclass(frozen=True, eq=False)
class NgramBaseline:
    """Bits per byte of held-out text under the n-gram model, and how it was measured."""

    bits_per_byte: float
    order: int  # bytes in the longest n-gram, the predicted one included
    train_bytes: int  # the training text used
    document_bits: np.ndarray  # (n_documents,) for an interval over documents
    document_bytes: np.ndarray  # (n_documents,)


# --- xz -------------------------------------------------------------------------------------------


def xz_bits_per_byte(
    train_texts: Iterable[str], heldout_texts: Iterable[str], max_train_bytes: int = 8 * MIB
) -> XzBaseline:
    """Bits per held-out byte under xz at its strongest, knowing the training text.

    size(xz(training + held-out)) - size(xz(training)), in a raw stream so that no container is
    counted, with a dictionary that reaches over both; the last `max_train_bytes` of the training
    text. All held-out documents form one stream, so xz may also copy from earlier ones, which the
    models scored beside it may not.
    """
    heldout = b"".join(text.encode() for text in heldout_texts)
    if not heldout:
        raise DataError("the held-out text is empty; hold out at least one document")
    train = b"".join(_last_bytes(train_texts, max_train_bytes))
    bits_per_size = 8 / len(heldout)
    alone = _xz_size(heldout) * bits_per_size
    after = (_xz_size(train + heldout) - _xz_size(train)) * bits_per_size if train else alone
    return XzBaseline(min(alone, after), after, alone, len(train))


def _xz_size(data: bytes) -> int:
    dictionary = max(len(data), XZ_SMALLEST_DICTIONARY)
    filters = [
        {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}
    ]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _last_bytes(texts: Iterable[str], max_bytes: int) -> list[bytes]:
    """The last `max_bytes` of the texts; the oldest document left in is cut at its start."""
    kept: deque[bytes] = deque()
    total = 0
    for text in texts:
        data = text.encode()[-max_bytes:]
        kept.append(data)
        total += len(data)
        while total - len(kept[0]) >= max_bytes:
            total -= len(kept.popleft())
    if total > max_bytes:
        kept[0] = kept[0][total - max_bytes :]
    return [data for data in kept if data]


# --- n-grams --------------------------------------------------------------------------------------


def ngram_bits_per_byte(
    train_texts: Iterable[str],
    heldout_texts: Iterable[str],
    *,
    order: int | None = None,
    max_order: int = 24,
    max_train_bytes: int = 16 * MIB,
) -> NgramBaseline:
    """Bits per held-out byte under a byte n-gram model fitted to the training text.

    `order=None` tries orders up to `max_order` on a slice of the training text, and fits the best
    to all of it. Only the last `max_train_bytes` of the training text are used. Each document
    is scored by itself from its start; that it ends is not scored.
    """
    train = _last_bytes(train_texts, max_train_bytes)
    heldout = [data for text in heldout_texts if (data := text.encode())]
    if not train or not heldout:
        raise DataError("an n-gram baseline needs training text and held-out text; one is empty")
    if order is None:
        order = choose_order(_split_at_end(train, CHOICE_BYTES)[1], max_order)
    document_bits = np.array([bits.sum() for bits in score_ngrams(train, heldout, order)])
    document_bytes = np.array([len(data) for data in heldout])
    return NgramBaseline(
        bits_per_byte=float(document_bits.sum() / document_bytes.sum()),
        order=order,
        train_bytes=sum(map(len, train)),
        document_bits=document_bits,
        document_bytes=document_bytes,
    )


def choose_order(train: Sequence[bytes], max_order: int) -> int:
    """The order that predicts the end of the training text best from what stands before it.

    Orders are tried from 1 up, until one does worse than the one before.
    """
    n_development = min(DEVELOPMENT_BYTES, int(sum(map(len, train)) * DEVELOPMENT_SHARE))
    fitting, development = _split_at_end(train, n_development)
    if not fitting or not development:
        return 1
    best_order, best_bits = 1, np.inf
    for order, bits in _score_orders(fitting, development, range(1, max_order + 1)):
        if bits.sum() >= best_bits:
            break
        best_order, best_bits = order, bits.sum()
    return best_order


def _split_at_end(documents: Sequence[bytes], n_bytes: int) -> tuple[list[bytes], list[bytes]]:
    """The documents without their last `n_bytes`, and those last bytes."""
    before, after = list(documents), []
    while n_bytes > 0 and before:
        document = before.pop()
        if len(document) > n_bytes:
            before.append(document[:-n_bytes])
        after.append(document[-n_bytes:])
        n_bytes -= len(after[-1])
    return before, after[::-1]


@dataclass(frozen=True, eq=False)
class _Level:
    """The n-grams of one length as lookup tables.

    An n-gram's id is its place in `keys`; its key is its context's id (from the level below) and
    its last byte, so ids stay dense however long the n-gram is.
    """

    keys: np.ndarray  # (n_grams,) uint64, sorted: id of the context << SYMBOL_BITS | last symbol
    direct: np.ndarray  # (n_grams,) the part of p(w|h) that its own count gives
    leftover: np.ndarray  # (n_contexts,) the share of p(.|h) left to the shorter context


def score_ngrams(
    train: Sequence[bytes], documents: Sequence[bytes], order: int
) -> list[np.ndarray]:
    """The bits of each byte of each document, predicted from up to `order` - 1 bytes before it.

    Byte n-grams with interpolated, modified Kneser-Ney smoothing, counted in `train`.

    For the longest contexts, and with counts c of what was seen,

        p(w|h) = max(c(hw) - D(c(hw)), 0) / c(h) + leftover(h) p(w|h')
        leftover(h) = Σ_w D(c(hw)) / c(h)

    and for shorter ones c(hw) is instead the number of different symbols seen before hw: a byte
    that follows only one context is not likely after another (Kneser & Ney 1995, "Improved backing-
    off for m-gram language modeling"). Below single bytes stands 1/256. The discounts D(1), D(2)
    and D(3 and more) follow from how many n-grams were seen once to four times (Chen & Goodman
    1998, "An empirical study of smoothing techniques for language modeling", equation 26).

    Worked example, order 2, fitted to the one document "aab". Single bytes count the different
    symbols before them: a has 2 (START and a), b has 1 (a); so D(1) = 1 - 2 · 1/3 · 1/1 = 1/3, and
    D(2), which nothing seen three times can tell, is 0.5. p(a) = 1.5/3 + (0.5 + 0.333)/3 / 256 =
    0.501 and p(b) = 0.667/3 + 0.833/3 / 256 = 0.223. After a came a once and b once, each less 0.5:
    p(b|a) = 0.5/2 + 1/2 · p(b) = 0.362.

    >>> bits = score_ngrams([b"aab"], [b"ab"], order=2)
    >>> [round(float(p), 4) for p in 2.0 ** -bits[0]]
    [0.7505, 0.3617]

    documents: n_documents of n_bytes -> n_documents arrays (n_bytes,)
    """
    if order < 1:
        raise ValueError(f"order={order} must be at least 1; try order=6")
    ((_, bits),) = _score_orders(train, documents, range(order, order + 1))
    return np.split(bits, np.cumsum([len(document) for document in documents])[:-1])


def _score_orders(
    train: Sequence[bytes], documents: Sequence[bytes], orders: range
) -> Iterator[tuple[int, np.ndarray]]:
    """For each order, the bits of all bytes of the documents in a row: (n_bytes,).

    Works upwards through the lengths and keeps only the two it needs.
    """
    symbols = _symbols(documents, orders[-1])
    p = np.full(len(symbols), 1 / 256)
    ids = np.zeros(len(symbols), dtype=np.int64)  # of the empty n-gram
    below = None
    for order, counts in enumerate(_count_levels(_symbols(train, orders[-1]), orders[-1]), 1):
        if below is not None:
            p, ids = _lengthen(_lower_level(below, counts), symbols, p, ids)
        if order in orders:
            p_top, _ = _lengthen(_top_level(counts), symbols, p, ids)
            yield order, -np.log2(p_top[symbols != START])
        below = counts


def _lengthen(
    level: _Level, symbols: np.ndarray, p: np.ndarray, ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From p(w|h') to p(w|h), and the ids of the n-grams hw: all (n_symbols,)."""
    context = np.concatenate([[-1], ids[:-1]])
    ids = _find(level.keys, context, symbols)
    leftover = np.where(context >= 0, level.leftover[context], 1.0)
    return np.where(ids >= 0, level.direct[ids], 0.0) + leftover * p, ids


def _symbols(documents: Sequence[bytes], order: int) -> np.ndarray:
    """The documents' bytes, each document after `order` START symbols: (n_symbols,) int64."""
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    data = np.frombuffer(b"".join(documents), dtype=np.uint8)
    symbols = np.full(len(data) + order * len(documents), START, dtype=np.int64)
    n_starts_before = order * np.arange(1, len(documents) + 1)
    symbols[np.arange(len(data)) + np.repeat(n_starts_before, lengths)] = data
    return symbols


def _find(keys: np.ndarray, context: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """The id of each n-gram, -1 for those never seen: (n_symbols,)."""
    wanted = (context.clip(min=0) << SYMBOL_BITS | symbols).astype(np.uint64)
    ids = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where((context >= 0) & (keys[ids] == wanted), ids, -1)


@dataclass(frozen=True, eq=False)
class _Counts:
    """The n-grams of one length: keys, times seen, and of each its suffix one symbol shorter."""

    keys: np.ndarray  # (n_grams,)
    seen: np.ndarray  # (n_grams,)
    suffix: np.ndarray  # (n_grams,) id in the level below
    n_contexts: int


def _count_levels(symbols: np.ndarray, order: int) -> Iterator[_Counts]:
    """Count the n-grams that end at each symbol, for n = 1 up to `order`.

    N-grams that reach over a document's start end in START, and are never predicted.
    """
    if len(symbols) > MOST_SYMBOLS:
        raise DataError(
            f"{len(symbols)} symbols are more than the {MOST_SYMBOLS} that an n-gram model can "
            "count here; lower max_train_bytes"
        )
    ids = np.zeros(len(symbols), dtype=np.int64)
    n_contexts = 1
    for _ in range(order):
        context = np.concatenate([[0], ids[:-1]])
        keys, positions = _sort_with_positions(context << SYMBOL_BITS | symbols)
        is_first = np.concatenate([[True], keys[1:] != keys[:-1]])
        first = np.flatnonzero(is_first)
        yield _Counts(
            keys=keys[first],
            seen=np.diff(first, append=len(keys)),
            suffix=ids[positions[first]],
            n_contexts=n_contexts,
        )
        ids[positions] = np.cumsum(is_first) - 1
        n_contexts = len(first)


def _sort_with_positions(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys in order, and where each one stood: (n_symbols,) uint64, (n_symbols,) int64.

    Key and position share one 64-bit number, since sorting numbers is many times faster than
    sorting places by number.
    """
    n_bits = np.uint64(len(keys).bit_length())
    packed = keys.astype(np.uint64) << n_bits
    packed |= np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    return packed >> n_bits, (packed & ((np.uint64(1) << n_bits) - np.uint64(1))).astype(np.int64)


def _top_level(counts: _Counts) -> _Level:
    return _smoothed(counts, counts.seen)


def _lower_level(counts: _Counts, above: _Counts) -> _Level:
    """The level's tables when longer n-grams stand above it: how many symbols came before each."""
    return _smoothed(counts, np.bincount(above.suffix, minlength=len(counts.keys)))


def _smoothed(counts: _Counts, n_seen: np.ndarray) -> _Level:
    """Discount `n_seen` and share it out by context."""
    predicted = (counts.keys & np.uint64((1 << SYMBOL_BITS) - 1)) != START
    n_seen = np.where(predicted, n_seen, 0)
    context = (counts.keys >> np.uint64(SYMBOL_BITS)).astype(np.int64)
    total = np.bincount(context, weights=n_seen, minlength=counts.n_contexts)
    discount = _discounts(n_seen)[n_seen.clip(max=3)]
    held_back = np.bincount(context, weights=discount, minlength=counts.n_contexts)
    followed = total > 0
    leftover = np.divide(held_back, total, out=np.ones_like(total), where=followed)
    direct = (n_seen - discount) / np.where(followed, total, 1.0)[context]
    return _Level(keys=counts.keys, direct=direct, leftover=leftover)


def _discounts(n_seen: np.ndarray) -> np.ndarray:
    """What to take from n-grams seen 0, 1, 2, and 3 or more times: (4,).

    With n(k) the number of n-grams seen k times and Y = n(1) / (n(1) + 2 n(2)):
    D(k) = k - (k + 1) Y n(k+1) / n(k).

    >>> _discounts(np.repeat([1, 2, 3, 4], [40, 20, 12, 8])).tolist()
    [0.0, 0.5, 1.1, 1.6666666666666667]
    """
    n = np.bincount(n_seen.clip(max=5), minlength=6).astype(float)
    discounts = np.array([0.0, DEFAULT_DISCOUNT, DEFAULT_DISCOUNT, DEFAULT_DISCOUNT])
    for k in (1, 2, 3):
        if n[1] > 0 and n[k] > 0:
            estimate = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
            if 0 < estimate < k:
                discounts[k] = estimate
    return discounts
