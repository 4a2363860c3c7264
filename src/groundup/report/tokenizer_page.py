"""Vocabularies compared, as a page of its own in the look of the report.

The page is for somebody who has never trained a tokenizer: the answer first, then why, then all
that was measured. `write_comparison` is called by `groundup tokenizer compare`;
`tokenizer_lines.py` says the same on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from groundup.report.charts import Part as BarPart
from groundup.report.charts import nice_ticks, stacked_bar
from groundup.report.format import format_bytes, format_number, format_percent, format_share
from groundup.report.overlay import run_look, swatch
from groundup.report.tokenizer_charts import Dot, SizeLine, size_chart, token_spans
from groundup.runtime import GroundupError, write_text
from groundup.tokenizer.laboratory import (
    Comparison,
    Part,
    TokenUse,
    Tried,
)
from groundup.tokenizer.laboratory.measure import OFTEN, PartMeasured
from groundup.tokenizer.laboratory.recommend import ORDER, SHARE_OFTEN, TOLERANCE
from groundup.tokenizer.laboratory.text import SIGNS, WRITINGS_WITHOUT_SPACES

NAMES = {"bpe": "BPE", "wordpiece": "WordPiece", "unigram": "Unigram"}
MOST_ROWS = 14  # of sources and of writings
_FARTHEST = 0.6  # beyond the least arithmetic by more than this, a vocabulary is off the chart
_DASH = "–"
_ALL = 0.9995  # a share that is told as all


def write_comparison(comparison: Comparison, path: Path, *, data: Sequence[str]) -> None:
    """Write the comparison as one page that needs nothing beside it.

    data: what was read, as the user named it. Raises GroundupError if `path` is a folder.
    """
    if path.is_dir():
        raise GroundupError(f"{path} is a folder; give a file, such as {path / 'tokenizer.html'}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(read_page("tokenizer.html"))
    write_text(path, template.render(_view(comparison, data), style=report_style()))


def read_page(name: str) -> str:
    """A template of this folder."""
    return resources.files("groundup.report").joinpath(name).read_text(encoding="utf-8")


def report_style() -> Markup:
    """The style of the report's page, so that all pages look alike."""
    return Markup(read_page("page.html").split("<style>")[1].split("</style>")[0])


def _view(comparison: Comparison, data: Sequence[str]) -> dict[str, Any]:
    chosen = comparison.recommended
    return {
        "data": data,
        "title": ", ".join(Path(name).name or name for name in data),
        "headline": headline(comparison),
        "plain": plain_words(comparison),
        "reasons": comparison.recommendation.reasons,
        "command": " \\\n  ".join(train_command(comparison, data).split(" --")).replace(
            "\n  ", "\n  --"
        ),
        "would_be_larger": would_be_larger(comparison) is not None,
        "tiles": _tiles(comparison),
        "cost": _cost_chart(comparison),
        "length": _length_chart(comparison),
        "shaded": _too_small_from(comparison) is not None,
        "legend": _legend(comparison),
        "examples": _examples(comparison),
        "columns": COLUMNS,
        "rows": [
            {
                "cells": cells(one, comparison),
                "chosen": one.name == chosen.name,
                "reference": one.support is None,
            }
            for one in comparison.tried
        ],
        "shown": [one.name for one in shown(comparison)],
        "writings": part_rows(comparison, comparison.writings, "writings"),
        "sources": part_rows(comparison, comparison.sources, "sources"),
        "more_sources": max(len(comparison.sources) - MOST_ROWS, 0),
        "characters": _characters(comparison),
        "embeddings": _embeddings(comparison),
        "shape": comparison.shape,
        "longest": [_token(use) for use in comparison.longest],
        "rarest": [_token(use) for use in comparison.rarest],
        "inner": f"{chosen.support.n_inner:,}" if chosen.support else "",
        "often": OFTEN,
        "rule": _rule(comparison),
        "notes": comparison.notes,
        "held_out": comparison.whole,
    }


# --- the answer -----------------------------------------------------------------------------------


def headline(comparison: Comparison) -> str:
    """The answer in one line."""
    chosen = comparison.recommendation
    return f"Take {NAMES[chosen.algorithm]} with {chosen.vocab_size:,} tokens"


def plain_words(comparison: Comparison) -> list[str]:
    """What that means, in two or three sentences."""
    chosen, of_all = comparison.recommended, format_bytes(comparison.corpus_bytes)
    assert chosen.support is not None
    if not chosen.is_borne:
        return [
            f"{of_all} of text are too little for any size that was tried; this is the smallest.",
            f"Only {chosen.support.share_often:.0%} of its tokens occur {OFTEN} times or more, and "
            "a model hardly learns what it hardly sees. Add text, or try smaller sizes.",
        ]
    cheaper = would_be_larger(comparison)
    share = chosen.support.share_often
    told = "all" if share > _ALL else f"{share:.0%}"
    often = f"{told} of its tokens occur {OFTEN} times or more"
    model = f"a model of {comparison.shape.name} parameters"
    if cheaper is not None:
        saved = 1 - cheaper.cost.flops_per_byte / chosen.cost.flops_per_byte
        return [
            f"It is the best that {of_all} of text can teach: {often}, and a model hardly learns "
            "what it hardly sees.",
            f"With more text of this kind, {NAMES[cheaper.algorithm]} with "
            f"{cheaper.vocab_size:,} tokens would save {model} {saved:.0%} of the work.",
        ]
    sentences = [
        f"With it {model} reads this text with the least work: fewer tokens would make the text "
        "longer, more would make each of them dearer.",
        f"{of_all} of text are enough to learn it: {often}.",
    ]
    if chosen.name != comparison.recommendation.least:
        sentences.append(
            f"{comparison.recommendation.least} is cheaper by less than {TOLERANCE:.0%}, which is "
            "no difference."
        )
    return sentences


def would_be_larger(comparison: Comparison) -> Tried | None:
    """The vocabulary that would cost least if the text bore all of them; None if it is chosen."""
    trained = [one for one in comparison.tried if one.support is not None]
    least = min(trained, key=lambda one: one.cost.flops_per_byte)
    bound = comparison.recommended.cost.flops_per_byte * (1 - TOLERANCE)
    return least if not least.is_borne and least.cost.flops_per_byte < bound else None


def train_command(comparison: Comparison, data: Sequence[str]) -> str:
    """The command that trains what is recommended, on all of the text."""
    given = " ".join(f"--data {_quoted(name)}" for name in data)
    chosen = comparison.recommendation
    return (
        f"groundup tokenizer train {given} --algorithm {chosen.algorithm} "
        f"--vocab-size {chosen.vocab_size} --out tokenizer"
    )


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _tiles(comparison: Comparison) -> list[dict[str, str]]:
    chosen = comparison.recommended
    whole, cost, support = chosen.measured.whole, chosen.cost, chosen.support
    assert support is not None
    tiles = [
        (f"{whole.bytes_per_token:.2f}", "bytes per token", "the more, the shorter the text"),
        (
            f"{whole.tokens_per_word:.2f}",
            f"tokens per {_unit(comparison)}",
            "1 if each had its own",
        ),
        (
            format_percent(support.share_often),
            f"of tokens seen {OFTEN} times",
            f"{SHARE_OFTEN:.0%} wanted",
        ),
        (
            format_percent(cost.embedding_share),
            "of the model is vocabulary",
            f"{format_number(cost.embedding_parameters)} parameters",
        ),
        (format_percent(chosen.measured.share_used), "of tokens used", "in text held out"),
        (
            format_bytes(comparison.train_bytes),
            "of text learnt from",
            f"{format_bytes(comparison.whole.n_bytes)} held out to measure",
        ),
    ]
    return [{"value": v, "name": name, "remark": remark} for v, name, remark in tiles]


def _unit(comparison: Comparison) -> str:
    """What fertility counts: words, or characters where most of the text has no spaces."""
    n = sum(p.n_bytes for p in comparison.writings if p.name in WRITINGS_WITHOUT_SPACES)
    return "word or character" if n > 0.1 * comparison.whole.n_bytes else "word"


# --- charts ---------------------------------------------------------------------------------------


def _cost_chart(comparison: Comparison) -> dict[str, Any]:
    """Arithmetic for each byte of text, beside that of the recommended vocabulary."""
    chosen = comparison.recommended
    base = chosen.cost.flops_per_byte

    def more(one: Tried) -> float:
        return one.cost.flops_per_byte / base - 1

    values = [more(one) for one in comparison.tried]
    lo, hi = min(0.0, *values), max(0.1, min(max(values), _FARTHEST))
    top = nice_ticks(lo, hi)[-1]
    beyond = [one for one, value in zip(comparison.tried, values, strict=True) if value > top]
    svg = _size_chart(comparison, more, _more_text, (lo, hi), "work")
    return {
        "svg": svg,
        "beyond": ", ".join(f"{one.name} ({_more_text(more(one))})" for one in beyond),
    }


def _length_chart(comparison: Comparison) -> Markup:
    return _size_chart(
        comparison,
        lambda one: one.measured.whole.bytes_per_token,
        lambda value: f"{value:g}",
        None,
        "bytes per token",
    )


def _size_chart(
    comparison: Comparison,
    value: Callable[[Tried], float],
    form: Callable[[float], str],
    bounds: tuple[float, float] | None,
    figure: str,
) -> Markup:
    def dot(one: Tried) -> Dot:
        hollow = one.support is not None and not one.is_borne
        told = f"{one.name}: {figure} {form(round(value(one), 3))}"
        return Dot(one.vocab_size, value(one), told, hollow)

    lines = [
        SizeLine(NAMES[name], [dot(one) for one in comparison.tried if _is_of(one, name)], look)
        for name, look in _looks(comparison).items()
    ]
    references = [(one.name, dot(one)) for one in comparison.tried if one.support is None]
    described = "; ".join(dot(one).title for one in comparison.tried)
    svg = size_chart(
        lines,
        references,
        chosen=dot(comparison.recommended),
        form=form,
        title=f"{figure} by vocabulary size",
        description=described,
        bounds=bounds,
        too_small_from=_too_small_from(comparison),
    )
    return Markup(svg)


def _too_small_from(comparison: Comparison) -> float | None:
    """Half-way between the last size that the text bears and the first that it does not."""
    line = [one for one in comparison.tried if _is_of(one, comparison.recommendation.algorithm)]
    beyond = [one.vocab_size for one in line if not one.is_borne]
    borne = [one.vocab_size for one in line if one.is_borne]
    if not beyond or not borne or min(beyond) < max(borne):
        return None
    return float((max(borne) * min(beyond)) ** 0.5)


def _more_text(value: float) -> str:
    """How much more than the recommended vocabulary costs.

    >>> _more_text(0.2), _more_text(0), _more_text(-0.05)
    ('+20%', '0%', '−5%')
    """
    percent = round(100 * value)
    return "0%" if percent == 0 else f"{percent:+d}%".replace("-", "\u2212")


def _looks(comparison: Comparison) -> dict[str, Any]:
    tried = {one.algorithm for one in comparison.tried if one.support is not None}
    return {name: run_look(i) for i, name in enumerate(n for n in ORDER if n in tried)}


def _is_of(one: Tried, algorithm: str) -> bool:
    return one.support is not None and one.algorithm == algorithm


def _legend(comparison: Comparison) -> dict[str, Any]:
    return {
        "algorithms": [
            {"name": NAMES[name], "swatch": Markup(swatch(look))}
            for name, look in _looks(comparison).items()
        ],
        "has_references": any(one.support is None for one in comparison.tried),
        "has_hollow": any(one.support and not one.is_borne for one in comparison.tried),
    }


# --- tables ---------------------------------------------------------------------------------------

COLUMNS = (
    ("vocabulary", ""),
    ("bytes", "per token"),
    ("tokens", "per word"),
    ("used", "held out"),
    ("seen", f"{OFTEN} times"),
    ("embedding", "parameters"),
    ("share", "of the model"),
    ("memory", "in use"),
    ("memory", "in training"),
    ("work", "per byte"),
)


def cells(one: Tried, comparison: Comparison) -> list[str]:
    """A vocabulary's figures under COLUMNS."""
    base = comparison.recommended.cost.flops_per_byte
    name = one.name
    if one.support is None:
        name += f" ({one.vocab_size:,}{'' if one.is_lossless else ', loses text'})"
    return [
        name,
        f"{one.measured.whole.bytes_per_token:.2f}",
        f"{one.measured.whole.tokens_per_word:.2f}",
        format_share(one.measured.share_used),
        _DASH if one.support is None else format_share(one.support.share_often),
        format_number(one.cost.embedding_parameters),
        format_share(one.cost.embedding_share),
        format_bytes(one.cost.weight_bytes),
        format_bytes(one.cost.training_bytes),
        _more_text(one.cost.flops_per_byte / base - 1),
    ]


def shown(comparison: Comparison) -> list[Tried]:
    """The vocabularies whose figures stand beside each other for every part of the text."""
    names = list(comparison.examples[0].cuts) if comparison.examples else []
    return [one for one in comparison.tried if one.name in names or one.support is None]


def part_rows(comparison: Comparison, parts: Sequence[Part], kind: str) -> list[dict[str, Any]]:
    """How much of the text each part is, and what the shown vocabularies make of it."""
    vocabularies = shown(comparison)
    found: list[Mapping[str, PartMeasured]] = [
        {part.name: part for part in getattr(one.measured, kind)} for one in vocabularies
    ]
    most = max((one.bytes_per_token for by_name in found for one in by_name.values()), default=1)
    rows = []
    for part in parts[:MOST_ROWS]:
        share = part.n_bytes / max(comparison.whole.n_bytes, 1)
        of_each = [by_name[part.name] for by_name in found]
        rows.append(
            {
                "name": part.name,
                "share": format_share(share),
                "meter": round(100 * share, 1),
                "is_by_character": part.name in WRITINGS_WITHOUT_SPACES,
                "cells": [
                    {
                        "bytes": f"{one.bytes_per_token:.2f}",
                        "words": f"{one.tokens_per_word:.2f}",
                        "meter": round(100 * one.bytes_per_token / most, 1),
                        "chosen": vocabulary.name == comparison.recommendation.name,
                    }
                    for one, vocabulary in zip(of_each, vocabularies, strict=True)
                ],
            }
        )
    return rows


def _characters(comparison: Comparison) -> str:
    total = max(sum(comparison.characters.values()), 1)
    found = [
        f"{name if name != SIGNS else 'spaces, digits and signs'} {format_share(n / total)}"
        for name, n in comparison.characters.items()
    ]
    return ", ".join(found[:10])


def _embeddings(comparison: Comparison) -> list[dict[str, Any]]:
    """The embedding as a part of the model, for each size once."""
    by_size = {one.vocab_size: one for one in comparison.tried}
    most = max(comparison.shape.n_body + one.cost.embedding_parameters for one in comparison.tried)
    rows = []
    for size, one in sorted(by_size.items()):
        n_embedding = one.cost.embedding_parameters
        body = BarPart(f"other parameters: {format_number(comparison.shape.n_body)}",
                       comparison.shape.n_body, "rest")  # fmt: skip
        embedding = BarPart(f"embedding: {format_number(n_embedding)}", n_embedding, "weights")
        rows.append(
            {
                "size": f"{size:,}",
                "chosen": size == comparison.recommendation.vocab_size,
                "share": format_share(one.cost.embedding_share),
                "parameters": format_number(n_embedding),
                "memory": format_bytes(one.cost.weight_bytes),
                "training": format_bytes(one.cost.training_bytes),
                "bar": Markup(
                    stacked_bar(
                        [embedding, body],
                        most=most,
                        title=f"A model with {size:,} tokens",
                        description=f"{embedding.name}; {body.name}",
                    )
                ),
            }
        )
    return rows


def _examples(comparison: Comparison) -> list[dict[str, Any]]:
    chosen = comparison.recommendation.name
    return [
        {
            "writing": example.writing,
            "cuts": [
                {
                    "name": name,
                    "n": len(tokens),
                    "chosen": name == chosen,
                    "spans": Markup(token_spans(tokens)),
                }
                for name, tokens in example.cuts.items()
            ],
        }
        for example in comparison.examples
    ]


def _token(use: TokenUse) -> dict[str, Any]:
    return {"spans": Markup(token_spans([use.text])), "count": f"{use.count:,}", "id": use.id}


def _rule(comparison: Comparison) -> list[str]:
    """How the choice is made, and what it does not see."""
    shape = comparison.shape
    return [
        f"First, no vocabulary of which less than {SHARE_OFTEN:.0%} of the tokens occur {OFTEN} "
        "times or more in the training text: what a model hardly sees it hardly learns (Gowda and "
        "May 2020). Not counted are steps on the way to longer tokens, which hardly occur by "
        "themselves.",
        "Of the others, the one with which the model needs the least arithmetic for each byte of "
        "text. A larger vocabulary makes the text shorter, and each token dearer, since the model "
        "weighs every token of its vocabulary each time; the best size is where the two balance "
        f"(Tao et al. 2024). The model is one of {shape.name}: {shape.n_layers} layers, "
        f"{shape.d_model} wide, {format_number(shape.n_body)} parameters beside its embedding.",
        f"Of those within {TOLERANCE:.0%} of that, BPE before the others, then the smallest.",
        "This counts arithmetic. Whether some cuts are easier to learn from than others only "
        "trained models would show. Tao et al. trained some, on English web text; what they found "
        f"comes to about {_rounded(shape.tao_vocab_size):,} tokens for a model of this shape.",
    ]


def _rounded(n: int) -> int:
    """To two digits.

    >>> _rounded(11876)
    12000
    """
    digits = max(len(str(n)) - 2, 0)
    return round(n, -digits)
