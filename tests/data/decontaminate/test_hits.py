import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.decontaminate import DecontaminationConfig, Index, Item, find_hits, index_of
from groundup.data.dedup.words import fold

APPLES = "Tom has two red apples, and he gives one of them to his little sister Ann today."
SHORT = "Why do some birds fly south in the autumn?"


def index(*texts: str, **config: int) -> Index:
    items = [Item("sums", number, (text,)) for number, text in enumerate(texts)]
    return index_of(items, DecontaminationConfig(**config))


def test_a_hit_says_where_and_of_what() -> None:
    text = f"Éh! It is said: {APPLES[:66]} brother."
    [[first, second]] = find_hits([text], index("x y", APPLES))
    assert (first.benchmark, first.item) == ("sums", 1)
    data = text.encode()
    assert data[first.start : first.end].decode() == APPLES[:55]
    assert data[second.start : second.end].decode() == APPLES[4:62]


def test_white_space_case_and_punctuation_do_not_hide_an_item() -> None:
    known = index(APPLES, SHORT)
    hidden = [
        APPLES.upper(),
        APPLES.replace(" ", "\n\t "),
        APPLES.replace(",", " --").swapcase(),
        f"x {SHORT.replace(' ', '  ')} y",
    ]
    assert all(find_hits(hidden, known))
    others = [APPLES.replace("red", "green").replace("little", "big"), SHORT[:-10], "", "..."]
    assert find_hits(others, known) == [[], [], [], []]


def test_a_short_question_is_found_whole_and_a_shorter_one_is_counted() -> None:
    known = index("Who was that?", SHORT, APPLES)
    assert known.benchmarks["sums"] == {
        "items": 3,
        "too_short": 1,
        "findable": 2,
        "runs": 1 + 17 - 13 + 1,
        "wording": 0,
    }
    assert known.lengths.tolist() == [9, 13]


def test_the_wording_of_a_benchmark_is_no_item_of_it() -> None:
    wording = "Complete the rest of the sequence and make sure that all of them are closed"
    known = index(*(f"{wording}: case {n} {APPLES}" for n in range(4)), template_items=3)
    assert known.benchmarks["sums"]["findable"] == 4  # runs that hold the number of the case
    assert known.benchmarks["sums"]["wording"] == 4 + 5  # before and behind it
    assert find_hits([f"{wording}!", APPLES], known) == [[], []]
    assert find_hits([f"{wording}: case 2 {APPLES}"], known) != [[]]


def test_equal_hashes_of_other_words_are_no_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    known = index(APPLES)
    changed = Index(known.runs, [("sums", 0, APPLES.replace("red", "green"))], known.benchmarks)
    assert find_hits([APPLES], known) != [[]]
    found = find_hits([APPLES], changed)
    assert [hit for hits in found for hit in hits if hit.start < 16] == []


WORDS = st.lists(st.sampled_from("abc"), max_size=25).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_hits_are_those_of_the_plain_search(items: list[str], texts: list[str]) -> None:
    config = {"ngram_words": 5, "min_words": 3, "template_items": 100}
    known = index(*items, **config)
    for text, hits in zip(texts, find_hits(texts, known), strict=True):
        expected = set()
        words = fold(text)
        for number, item in enumerate(items):
            wanted = fold(item)
            n = min(len(wanted), 5)
            if n < 3:
                continue
            runs = {tuple(wanted[i : i + n]) for i in range(len(wanted) - n + 1)}
            expected |= {
                (number, 2 * i, 2 * (i + n) - 1)
                for i in range(len(words) - n + 1)
                if tuple(words[i : i + n]) in runs
            }
        assert {(hit.item, hit.start, hit.end) for hit in hits} == expected


def test_many_hits_find_room() -> None:
    text = " ".join(f"w{n}" for n in range(6000))
    [hits] = find_hits([text], index(text))
    assert len(hits) == 6000 - 12


def test_nothing_is_found_without_items() -> None:
    assert find_hits([APPLES], index_of([], DecontaminationConfig())) == [[]]
