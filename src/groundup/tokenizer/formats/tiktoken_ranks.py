"""tiktoken's ranks: a line for each token, its bytes in base64 and its rank, which is its id.

The file holds neither the pattern that cuts the text nor the special tokens. Published ranks are
known here by what they hold; for others the pattern has to be named. Called by
`formats.open_tokenizer`, and by whoever wants a tokenizer for tiktoken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from groundup.runtime import TokenizerError, write_bytes
from groundup.tokenizer.bpe import N_BYTES, Bpe, Merge
from groundup.tokenizer.pretokenize import PATTERNS, PatternCutter
from groundup.tokenizer.tokenizer import Roles, Tokenizer

Ranks = Mapping[bytes, int]


@dataclass(frozen=True)
class Encoding:
    """What belongs to published ranks but does not stand in their file."""

    name: str
    pattern: str
    special_tokens: Mapping[str, int]
    roles: Roles


_END = "<|endoftext|>"
_END_ROLES = Roles(end_of_text=_END, end_of_turn=_END, pad=_END)

# github.com/openai/tiktoken, tiktoken_ext/openai_public.py, by the SHA-256 that it gives
_OPENAI: Mapping[str, Encoding] = MappingProxyType(
    {
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930": Encoding(
            "r50k_base", "gpt2", {_END: 50256}, _END_ROLES
        ),
        "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069": Encoding(
            "p50k_base", "gpt2", {_END: 50256}, _END_ROLES
        ),
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7": Encoding(
            "cl100k_base",
            "cl100k",
            {
                _END: 100257,
                "<|fim_prefix|>": 100258,
                "<|fim_middle|>": 100259,
                "<|fim_suffix|>": 100260,
                "<|endofprompt|>": 100276,
            },
            _END_ROLES,
        ),
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d": Encoding(
            "o200k_base", "o200k", {_END: 199999, "<|endofprompt|>": 200018}, _END_ROLES
        ),
    }
)

# github.com/meta-llama/llama3, llama/tokenizer.py: 256 special tokens follow the ranks. Two of
# these tell its ranks from others that are as many.
_LLAMA3_N_RANKS = 128_000
_LLAMA3_SOME_RANKS = {b" the": 279, b"Hello": 9906}
_LLAMA3_NAMES = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(4)),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(5, 251)),
)
LLAMA3 = Encoding(
    "llama3",
    "llama3",
    {name: _LLAMA3_N_RANKS + i for i, name in enumerate(_LLAMA3_NAMES)},
    Roles(end_of_text="<|begin_of_text|>", end_of_turn="<|eot_id|>", pad="<|end_of_text|>"),
)

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) (\d+)")


def looks_like_ranks(data: bytes) -> bool:
    """Whether a file's first line is a token in base64 and a number.

    >>> looks_like_ranks(b"IQ== 0\\nIg== 1\\n"), looks_like_ranks(b"#version: 0.2\\nt h\\n")
    (True, False)
    """
    found = _LINE.fullmatch(data.partition(b"\n")[0].rstrip(b"\r"))
    return found is not None and len(found[1]) % 4 == 0


def read_ranks(data: bytes, pattern: str | None = None) -> Tokenizer:
    """The tokenizer of a ranks file.

    `pattern` is needed for ranks that are not known here, and overrules it for those that are. A
    tokenizer of unknown ranks has no special tokens.
    """
    ranks = parse_ranks(data)
    encoding = _known(data, ranks)
    if encoding is None and pattern is None:
        raise TokenizerError(
            f"it holds {len(ranks)} ranks, which are none of "
            f"{', '.join(known.name for known in _OPENAI.values())} and Llama 3's, and tiktoken's "
            "files do not say how a text is cut; name the pattern, one of "
            f"{', '.join(PATTERNS)} or a regular expression"
        )
    encoding = encoding or Encoding("unknown", pattern or "", {}, Roles())
    return Tokenizer(
        model_of_ranks(ranks),
        PatternCutter(pattern or encoding.pattern),
        special_tokens=encoding.special_tokens,
        roles=encoding.roles,
        chat_format="llama3" if encoding is LLAMA3 else None,
    )


def parse_ranks(data: bytes) -> dict[bytes, int]:
    """Each token and its rank, in the order of ranks.

    >>> parse_ranks(b"YWI= 1\\nYQ== 0\\n")
    {b'a': 0, b'ab': 1}
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"its line {number} is {line[:40]!r} where a token in base64 and its rank must "
                "stand; fetch the file again"
            ) from error
    if len(set(ranks.values())) != len(ranks):
        raise TokenizerError("two of its tokens have the same rank; fetch the file again")
    return dict(sorted(ranks.items(), key=lambda item: item[1]))


def model_of_ranks(ranks: Ranks) -> Bpe:
    """The byte-pair vocabulary that gives tiktoken's ids."""
    missing = [byte for byte in range(N_BYTES) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(
            f"it has no rank for {len(missing)} of the 256 bytes (the first is {missing[0]:#04x}), "
            "so there are texts that it cannot encode; fetch the file again"
        )
    pieces = [b""] * (max(ranks.values()) + 1)
    for token, rank in ranks.items():
        pieces[rank] = token
    return Bpe(
        tuple(pieces),
        tuple(merges_of_ranks(ranks)),
        byte_ids=tuple(ranks[bytes([byte])] for byte in range(N_BYTES)),
        whole_words=True,
    )


def merges_of_ranks(ranks: Ranks) -> Iterator[Merge]:
    """Every way to put a token together from two others, at that token's rank.

    tiktoken knows no pairs. It takes a word that is a token as it is; in any other it joins, over
    and over, the two neighbours that together spell the token of the lowest rank, the leftmost
    first. So each way to cut a token into two tokens is a merge, and the merges come in the order
    of the ranks of what they make.

    In which order those of the same token come makes no difference: two of them never stand in a
    word at once. For as long as nothing is joined across its ends, a stretch of a word goes through
    the same steps whatever is around it. So any two neighbours that spell a token are the last two
    that this token's own bytes come down to, and these are always the same two.

    >>> list(merges_of_ranks({b"a": 0, b"b": 1, b"ab": 2, b"ba": 3, b"aba": 4}))
    [(0, 1, 2), (1, 0, 3), (0, 3, 4), (2, 0, 4)]
    """
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        for cut in range(1, len(token)):
            left = ranks.get(token[:cut])
            if left is not None and (right := ranks.get(token[cut:])) is not None:
                yield left, right, rank


def save_ranks(tokenizer: Tokenizer, path: Path) -> None:
    """Write a byte-level BPE for tiktoken; the pattern and the special tokens stay behind.

    Whoever loads the file gives them to tiktoken.Encoding as `pat_str` and `special_tokens`. Raises
    TokenizerError for a tokenizer that tiktoken could not follow.
    """
    ranks = ranks_of(tokenizer)
    lines = [b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items()]
    write_bytes(path, b"".join(lines))


def ranks_of(tokenizer: Tokenizer) -> dict[bytes, int]:
    """Each token that text gives, and its id, which is its rank.

    >>> tokenizer = Tokenizer.byte_level([(71, 72)])
    >>> list(ranks_of(tokenizer).items())[-2:]
    [(b'\\xad', 255), (b'hi', 256)]
    """
    model = tokenizer.model
    if not isinstance(model, Bpe) or model.units != "bytes":
        raise TokenizerError(
            f"tiktoken has byte-level BPE only, and this is {tokenizer.algorithm} on other units; "
            "save it as tokenizer.json"
        )
    if tokenizer.normalizer is not None or not isinstance(tokenizer.cutter, PatternCutter):
        raise TokenizerError(
            "tiktoken cuts a text as it stands by one pattern, and this tokenizer's "
            f"{type(tokenizer.normalizer or tokenizer.cutter).__name__} does more; "
            "save it as tokenizer.json"
        )
    ranks = {piece: i for i, piece in enumerate(model.pieces) if piece}
    if len(ranks) < sum(1 for piece in model.pieces if piece):
        raise TokenizerError(
            "two of its tokens spell the same bytes, and tiktoken's file holds each once; "
            "save it as tokenizer.json"
        )
    if tuple(merges_of_ranks(ranks)) != model.merges:
        _check_merges_follow_ranks(model)
    return ranks


def _check_merges_follow_ranks(model: Bpe) -> None:
    """TokenizerError unless tiktoken, which sees only ids, does as these merges do.

    It does if the ids grow with the merges that make them and every token comes out whole when its
    bytes stand alone: then the two neighbours that tiktoken joins next are the last two that the
    token comes down to (see `merges_of_ranks`), which are a merge, and the first that applies.
    """
    made = [merge[2] for merge in model.merges]
    if made != sorted(made):
        raise TokenizerError(
            "its ids do not grow in the order of its merges, and tiktoken joins the lowest id "
            "first; save it as tokenizer.json"
        )
    unspelled = unspelled_piece(model)
    if unspelled is not None:
        raise TokenizerError(
            f"its merges cannot spell its token {model.pieces[unspelled]!r}, which tiktoken would "
            "give; save it as tokenizer.json"
        )


def unspelled_piece(model: Bpe, besides: Container[int] = ()) -> int | None:
    """The first id that its own text does not come down to by the merges; None if all do."""
    by_merges = replace(model, whole_words=False)
    for token_id, piece in enumerate(model.pieces):
        if piece and token_id not in besides and by_merges.encode_word(piece) != [token_id]:
            return token_id
    return None


def _known(data: bytes, ranks: Ranks) -> Encoding | None:
    known = _OPENAI.get(hashlib.sha256(data).hexdigest())
    if known is None and len(ranks) == _LLAMA3_N_RANKS:
        is_llama3 = all(ranks.get(token) == rank for token, rank in _LLAMA3_SOME_RANKS.items())
        return LLAMA3 if is_llama3 else None
    return known
