"""What the world's files look like: every sample is read, or refused for the right reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from groundup.data.reading import REASONS
from groundup.data.records import Document, Refusal

from .samples import DATA, read, reasons_of, texts

# Documents, and refusals by reason.
EXPECTED: dict[str, tuple[int, dict[str, int]]] = {
    "books_share": (147, {}),
    "epub_samples": (5, {}),
    "ethereum_eips": (951, {}),
    "html_html5lib": (2, {"ending_not_read": 23}),
    "html_mdn_archived": (292, {}),
    "messy_blns": (4, {"row_is_no_object": 1191}),
    "messy_ftfy": (2, {"columns_not_known": 161}),
    "near_dup_articles": (2, {"ending_not_read": 4}),
    "nltk_pd": (505, {"ending_not_read": 5, "not_utf8": 7, "empty": 1}),
    "openstax_ccby_text": (30, {}),
    "pdf_samples": (23, {"encrypted": 1, "no_text": 6}),
    "python_peps": (737, {}),
    "react_docs_multilingual": (735, {}),
    "rust_docs": (439, {}),
    "sentencepiece_texts": (5, {}),
    "sms_spam": (1, {"columns_not_known": 1}),
    "tinyshakespeare": (3, {}),
    "tinystories_samples": (4, {}),
    "tok_bert": (5, {"ending_not_read": 3, "columns_not_known": 2, "not_a_string": 1}),
    "warc_samples": (
        18,
        {
            "ending_not_read": 6,
            "revisit": 3,
            "media_type_not_read": 4,
            "truncated": 1,
            "damaged": 1,
            "empty": 1,
        },
    ),
    "wikitext_valid_test": (4, {}),
}


def folder(name: str) -> Path:
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"no samples at {path}")
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_each_folder_of_samples(name: str) -> None:
    reasons: Counter[str] = Counter()
    n_documents = 0
    ids = set()
    for record in read(folder(name)):
        ids.add(record.id)
        if isinstance(record, Refusal):
            reasons[record.reason] += 1
        else:
            assert isinstance(record, Document)
            n_documents += 1
            assert record.text.strip()
            assert "\0" not in record.text
            assert "\r" not in record.text
            record.text.encode()
            assert record.path
    n_documents_expected, reasons_expected = EXPECTED[name]
    assert dict(reasons) == reasons_expected
    assert n_documents == n_documents_expected
    assert len(ids) == n_documents + reasons.total()
    assert set(reasons) <= set(REASONS)


@pytest.mark.slow
def test_every_other_folder_is_read_or_refused_for_a_reason_that_is_known() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no samples at {DATA}")
    others = sorted(path for path in DATA.iterdir() if path.is_dir() and path.name not in EXPECTED)
    n_documents = 0
    for path in others:
        for record in read(path):
            if isinstance(record, Refusal):
                assert record.reason in REASONS, record
                assert record.detail
            else:
                n_documents += isinstance(record, Document)
    assert n_documents > 20


def test_the_pdf_samples_by_name() -> None:
    refused = {Path(id).name: why for id, why in reasons_of(folder("pdf_samples")).items()}
    assert refused == {
        "libreoffice-writer-password.pdf": "encrypted",
        "imagemagick-ASCII85Decode.pdf": "no_text",
        "imagemagick-CCITTFaxDecode.pdf": "no_text",
        "imagemagick-images.pdf": "no_text",
        "imagemagick-lzw.pdf": "no_text",
        "grayscale-image.pdf": "no_text",
        "cmyk-image.pdf": "no_text",
    }
    text = texts(DATA / "pdf_samples/023-cmyk-image/../001-trivial/minimal-document.pdf")[0]
    assert text.startswith("Lorem ipsum dolor sit amet, consetetur sadipscing elitr")


def test_the_books_say_their_licences() -> None:
    books = {d.path: d for d in read(folder("epub_samples")) if isinstance(d, Document)}
    assert books["pride_and_prejudice_se.epub"].licence == "CC0-1.0"
    assert books["wasteland.epub"].licence == "CC-BY-SA-3.0"
    assert "It is a truth universally acknowledged, that a single man" in (
        books["pride_and_prejudice_se.epub"].text
    )
    assert "April is the cruellest month" in books["wasteland.epub"].text.replace("\n", " ")


def test_the_web_archives_by_record() -> None:
    path = folder("warc_samples") / "whirlwind"
    page, packed, wet, packed_wet = [
        record for record in read(path) if isinstance(record, Document)
    ]
    assert page.text == packed.text
    assert wet.text == packed_wet.text
    assert page.text.startswith("Escopete")
    assert (page.id, page.licence) == ("s/whirlwind.warc#2", "CC-BY-SA-4.0")


def test_naughty_strings_come_through_as_they_are() -> None:
    """Each line of the list, but those that the readers are there to keep out."""
    path = folder("messy_blns") / "blns.txt"
    (document,) = read(path)
    assert isinstance(document, Document)
    assert document.text == path.read_text(encoding="utf-8")
    for name in ("in-the-wild.json", "synthetic.json"):
        found = texts(folder("messy_ftfy") / name, column="original")
        assert len(found) > 20
