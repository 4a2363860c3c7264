"""The tokenizer's page and lines: the answer first, everything said, nothing fetched or trusted."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from groundup.report.overlay import run_look
from groundup.report.tokenizer_charts import (
    Dot,
    SizeLine,
    short_size,
    size_chart,
    size_scale,
    token_spans,
)
from groundup.report.tokenizer_lines import (
    aligned,
    comparison_lines,
    inspection_lines,
    replay_lines,
)
from groundup.report.tokenizer_page import (
    headline,
    plain_words,
    train_command,
    write_comparison,
)
from groundup.runtime import GroundupError, Silent
from groundup.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.counts import count_words_in
from groundup.tokenizer.laboratory import (
    Comparison,
    HeldOut,
    ModelShape,
    Question,
    Sample,
    compare,
    describe,
    measure,
    recommend,
    support,
)
from groundup.tokenizer.pretokenize import PatternCutter

from ..tokenizer.conftest import SMALL_TEXTS
from .test_page import TagBalance, svgs
from .test_page import text_of as escaped_text_of

SHAPE = ModelShape("10M", 256, 8, 8_000_000, 6.0 * 9e6, is_tied=True)
NASTY = "<script>alert(1)</script>&'\""
STORY = "The miller walked to the river, and the river was wide. " * 30


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    counts = count_words_in([*SMALL_TEXTS, STORY], PatternCutter("qwen2"))
    samples = [
        Sample(NASTY, STORY + NASTY),
        Sample("mixed", "".join(SMALL_TEXTS)),
        Sample("poems", "天地玄黄，宇宙洪荒。\n"),
    ]
    question = Question(["bpe", "wordpiece"], [300, 530, 560], SHAPE, TokenizerConfig())
    return compare(
        counts,
        HeldOut.of(samples),
        question,
        references={NASTY: Tokenizer.byte_level([])},
        listener=Silent(),
    )


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_comparison(comparison, path, data=["texts", NASTY])
    return path.read_text(encoding="utf-8")


class Balance(TagBalance):
    """Knows the elements of these pages that are never closed."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag in ("wbr", "input"):
            self.open.pop()


def text_of(page: str) -> str:
    return html.unescape(escaped_text_of(page))


def test_the_page_begins_with_the_answer(comparison: Comparison, page: str) -> None:
    chosen = comparison.recommendation
    answer = f"Take BPE with {chosen.vocab_size:,} tokens"
    assert headline(comparison) == answer
    assert f"<h1>{answer}</h1>" in page
    told = text_of(page)
    for sentence in (*plain_words(comparison), *chosen.reasons):
        assert sentence in told
    assert train_command(comparison, ["texts", NASTY]) in told.replace("\\ ", "")


def test_every_vocabulary_and_every_part_is_on_the_page(comparison: Comparison, page: str) -> None:
    told = text_of(page)
    for one in comparison.tried:
        assert f"{one.measured.whole.bytes_per_token:.2f}" in told
        assert one.name in told
    for part in (*comparison.sources, *comparison.writings):
        assert part.name in told
    assert page.count('<tr class="chosen">') == 2  # of the embeddings, and of all figures
    for use in comparison.longest[:5]:
        assert f"{use.count:,}×" in told


def test_the_page_is_whole_and_needs_nothing_beside_it(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert "script" not in parser.tags
    assert not [v for _, v in parser.attributes if v.startswith(("http", "//", "data:"))]
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert svgs(page)


def test_what_comes_from_the_text_is_escaped(page: str) -> None:
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_page_is_not_written_over_a_folder(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match=r"is a folder; give a file, such as .*tokenizer\.html"):
        write_comparison(comparison, tmp_path, data=["x"])


def test_the_lines_say_what_the_page_says(comparison: Comparison) -> None:
    lines = comparison_lines(comparison, ["my texts"])
    told = "\n".join(lines)
    assert headline(comparison) in told
    assert all(one.name in told for one in comparison.tried)
    assert "  groundup tokenizer train --data 'my texts' --algorithm bpe" in told
    assert "0%" in next(line for line in lines if line.startswith(comparison.recommendation.name))


def test_a_text_that_is_too_small_is_called_so(comparison: Comparison) -> None:
    poor = tuple(
        replace(one, support=replace(one.support, share_often=0.5)) if one.support else one
        for one in comparison.tried
    )
    found = replace(comparison, tried=poor, recommendation=recommend(poor, SHAPE))
    assert found.recommendation.vocab_size == 300
    assert "are too little for any size that was tried" in plain_words(found)[0]


def test_the_least_arithmetic_is_only_claimed_where_it_is_the_least(comparison: Comparison) -> None:
    def with_shares(shares: dict[str, float]) -> str:
        tried = tuple(
            replace(one, support=replace(one.support, share_often=shares.get(one.name, 1.0)))
            if one.support
            else one
            for one in comparison.tried
        )
        found = replace(comparison, tried=tried, recommendation=recommend(tried, SHAPE))
        return plain_words(found)[0]

    assert "reads this text with the least work" in with_shares({})
    bound = {"bpe 530": 0.5, "bpe 560": 0.5, "wordpiece 560": 0.5}
    told = with_shares(bound)
    assert told.startswith("It is the best that 2.32 kB of text can teach")
    assert "least work" not in told


def test_an_inspection_has_the_parts_of_the_text() -> None:
    tokenizer = Tokenizer.byte_level([(72, 84), (256, 82)])
    held_out = HeldOut.of([Sample("a", STORY), Sample("b", "天地玄黄")])
    measured, uses = measure(tokenizer, held_out)
    lines = list(
        inspection_lines(describe(tokenizer), (measured, held_out), support(tokenizer, uses))
    )
    told = "\n".join(lines)
    for expected in ("bpe, on bytes", "qwen2's pattern", "Chinese", "Latin", "uses", "longest"):
        assert expected in told
    alone = list(inspection_lines(describe(tokenizer), None, None))
    n_lines = alone.index("")
    assert alone[:n_lines] == lines[:n_lines]
    assert [line.split()[0] for line in alone[n_lines + 1 :]] == ["longest"]


def test_no_line_is_wider_than_was_asked_for(comparison: Comparison) -> None:
    tokenizer = train_tokenizer([STORY, *SMALL_TEXTS], TokenizerConfig(vocab_size=300))
    held_out = HeldOut.of([Sample("a" * 90, STORY), Sample("b", "天地玄黄")])
    measured, uses = measure(tokenizer, held_out)
    inspected = inspection_lines(
        describe(tokenizer), (measured, held_out), support(tokenizer, uses), 80
    )
    played = replay_lines(tokenizer, "नमस्ते_दुनिया " + "x" * 200, 80)
    compared = comparison_lines(comparison, ["t"], 80)[:-1]  # the command is left to be copied
    for line in (*inspected, *played, *compared):
        assert len(line) <= 80, line


def test_the_steps_of_a_word_are_said_beside_its_pieces() -> None:
    tokenizer = Tokenizer.byte_level([(68, 82), (256, 83)])  # e s, es t
    assert list(replay_lines(tokenizer, "est a")) == [
        "", "  begins as 3 bytes  e|s|t", "  merge 1: e + s     es|t", "  merge 2: es + t    est",
        *([]),
    ]  # fmt: skip


# --- charts ---------------------------------------------------------------------------------------


def test_sizes_stand_on_a_logarithmic_axis() -> None:
    x_of = size_scale([1000, 16_000])
    assert x_of(2000) - x_of(1000) == pytest.approx(x_of(16_000) - x_of(8000))
    assert 0 < x_of(1000) < x_of(16_000) < 100
    assert 0 < size_scale([512])(512) < 100


def test_a_chart_has_a_dot_for_each_vocabulary_within_its_bounds() -> None:
    dots = [
        Dot(1024 << i, value, f"dot{i}", hollow=i > 1) for i, value in enumerate((0.5, 0.0, 0.1, 9))
    ]
    svg = size_chart(
        [SizeLine("BPE", dots, run_look(0))],
        [("other", Dot(5000, 0.3, "reference")), ("far", Dot(5000, 8.0, "beyond"))],
        chosen=dots[1],
        form=str,
        title="a title",
        description="a description",
        bounds=(0.0, 0.5),
        too_small_from=3000,
    )
    assert [f"dot{i}" in svg for i in range(4)] == [True, True, True, False]
    assert len(re.findall(r'class="mark hollow', svg)) == 1
    assert ">other<" in svg
    assert ">far<" not in svg
    assert 'class="shade"' in svg
    assert ">2,048</text>" in svg
    assert [short_size(dot.vocab_size) in svg for dot in dots] == [True] * 4


def test_references_at_one_place_have_labels_apart() -> None:
    dots = [Dot(50_000, 0.2, "a"), Dot(50_001, 0.2, "b")]
    svg = size_chart(
        [SizeLine("BPE", [Dot(1024, 0.0, "c")], run_look(0))],
        [("a", dots[0]), ("b", dots[1])],
        chosen=Dot(1024, 0.0, "c"),
        form=str,
        title="",
        description="",
    )
    labels = re.findall(r'dx="-?9" y="([\d.]+)"', svg)
    assert abs(float(labels[0]) - float(labels[1])) >= 16


def test_tokens_that_follow_each_other_have_other_colours_and_are_escaped() -> None:
    spans = token_spans([" <b>", "\n", '"'] * 4)
    tints = re.findall(r"tint(\d)", spans)
    assert all(a != b for a, b in zip(tints, tints[1:], strict=False))
    assert "·&lt;b&gt;" in spans
    assert "<b>" not in spans
    assert "↵" in spans


def test_rows_are_aligned() -> None:
    assert aligned([("a", "b"), ("long", "12")]) == ["a      b", "long  12"]
