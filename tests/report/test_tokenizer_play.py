"""The page to play with: its script gives our ids, and what it cannot do is refused."""

from __future__ import annotations

import html
import json
import random
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import regex

from groundup.report.tokenizer_play import javascript, page_data, write_play
from groundup.runtime import GroundupError, TokenizerError
from groundup.tokenizer import PATTERNS, Tokenizer, TokenizerConfig, open_tokenizer, train_tokenizer
from groundup.tokenizer.normalize import LibraryNormalizer
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter, WholeText

from ..tokenizer.conftest import DATA, SMALL_TEXTS
from .test_tokenizer_page import Balance

NODE = shutil.which("node")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_engine = pytest.mark.skipif(
    NODE is None and BROWSER is None, reason="neither node nor chromium is there to run the script"
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not there to open the page")
REFERENCES = (
    "tok_gpt2/vocab.bpe",
    "tok_tiktoken/cl100k_base.tiktoken",
    "tok_mistral/tokenizer.model.v1",
    "tok_bert/bert-base-uncased.json",
)


def part(page: str, name: str) -> str:
    found = re.search(rf'<script[^>]* ?id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def run_script(page: str, expression: str, tmp_path: Path) -> Any:
    """What an expression on the page's tokenizer `t` gives."""
    code = f"{part(page, 'core')}\nconst t = makeTokenizer({part(page, 'tokenizer')});\n"
    if NODE is None:
        shown = f"document.body.textContent = JSON.stringify({expression});"
        file = tmp_path / "script.html"
        file.write_text(f"<meta charset=utf-8><body><script>{code}{shown}</script>", "utf-8")
        return json.loads(html.unescape(re.sub(r"<[^>]*>", "", opened(file))))
    script = tmp_path / "script.js"
    script.write_text(f"{code}console.log(JSON.stringify({expression}));", encoding="utf-8")
    done = subprocess.run([NODE, script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def opened(file: Path) -> str:
    """What a browser makes of a page."""
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"file://{file}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def texts() -> list[str]:
    """Texts of every kind, and random ones."""
    draw = random.Random(0)
    signs = (
        "aeélZß 's'LL\t\n\r .,!?7½中猫ض한\u0301\u200b\U0001f642_-ſ▁#<|"
        "ЖыΩςעבกำनि্ক한글ひらカナაԱⴰ፩٣\u200d\ufe0f\U0001f1e9\U0001f1ea\U0001f3fd\u00a0\u3000\x85"
    )
    drawn = ["".join(draw.choices(signs, k=draw.randint(0, 30))) for _ in range(250)]
    drawn += ["".join(draw.choices(["\r\n", "\n", " ", "a", "'s", "12"], k=9)) for _ in range(50)]
    # of all scripts, but none so young that libraries of other years take it for another thing
    old = unicodedata.ucd_3_2_0
    known = [c for c in map(chr, range(1, 0xD800)) if old.category(c) != "Cn"]
    drawn += ["".join(draw.choices(known, k=12)) for _ in range(50)]
    return ["", "IT'S it's WE'LL", "<|endoftext|> [UNK] ##ing", *SMALL_TEXTS, *drawn]


def page_of(tokenizer: Tokenizer, folder: Path) -> str:
    write_play(tokenizer, folder / "play.html", name="mine")
    return (folder / "play.html").read_text(encoding="utf-8")


@needs_engine
@pytest.mark.parametrize(
    "config",
    [
        *(TokenizerConfig(vocab_size=400, pattern=name) for name in PATTERNS),
        TokenizerConfig(vocab_size=400, pattern=r"[a-z]+|\s+", normalization="nfkc"),
        TokenizerConfig(vocab_size=600, algorithm="wordpiece"),
        TokenizerConfig(vocab_size=340, algorithm="unigram", normalization="nfc"),
    ],
    ids=lambda config: f"{config.algorithm}-{config.pattern[:8]}",
)
def test_the_page_gives_our_ids(config: TokenizerConfig, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(SMALL_TEXTS, config)
    wanted = texts()
    found = run_script(
        page_of(tokenizer, tmp_path), f"{json.dumps(wanted)}.map((x) => t.ids(x))", tmp_path
    )
    for text, ids in zip(wanted, found, strict=True):
        assert ids == tokenizer.encode(text), text


@needs_engine
@pytest.mark.parametrize("path", REFERENCES)
def test_the_page_gives_the_ids_of_others_tokenizers(path: str, tmp_path: Path) -> None:
    if not (DATA / path).is_file():
        pytest.skip(f"no tokenizer at {DATA / path}")
    tokenizer = open_tokenizer(DATA / path)
    wanted = texts()
    found = run_script(
        page_of(tokenizer, tmp_path), f"{json.dumps(wanted)}.map((x) => t.ids(x))", tmp_path
    )
    for text, ids in zip(wanted, found, strict=True):
        assert ids == tokenizer.encode(text), text


@needs_browser
def test_a_browser_shows_our_ids(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(SMALL_TEXTS, TokenizerConfig(vocab_size=400))
    text = "The miller's daughter: \U0001f469\u200d\U0001f467 天地玄黄\nx\u0301"
    write_play(tokenizer, tmp_path / "play.html", name="mine", text=text)
    page = opened(tmp_path / "play.html")
    shown = re.search(r'<pre class="all" id="all">([\d ]*)</pre>', page)
    assert shown is not None
    assert list(map(int, shown[1].split())) == tokenizer.encode(text)
    spans = re.findall(r'class="token tint\d[^>]* data-id="(\d+)"[^>]* data-word=', page)
    assert list(map(int, spans)) == tokenizer.encode(text)


@needs_engine
def test_the_steps_of_a_word_lead_from_bytes_to_its_tokens(tmp_path: Path) -> None:
    tokenizer = Tokenizer.byte_level([(68, 82), (256, 83), (75, 78), (258, 86)])
    (word,) = run_script(page_of(tokenizer, tmp_path), 't.encode("lowest")', tmp_path)
    assert [len(step["ids"]) for step in word["steps"]] == [6, 5, 4, 3, 2]
    assert [step["rank"] for step in word["steps"]] == [-1, 0, 1, 2, 3]
    assert word["ids"] == tokenizer.encode("lowest")


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    page = page_of(train_tokenizer(SMALL_TEXTS, TokenizerConfig(vocab_size=300)), tmp_path)
    parser = Balance()
    parser.feed(re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", page, flags=re.DOTALL))
    assert not parser.open
    assert not re.search(r"https?:|src=|fetch\(|XMLHttpRequest|import\(", part(page, "core"))
    assert not [v for n, v in parser.attributes if n in ("src", "href")]
    assert "default-src 'none'" in page


def test_no_token_can_end_the_script(tmp_path: Path) -> None:
    words = ["</script><b>"] * 50
    tokenizer = train_tokenizer(words, TokenizerConfig(vocab_size=270, pattern=r"[^ ]+"))
    assert any(b"</" in piece for piece in tokenizer.model.pieces)
    data = part(page_of(tokenizer, tmp_path), "tokenizer")
    assert "<" not in data
    assert json.loads(data)["pieces"] == [p.decode("latin-1") for p in tokenizer.model.pieces]


def test_the_text_to_begin_with_is_escaped(tmp_path: Path) -> None:
    write_play(Tokenizer.byte_level([]), tmp_path / "p.html", name="<i>", text="</textarea><b>")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "&lt;/textarea&gt;&lt;b&gt;" in page
    assert "<i>" not in page
    with pytest.raises(GroundupError, match="is a folder"):
        write_play(Tokenizer.byte_level([]), tmp_path, name="x")


@pytest.mark.parametrize(
    ("normalizer", "cutter", "message"),
    [
        ('{"type": "Nmt"}', WholeText(), "does not know the normalizer Nmt"),
        (None, LibraryCutter('{"type": "Digits"}'), "does not know the pre-tokenizer Digits"),
    ],
)
def test_what_the_page_cannot_do_is_refused(
    normalizer: str | None, cutter: Any, message: str
) -> None:
    plain = Tokenizer.byte_level([])
    tokenizer = Tokenizer(
        plain.model,
        cutter,
        special_tokens={},
        roles=plain.roles,
        normalizer=LibraryNormalizer(normalizer) if normalizer else None,
    )
    with pytest.raises(TokenizerError, match=f"{message}; play without --out"):
        page_data(tokenizer)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_in_javascript_is_the_same_expression(name: str) -> None:
    """What was written for JavaScript is also an expression of the regex module, and cuts alike."""
    written = javascript(PATTERNS[name])
    assert "(?i" not in written
    assert not re.search(r"(?<!\\)[?*+}]\+", re.sub(r"\\p\{[^}]*\}", "P", written))
    for text in texts():
        assert regex.findall(written, text) == PatternCutter(name).split(text), text
