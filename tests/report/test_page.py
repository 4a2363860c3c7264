"""The report page: everything said, nothing fetched, nothing trusted."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from groundup.report.page import verdict, write_report

SKILLS = ("who_has_what", "where_is_it")
STAGES = ("pretrain", "sft", "align")
VOID = {"meta", "br", "link"}


class TagBalance(HTMLParser):
    """Collects attributes, and whether every element that was opened was closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full_report() -> dict[str, Any]:
    checks = [
        {
            "name": skill,
            "split": split,
            "stage": stage,
            "score": round(0.3 + 0.1 * i + (0.05 if split == "seen" else 0), 2),
            "ci95": [0.25 + 0.1 * i, 0.35 + 0.1 * i],
            "chance": 0.2,
            "n": 1200,
        }
        for skill in SKILLS
        for split in ("seen", "unseen")
        for i, stage in enumerate(STAGES)
    ]
    figures = {
        "tokens": 1_000_000,
        "tokens_per_s": 20_000.0,
        "steps": 4000,
        "parameters": 1_280_000,
    }
    return {
        "recipe": "quickstart",
        "seed": 7,
        "package_version": "0.1.0",
        "machine": {"processor": "a processor", "cpus": 2, "accelerator": None},
        "seconds": {"data": 5.0, "pretrain": 431.0, "sft": 71.0, "align": 24.0},
        "peak_memory_bytes": 1_240_000_000,
        "stages": {
            stage: {
                **figures,
                "final_loss": 1.5,
                "bits_per_byte": {
                    "value": 0.61 + i / 100,
                    "ci95": [0.59 + i / 100, 0.63 + i / 100],
                },
            }
            for i, stage in enumerate(STAGES)
        },
        "data": {
            "documents": 12_000,
            "bytes": 2_400_000,
            "heldout_documents": 300,
            "dropped": {"exact_duplicate": 412, "too_short": 37},
            "sources": ["the embedded world", {"name": "books", "documents": 12}],
            "synthetic": True,
            "chats": 4000,
            "preferences": 1500,
        },
        "baselines": {"xz_bits_per_byte": 1.3, "ngram_bits_per_byte": 0.9},
        "checks": checks,
        "samples": {
            "pretrain": [{"prompt": "The rain", "reply": " fell on the barn."}],
            "sft": [{"prompt": "Where is it?", "reply": "By the river."}],
        },
        "recipe_yaml": "seed: 7\nmodel: {d_model: 128}\n",
    }


def write_metrics(run: Path, stage: str, lines: list[Any]) -> None:
    folder = run / stage
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")


def page(run: Path, report: dict[str, Any]) -> str:
    path = write_report(run, report)
    assert path == run / "report.html"
    html = path.read_text(encoding="utf-8")
    balance = TagBalance()
    balance.feed(html)
    assert balance.open == []
    return html


def svgs(html: str) -> list[ET.Element]:
    """Every top-level chart, parsed."""
    charts = []
    for match in re.finditer(r"<svg", html):
        depth = 0
        for tag in re.finditer(r"<svg|</svg>", html[match.start() :]):
            depth += 1 if tag.group() == "<svg" else -1
            if depth == 0:
                charts.append(ET.fromstring(html[match.start() : match.start() + tag.end()]))
                break
    return charts


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("</style>")[1]))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [
        {"step": s, "tokens": 256 * s, "loss": 5 / s + 1, "lr": 1e-3, "seconds": 0.1 * s}
        for s in range(1, 1001)
    ]
    lines += [{"step": s, "tokens": 256 * s, "heldout_bits_per_byte": 9 / s} for s in (500, 1000)]
    write_metrics(tmp_path, "pretrain", lines)
    write_metrics(
        tmp_path,
        "align",
        [
            {"step": s, "tokens": 64 * s, "preference_accuracy": 0.5 + s / 100, "reward_margin": s}
            for s in (10, 20, 30)
        ],
    )
    return tmp_path


def test_the_sections_stand_in_order(run: Path) -> None:
    html = page(run, full_report())
    places = [
        html.index(f'id="{name}"')
        for name in (
            "bits",
            "checks",
            "preferences",
            "curves",
            "samples",
            "data",
            "time",
            "memory",
            "machine",
        )
    ]
    assert places == sorted(places)
    assert html.index("<details>") > places[-1]
    assert "<h1>quickstart</h1>" in html
    assert "1.24 GB" in html
    assert "a processor" in html
    assert "accelerator" not in html


def test_every_check_is_listed_with_its_interval_drawn(run: Path) -> None:
    report = full_report()
    html = page(run, report)
    strips = [svg for svg in svgs(html) if "questions" in (svg.findtext("title") or "")]
    assert len(strips) == len(report["checks"])
    titles = [svg.findtext("title") for svg in strips]
    assert "where is it, unseen, after chat tuning: 40%, interval 35% to 45%, chance 20%, " in (
        next(
            t[: t.rindex(", ") + 2] for t in titles if t and "where is it, unseen, after chat" in t
        )
    )
    dots = [
        next(e for e in svg.iter() if "dot" in e.get("class", "").split()).get("cx")
        for svg in strips
    ]
    assert dots[:6] == ["30%", "40%", "50%", "35%", "45%", "55%"]  # unseen first, stages in order


def test_the_verdict_is_computed_from_the_numbers() -> None:
    report = full_report()
    assert verdict(report) == [
        "Learned from 2.4 MB of synthetic text in 8 min 51 s: 0.61 bits per byte on held-out text;"
        " the n-gram baseline reaches 0.90, xz 1.30.",
        "Its whole interval lies below every baseline.",
        "After preferences, 2 of 2 skills stand clear of chance on combinations it never saw.",
    ]
    report["baselines"]["ngram_bits_per_byte"] = 0.62
    assert "0.59 to 0.63) reaches over it" in verdict(report)[1]
    report["baselines"]["ngram_bits_per_byte"] = 0.6
    assert verdict(report)[1].startswith("That is no better than n-gram")
    report["baselines"] = {"xz_bits_per_byte": 1.3}
    assert verdict(report)[0].endswith("text; xz reaches 1.30.")
    report["data"]["synthetic"] = False
    assert "MB of text in" in verdict(report)[0]


def test_what_the_preference_stage_moved(run: Path) -> None:
    report = full_report()
    for check in report["checks"]:
        if check["stage"] == "align" and check["name"] == "who_has_what":
            check.update(score=0.8, ci95=[0.75, 0.85])
        elif check["stage"] == "align":
            check.update(score=0.38, ci95=[0.33, 0.43])
    text = text_of(page(run, report))
    assert "Of 4 scores, 2 rose and 0 fell clearly." in text
    assert "who has what · unseen 40% 80% +40 yes" in text
    assert "where is it · unseen 40% 38% −2 no" in text
    assert "preference accuracy from 0.6 to 0.8, reward margin from 10 to 30" in text


def test_synthetic_text_is_called_so(run: Path) -> None:
    report = full_report()
    assert "This text is synthetic" in page(run, report)
    report["data"]["synthetic"] = False
    assert "synthetic" not in page(run, report)


def test_drops_are_listed_by_reason_most_first(run: Path) -> None:
    text = text_of(page(run, full_report()))
    assert "exact duplicate 412 too short 37" in text
    assert "name: books, documents: 12" in text


def test_markup_in_the_data_is_text_on_the_page(run: Path) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    report = full_report()
    report["recipe"] = report["recipe_yaml"] = attack
    report["samples"] = {attack: [{"prompt": attack, "reply": attack}]}
    report["machine"] = {attack: attack}
    report["data"]["dropped"] = {attack: 1}
    report["data"]["sources"] = [attack, {attack: attack}]
    report["seconds"][attack] = 1.0
    for check in report["checks"]:
        check["name"] = attack
    write_metrics(run, "sft", [{"step": s, "tokens": s, attack: s} for s in (1, 2)])
    html = page(run, report)
    balance = TagBalance()
    balance.feed(html)
    assert "script" not in balance.tags
    assert "img" not in balance.tags
    assert not [name for name, _ in balance.attributes if name.startswith("on")]
    assert "&lt;script&gt;" in html


def test_the_page_fetches_nothing(run: Path) -> None:
    report = full_report()
    report["samples"]["sft"][0]["reply"] = "See https://example.org and //example.org"
    html = page(run, report)
    balance = TagBalance()
    balance.feed(html)
    assert not {name for name, _ in balance.attributes} & {"src", "href", "srcset", "xlink:href"}
    assert not {"script", "link", "iframe", "img"} & set(balance.tags)
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_all_charts_are_valid_svg(run: Path) -> None:
    charts = [svg for svg in svgs(page(run, full_report())) if svg.get("role") == "img"]
    assert all(svg.find("title") is not None for svg in charts)
    titles = [svg.findtext("title") for svg in charts]
    assert "Training loss, pretraining" in titles
    assert "Held-out bits per byte, pretraining" in titles
    assert "Learning rate, pretraining" in titles
    assert "Reward margin, preferences" in titles


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("checks", "No checks were made in this run."),
        ("baselines", "No baseline was measured."),
        ("samples", "No samples were drawn in this run."),
        ("data", "This run did not record its data."),
        ("stages", "No held-out text was scored in this run."),
    ],
)
@pytest.mark.parametrize("empty", [None, {}])
def test_what_is_missing_is_said(
    run: Path, missing: str, sentence: str, empty: dict[str, Any] | None
) -> None:
    assert sentence not in page(run, full_report())
    assert sentence in page(run, full_report() | {missing: empty})


def test_an_almost_empty_report_is_still_a_page(tmp_path: Path) -> None:
    text = text_of(page(tmp_path, {"recipe": "bare"}))
    assert "Learned from text. No held-out text was scored." in text
    assert "This run had no preference stage." in text
    assert "No training curves were kept in this run." in text
    assert "No times were recorded." in text
    assert "No memory was recorded." in text
    assert "None" not in text


def test_a_score_without_bounds_draws_none(tmp_path: Path) -> None:
    report = full_report()
    for check in report["checks"]:
        check["ci95"] = None
    report["stages"] = {"pretrain": {"bits_per_byte": {"value": 0.6, "ci95": [None, None]}}}
    html = page(tmp_path, report)
    assert 'class="whisker"' not in html
    assert "how surely, one document cannot say" in html
    assert "Whiskers" not in html


def test_metrics_of_a_resumed_and_cut_run(tmp_path: Path) -> None:
    lines: list[Any] = [{"step": s, "tokens": s * 10, "loss": 9.0} for s in (1, 2, 3)]
    lines += [{"step": s, "tokens": s * 10, "loss": 5.0 - s} for s in (2, 3)]
    lines += ['{"step": 4, "tokens": 40, "loss": NaN}', "[1]", '{"loss": 7}', '{"step": 5, "tok']
    write_metrics(tmp_path, "pretrain", lines)
    html = page(tmp_path, {"recipe": "resumed"})
    (loss,) = (svg for svg in svgs(html) if svg.findtext("title") == "Training loss, pretraining")
    values = [e[0].text for e in loss.iter() if e.get("class") == "dot"]
    assert values == ["10: 9", "20: 3", "30: 2"]


def test_any_numeric_key_is_plotted(tmp_path: Path) -> None:
    write_metrics(
        tmp_path,
        "align",
        [{"step": s, "expert_load": s / 2, "note": "text", "flag": True} for s in range(5)],
    )
    html = page(tmp_path, {"recipe": "other"})
    assert "Expert load" in html
    assert "Flag" not in html
    assert "Note" not in html
