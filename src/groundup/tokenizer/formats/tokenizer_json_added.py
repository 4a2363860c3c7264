"""tokenizer.json's added tokens: the special ones, and those that text gives.

They stand beside the model's vocabulary, or mark one of it; the folder's config may name more. What
the library would do with one that is not special and cannot be done here is refused. Called by
`tokenizer_json.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from groundup.runtime import TokenizerError
from groundup.tokenizer.bpe import N_BYTES, Bpe
from groundup.tokenizer.formats.added_tokens import AddedTokensCutter
from groundup.tokenizer.formats.folder_config import Config, named_tokens
from groundup.tokenizer.formats.tiktoken_ranks import unspelled_piece
from groundup.tokenizer.formats.tokenizer_json_parts import Part, flat
from groundup.tokenizer.normalize import LibraryNormalizer, Nfkc, Normalizer
from groundup.tokenizer.pretokenize import Cutter
from groundup.tokenizer.tokenizer import WordModel

# How the library calls the tokens that spell an unknown character byte by byte
BYTE_NAMES = tuple(f"<0x{byte:02X}>" for byte in range(N_BYTES))


@dataclass(frozen=True)
class AddedToken:
    """A token that stands beside the model's vocabulary, or marks one of it."""

    name: str
    token_id: int
    is_special: bool
    is_normalized: bool


def read_added_tokens(content: Part, vocab: Mapping[str, int], config: Config) -> list[AddedToken]:
    """The tokens of `added_tokens`, and those that only the folder's config names."""
    entries = {entry["content"]: entry for entry in content.get("added_tokens") or ()}
    if content["model"].get("byte_fallback"):  # bytes come from text, whatever they are called
        entries = {name: entry for name, entry in entries.items() if name not in BYTE_NAMES}
    for token_id, entry in (config.get("added_tokens_decoder") or {}).items():
        name = entry["content"]
        if name not in entries and vocab.get(name, int(token_id)) == int(token_id):
            entries[name] = {**entry, "id": int(token_id)}
    for name in named_tokens(config):
        if name not in entries and name in vocab:
            entries[name] = {"content": name, "id": vocab[name], "special": True}
        elif name in entries:
            entries[name] = {**entries[name], "special": True}
    for name, entry in entries.items():
        if vocab.get(name, entry["id"]) != entry["id"]:
            raise TokenizerError(
                f"its added token {name!r} has id {entry['id']}, and its vocabulary gives it "
                f"{vocab[name]}; correct one of them"
            )
        for option in ("single_word", "lstrip", "rstrip"):
            if entry.get(option) and not entry.get("special"):
                raise TokenizerError(
                    f"its added token {name!r} is not special and sets {option}, which changes "
                    "where a text is cut in a way not known here; take the option away"
                )
    return [
        AddedToken(
            name, entry["id"], bool(entry.get("special")), bool(entry.get("normalized", True))
        )
        for name, entry in entries.items()
    ]


def check_added_tokens(
    added: Sequence[AddedToken],
    normalizer: Normalizer | None,
    content: Part,
    vocab: Mapping[str, int],
) -> None:
    """TokenizerError for added tokens that are not special and cannot be cut out beforehand."""
    parts = flat(content.get("pre_tokenizer"), "pretokenizers")
    schemes = {part.get("prepend_scheme") for part in parts}
    special = [token.name for token in added if token.is_special]
    for token in added:
        if token.is_special:
            continue
        reason = None
        if "first" in schemes:
            reason = "its pre_tokenizer prepends to the first piece of text only (Metaspace)"
        elif token.is_normalized and normalizer and normalizer(token.name) != token.name:
            reason = "its normalizer changes it"
        elif (
            not token.is_normalized
            and isinstance(normalizer, Nfkc | LibraryNormalizer)
            and token.name not in vocab
        ):
            reason = "its normalizer may write it where the text does not"
        elif reaches := next((name for name in special if _reaches_into(name, token.name)), None):
            reason = f"in a text that spells {reaches!r} the tokenizers library does not see it"
        if reason is not None:
            raise TokenizerError(
                f"its added token {token.name!r} is not special, and {reason}, which groundup "
                "cannot follow; make the token special"
            )


def _reaches_into(special: str, name: str) -> bool:
    """Whether `name` may begin inside a text that spells `special`.

    >>> _reaches_into("<|a|>", "|>>"), _reaches_into("<|a|>", "a"), _reaches_into("<|a|>", "<<")
    (True, True, False)
    """
    return name in special or any(special.endswith(name[:end]) for end in range(1, len(name)))


def with_added_tokens(
    cutter: Cutter, normalizer: Normalizer | None, added: Sequence[AddedToken]
) -> tuple[Cutter, Normalizer | None]:
    """The cutter that finds the added tokens first, and what is left to the normalizer."""
    ordinary = [token for token in added if not token.is_special]
    in_normalized = tuple(token.name for token in ordinary if token.is_normalized)
    as_it_stands = tuple(token.name for token in ordinary if not token.is_normalized)
    outer: Cutter | AddedTokensCutter = cutter
    if in_normalized:
        outer = AddedTokensCutter(in_normalized, outer, in_normalized=True)
    if as_it_stands:
        outer = AddedTokensCutter(as_it_stands, outer, normalizer)
        normalizer = None
    return cast(Cutter, outer), normalizer


def with_whole_words(model: WordModel, added: Sequence[AddedToken]) -> WordModel:
    """The model, which now gives each added token that is not special as the word that it is.

    For BPE any word that is a piece is then that piece. That changes nothing else where the merges
    spell every piece by themselves, as they do in a trained vocabulary.
    """
    ordinary = [token for token in added if not token.is_special]
    if isinstance(model, Bpe) and not model.whole_words:
        unspelled = unspelled_piece(model, besides={token.token_id for token in ordinary})
        if unspelled is not None:
            raise TokenizerError(
                f"its added token {ordinary[0].name!r} is not special, and its merges cannot spell "
                f"its token {model.pieces[unspelled]!r}; groundup's BPE takes either all tokens as "
                "whole words or none, so make the added tokens special"
            )
        model = replace(model, whole_words=True)
    for token in ordinary:
        if model.encode_word(token.name.encode()) != [token.token_id]:
            raise TokenizerError(
                f"its added token {token.name!r} is not special, and another of its tokens is "
                "spelled the same; make it special"
            )
    return model
