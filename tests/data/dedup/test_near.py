"""Near duplicates from shards to shards: what is found, and that the order changes nothing."""

from itertools import combinations
from pathlib import Path

import pytest

from groundup.data.dedup import NearConfig, deduplicate_near
from groundup.data.dedup import clusters as clusters_module
from groundup.data.dedup import shingles as shingles_module
from groundup.data.dedup.shingles import jaccard
from groundup.data.dedup.words import shingles_of
from groundup.data.table import n_rows_of
from groundup.runtime import generator
from tests.data.dedup.shards import DATA, documents, kept, removed, write_shards


def made_up(n: int, n_words: int = 120) -> dict[str, str]:
    """Texts of which each third is the one before with some words changed, now few, now many."""
    draw = generator(3, "near")
    texts: dict[str, str] = {}
    words: list[str] = []
    for number in range(n):
        if number % 3 == 0 or not words:
            words = [f"w{value}" for value in draw.integers(0, 5000, n_words)]
        else:
            words = list(words)
            for at in draw.integers(0, n_words, int(draw.integers(0, 9))).tolist():
                words[at] = "changed"
        texts[f"t/{number:04d}"] = " ".join(words)
    return texts


def by_brute_force(texts: dict[str, str], config: NearConfig) -> dict[str, str]:
    """For each document that goes the one that is kept, by all pairs."""
    sets = {name: shingles_of(text, config.shingle_words) for name, text in texts.items()}
    kept_id = {name: name for name in texts}
    for a, b in combinations(texts, 2):
        if jaccard(sets[a], sets[b]) >= config.threshold:
            smaller, larger = sorted((kept_id[a], kept_id[b]))
            kept_id = {n: smaller if k == larger else k for n, k in kept_id.items()}
    return {name: k for name, k in kept_id.items() if k != name}


def test_the_planted_pairs_of_articles_are_found(tmp_path: Path) -> None:
    place = DATA / "near_dup_articles"
    if not place.is_dir():
        pytest.skip(f"no articles at {place}")
    for name, n_planted in (("articles_100", 5), ("articles_1000", 10)):
        lines = (place / f"{name}.train").read_text(encoding="utf-8").splitlines()
        rows = documents(dict(line.split(" ", 1) for line in lines))
        pairs = (place / f"{name}.truth").read_text(encoding="utf-8").splitlines()
        planted = {frozenset(pair.split()) for pair in pairs}
        shards = deduplicate_near(
            write_shards(tmp_path / name, rows, 3), NearConfig(), tmp_path / name / "out"
        )
        gone = removed(shards)
        found = {frozenset((row["id"], row["kept_id"])) for row in gone.values()}
        assert len(planted) == n_planted
        assert len(found & planted) / len(planted) >= 0.95
        assert len(found & planted) / len(found) >= 0.95
        assert len(kept(shards)) + len(gone) == len(rows)


def test_the_result_is_that_of_all_pairs(tmp_path: Path) -> None:
    texts = made_up(150)
    config = NearConfig(bands=60, rows=3)  # P(0.8) differs from 1 by 1e-19
    shards = deduplicate_near(write_shards(tmp_path, documents(texts), 3), config, tmp_path / "out")
    expected = by_brute_force(texts, config)
    gone = removed(shards)
    assert {name: row["kept_id"] for name, row in gone.items()} == expected
    assert 20 < len(expected) < 90
    sets = {name: shingles_of(text, config.shingle_words) for name, text in texts.items()}
    for name, row in gone.items():
        assert row["score"] == jaccard(sets[name], sets[row["kept_id"]])
    assert min(row["score"] for row in gone.values()) < config.threshold  # by a third document
    assert kept(shards) == {name: t for name, t in texts.items() if name not in expected}


def test_order_and_number_of_shards_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents(made_up(90, n_words=60))
    results = []
    for number, (n, order) in enumerate([(1, rows), (4, rows[::-1]), (3, rows[40:] + rows[:40])]):
        folder = tmp_path / str(number)
        shards = deduplicate_near(write_shards(folder, order, n), NearConfig(), folder / "out")
        results.append((kept(shards), removed(shards)))
        monkeypatch.setattr(shingles_module, "LOAD_BYTES", 1000)  # small parts change nothing
        monkeypatch.setattr(clusters_module, "PART_MEMBERS", 10)
    assert results[0] == results[1] == results[2]
    assert results[0][1]


@pytest.mark.parametrize("load_bytes", [64 << 20, 1])
def test_the_score_is_the_similarity_to_the_document_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_bytes: int
) -> None:
    """A chain: each like the one before, the last not like the first."""
    monkeypatch.setattr(shingles_module, "LOAD_BYTES", load_bytes)
    words = [f"w{number}" for number in range(120)]
    texts = {f"t/{n}": " ".join(words[3 * n : 3 * n + 80]) for n in range(8)}
    rows = documents({**texts, "t/other": "Nothing like any of these at all."})
    config = NearConfig(shingle_words=1, bands=60, rows=3)
    shards = deduplicate_near(write_shards(tmp_path, rows, 3), config, tmp_path / "out")
    gone = removed(shards)
    assert set(kept(shards)) == {"t/0", "t/other"}
    for n in range(1, 8):
        assert gone[f"t/{n}"]["score"] == (80 - 3 * n) / (80 + 3 * n)
    assert gone["t/7"]["score"] < config.threshold
    assert gone["t/7"]["detail"] == (
        "similarity 0.928 to its nearest in a cluster of 8, 0.584 to t/0, which is kept"
    )


def test_buckets_of_many_documents_are_found_whole(tmp_path: Path) -> None:
    text = " ".join(f"w{number}" for number in range(200))
    rows = documents({f"t/{n:03d}": f"{text} tail{n}" for n in range(300)})
    shards = deduplicate_near(write_shards(tmp_path, rows, 2), NearConfig(), tmp_path / "out")
    assert set(kept(shards)) == {"t/000"}
    gone = removed(shards)["t/123"]
    assert gone["kept_id"] == "t/000"
    assert gone["score"] == pytest.approx(196 / 198, abs=1e-6)
    assert gone["detail"] == (
        "similarity 0.990 to its nearest in a cluster of 300, 0.990 to t/000, which is kept"
    )


def test_texts_without_words_are_let_be(tmp_path: Path) -> None:
    rows = documents({"t/a": "...", "t/b": "...", "t/c": "", "t/d": "To BE!", "t/e": "to be"})
    shards = deduplicate_near(write_shards(tmp_path, rows, 2), NearConfig(), tmp_path / "out")
    assert set(removed(shards)) == {"t/e"}


def test_empty_shards_stay_empty(tmp_path: Path) -> None:
    shards = deduplicate_near(write_shards(tmp_path, [], 2), NearConfig(), tmp_path / "out")
    assert [n_rows_of(path) for path in shards] == [0, 0]
