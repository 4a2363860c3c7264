from __future__ import annotations

import pytest

from groundup.runtime import TokenizerError
from groundup.tokenizer.formats.sentencepiece_file import parse_model


@pytest.mark.parametrize(
    "damage", [b"\x0a", b"\x0a\xff\x01", b"\x0b", b"", b"\x08\x01", b"\x0a\x02\x0a\xff"]
)
def test_a_damaged_file_says_so(damage: bytes) -> None:
    with pytest.raises(TokenizerError, match="damaged or no SentencePiece model"):
        parse_model(damage)
