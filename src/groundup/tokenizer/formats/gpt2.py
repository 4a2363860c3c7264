"""GPT-2's two files, vocabulary and merges, as others use them too: CLIP, RoBERTa, Qwen.

The vocabulary (vocab.json, encoder.json) spells each byte as one visible character; the merges
(merges.txt, vocab.bpe) stand a line each, the first to apply first. What cuts the text stands in
neither; the config beside them names the kind of tokenizer. Called by `formats.open_tokenizer`;
`tokenizer_json.py` reads the same two things out of its one file by `byte_level_model`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import BYTE_OF_ID, CHARACTER_OF_ID, ID_OF_BYTE, N_BYTES, Bpe, Merge
from groundup.tokenizer.formats.folder_config import (
    Config,
    named_tokens,
    read_chat_format,
    read_roles,
)
from groundup.tokenizer.normalize import LibraryNormalizer, Nfc, Normalizer
from groundup.tokenizer.pretokenize import Cutter, LibraryCutter, PatternCutter
from groundup.tokenizer.tokenizer import LibraryDecoder, Tokenizer

Vocabulary = Mapping[str, int]
StringPair = tuple[str, str]

# The names under which the two files stand beside each other
FILE_NAMES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_BYTE_OF_CHARACTER = dict(zip(CHARACTER_OF_ID, BYTE_OF_ID, strict=True))
_CLIP_END_OF_WORD = "</w>"
# A space before a text that does not begin with one: ByteLevel's add_prefix_space, as a normalizer
PREFIX_SPACE = {"type": "Replace", "pattern": {"Regex": r"\A(?=[^ ])"}, "content": " "}


@dataclass(frozen=True)
class Kind:
    """What a kind of tokenizer does around vocabulary and merges."""

    cutter: Cutter
    normalizer: Normalizer | None = None


_GPT2 = Kind(PatternCutter("gpt2"))
# transformers' names for tokenizers that are these two files
_KINDS = {
    "GPT2Tokenizer": _GPT2,
    "RobertaTokenizer": _GPT2,
    "BartTokenizer": _GPT2,
    "Qwen2Tokenizer": Kind(PatternCutter("qwen2"), Nfc()),
}

# transformers, convert_slow_tokenizer.py, class CLIPConverter: composed characters, white space to
# one space, small letters; spaces are left out and each word is told by its end.
_CLIP_NORMALIZER = {
    "type": "Sequence",
    "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ],
}
_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_CLIP_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
                r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
            },
            "behavior": "Removed",
            "invert": True,
        },
        _BYTE_LEVEL,
    ],
}
_CLIP_DECODER = {
    "type": "Sequence",
    "decoders": [
        _BYTE_LEVEL,
        {"type": "Replace", "pattern": {"String": _CLIP_END_OF_WORD}, "content": " "},
        # not Strip, which panics where there is nothing to strip
        {"type": "Replace", "pattern": {"Regex": r" \z"}, "content": ""},
    ],
}


def read_gpt2(vocab_path: Path, merges_path: Path, config: Config) -> Tokenizer:
    """The tokenizer of the two files.

    Tokens that are neither a byte nor made by a merge cannot come from text, and are special.
    """
    vocab = json.loads(vocab_path.read_text(encoding="utf-8"))
    return tokenizer_of(vocab, parse_merges(merges_path.read_text(encoding="utf-8")), config)


def parse_merges(text: str) -> list[StringPair]:
    r"""The pairs of a merges file.

    >>> parse_merges("#version: 0.2\nt h\nth e\n")
    [('t', 'h'), ('th', 'e')]
    """
    lines = text.split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    pairs: list[StringPair] = []
    for line in lines:
        if not line.strip():
            continue
        left, separator, right = line.rstrip("\r").partition(" ")
        if not separator or " " in right:
            raise TokenizerError(f"{line!r} is not two tokens with a space between, as a merge is")
        pairs.append((left, right))
    return pairs


def tokenizer_of(vocab: Vocabulary, pairs: Sequence[StringPair], config: Config) -> Tokenizer:
    """The tokenizer of a vocabulary and merges as they are spelled."""
    is_clip = any(string.endswith(_CLIP_END_OF_WORD) for string in vocab)
    ending = _CLIP_END_OF_WORD if is_clip else ""
    made = {left + right for left, right in pairs}
    units = {character + end for character in CHARACTER_OF_ID for end in ("", ending)}
    names = [string for string in vocab if string not in made and string not in units]
    names += [name for name in named_tokens(config) if name in vocab and name not in names]
    special_tokens = {name: vocab[name] for name in names}
    if is_clip:
        return _clip(vocab, pairs, special_tokens, config)
    kind = _kind(config)
    return Tokenizer(
        byte_level_model(vocab, pairs, special_tokens),
        kind.cutter,
        normalizer=kind.normalizer,
        special_tokens=special_tokens,
        roles=read_roles(config, special_tokens),
        chat_format=read_chat_format(config, special_tokens),
    )


def byte_level_model(
    vocab: Vocabulary,
    pairs: Iterable[StringPair],
    special: Collection[str],
    *,
    whole_words: bool = False,
) -> Bpe:
    """The byte-pair vocabulary of strings in GPT-2's visible characters; `special` have no piece.

    >>> vocab = {character: i for i, character in enumerate(CHARACTER_OF_ID)}
    >>> model = byte_level_model(vocab | {"Ġa": 256, "<s>": 257}, [("Ġ", "a")], ["<s>"])
    >>> model.pieces[256:], model.encode_word(b" aa")
    ((b' a',), [256, 64])
    """
    missing = [c for c in CHARACTER_OF_ID if c not in vocab or c in special]
    if missing:
        byte = _BYTE_OF_CHARACTER[missing[0]]
        raise TokenizerError(
            f"its vocabulary has no token for {len(missing)} of the {N_BYTES} bytes (the first is "
            f"{byte:#04x}), so there are texts that it cannot encode; take one that has them all"
        )
    pieces = [b""] * count_pieces(vocab.values(), [vocab[string] for string in special])
    for string, token_id in vocab.items():
        if string not in special:
            pieces[token_id] = bytes_of(string)
    return Bpe(
        tuple(pieces),
        tuple(merges_of(vocab, pairs)),
        byte_ids=tuple(vocab[CHARACTER_OF_ID[ID_OF_BYTE[byte]]] for byte in range(N_BYTES)),
        whole_words=whole_words,
    )


def count_pieces(
    ids: Iterable[int], special_ids: Collection[int], unk_id: int | None = None
) -> int:
    """How many pieces a model has: up to the last id that is not special.

    Whether special tokens behind that are part of the vocabulary is told in one way by one file and
    otherwise by another, and makes no difference. The unknown token is always part of it.

    >>> count_pieces(range(9), [0, 7, 8]), count_pieces(range(9), [0, 7, 8], unk_id=7)
    (7, 8)
    """
    return max((i for i in ids if i not in special_ids or i == unk_id), default=-1) + 1


def merges_of(vocab: Vocabulary, pairs: Iterable[StringPair]) -> list[Merge]:
    """Merges as ids. Of a pair that stands there twice the second counts, as in tokenizers."""
    merges: dict[tuple[int, int], Merge] = {}
    for left, right in pairs:
        unknown = [token for token in (left, right, left + right) if token not in vocab]
        if unknown:
            raise TokenizerError(
                f"its merge of {left!r} and {right!r} needs the token {unknown[0]!r}, which its "
                "vocabulary does not have; the two do not belong together"
            )
        merge = (vocab[left], vocab[right], vocab[left + right])
        merges.pop(merge[:2], None)
        merges[merge[:2]] = merge
    return list(merges.values())


def is_byte_level(string: str) -> bool:
    """Whether a token is spelled in GPT-2's visible characters only.

    >>> is_byte_level("Ġthe"), is_byte_level("▁the")
    (True, False)
    """
    return all(character in _BYTE_OF_CHARACTER for character in string)


def bytes_of(string: str) -> bytes:
    """The bytes of a token in visible characters; of any other string its UTF-8.

    >>> bytes_of("Ġthe")
    b' the'
    """
    if not is_byte_level(string):
        return string.encode()
    return bytes(_BYTE_OF_CHARACTER[character] for character in string)


def _kind(config: Config) -> Kind:
    name = str(config.get("tokenizer_class", "GPT2Tokenizer"))
    kind = _KINDS.get(name.removesuffix("Fast"))
    if kind is None:
        raise TokenizerError(
            f"its tokenizer_config.json says {name}, and how that cuts a text is known here for "
            f"{', '.join(_KINDS)}; open its tokenizer.json, which transformers writes for it"
        )
    if not config.get("add_prefix_space"):
        return kind
    if kind is not _GPT2:
        raise TokenizerError(
            "its tokenizer_config.json sets add_prefix_space, and where the space goes is known "
            "here for GPT-2's pattern only; open its tokenizer.json"
        )
    return Kind(kind.cutter, LibraryNormalizer(json.dumps(PREFIX_SPACE, sort_keys=True)))


def _clip(
    vocab: Vocabulary,
    pairs: Sequence[StringPair],
    special_tokens: dict[str, int],
    config: Config,
) -> Tokenizer:
    """CLIP's tokenizer, on visible characters, since the end of a word is no byte."""
    unk_id = special_tokens.get("<|endoftext|>")
    n_pieces = count_pieces(vocab.values(), special_tokens.values(), unk_id)
    string_of = {token_id: string for string, token_id in vocab.items()}
    strings = [string_of.get(token_id, "") for token_id in range(n_pieces)]
    model = Bpe(
        tuple(b"" if string in special_tokens else string.encode() for string in strings),
        tuple(merges_of(vocab, pairs)),
        units="characters",
        unk_id=unk_id,
        end_of_word=_CLIP_END_OF_WORD.encode(),
    )
    return Tokenizer(
        model,
        LibraryCutter(json.dumps(_CLIP_PRE_TOKENIZER, sort_keys=True)),
        normalizer=LibraryNormalizer(json.dumps(_CLIP_NORMALIZER, sort_keys=True)),
        decoder=LibraryDecoder(json.dumps(_CLIP_DECODER, sort_keys=True), tuple(strings)),
        special_tokens=special_tokens,
        roles=read_roles(config, special_tokens),
        chat_format=read_chat_format(config, special_tokens),
    )
