"""Text in Latin letters: its encoding by the letters of its language."""

from __future__ import annotations

import zipfile

import pytest

from groundup.data.reading.latin import latin_encoding, looks_latin

from .samples import DATA

ENGLISH = "It’s a “nice” café in the old town. We went there often, and sat by the window. "
FRENCH = "L’été dernier, nous avons été à la plage. Le maître d’école était fâché, très fâché. "
GERMAN = "Die Straße führt über die Brücke; die Mädchen können größer werden als Äpfel. "
POLISH = "Wczoraj poszliśmy do sklepu, żeby kupić świeży chleb, ale sklep był zamknięty. "
TURKISH = "Dün akşam çarşıda öğretmenimizle karşılaştık ve uzun uzun konuştuk. "


def found(text: str, encoding: str) -> str | None:
    data = text.encode(encoding)
    assert looks_latin(data)
    name = latin_encoding(data, frozenset(byte for byte in data if byte > 127))
    assert name is None or data.decode(name) == text
    return name


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ENGLISH, "cp1252"),
        (ENGLISH * 9, "cp1252"),
        (ENGLISH * 9, "mac_roman"),
        (FRENCH * 3, "cp1252"),
        (FRENCH * 3, "mac_roman"),
        (GERMAN * 3, "cp1252"),
        (GERMAN * 3, "cp850"),
        (GERMAN * 3, "cp437"),
        (POLISH * 3, "cp1250"),
        (POLISH * 3, "iso8859_2"),
        (TURKISH * 3, "cp1254"),
        ("A page of English with a single caf\u00e9 in it. " + "And so on. " * 200, "cp1252"),
    ],
)  # fmt: skip
def test_what_is_certain_is_read_as_it_was_written(text: str, encoding: str) -> None:
    assert found(text, encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("na\u00efve", "cp1252"),  # of Windows-1250 it would be na\u010fve
        ("d\u00e9j\u00e0", "mac_roman"),
        ("trop court d\u00e9j\u00e0", "cp850"),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_decided(text: str, encoding: str) -> None:
    assert found(text, encoding) is None


def test_other_letters_are_left_to_others() -> None:
    for text, encoding in (("Вчера мы ходили", "cp1251"), ("χθες πήγαμε", "cp1253")):
        assert not looks_latin(text.encode(encoding))
    assert not looks_latin("昨日、私たちは店に".encode("cp932"))


LANGUAGES = {
    "cp1252": ("fra", "deu", "spa", "por_PT", "ita", "swe", "dan", "nld"),
    "mac_roman": ("fra", "deu", "spa", "ita"),
    "cp850": ("fra", "deu", "spa", "ita"),
    "cp1250": ("pol", "ces", "hun"),
    "cp1257": ("lit", "est"),
    "cp1254": ("tur",),
}


def test_pieces_of_one_text_in_many_languages_are_hardly_ever_read_wrongly() -> None:
    """The declaration of human rights in pieces of 1,500 characters."""
    path = DATA / "nltk_pd" / "udhr2.zip"
    if not path.is_file():
        pytest.skip(f"no texts at {path}")
    n_right = n_wrong = n_all = 0
    with zipfile.ZipFile(path) as archive:
        for encoding, names in LANGUAGES.items():
            for name in names:
                text = archive.read(f"udhr2/{name}.txt").decode()
                for start in range(0, min(len(text), 9000), 1500):
                    data = text[start : start + 1500].encode(encoding, "ignore")
                    if data.isascii() or not looks_latin(data):
                        continue
                    n_all += 1
                    used = frozenset(byte for byte in data if byte > 127)
                    guess = latin_encoding(data, used)
                    is_right = guess and data.decode(guess) == data.decode(encoding)
                    n_right += bool(is_right)
                    n_wrong += bool(guess and not is_right)
    assert n_all > 80
    assert n_wrong == 0
    assert n_right > 0.8 * n_all
