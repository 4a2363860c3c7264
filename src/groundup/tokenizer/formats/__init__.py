"""Tokenizers' files: groundup's own, which are Hugging Face's, and those of others.

`open_tokenizer` reads a folder or any of the files; `save_tokenizer` writes the folder and
`save_ranks` the file for tiktoken; `export_costs` and `pattern_problem` say what a choice rules
out. Each format has a module, which gives a Tokenizer whose ids are those of the software that the
format comes from. Called by Tokenizer.load and Tokenizer.save.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groundup.runtime import GroundupError, TokenizerError, write_json
from groundup.tokenizer.formats.bert_vocab import read_bert_vocab
from groundup.tokenizer.formats.folder_config import Config, read_config, write_config
from groundup.tokenizer.formats.gpt2 import FILE_NAMES, read_gpt2
from groundup.tokenizer.formats.oniguruma import pattern_problem
from groundup.tokenizer.formats.sentencepiece_model import read_sentencepiece
from groundup.tokenizer.formats.tiktoken_ranks import looks_like_ranks, read_ranks, save_ranks
from groundup.tokenizer.formats.tokenizer_json import tokenizer_of_json
from groundup.tokenizer.formats.tokenizer_json_writer import export_costs, json_of_tokenizer
from groundup.tokenizer.tokenizer import Tokenizer

__all__ = ["export_costs", "open_tokenizer", "pattern_problem", "save_ranks", "save_tokenizer"]

# What a folder may hold, the file that says most first
_IN_FOLDER = ("tokenizer.json", "tokenizer.model", "vocab.json", "encoder.json", "vocab.txt")


def open_tokenizer(path: Path, *, pattern: str | None = None) -> Tokenizer:
    """The tokenizer of a folder, or of any of these files.

    tokenizer.json             BPE, WordPiece or Unigram, as Hugging Face has them
    vocab.json, merges.txt     GPT-2's two files (or encoder.json and vocab.bpe); either names both
    vocab.txt                  BERT's
    *.tiktoken, *.model        tiktoken's ranks; `pattern` is how to cut a text where they are not
                               known here
    *.model                    SentencePiece's

    A `tokenizer_config.json` beside the file says which special token does what. Raises
    TokenizerError for what is missing, damaged, or cannot be read so that the ids are the same.
    """
    path = _file_of(Path(path))
    try:
        return _read(path, pattern)
    except GroundupError as error:
        if str(path) in str(error):
            raise
        raise TokenizerError(f"{path} is not a tokenizer that groundup can use: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TokenizerError(
            f"{path} is damaged ({error}); delete its folder and run the same command again"
        ) from error
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise TokenizerError(
            f"{path} is not a tokenizer that groundup can use ({type(error).__name__}: {error}); "
            "fetch it again, or train one on your text"
        ) from error


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, its config and the chat template; AutoTokenizer reads the folder."""
    content = json_of_tokenizer(tokenizer)
    write_json(folder / "tokenizer.json", content)
    write_config(tokenizer, folder)


def _file_of(path: Path) -> Path:
    """The file to read: the path itself, or what stands in the folder."""
    if not path.is_dir():
        candidates = [path]
    else:
        candidates = [path / name for name in _IN_FOLDER]
        candidates += sorted([*path.glob("*.tiktoken"), *path.glob("*.model")])
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise TokenizerError(
        f"there is no tokenizer at {path}; name the folder of a tokenizer or a model, "
        "or train one first"
    )


def _read(path: Path, pattern: str | None) -> Tokenizer:
    config = read_config(path.parent)
    data = path.read_bytes()
    if path.suffix == ".json" or data.lstrip()[:1] == b"{":
        content: Any = json.loads(data)
        if not isinstance(content, dict):
            raise TokenizerError(
                f"{path} holds a {type(content).__name__} where a tokenizer's object must stand; "
                "fetch it again"
            )
        if isinstance(content.get("model"), dict):  # "model" may also be a token of a vocabulary
            return tokenizer_of_json(content, config)
        return _gpt2(path, config)
    if path.name.endswith(tuple(merges for _, merges in FILE_NAMES)):
        return _gpt2(path, config)
    if path.suffix == ".txt":
        return read_bert_vocab(path, config)
    if looks_like_ranks(data):
        return read_ranks(data, pattern)
    return read_sentencepiece(data, config)


def _gpt2(path: Path, config: Config) -> Tokenizer:
    """The two files of which one is at `path`."""
    for vocab_name, merges_name in FILE_NAMES:
        for name in (vocab_name, merges_name):
            if path.name.endswith(name):
                start = path.name.removesuffix(name)
                files = [path.with_name(start + vocab_name), path.with_name(start + merges_name)]
                missing = next((file for file in files if not file.is_file()), None)
                if missing is not None:
                    raise TokenizerError(
                        f"{path} needs {missing.name} beside it, which is not there; "
                        "a vocabulary and its merges make a tokenizer together"
                    )
                return read_gpt2(files[0], files[1], config)
    names = ", ".join(f"{vocab} and {merges}" for vocab, merges in FILE_NAMES)
    raise TokenizerError(
        f"{path} holds no model, and is none of the two files {names} either; "
        "rename it, or name the tokenizer's folder"
    )
