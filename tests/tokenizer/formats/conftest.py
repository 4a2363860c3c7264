"""Others' tokenizers and texts in many scripts, where the checkout has them beside it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import DATA, SMALL_TEXTS

# What is known to be cut, normalised or spelled differently by one library or another
EDGES = [
    "",
    " ",
    "  ",
    "\n",
    " \n ",
    "a",
    " a",
    "a ",
    "  a  b  ",
    "\ta\r\nb\r\r\n\n c",
    "▁",
    "▁▁a▁b ▁",
    "a▁ b",
    "##ing ### a##b",
    "don't DON'T 'S 'ſ ’s",
    "12345678901 ½ Ⅷ ²",
    "e\u0301 é ñ n\u0303 Å ﬁ Ｆｕｌｌ ｶﾞ",
    "\u0000\u0001\u007f\u0085\u00a0\u00ad\u200b\u200d\u2028\u3000\ufeff\ufffd\uffff",
    "한국어 \u1112\u1161\u11ab 日本語の文 中文，标点。",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 \U0001fae8 \U000e0041",
    "हिन्दी में क्\u200dष ไทยภาษา עִבְרִית العَرَبِيَّة",
    "<s> </s> <unk> <pad> [CLS] [SEP] [MASK] [UNK] <|endoftext|> <|im_start|> <0x41> <0x0A>",
    "<|im_end|><think>\nhm</think> <tool_call>{}</tool_call> [INST] [REFERENCE_DOC_1] [/REF]",
    "x" * 150 + " " + "é" * 101,
    "Donaudampfschiff天é" * 60,
    "<|endoftext|><|endoftext|> <|endofprompt|><|fim_prefix|>x<|startoftext|>[CLS][SEP]</s>",
    "return x[i:j]  # ~~ /* */ <!-- -->\n\n\n\t\tif (a != b && !c) { y += 0x1F; }",
]


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """The path of a reference file; the test is skipped where there is none."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no reference tokenizer at {path}")
        return path

    return find


@pytest.fixture(scope="session")
def edge_texts() -> list[str]:
    return [*EDGES, *SMALL_TEXTS]


@pytest.fixture(scope="session", params=["some", pytest.param("all", marks=pytest.mark.exhaustive)])
def many_texts(request: pytest.FixtureRequest, edge_texts: list[str]) -> list[str]:
    """All of `_all_texts`, or the edges and a twentieth of the rest."""
    texts = _all_texts(edge_texts)
    return texts if request.param == "all" else [*edge_texts, *texts[len(edge_texts) :: 20]]


def _all_texts(edge_texts: list[str]) -> list[str]:
    """Some 2,500 texts: the edges, 300 languages, naughty strings, mojibake, code, prose."""
    texts = list(edge_texts)
    if (DATA / "nltk_pd").is_dir():
        with zipfile.ZipFile(DATA / "nltk_pd" / "udhr2.zip") as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".txt"):
                    text = archive.read(name).decode("utf-8", "replace")
                    texts += [text[:600], *text.splitlines()[:2]]
    if (DATA / "messy_blns").is_dir():
        texts += json.loads((DATA / "messy_blns" / "blns.json").read_text(encoding="utf-8"))
    for path in sorted((DATA / "messy_ftfy").glob("*.json")):
        texts += _strings(json.loads(path.read_text(encoding="utf-8")))
    for folder in ("python_peps", "rust_docs", "react_docs_multilingual", "chinese_poetry"):
        paths = [
            p for p in sorted((DATA / folder).rglob("*")) if p.suffix in (".rst", ".md", ".json")
        ]
        texts += [p.read_text(encoding="utf-8", errors="replace")[:2000] for p in paths[:25]]
    return texts


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    )
    return [string for child in children for string in _strings(child)]
