"""The tokenizer's files in a Hugging Face folder: tokenizer.json, its config, the chat template.

`tokenizer.json` is what transformers, vLLM, llama.cpp's converter and the rest read. Called by
Tokenizer.save and Tokenizer.load, which know nothing of the format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from groundup.runtime import TokenizerError, write_json, write_text
from groundup.tokenizer.bpe import CHARACTER_OF_ID, N_BYTES, Pair
from groundup.tokenizer.chat import CHAT_TEMPLATE, END_OF_TEXT, IM_END, SPECIAL_TOKENS
from groundup.tokenizer.pretokenize import PATTERNS


def save(folder: Path, merges: Sequence[Pair], pattern: str) -> None:
    """Write the three files."""
    write_json(folder / "tokenizer.json", tokenizer_json(merges, pattern))
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_text(folder / "chat_template.jinja", CHAT_TEMPLATE)


def load(folder: Path) -> tuple[list[Pair], str]:
    """Read the merges and the pattern's name back from tokenizer.json."""
    path = folder / "tokenizer.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TokenizerError(
            f"there is no tokenizer at {path}; name the folder of a tokenizer or a model, "
            "or train one first"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TokenizerError(
            f"{path} is damaged ({error}); delete its folder and run the same command again"
        ) from error
    try:
        merges, pattern = _read_content(content)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise TokenizerError(
            f"{path} is not a tokenizer that groundup can use ({error}); "
            "it reads byte-level BPE as its own trainer writes it, so train one on your text"
        ) from error
    return merges, pattern


def tokenizer_json(merges: Sequence[Pair], pattern: str) -> dict[str, Any]:
    """The content of tokenizer.json: pre-tokenizer, vocabulary, merges and special tokens."""
    strings = _token_strings(merges)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": len(strings) + index,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, name in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": PATTERNS[pattern]},
                    "behavior": "Isolated",
                    "invert": False,
                },
                _byte_level(),
            ],
        },
        "post_processor": None,
        "decoder": _byte_level(),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {string: token_id for token_id, string in enumerate(strings)},
            "merges": [[strings[left], strings[right]] for left, right in merges],
        },
    }


def _byte_level() -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }


def _token_strings(merges: Sequence[Pair]) -> list[str]:
    """Each token in GPT-2's one visible character per byte, as tokenizer.json spells it."""
    strings = list(CHARACTER_OF_ID)
    for left, right in merges:
        strings.append(strings[left] + strings[right])
    return strings


def _read_content(content: dict[str, Any]) -> tuple[list[Pair], str]:
    """Merges and pattern; ValueError says what stands in the way.

    The content that these two would be written as is then compared with what was read, so that
    nothing in the file that changes ids can go unnoticed.
    """
    vocab = content["model"]["vocab"]
    merges = [(vocab[left], vocab[right]) for left, right in content["model"]["merges"]]
    expression = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    pattern = next((name for name, known in PATTERNS.items() if known == expression), None)
    if pattern is None:
        raise ValueError(f"its pre-tokenizer is none of {', '.join(PATTERNS)}")
    if any(max(pair) >= N_BYTES + rank for rank, pair in enumerate(merges)):
        raise ValueError("a merge joins tokens that do not stand before it")
    expected = tokenizer_json(merges, pattern)
    for part in ("added_tokens", "normalizer", "pre_tokenizer", "decoder"):
        if content[part] != expected[part]:
            raise ValueError(f"its {part} differ from groundup's")
    if content["model"] | {"merges": None} != expected["model"] | {"merges": None}:
        raise ValueError("its vocabulary does not follow from its merges")
    _check_every_token_is_spelled(content["model"])
    return merges, pattern


def _check_every_token_is_spelled(model: dict[str, Any]) -> None:
    """ValueError for a token that the merges would not give for that token's own text.

    tiktoken knows no pairs: it joins any two neighbours that together spell a token, the lowest id
    first. It agrees with the merges on every text if each token comes out whole when it stands
    alone. For as long as nothing is joined across its two ends, a stretch of text goes through the
    same steps whatever is around it. So when a stretch that spells token t has come down to two
    ids, they are the last two that t alone comes down to, which are a listed merge. Tokens that
    were trained pass: they once stood there as their pair, and so no other pair can spell them.
    """
    if len(model["vocab"]) != N_BYTES + len(model["merges"]):
        raise ValueError("two of its merges spell the same token")
    merges = [(left, right) for left, right in model["merges"]]
    bpe = tokenizers.models.BPE(model["vocab"], merges)
    for string in model["vocab"]:
        if len(bpe.tokenize(string)) != 1:
            raise ValueError(f"its merges cannot spell its token {string!r}")


# PreTrainedTokenizerFast reads everything from tokenizer.json, in transformers 4 and 5 alike.
# Generation ends at the end of a turn; the same token that ends documents pads.
TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END_OF_TEXT,
    "eos_token": IM_END,
    "pad_token": END_OF_TEXT,
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
}
