"""The tokenizer of SentencePiece's .model: its pieces, and how a text is normalised.

Unigram and BPE models are read, with byte fallback and user-defined symbols. The ids are
SentencePiece's, but for cuts of a word that are equally probable: there rounding decides, and it
rounds sums of 32 bits that begin where the text does, and groundup sums of 64 bits in each word.
The normalizer's table is run by the tokenizers library, as it is for every model in transformers;
`read_sentencepiece` says where that differs. Called by `formats.open_tokenizer`.

Kudo and Richardson 2018 (SentencePiece: A simple and language independent subword tokenizer).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import N_BYTES, Bpe, Merge
from groundup.tokenizer.formats.folder_config import Config, read_chat_format, read_roles
from groundup.tokenizer.formats.gpt2 import count_pieces
from groundup.tokenizer.formats.sentencepiece_file import (
    ModelType,
    PieceType,
    SentencePieceModel,
    parse_model,
)
from groundup.tokenizer.formats.tiktoken_ranks import unspelled_piece
from groundup.tokenizer.formats.tokenizer_json_parts import as_spec
from groundup.tokenizer.normalize import LibraryNormalizer, Normalizer
from groundup.tokenizer.pretokenize import Cutter, PatternCutter, WholeText
from groundup.tokenizer.tokenizer import LibraryDecoder, Tokenizer
from groundup.tokenizer.unigram import Unigram

SPACE = "▁"  # U+2581, how a space is written in a piece
_ALL = 2**31 - 1  # more spaces than any text begins with


def read_sentencepiece(data: bytes, config: Config) -> Tokenizer:
    """The tokenizer of a .model file.

    Control and unknown pieces are special. The tokenizers library looks up the normalizer's table
    for one character at a time, or one written with combining marks of up to six bytes, and
    SentencePiece for the longest stretch of text; where a table has longer entries (Korean written
    letter by letter, some Indian vowels), a text may be normalised differently.
    """
    model = parse_model(data)
    special_ids = model.ids_of(PieceType.CONTROL, PieceType.UNKNOWN)
    special = {model.pieces[token_id].text: token_id for token_id in special_ids}
    _check(model)
    n_pieces = count_pieces(range(len(model.pieces)), special_ids, _unk_id(model))
    strings = tuple(piece.text for piece in model.pieces)
    word_model: Bpe | Unigram
    if model.model_type == ModelType.BPE:
        word_model, cutter = _bpe(model, n_pieces)
    else:
        word_model, cutter = _unigram(model, n_pieces)
    named = {"bos_token": model.bos_id, "eos_token": model.eos_id, "pad_token": model.pad_id}
    said = {role: strings[i] for role, i in named.items() if i in special_ids}
    return Tokenizer(
        word_model,
        cutter,
        normalizer=_normalizer(model),
        decoder=LibraryDecoder(as_spec(_decoder(model)), strings[:n_pieces]),
        special_tokens=special,
        roles=read_roles({**said, **config}, special),
        chat_format=read_chat_format(config, special),
    )


def _check(model: SentencePieceModel) -> None:
    """TokenizerError for what cannot be done here as SentencePiece does it."""
    if model.model_type not in (ModelType.UNIGRAM, ModelType.BPE):
        raise TokenizerError(
            f"its model_type is {model.model_type.name}, and groundup reads UNIGRAM and BPE; "
            "train it anew with one of these"
        )
    if model.space_behind:
        raise TokenizerError(
            "it sets treat_whitespace_as_suffix, which groundup does not have; train it without"
        )
    if not model.escape_whitespaces:
        raise TokenizerError(
            "it sets escape_whitespaces to false, which groundup does not have; train it without"
        )
    if model.ids_of(PieceType.UNUSED):
        raise TokenizerError(
            "it has unused pieces, which groundup does not have; take the model as it was trained"
        )
    if len({piece.text for piece in model.pieces}) < len(model.pieces):
        raise TokenizerError("two of its pieces are the same; fetch the file again")
    normalize = _charsmap(model)
    for token_id in model.ids_of(PieceType.USER_DEFINED):
        text = model.pieces[token_id].text
        if normalize is not None and normalize(text) != text:
            raise TokenizerError(
                f"its user-defined piece {text!r} is changed by its own normalizer, which "
                "SentencePiece leaves out there and groundup cannot; take the piece away"
            )


def _unigram(model: SentencePieceModel, n_pieces: int) -> tuple[Unigram, Cutter]:
    best = max((model.pieces[i].score for i in model.ids_of(PieceType.NORMAL)), default=0.0)
    scores = [piece.score for piece in model.pieces]
    for token_id in model.ids_of(PieceType.USER_DEFINED):
        # unigram_model.cc: what SentencePiece gives them so that they are preferred
        scores[token_id] = len(model.pieces[token_id].text.encode()) * best - 0.1
    word_model = Unigram(
        _spelled(model)[:n_pieces],
        tuple(scores[:n_pieces]),
        unk_id=_unk_id(model),
        byte_ids=_byte_ids(model),
    )
    return word_model, _cutter(model)


def _bpe(model: SentencePieceModel, n_pieces: int) -> tuple[Bpe, Cutter]:
    word_model = Bpe(
        _spelled(model)[:n_pieces],
        tuple(_merges(model)),
        units="characters",
        byte_ids=_byte_ids(model),
        unk_id=_unk_id(model),
        fuse_unk=True,
    )
    user_defined = model.ids_of(PieceType.USER_DEFINED)
    if not user_defined:
        return word_model, _cutter(model)
    # These are words, whatever stands around them, and a word that is a piece is that piece: which
    # changes nothing else where every piece comes out whole by merges as well.
    unspelled = unspelled_piece(word_model, {*user_defined, *model.ids_of(PieceType.BYTE)})
    if unspelled is not None:
        raise TokenizerError(
            f"it has user-defined pieces, and its merges cannot spell its piece "
            f"{model.pieces[unspelled].text!r}; groundup's BPE takes either all pieces as whole "
            "words or none, so make them control pieces"
        )
    names = [model.pieces[i].text for i in user_defined]
    return replace(word_model, whole_words=True), _cutter(model, names)


def _merges(model: SentencePieceModel) -> Iterator[Merge]:
    """Every way to put a piece together from two others, the piece of the best score first.

    SentencePiece joins, over and over, the two neighbours that together spell the piece of the best
    score, the leftmost first. Ranks do the same (`tiktoken_ranks.merges_of_ranks` says why the
    order among the ways to one piece is of no matter), if every character of a piece is a piece,
    and pieces of the same score are runs of one character.
    """
    texts = {piece.text for piece in model.pieces}
    normal = model.ids_of(PieceType.NORMAL)
    ids = {model.pieces[i].text: i for i in normal}
    ways: dict[float, list[Merge]] = {}
    for token_id in sorted(normal, key=lambda i: -model.pieces[i].score):
        text, score = model.pieces[token_id].text, model.pieces[token_id].score
        unknown = [character for character in text if character not in texts]
        if unknown:
            raise TokenizerError(
                f"its piece {text!r} holds {unknown[0]!r}, which is no piece by itself, so that "
                "no merge of two pieces leads there; take a model that has all its characters"
            )
        for cut in range(1, len(text)):
            left, right = ids.get(text[:cut]), ids.get(text[cut:])
            if left is not None and right is not None:
                ways.setdefault(score, []).append((left, right, token_id))
    for score, merges in ways.items():
        made = {model.pieces[token_id].text for _, _, token_id in merges}
        if len(made) > 1:
            merges.sort(key=lambda merge: -len(model.pieces[merge[0]].text))
            lengths = [tuple(len(model.pieces[i].text) for i in merge[:2]) for merge in merges]
            if len({*"".join(made)}) > 1 or not _joins_from_the_left(lengths):
                first, second = sorted(made)[:2]
                raise TokenizerError(
                    f"its pieces {first!r} and {second!r} have the same score {score}, and then "
                    "SentencePiece joins whichever stands first in a text, which merges in order "
                    "cannot; give each its own score"
                )
        yield from merges


def _joins_from_the_left(merges: Sequence[tuple[int, ...]]) -> bool:
    """Whether merges in their order make of a run of one character what the leftmost first makes.

    Llama's vocabulary gives all runs of spaces one score. The leftmost grows to the longest that
    there is, and so it does by merges of which those with the longest left part come first.

    >>> _joins_from_the_left([(2, 1), (1, 1)]), _joins_from_the_left([(1, 1), (2, 1)])
    (True, False)
    """
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    places = dict.fromkeys(merges, 0)
    n_longest = max(sum(merge) for merge in merges)
    return all(_join([1] * n, ranks) == _join([1] * n, places) for n in range(3 * n_longest))


def _join(run: list[int], ranks: Mapping[tuple[int, ...], int]) -> list[int]:
    """Join two neighbours of the lowest rank, the leftmost first, for as long as there are any."""
    while found := [(ranks[pair], i) for i, pair in enumerate(pairwise(run)) if pair in ranks]:
        _, place = min(found)
        run = [*run[:place], run[place] + run[place + 1], *run[place + 2 :]]
    return run


def _spelled(model: SentencePieceModel) -> tuple[bytes, ...]:
    """What each id is matched as: its text, a byte, or nothing."""
    texts = {piece.text for piece in model.pieces}
    spelled: list[bytes] = []
    for piece in model.pieces:
        if piece.type in (PieceType.NORMAL, PieceType.USER_DEFINED):
            spelled.append(piece.text.encode())
        elif piece.type == PieceType.BYTE:
            byte = int(piece.text[3:5], 16)
            is_piece = byte < 0x80 and chr(byte) in texts  # then the byte's own never comes
            is_matched = model.model_type == ModelType.BPE and not is_piece
            spelled.append(bytes([byte]) if is_matched else b"")
        else:
            spelled.append(b"")
    return tuple(spelled)


def _byte_ids(model: SentencePieceModel) -> tuple[int, ...] | None:
    if not model.byte_fallback:
        return None
    ids = {model.pieces[i].text: i for i in model.ids_of(PieceType.BYTE)}
    missing = [byte for byte in range(N_BYTES) if f"<0x{byte:02X}>" not in ids]
    if missing:
        raise TokenizerError(
            f"it falls back on bytes and has no piece for the byte {missing[0]:#04x}; "
            "fetch the file again"
        )
    return tuple(ids[f"<0x{byte:02X}>"] for byte in range(N_BYTES))


def _unk_id(model: SentencePieceModel) -> int:
    unknown = model.ids_of(PieceType.UNKNOWN)
    if len(unknown) != 1:
        raise TokenizerError(
            f"it has {len(unknown)} unknown pieces where there must be one; fetch the file again"
        )
    return unknown[0]


def _cutter(model: SentencePieceModel, symbols: Sequence[str] = ()) -> Cutter:
    """Cut where no piece can reach across: before spaces, and around symbols that are words.

    A run of spaces goes with what follows it, unless a piece has a space behind something else.
    """
    ids = model.ids_of(PieceType.NORMAL, PieceType.USER_DEFINED)
    texts = {model.pieces[i].text for i in ids} - {*symbols}
    crosses = any(SPACE in text.lstrip(SPACE) for text in texts)
    longest_first = sorted(symbols, key=len, reverse=True)
    symbol = "|".join(map(re.escape, longest_first))
    if crosses or SPACE not in texts:  # an unknown space is one with the unknown around it
        return PatternCutter(symbol) if symbols else WholeText()
    if not symbols:
        return PatternCutter(f"{SPACE}*[^{SPACE}]+|{SPACE}+")
    space, other = f"(?:(?!{symbol}){SPACE})", f"(?:(?!{symbol})[^{SPACE}])"
    return PatternCutter(f"{symbol}|{space}*{other}+|{space}+")


def _charsmap(model: SentencePieceModel) -> LibraryNormalizer | None:
    if not model.charsmap:
        return None
    table = base64.b64encode(model.charsmap).decode()
    return LibraryNormalizer(as_spec({"type": "Precompiled", "precompiled_charsmap": table}))


def _normalizer(model: SentencePieceModel) -> Normalizer | None:
    """SentencePiece's normalizer.cc: the table, spaces, and the space before the text."""
    parts: list[Mapping[str, object]] = []
    charsmap = _charsmap(model)
    if charsmap is not None:
        parts.append(json.loads(charsmap.spec))
    if model.remove_extra_whitespaces:
        parts += [_replace(r"\A +", ""), _replace(" {2,}", " ")]
    parts.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    if model.remove_extra_whitespaces:
        parts.append(_replace(rf"{SPACE}+\z", ""))
    if model.add_dummy_prefix:
        parts.append({"type": "Prepend", "prepend": SPACE})
    return LibraryNormalizer(as_spec({"type": "Sequence", "normalizers": parts}))


def _replace(expression: str, content: str) -> Mapping[str, object]:
    return {"type": "Replace", "pattern": {"Regex": expression}, "content": content}


def _decoder(model: SentencePieceModel) -> Mapping[str, object]:
    """Spaces for their sign, bytes for their pieces, and the space before the text taken away."""
    parts: list[Mapping[str, object]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    ]
    if model.byte_fallback:
        parts.append({"type": "ByteFallback"})
    parts.append({"type": "Fuse"})
    if model.add_dummy_prefix or model.remove_extra_whitespaces:
        n_spaces = _ALL if model.remove_extra_whitespaces else 1
        parts.append({"type": "Strip", "content": " ", "start": n_spaces, "stop": 0})
    return {"type": "Sequence", "decoders": parts}
