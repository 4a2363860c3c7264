"""Web pages: their main text, encoding and licence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from groundup.data.reading.html import page_text
from groundup.data.reading.licences import licence_in
from groundup.data.records import Document

from .samples import DATA, read, refusal_of

ARTICLE = "<p>" + "A sentence of the article that says something of interest. " * 8 + "</p>"
WHOLE_PAGE = f"""<!DOCTYPE html><html><head><title>Site</title><style>p {{}}</style>
<script>var secret = 1;</script></head><body>
<header><nav><ul><li><a href="/">Home</a></li><li><a href="/shop">Shop</a></li></ul></nav></header>
<main><article><h1>Headline</h1>{ARTICLE}<pre>def f():
    return 1</pre></article></main>
<footer><a rel="license" href="https://creativecommons.org/licenses/by/4.0/">Terms</a></footer>
</body></html>"""


def test_the_article_is_kept_and_the_navigation_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(WHOLE_PAGE)
    (document,) = read(tmp_path)
    assert isinstance(document, Document)
    assert document.text.startswith("Headline\n\nA sentence of the article")
    assert "def f():\n    return 1" in document.text
    for word in ("Home", "Shop", "Terms", "secret"):
        assert word not in document.text
    assert (document.id, document.licence) == ("s/a.html#0", "CC-BY-4.0")


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b" \n",
        b"<html><head><title>Only a title</title></head><body></body></html>",
        b"<html><body><script>alert(1)</script><img src='x.png'></body></html>",
        b"<!-- nothing -->",
    ],
)
def test_a_page_with_nothing_in_it_is_refused(tmp_path: Path, page: bytes) -> None:
    (tmp_path / "a.html").write_bytes(page)
    refusal = refusal_of(tmp_path)
    assert (refusal.id, refusal.reason) == ("s/a.html", "no_text")


def test_a_page_that_is_all_navigation_is_taken_as_it_is() -> None:
    notes: Counter[str] = Counter()
    page = b"<html><body><nav><a href='/a'>One</a> <a href='/b'>Two</a></nav></body></html>"
    text, _ = page_text(page, notes)
    assert text.split() == ["One", "Two"]
    assert notes == {"page without main content": 1}


@pytest.mark.parametrize(
    ("encoding", "head", "charset"),
    [
        ("cp1251", b"<meta charset='windows-1251'>", None),
        ("koi8-r", b"", "KOI8-R"),
        ("utf-8", b"<meta charset='iso-8859-1'>", None),
        ("utf-16", b"", None),
        ("cp1251", b"<meta http-equiv='Content-Type' content='text/html; charset=cp1251'>", None),
        ("iso8859_5", b"<meta charset='no-such-thing'>", "ISO-8859-5"),
        ("cp1251", b"", None),
    ],
)
def test_the_encoding_is_declared_or_found(encoding: str, head: bytes, charset: str | None) -> None:
    words = "Все люди рождаются свободными и равными в своем достоинстве и правах. " * 5
    page = f"<html><head>{head.decode()}</head><body><p>{words}</p></body></html>".encode(encoding)
    assert page_text(page, Counter(), charset=charset)[0] == words.strip()


def test_latin_1_is_read_as_browsers_do() -> None:
    page = b"<meta charset=iso-8859-1><p>It\x92s \x93quoted\x94 caf\xe9</p>"
    assert page_text(page, Counter())[0] == "It\u2019s \u201cquoted\u201d caf\u00e9"


FRENCH = "<p>L\u2019\u00e9t\u00e9 dernier, nous \u00e9tions \u00e0 la plage, tr\u00e8s loin.</p>"


@pytest.mark.parametrize(
    "head",
    [
        "<script src='x.js' charset='windows-1251'></script><meta charset='iso-8859-1'>",
        "<!-- <meta charset='koi8-r'> --><meta charset=windows-1252>",
        "<link rel=x charset=koi8-r><meta http-equiv=a content='text/html; charset=latin1'>",
    ],
)
def test_only_a_meta_element_declares_the_encoding(head: str) -> None:
    page = f"<html><head>{head}</head><body>{FRENCH}</body></html>".encode("cp1252")
    assert page_text(page, Counter())[0] == FRENCH[3:-4]


@pytest.mark.parametrize("label", ["utf-16", "utf-16le", "unicode_escape", "idna", "utf-32", "hex"])
def test_labels_that_cannot_be_are_as_none(label: str) -> None:
    page = f"<html><head><meta charset='{label}'></head><body>{FRENCH * 9}</body></html>"
    expected = page_text((FRENCH * 9).encode(), Counter())[0]
    assert page_text(page.encode(), Counter())[0] == expected
    assert page_text(page.encode("cp1252"), Counter())[0] == expected


def test_macintosh_is_read_where_it_is_declared() -> None:
    page = f"<meta charset=x-mac-roman>{FRENCH}".encode("mac_roman")
    assert page_text(page, Counter())[0] == FRENCH[3:-4]


@pytest.mark.parametrize(
    "head", ["<title/>", '<script src="a>b.js" />', "<style type='x'/>", '<title a = "1"/><base/>']
)
def test_elements_that_are_closed_at_once_hide_nothing_in_xhtml(tmp_path: Path, head: str) -> None:
    page = f"<html><head>{head}</head><body><a id='x'/><p>Words<br/>here.</p></body></html>"
    (tmp_path / "a.xhtml").write_text(page)
    (tmp_path / "b.html").write_text(f"<?xml version='1.0' encoding='utf-8'?>{page}")
    found = read(tmp_path)
    assert [d.text.split() for d in found if isinstance(d, Document)] == [["Words", "here."]] * 2


def test_nul_and_broken_markup_do_no_harm() -> None:
    for page in (b"<p>a\0b</p>", b"<p>ab", b"<<<p>ab</p", b"<div>" * 900 + b"ab", b"ab"):
        assert page_text(page, Counter())[0].endswith("ab")


def test_elements_within_elements_take_no_longer_than_text() -> None:
    """The time to find the main content would grow with the square of the depth."""
    notes: Counter[str] = Counter()
    page = b"<div>" * 50_000 + b"ab" + b"</div>" * 50_000
    assert page_text(page, notes)[0] == "ab"
    assert notes == {"page nested too deep for its main content": 1}


def test_small_kana_do_not_stand_within_words() -> None:
    page = "<p>私は<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字</ruby>を読む。</p>" * 9
    text, _ = page_text(page.encode(), Counter())
    assert "私は漢字を読む。" in text


def test_a_licence_is_only_told_if_it_is_certain() -> None:
    by, zero = "creativecommons.org/licenses/by/4.0", "creativecommons.org/publicdomain/zero/1.0/"
    assert licence_in(f"https://{by}/ and again {by}") == "CC-BY-4.0"
    assert licence_in(f"{by} or {zero}") is None
    assert licence_in(zero) == "CC0-1.0"
    assert licence_in("The code is under CC BY-NC-SA 3.0.") == "CC-BY-NC-SA-3.0"
    assert licence_in("All rights reserved") is None
    link = '<p>Text of a page</p><a rel="license" href="%s">x</a>'
    other = "https://example.org/terms"
    assert page_text((link % other).encode(), Counter())[1] == other
    assert page_text((link % other + link % by).encode(), Counter())[1] is None


def test_documentation_keeps_its_words() -> None:
    """Of pages put between navigation, side bar and footer, nine words in ten and no others."""
    folder = DATA / "html_mdn_archived"
    if not folder.is_dir():
        pytest.skip(f"no real pages at {folder}")
    around = "<html><body><nav><a href='/'>zzhome</a></nav><main><article>%s</article></main>"
    around += "<div class='sidebar'><ul><li><a href='/x'>zzlink</a></li></ul></div>"
    around += "<footer>zzfoot</footer></body></html>"
    kept = total = 0
    paths = sorted(path for path in folder.rglob("*.html") if path.is_file())[::12]
    for path in paths:
        body = path.read_text(encoding="utf-8")
        words = Counter(page_text(body.encode(), Counter(), main_content=False)[0].split())
        text = page_text((around % body).encode(), Counter())[0]
        assert "zz" not in text, path
        kept += (words & Counter(text.split())).total()
        total += words.total()
    assert len(paths) > 20
    assert kept / total > 0.9
