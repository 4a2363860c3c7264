"""A tokenizer that is there already, where a recipe names one instead of training it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.runtime import TokenizerError, config, to_dict
from groundup.tokenizer.formats import open_tokenizer


@config
class GivenTokenizer:
    """A tokenizer to take as it is.

    path         a folder or a file of any kind that `open_tokenizer` reads
    vocab_size   filled in: how many tokens it has
    chat_format  filled in: the layout of conversations that it has tokens for, or null
    fingerprint  filled in: a hash of all that decides its ids
    """

    path: str
    vocab_size: int = 0
    chat_format: str | None = None
    fingerprint: str = ""


def given_tokenizer(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with what follows from the tokenizer at values["path"], as `GivenTokenizer` has it.

    A path that is gone keeps what was filled in earlier: a run has a copy of its tokenizer.
    Raises TokenizerError if there is no tokenizer, or one that nothing can be trained with.
    """
    path = Path(str(values["path"]))
    if not path.exists():
        if values.get("vocab_size") and values.get("fingerprint"):
            return dict(values)
        raise TokenizerError(
            f"tokenizer.path={path} does not exist; give a folder or a file of a tokenizer"
        )
    tokenizer = open_tokenizer(path)
    _ = tokenizer.end_of_text_id  # which all training needs
    found = GivenTokenizer(
        path=str(path.resolve()),
        vocab_size=tokenizer.vocab_size,
        chat_format=tokenizer.chat_format,
        fingerprint=tokenizer.fingerprint,
    )
    return {**values, **to_dict(found)}
