"""tokenizer.json, the tokenizers library's one file: read for BPE, WordPiece and Unigram.

What the file says is taken apart into groundup's own model and cutter where they do the same. The
parts of a pipeline that are not ours (BERT's normalizer, Metaspace ...) are kept as JSON and run by
the library. What would give other ids than the library gives is refused by the part's name.
Truncation, padding and the post-processor, which put special tokens around a text, are left out:
`encode` gives a text's own ids. Called by `formats.open_tokenizer`; `tokenizer_json_writer.py` is
the way back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import tokenizers

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import CHARACTER_OF_ID, N_BYTES, Bpe
from groundup.tokenizer.formats.folder_config import Config, read_chat_format, read_roles
from groundup.tokenizer.formats.gpt2 import (
    byte_level_model,
    bytes_of,
    count_pieces,
    is_byte_level,
    merges_of,
)
from groundup.tokenizer.formats.tokenizer_json_added import (
    BYTE_NAMES,
    AddedToken,
    check_added_tokens,
    read_added_tokens,
    with_added_tokens,
    with_whole_words,
)
from groundup.tokenizer.formats.tokenizer_json_parts import (
    Part,
    Units,
    as_spec,
    read_decoder,
    read_normalizer,
    read_pre_tokenizer,
)
from groundup.tokenizer.pretokenize import LibraryCutter
from groundup.tokenizer.tokenizer import Tokenizer, WordModel
from groundup.tokenizer.unigram import Unigram
from groundup.tokenizer.wordpiece import WordPiece

# WordPiece has no field for "any length"
ANY_LENGTH = 2**31 - 1


def tokenizer_of_json(content: Part, config: Config) -> Tokenizer:
    """The tokenizer that a tokenizer.json describes, with what its folder says besides."""
    model = content["model"]
    vocab = _vocabulary(model)
    added = read_added_tokens(content, vocab, config)
    strings = _strings(vocab, added)
    special = {token.name: token.token_id for token in added if token.is_special}
    normalizer = read_normalizer(content.get("normalizer"))
    cutter, units, normalizer = read_pre_tokenizer(content.get("pre_tokenizer"), normalizer)
    if units == "bytes" and not _is_byte_level(model, strings, added):
        normalizer = read_normalizer(content.get("normalizer"))
        cutter, units = LibraryCutter(as_spec(content["pre_tokenizer"])), "characters"
    strings = strings[: count_pieces(range(len(strings)), {*special.values()}, _unk_id(model))]
    word_model = _read_model(model, strings, special, units)
    if any(not token.is_special for token in added):
        check_added_tokens(added, normalizer, content, vocab)
        word_model = with_whole_words(word_model, added)
        cutter, normalizer = with_added_tokens(cutter, normalizer, added)
    return Tokenizer(
        word_model,
        cutter,
        normalizer=normalizer,
        decoder=read_decoder(content.get("decoder"), strings, units),
        special_tokens=special,
        roles=read_roles(config, special),
        chat_format=read_chat_format(config, special),
    )


# --- vocabulary -----------------------------------------------------------------------------------


def _kind(model: Part) -> str:
    """BPE, WordPiece or Unigram; old files do not say, and then the library goes by the fields."""
    kind = model.get("type")
    if kind is None:
        if "merges" in model:
            kind = "BPE"
        elif "continuing_subword_prefix" in model:
            kind = "WordPiece"
        else:
            kind = "Unigram" if isinstance(model["vocab"], list) else "WordLevel"
    if kind not in ("BPE", "WordPiece", "Unigram"):
        raise TokenizerError(
            f"its model is {kind}, and groundup has BPE, WordPiece and Unigram; "
            "take a tokenizer with one of these"
        )
    return str(kind)


def _vocabulary(model: Part) -> dict[str, int]:
    if _kind(model) == "Unigram":
        return {string: token_id for token_id, (string, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _strings(vocab: Mapping[str, int], added: Sequence[AddedToken]) -> list[str]:
    """Each id's string; nothing for an id that has none."""
    ids = {**vocab, **{token.name: token.token_id for token in added}}
    strings = [""] * (max(ids.values(), default=-1) + 1)
    for string, token_id in ids.items():
        if strings[token_id]:
            raise TokenizerError(
                f"its tokens {strings[token_id]!r} and {string!r} have the same id {token_id}; "
                "give each its own"
            )
        strings[token_id] = string
    return strings


def _is_byte_level(model: Part, strings: Sequence[str], added: Sequence[AddedToken]) -> bool:
    """Whether every byte has a token and every token is spelled in bytes' visible characters.

    If not, the visible characters themselves are taken for the text, as the library does. Where
    that would drop bytes without a word, the tokenizer is refused.
    """
    names = {token.name for token in added}
    own = {string for string in strings if string and string not in names}
    missing = {*CHARACTER_OF_ID} - own
    if missing and _kind(model) == "BPE" and model.get("unk_token") is None:
        raise TokenizerError(
            f"its vocabulary has no token for {len(missing)} of the {N_BYTES} bytes (in its "
            f"spelling {', '.join(sorted(missing)[:3])} ...) and none for what is unknown, so "
            "the tokenizers library drops these bytes silently; take one that has them all"
        )
    prefix = model.get("continuing_subword_prefix") or ""
    if model.get("end_of_word_suffix"):  # which is no byte
        return False
    return not missing and all(is_byte_level(string.removeprefix(prefix)) for string in own)


# --- the model ------------------------------------------------------------------------------------


def _read_model(
    model: Part, strings: Sequence[str], special: Mapping[str, int], units: Units
) -> WordModel:
    match _kind(model):
        case "BPE":
            return _bpe(model, strings, special, units)
        case "WordPiece":
            return _wordpiece(model, strings, special, units)
        case _:
            return _unigram(model, strings, special, units)


def _bpe(model: Part, strings: Sequence[str], special: Mapping[str, int], units: Units) -> Bpe:
    for field in ("dropout", "continuing_subword_prefix"):
        if model.get(field):
            raise TokenizerError(
                f"its model sets {field}={model[field]!r}, which groundup's BPE does not have; "
                f"take one where it is null"
            )
    whole_words = bool(model.get("ignore_merges"))
    pairs = [_pair(merge) for merge in model["merges"]]
    vocab = {string: token_id for token_id, string in enumerate(strings) if string}
    end_of_word = model.get("end_of_word_suffix") or ""
    if units == "bytes" and not end_of_word:
        inner = [name for name in special if name in vocab]
        return byte_level_model(vocab, pairs, inner, whole_words=whole_words)
    byte_ids = _byte_ids(vocab) if model.get("byte_fallback") else None
    return Bpe(
        _character_pieces(strings, special, byte_ids),
        tuple(merges_of(vocab, pairs)),
        units="characters",
        byte_ids=byte_ids,
        unk_id=_unk_id(model),
        fuse_unk=bool(model.get("fuse_unk")),
        whole_words=whole_words,
        end_of_word=end_of_word.encode(),
    )


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge: two strings, or in older files one with a space between them."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _wordpiece(
    model: Part, strings: Sequence[str], special: Mapping[str, int], units: Units
) -> WordPiece:
    longest = model.get("max_input_chars_per_word", 100)
    return WordPiece.from_spellings(
        strings,
        units=units,
        prefix=model.get("continuing_subword_prefix", "##"),
        unk_id=_unk_id(model),
        max_word_chars=None if longest >= ANY_LENGTH else longest,
        special_ids=frozenset(special.values()),
    )


def _unigram(
    model: Part, strings: Sequence[str], special: Mapping[str, int], units: Units
) -> Unigram:
    """Pieces and scores. Tokens added behind them get the score 0, which no two pieces reach.

    The library would also match the names of special tokens and of bytes (`</s>`, `<0x41>`) where a
    text spells them; here, as in SentencePiece, it gives neither.
    """
    unk_id = _unk_id(model)
    vocab = {string: i for i, (string, _) in enumerate(model["vocab"])}
    byte_ids = _byte_ids(vocab) if model.get("byte_fallback") else None
    unmatched = {*special.values(), *(byte_ids or ()), unk_id}
    spell = bytes_of if units == "bytes" else str.encode
    scores = read_as_the_library([score for _, score in model["vocab"]]) + [0.0] * len(strings)
    return Unigram(
        tuple(b"" if i in unmatched else spell(string) for i, string in enumerate(strings)),
        tuple(scores[: len(strings)]),
        unk_id=unk_id,
        byte_ids=byte_ids,
        units=units,
    )


def read_as_the_library(numbers: Sequence[float]) -> list[float]:
    """Numbers as the tokenizers library reads them from JSON.

    It may miss the nearest 64-bit number by a bit where one has more than 14 digits, and that bit
    decides between two cuts of a word that are equally probable.
    """
    model = {"type": "Unigram", "unk_id": None, "byte_fallback": False}
    vocab = [[str(place), number] for place, number in enumerate(numbers)]
    content = {"version": "1.0", "added_tokens": [], "model": {**model, "vocab": vocab}}
    written = tokenizers.Tokenizer.from_str(json.dumps(content)).to_str()
    return [number for _, number in json.loads(written)["model"]["vocab"]]


def _unk_id(model: Part) -> int | None:
    """The id of the unknown token; BPE and WordPiece name it, Unigram says its id."""
    token_id = model.get("unk_id")
    name = model.get("unk_token")
    if name is not None:
        token_id = model["vocab"].get(name)
    return None if token_id is None else int(token_id)


def _byte_ids(vocab: Mapping[str, int]) -> tuple[int, ...] | None:
    """The ids of <0x00> to <0xFF>; None if there are none."""
    missing = [name for name in BYTE_NAMES if name not in vocab]
    if len(missing) == N_BYTES:
        return None
    if missing:
        raise TokenizerError(
            f"its byte_fallback has a token for some bytes but not for {missing[0]}; "
            "take one that has all 256 or none"
        )
    return tuple(vocab[name] for name in BYTE_NAMES)


def _character_pieces(
    strings: Sequence[str], special: Mapping[str, int], byte_ids: Sequence[int] | None
) -> tuple[bytes, ...]:
    """What each id is matched as: its string, a byte, or nothing."""
    pieces = [b"" if string in special else string.encode() for string in strings]
    for byte, token_id in enumerate(byte_ids or ()):
        spelled = bytes([byte])
        is_piece = byte < 0x80 and chr(byte) in strings  # then the byte's own token never comes
        pieces[token_id] = b"" if is_piece else spelled
    return tuple(pieces)
