from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.dedup import deduplicate_exact
from groundup.data.table import DOCUMENT_SCHEMA
from groundup.runtime import DataError
from tests.data.dedup.shards import documents, kept, removed, write_shards


def test_of_each_text_the_smallest_id_stays(tmp_path: Path) -> None:
    texts = {"t/c": "To be", "t/a": "To be", "t/b": "to be", "t/d": "To be", "t/e": "or not"}
    shards = deduplicate_exact(write_shards(tmp_path, documents(texts), 2), tmp_path / "out")
    assert kept(shards) == {"t/a": "To be", "t/b": "to be", "t/e": "or not"}
    gone = removed(shards)
    assert set(gone) == {"t/c", "t/d"}
    assert gone["t/d"] == {
        "id": "t/d",
        "source": "t",
        "stage": "dedup_exact",
        "reason": "exact_duplicate",
        "score": None,
        "kept_id": "t/a",
        "detail": "the same text as t/a, 3 times in all",
        "text": "To be",
    }
    assert pq.read_schema(shards[0]).equals(DOCUMENT_SCHEMA)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(["", "a", "b", "é", "a "]), max_size=12),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_exactly_the_distinct_texts_are_kept_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], n: int, random: object
) -> None:
    rows = documents({f"t/{number:02d}": text for number, text in enumerate(texts)})
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row["text"], row["id"])
    random.shuffle(rows)  # type: ignore[attr-defined]
    place = tmp_path_factory.mktemp("exact")
    shards = deduplicate_exact(write_shards(place, rows, n), place / "out")
    assert kept(shards) == {name: text for text, name in first.items()}
    assert {name: row["kept_id"] for name, row in removed(shards).items()} == {
        row["id"]: first[row["text"]] for row in rows if first[row["text"]] != row["id"]
    }


def test_two_documents_of_one_id_are_refused(tmp_path: Path) -> None:
    rows = [{"id": "t/a", "text": "to be"}, {"id": "t/a", "text": "to be"}]
    with pytest.raises(DataError, match="two documents have the id 't/a'; ids must differ"):
        deduplicate_exact(write_shards(tmp_path, rows, 1), tmp_path / "out")
