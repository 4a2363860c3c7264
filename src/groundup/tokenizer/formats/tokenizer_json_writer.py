"""The way back: a tokenizer as tokenizer.json, which tokenizers and transformers load.

Called by `formats.save_tokenizer`. What `tokenizer_json.py` reads from it is an equal tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import CHARACTER_OF_ID, ID_OF_BYTE, Bpe
from groundup.tokenizer.formats.added_tokens import AddedTokensCutter
from groundup.tokenizer.formats.oniguruma import ONIGURUMA_PATTERNS, pattern_problem
from groundup.tokenizer.formats.tokenizer_json import ANY_LENGTH
from groundup.tokenizer.formats.tokenizer_json_parts import (
    Part,
    byte_level_part,
    byte_wordpiece_decoder,
    flat,
    normalizer_part,
    split_part,
)
from groundup.tokenizer.normalize import Nfc, Nfkc
from groundup.tokenizer.pretokenize import PATTERNS, Cutter, LibraryCutter, PatternCutter
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.unigram import Unigram
from groundup.tokenizer.wordpiece import WordPiece

# github.com/ggml-org/llama.cpp, src/llama-vocab.cpp: gpt-2, llama-bpe, qwen2 and gpt-4o there
_PATTERNS_OF_LLAMA_CPP = ("gpt2", "llama3", "qwen2", "o200k")
# The library's WordPiece must name one, though byte-level ones never give it.
_NO_UNK_TOKEN = "[UNK]"


def json_of_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of tokenizer.json.

    >>> content = json_of_tokenizer(Tokenizer.byte_level([(71, 72)]))
    >>> content["model"]["merges"], content["model"]["vocab"]["hi"]
    ([['h', 'i']], 256)
    >>> [token["content"] for token in content["added_tokens"]]
    ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
    """
    cutter: Cutter | AddedTokensCutter = tokenizer.cutter
    normalizer = tokenizer.normalizer
    in_normalized: dict[str, bool] = {}
    added = dict(tokenizer.special_tokens)
    while isinstance(cutter, AddedTokensCutter):
        for name in cutter.tokens:
            [added[name]] = tokenizer.model.encode_word(name.encode())
        in_normalized |= dict.fromkeys(cutter.tokens, cutter.in_normalized)
        normalizer = normalizer or cutter.normalizer
        cutter = cutter.cutter
    added = dict(sorted(added.items(), key=lambda item: item[1]))
    strings = _strings(tokenizer, added)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": in_normalized.get(name, False),
                "special": name in tokenizer.special_tokens,
            }
            for name, token_id in added.items()
        ],
        "normalizer": normalizer_part(normalizer),
        "pre_tokenizer": _pre_tokenizer(tokenizer, cutter),
        "post_processor": None,
        "decoder": _decoder(tokenizer),
        "model": _model(tokenizer, strings, _vocabulary(tokenizer, strings, added)),
    }


def export_costs(tokenizer: Tokenizer) -> list[str]:
    """What a tokenizer cannot be exported to, and why; nothing for the usual ones.

    >>> export_costs(Tokenizer.byte_level([]))
    []
    >>> for cost in export_costs(Tokenizer.byte_level([], r"\\S+|\\s+")): print(cost)
    pattern='\\\\S+|\\\\s+' is none that llama.cpp and Ollama know, and they know a tokenizer by \
exactly its pattern: a model with it cannot become GGUF; transformers, tokenizers and vLLM read it
    """
    costs: list[str] = []
    cutter = tokenizer.cutter
    if isinstance(cutter, PatternCutter) and cutter.pattern not in _PATTERNS_OF_LLAMA_CPP:
        costs.append(
            f"pattern={cutter.pattern!r} is none that llama.cpp and Ollama know, and they know a "
            "tokenizer by exactly its pattern: a model with it cannot become GGUF; transformers, "
            "tokenizers and vLLM read it"
        )
    if _is_bytes(tokenizer) and not isinstance(tokenizer.model, Bpe):
        costs.append(
            f"llama.cpp and Ollama have no byte-level {tokenizer.algorithm}: a model with it "
            "cannot become GGUF; transformers, tokenizers and vLLM read it"
        )
    if isinstance(tokenizer.normalizer, Nfc | Nfkc):
        costs.append(
            "llama.cpp and Ollama normalise no text for a byte-level tokenizer: there, a text that "
            f"is not in {type(tokenizer.normalizer).__name__.upper()} already gets other ids"
        )
    return costs


def _is_bytes(tokenizer: Tokenizer) -> bool:
    """Whether the tokens are spelled as bytes, rather than as characters."""
    units: str = tokenizer.model.units  # type: ignore[attr-defined]
    return units == "bytes"


def _strings(tokenizer: Tokenizer, added: Mapping[str, int]) -> list[str]:
    """Each id as the file spells it; nothing for an id that stands for nothing."""
    model, decoder = tokenizer.model, tokenizer.decoder
    if decoder is not None:
        strings = list(decoder.strings)
    elif isinstance(model, WordPiece):
        strings = [model.spelling(i) for i in range(len(model.pieces))]
    elif _is_bytes(tokenizer):
        strings = [
            "".join(CHARACTER_OF_ID[ID_OF_BYTE[byte]] for byte in piece) for piece in model.pieces
        ]
    else:
        strings = [piece.decode(errors="replace") for piece in model.pieces]
    strings += [""] * (tokenizer.vocab_size - len(strings))
    for name, token_id in added.items():
        strings[token_id] = name
    return strings


def _vocabulary(
    tokenizer: Tokenizer, strings: Sequence[str], added: Mapping[str, int]
) -> dict[str, int]:
    """The model's own tokens. Added ones are among them only where the library needs it.

    It gives added tokens that the model does not have the ids behind the model's, one after the
    other, and cannot do otherwise. And it looks for the unknown token in the model.
    """
    ids = {string: token_id for token_id, string in enumerate(strings) if string}
    own = {string: token_id for string, token_id in ids.items() if string not in added}
    follow = list(added.values()) == [*range(len(own), len(own) + len(added))]
    return own if follow and tokenizer.model.unk_id not in added.values() else ids


def _pre_tokenizer(tokenizer: Tokenizer, cutter: object) -> Part | None:
    parts: list[Part] = []
    if isinstance(cutter, PatternCutter):
        problem = pattern_problem(cutter.pattern)
        if problem is not None:
            raise TokenizerError(
                f"pattern={cutter.pattern!r} cannot be written into tokenizer.json: {problem}; "
                f"take one of {', '.join(PATTERNS)}, or write it with \\p{{...}}, \\s, groups, "
                "lookaheads and quantifiers only"
            )
        parts = [split_part(ONIGURUMA_PATTERNS.get(cutter.pattern, cutter.pattern))]
    elif isinstance(cutter, LibraryCutter):
        parts = flat(json.loads(cutter.spec), "pretokenizers")
    if _is_bytes(tokenizer):
        parts = [*parts, byte_level_part()]
    if len(parts) > 1:
        return {"type": "Sequence", "pretokenizers": parts}
    return parts[0] if parts else None


def _decoder(tokenizer: Tokenizer) -> Part | None:
    if tokenizer.decoder is not None:
        part: Part = json.loads(tokenizer.decoder.spec)
        return part
    if isinstance(tokenizer.model, WordPiece):
        return {"type": "Sequence", "decoders": byte_wordpiece_decoder()}
    return byte_level_part()


def _model(
    tokenizer: Tokenizer, strings: Sequence[str], vocab: Mapping[str, int]
) -> dict[str, Any]:
    model = tokenizer.model
    unk_token = None if model.unk_id is None else strings[model.unk_id]
    match model:
        case Bpe():
            return {
                "type": "BPE",
                "dropout": None,
                "unk_token": unk_token,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": model.end_of_word.decode() or None,
                "fuse_unk": model.fuse_unk,
                "byte_fallback": model.units == "characters" and model.byte_ids is not None,
                "ignore_merges": model.whole_words,
                "vocab": vocab,
                "merges": [[strings[left], strings[right]] for left, right, _ in model.merges],
            }
        case WordPiece():
            longest = model.max_word_chars
            return {
                "type": "WordPiece",
                "unk_token": _NO_UNK_TOKEN if unk_token is None else unk_token,
                "continuing_subword_prefix": model.prefix,
                "max_input_chars_per_word": ANY_LENGTH if longest is None else longest,
                "vocab": vocab,
            }
        case Unigram():
            return _unigram(model, strings, vocab)
    raise TypeError(f"{type(model).__name__} has no place in tokenizer.json")


def _unigram(model: Unigram, strings: Sequence[str], vocab: Mapping[str, int]) -> dict[str, Any]:
    """A list, in which a piece's place is its id; so every id needs a piece, and one of its own."""
    listed = strings[: max([*vocab.values(), -1]) + 1]
    nameless = next((i for i, string in enumerate(listed) if vocab.get(string) != i), None)
    if nameless is not None:
        raise TokenizerError(
            f"its id {nameless} stands for nothing of its own, and a Unigram in tokenizer.json "
            "numbers its pieces one after the other; train one that leaves no id out"
        )
    if not model.fuse_unk:
        raise TokenizerError(
            "fuse_unk=False cannot be written into tokenizer.json, whose Unigram always makes "
            "one unknown token of neighbouring ones; use fuse_unk=True"
        )
    scores = [*model.scores, *[0.0] * len(listed)]
    return {
        "type": "Unigram",
        "unk_id": model.unk_id,
        "vocab": [[string, scores[token_id]] for token_id, string in enumerate(listed)],
        "byte_fallback": model.byte_ids is not None,
    }
