"""What stands beside a vocabulary in a Hugging Face folder: the roles of tokens, the chat template.

`tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`. The readers of every
format ask here for what their own file does not say; `formats.save_tokenizer` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from groundup.runtime import TokenizerError, write_json, write_text
from groundup.tokenizer.templates import CHAT_FORMATS, CHATML, LLAMA3
from groundup.tokenizer.tokenizer import Roles, Tokenizer

Config = Mapping[str, Any]

CONFIG_FILE = "tokenizer_config.json"
_MAP_FILE = "special_tokens_map.json"
_TEMPLATE_FILE = "chat_template.jinja"
# Where the config does not say which token has a role: the names that published tokenizers give it,
# the likeliest first.
_USUAL_NAMES = {
    "bos_token": ("<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>", "<s>", "<bos>", "[CLS]"),
    "eos_token": ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<eos>", "[SEP]"),
    "pad_token": ("<pad>", "[PAD]", "<|pad|>"),
}
# BERT's way to say what stands before a text and what behind it
_ALSO_CALLED = {"bos_token": "cls_token", "eos_token": "sep_token"}
# What transformers calls tokens that only some models have, and their usual names; written where a
# tokenizer has them, for nothing else says them.
_OTHER_ROLES = {
    "unk_token": ("<unk>", "[UNK]"),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "mask_token": ("<mask>", "[MASK]"),
}
# The key under which a folder names the chat format where its template does not tell.
_CHAT_FORMAT_KEY = "groundup_chat_format"


def read_config(folder: Path) -> dict[str, Any]:
    """All that the folder says besides the vocabulary; empty where it says nothing.

    Raises TokenizerError for a damaged file.
    """
    config: dict[str, Any] = {}
    for name in (_MAP_FILE, CONFIG_FILE):
        path = folder / name
        if not path.is_file():
            continue
        try:
            config |= json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            raise TokenizerError(
                f"{path} is damaged ({error}); delete its folder and run the same command again"
            ) from error
    template = folder / _TEMPLATE_FILE
    if template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8")
    return config


def token_name(value: object) -> str | None:
    """A token as a config names it: its text, or an object that holds it.

    >>> token_name("<s>"), token_name({"content": "<s>", "lstrip": False}), token_name(None)
    ('<s>', '<s>', None)
    """
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def named_tokens(config: Config) -> list[str]:
    """The special tokens to which the config gives a role.

    >>> named_tokens({"bos_token": "<s>", "model_max_length": 512, "pad_token": None})
    ['<s>']
    """
    roles = [*_USUAL_NAMES, *_OTHER_ROLES]
    names = [token_name(config.get(role)) for role in roles]
    return list(dict.fromkeys(name for name in names if name is not None))


def read_roles(config: Config, special_tokens: Collection[str]) -> Roles:
    """Which special token does what, as the config says, or else as its name says.

    A tokenizer that has no token before a document but one behind it (T5) has that one for both,
    since either parts two documents.

    >>> read_roles({}, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    Roles(end_of_text='[CLS]', end_of_turn='[SEP]', pad='[PAD]')
    >>> read_roles({"eos_token": "</s>", "pad_token": "<pad>"}, ["<pad>", "</s>", "<unk>"])
    Roles(end_of_text='</s>', end_of_turn='</s>', pad='<pad>')
    """
    said = {
        role: token_name(config.get(role)) or token_name(config.get(_ALSO_CALLED.get(role, "")))
        for role in _USUAL_NAMES
    }
    found: dict[str, str | None] = {}
    for role, usual in _USUAL_NAMES.items():
        candidates = (said[role],) if any(said.values()) else usual
        found[role] = next((name for name in candidates if name in special_tokens), None)
    bos, eos = found["bos_token"], found["eos_token"]
    return Roles(end_of_text=bos or eos, end_of_turn=eos or bos, pad=found["pad_token"])


def read_chat_format(config: Config, special_tokens: Collection[str]) -> str | None:
    """The chat format whose template this is; else one whose special tokens are all there.

    Others' templates differ from groundup's in what they add, but a model whose tokenizer has the
    tokens of ChatML or Llama 3 knows that layout.

    >>> read_chat_format({}, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    'chatml'
    """
    if _CHAT_FORMAT_KEY in config:
        name = config[_CHAT_FORMAT_KEY]
        return name if name in CHAT_FORMATS else None
    for name, layout in CHAT_FORMATS.items():
        if config.get("chat_template") == layout.template:
            return name
    for layout in (CHATML, LLAMA3):  # alpaca's one token says nothing
        if all(token in special_tokens for token in layout.special_tokens):
            return layout.name
    return None


def write_config(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer_config.json and, for a tokenizer with a chat format, its template."""
    template = _template(tokenizer)
    write_json(folder / CONFIG_FILE, config_content(tokenizer))
    if template is not None:
        write_text(folder / _TEMPLATE_FILE, template)
    else:
        (folder / _TEMPLATE_FILE).unlink(missing_ok=True)


def config_content(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of tokenizer_config.json.

    PreTrainedTokenizerFast reads all else from tokenizer.json, in transformers 4 and 5 alike.
    """
    roles = tokenizer.roles
    content: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    bos, eos = roles.end_of_text, roles.end_of_turn or roles.end_of_text
    named = {"bos_token": bos, "eos_token": eos, "pad_token": roles.pad}
    content |= {role: name for role, name in named.items() if name is not None}
    for role, usual in _OTHER_ROLES.items():
        name = next((name for name in usual if name in tokenizer.special_tokens), None)
        if name is not None:
            content[role] = name
    content["clean_up_tokenization_spaces"] = False
    content["model_input_names"] = ["input_ids", "attention_mask"]
    told = read_chat_format({"chat_template": _template(tokenizer)}, tokenizer.special_tokens)
    if told != tokenizer.chat_format:
        content[_CHAT_FORMAT_KEY] = tokenizer.chat_format
    return content


def _template(tokenizer: Tokenizer) -> str | None:
    name = tokenizer.chat_format
    return None if name is None else CHAT_FORMATS[name].template
