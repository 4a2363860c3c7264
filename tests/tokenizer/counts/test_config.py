"""A config that cannot be is refused."""

from __future__ import annotations

import pytest

from groundup.tokenizer.counts import (
    CountConfig,
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_count": 0}, "min_count=0 must be at least 1"),
        ({"max_word_bytes": 3}, "max_word_bytes=3 must be at least 4"),
        ({"max_in_document": 0}, "max_in_document=0 must be at least 1"),
        ({"document_bytes": 100}, "document_bytes=100 must be at least max_word_bytes=1024; try"),
        ({"table_bytes": 1 << 40}, "table_bytes=1099511627776 must be at most 536870912"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        CountConfig(**fields)
