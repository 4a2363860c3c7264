"""BERT's vocab.txt: a token a line, in the order of ids. Called by `formats.open_tokenizer`."""

from __future__ import annotations

from pathlib import Path

from groundup.runtime import TokenizerError
from groundup.tokenizer.formats.folder_config import Config, named_tokens, read_roles
from groundup.tokenizer.formats.gpt2 import count_pieces
from groundup.tokenizer.formats.tokenizer_json_parts import as_spec
from groundup.tokenizer.normalize import LibraryNormalizer
from groundup.tokenizer.pretokenize import LibraryCutter
from groundup.tokenizer.tokenizer import LibraryDecoder, Tokenizer
from groundup.tokenizer.wordpiece import BERT_MAX_WORD_CHARS, WordPiece

# github.com/google-research/bert, tokenization.py and create_pretraining_data.py
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_bert_vocab(path: Path, config: Config) -> Tokenizer:
    """BERT's tokenizer with the vocabulary of a file.

    Whether text is made lower case, and loses its accents, stands in the config beside the file;
    without one, the vocabulary tells: one for lower case has no word with a capital from A to Z.
    """
    return tokenizer_of_lines(path.read_text(encoding="utf-8").split("\n"), config)


def tokenizer_of_lines(lines: list[str], config: Config) -> Tokenizer:
    """The tokenizer of a vocabulary's lines.

    >>> lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "!", ""]
    >>> tokenizer = tokenizer_of_lines(lines, {})
    >>> tokenizer.encode("Unaffable!"), tokenizer.decode([5, 6, 7, 8])
    ([5, 6, 7, 8], 'unaffable!')
    """
    strings = [line.rstrip("\r\n") for line in lines]
    while strings and not strings[-1]:
        strings.pop()
    if not strings:
        raise TokenizerError("it holds no tokens, one to a line, as BERT's does; fetch it again")
    names = dict.fromkeys([*_SPECIAL_TOKENS, *named_tokens(config)])
    special = {name: strings.index(name) for name in names if name in strings}
    unk_id = special.get("[UNK]")
    strings = strings[: count_pieces(range(len(strings)), special.values(), unk_id)]
    own = [string for string in strings if string not in special]
    has_capitals = any(c.isascii() and c.isupper() for string in own for c in string)
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": bool(config.get("tokenize_chinese_chars", True)),
        "strip_accents": config.get("strip_accents"),
        "lowercase": bool(config.get("do_lower_case", not has_capitals)),
    }
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return Tokenizer(
        WordPiece.from_spellings(
            strings,
            units="characters",
            unk_id=unk_id,
            max_word_chars=BERT_MAX_WORD_CHARS,
            special_ids=frozenset(special.values()),
        ),
        LibraryCutter(as_spec({"type": "BertPreTokenizer"})),
        normalizer=LibraryNormalizer(as_spec(normalizer)),
        decoder=LibraryDecoder(as_spec(decoder), tuple(strings)),
        special_tokens=special,
        roles=read_roles(config, special),
    )
