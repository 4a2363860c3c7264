"""One text in many languages, and texts somebody chose: what the rules make of other scripts."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from groundup.data.cleaning import CleaningConfig, Scorer, judge, repair, score_table
from tests.data.cleaning.conftest import data_folder, read_peps

N_GRAMS = [f"repetition_top_{n}_gram" for n in (2, 3, 4)]
N_GRAMS += [f"repetition_{n}_grams" for n in range(5, 11)]
UNSPACED = ("cmn_hans", "cmn_hant", "jpn", "tha", "lao", "khm", "mya", "bod")
LIGHT = CleaningConfig(preset="light", identify_language=False)
WEB = CleaningConfig(preset="web", identify_language=False)


def declarations() -> dict[str, str]:
    """The Declaration of Human Rights by language, as one line."""
    with zipfile.ZipFile(data_folder("nltk_pd") / "udhr2.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".txt")]
        texts = {Path(n).stem: archive.read(n).decode("utf-8", "replace") for n in names}
    return {name: re.sub(r"\s+", " ", text) for name, text in texts.items()}


def table_of(texts: list[str]) -> pa.Table:
    return pa.table({"id": list(map(str, range(len(texts)))), "text": texts})


def dropped(texts: list[str], config: CleaningConfig) -> list[str]:
    """Reasons of the texts that are dropped."""
    reasons, _ = judge(score_table(table_of(texts), config), config)
    return [reason for reason in reasons if reason is not None]


def test_the_declaration_repeats_itself_as_much_in_every_script() -> None:
    """What repeats in 8 languages without spaces lies among what repeats in those with them."""
    scorer = Scorer(WEB)
    texts = declarations()
    long_enough = [name for name, text in texts.items() if len(text) > 5_000]
    sample = [name for name in long_enough if name not in UNSPACED][::12]
    assert len(sample) > 25
    scores = {name: scorer.score(texts[name]) for name in {*sample, *UNSPACED}}
    assert all(scores[name]["unspaced_words"] < 0.1 for name in sample)
    for column in N_GRAMS:
        others = np.array([scores[name][column] for name in sample])
        for name in UNSPACED:
            assert scores[name]["unspaced_words"] > 0.5
            assert scores[name][column] <= 1.25 * others.max(), (name, column)
    n_words = [scores[name]["gopher_words"] for name in UNSPACED]
    assert all(700 < n < 4_000 for n in n_words), n_words  # 1,772 in English


def test_the_declaration_is_kept_in_every_script() -> None:
    """Its lines as they are."""
    with zipfile.ZipFile(data_folder("nltk_pd") / "udhr2.zip") as archive:
        texts = [repair(archive.read(f"udhr2/{name}.txt").decode()) for name in UNSPACED]
    assert dropped(texts, LIGHT) == []
    assert dropped(texts, WEB) == []


def test_short_poems_are_kept_by_light() -> None:
    """A four-line poem has 51 characters, so what stands in it once is a large share of it."""
    folder = data_folder("chinese_poetry")
    poems = []
    for path in [*sorted(folder.glob("*/poet.tang.*.json"))[:2], *folder.glob("*/shijing.json")]:
        for poem in json.loads(path.read_text(encoding="utf-8")):
            poems.append("\n".join(poem.get("paragraphs") or poem["content"]))
    poems = [poem for poem in poems if poem.strip()]
    assert len(poems) > 2_000
    assert len(dropped(poems, LIGHT)) <= 0.005 * len(poems)


def test_words_said_over_and_over_are_dropped_in_any_script() -> None:
    texts = [
        phrase * 60 for phrase in ("Buy now! ", "买一送一！", "今すぐ買う！", "ซื้อเลยวันนี้ ", "0 ")
    ]
    assert dropped(texts, LIGHT) == ["too_many_repeated_10_grams"] * len(texts)
    lines = [f"{line}\n" * 3 + "And this stands here but once.\n" for line in ("Home, news " * 9,)]
    assert dropped(lines, LIGHT) == ["too_many_duplicate_line_characters"]


def test_japanese_prose_repeats_itself_no_more_than_its_translation() -> None:
    """I Am a Cat in Japanese beside Botchan in English: one author, pieces of as many words."""
    folder = data_folder("sentencepiece_texts")
    cat = next(iter(folder.rglob("wagahai*"))).read_text(encoding="utf-8")[3_000:40_000]
    cat = re.sub("《[^》]*》|［[^］]*］|｜", "", cat)  # readings and notes
    botchan = next(iter(folder.rglob("botchan*"))).read_text(encoding="utf-8")[3_000:79_000]
    scorer = Scorer(WEB)
    japanese, english = scorer.score(cat), scorer.score(botchan)
    assert japanese["gopher_words"] == pytest.approx(english["gopher_words"], rel=0.1)
    assert japanese["repetition_5_grams"] < 0.05
    assert english["repetition_5_grams"] < 0.05
    assert dropped([cat], LIGHT) == []


@pytest.mark.exhaustive
def test_manuals_and_books_keep_nearly_all_of_themselves_under_light() -> None:
    manuals = {
        "react": [*data_folder("react_docs_multilingual").rglob("*.md")],
        "rust": [*data_folder("rust_docs").rglob("*.md")],
        "eips": [*data_folder("ethereum_eips").rglob("*.md")],
        "books": [*data_folder("books_share").rglob("*.md")],
    }
    texts = {
        name: [repair(path.read_text(encoding="utf-8")) for path in paths]
        for name, paths in manuals.items()
    }
    texts["peps"] = [repair(text.text) for text in read_peps()]
    shares = {name: len(dropped(found, LIGHT)) / len(found) for name, found in texts.items()}
    assert all(share <= 0.02 for share in shares.values()), shares
