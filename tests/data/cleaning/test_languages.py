"""Languages: the compiled walk against py3langid itself, and real pages in six languages."""

from __future__ import annotations

import re
import zipfile

import pytest

from groundup.data.cleaning import LanguageIdentifier
from groundup.data.cleaning.languages import UNKNOWN
from tests.data.cleaning.conftest import data_folder

langid = pytest.importorskip("py3langid.langid")

SENTENCES = {
    "en": "The fox came by the mill at night and left again before anybody woke.",
    "de": "Der Fuchs kam nachts an der Mühle vorbei und ging wieder, bevor jemand wach war.",
    "fr": "Le renard est passé près du moulin la nuit et repartit avant que l'on s'éveille.",
    "es": "El zorro pasó de noche por el molino y se fue antes de que alguien despertara.",
    "ru": "Лиса пришла ночью к мельнице и ушла прежде, чем кто-нибудь проснулся.",
    "ja": "狐は夜に水車小屋のそばを通り、誰も目を覚まさないうちに去った。",
    "zh": "狐狸夜里经过磨坊，在任何人醒来之前又离开了。",
    "ar": "مر الثعلب بالطاحونة ليلا ثم غادر قبل أن يستيقظ أحد.",
    "sr": "Лисица је ноћу прошла поред млина и отишла пре него што се ико пробудио.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_known(code: str) -> None:
    assert LanguageIdentifier.load().identify(SENTENCES[code])[0] == code


@pytest.mark.parametrize("change", [str, str.upper, lambda text: text[:9], lambda text: text * 30])
def test_it_says_what_py3langid_says(change: object) -> None:
    theirs = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    for sentence in SENTENCES.values():
        text = change(sentence)  # type: ignore[operator]
        code, score = theirs.classify(text)
        assert LanguageIdentifier.load().identify(text) == (code, pytest.approx(score, abs=2e-3))


def test_nothing_to_go_by_is_undetermined() -> None:
    assert LanguageIdentifier.load().identify("") == (UNKNOWN, 0.0)


LETTERS = {
    "zh": "\u4e00-\u9fff",
    "ru": "\u0400-\u04ff",
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
}


def test_pages_in_four_scripts_are_known() -> None:
    """The lines of React's documentation that were translated, a page at a time."""
    identifier = LanguageIdentifier.load()
    for code, letters in LETTERS.items():
        own, latin = re.compile(f"[{letters}]"), re.compile("[A-Za-z]")
        texts = []
        for path in sorted(data_folder("react_docs_multilingual").glob(f"{code}*/**/*.md"))[:40]:
            lines = path.read_text(encoding="utf-8").splitlines()
            lines = [x for x in lines if len(own.findall(x)) > len(latin.findall(x))]
            if len("".join(lines)) > 200:
                texts.append("\n".join(lines))
        assert len(texts) >= 5
        assert [identifier.identify(text)[0] for text in texts] == [code] * len(texts)


DECLARATIONS = (
    "afr:af arb:ar bul:bg cat:ca ces:cs dan:da deu:de ell_monotonic:el eng:en est:et fin:fi fra:fr "
    "heb:he hin:hi hun:hu ind:id isl:is ita:it jpn:ja kat:ka kor:ko lit:lt nld:nl pol:pl "
    "por_PT:pt rus:ru slk:sk slv:sl spa:es swe:sv swh:sw tam:ta tha:th tur:tr ukr:uk vie:vi "
    "cmn_hans:zh"
)


def test_the_declaration_of_human_rights_is_known_in_37_languages() -> None:
    identifier = LanguageIdentifier.load()
    wrong = []
    with zipfile.ZipFile(data_folder("nltk_pd") / "udhr2.zip") as archive:
        for pair in DECLARATIONS.split():
            name, code = pair.split(":")
            text = archive.read(f"udhr2/{name}.txt").decode()
            if identifier.identify(text)[0] != code:
                wrong.append((name, identifier.identify(text)))
    assert wrong == []
