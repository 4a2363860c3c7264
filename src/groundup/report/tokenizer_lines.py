"""Vocabularies compared, a tokenizer inspected, a text cut: as lines for a terminal.

Called by the commands of `groundup tokenizer`; the page is in `tokenizer_page.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from groundup.report.format import format_bytes, format_share
from groundup.report.tokenizer_page import (
    cells,
    headline,
    part_rows,
    plain_words,
    shown,
    train_command,
    would_be_larger,
)
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.laboratory import (
    Comparison,
    Description,
    HeldOut,
    Measured,
    Part,
    Support,
    TokenUse,
    replay,
)
from groundup.tokenizer.laboratory.describe import lines_of
from groundup.tokenizer.laboratory.measure import OFTEN, PartMeasured, mark_spaces, visible
from groundup.tokenizer.laboratory.text import WRITINGS_WITHOUT_SPACES

WIDTH = 80
_HEAD = (
    ("", "bytes/", "tokens/", "", "seen", "embed-", "of the", ""),
    ("vocabulary", "token", "word", "used", f"{OFTEN} x", "ding", "model", "work"),
)
_OF_CELLS = (0, 1, 2, 3, 4, 5, 6, 9)  # what of the page's table there is room for
_LONG_NAME = 24
_MOST_PARTS, _MOST_BESIDE = 10, 4  # rows and vocabularies side by side
_LONG_TOKEN, _MOST_TOKENS = 24, 12


def comparison_lines(comparison: Comparison, data: Sequence[str], width: int = WIDTH) -> list[str]:
    """The comparison, with the answer at the end, where a terminal stands still."""
    found = [cells(one, comparison) for one in comparison.tried]
    rows = [[_cut(row[0]), *(row[i] for i in _OF_CELLS[1:])] for row in found]
    lines = [
        f"{format_bytes(comparison.train_bytes)} to train on, "
        f"{format_bytes(comparison.whole.n_bytes)} held out; "
        f"a model of {comparison.shape.name} parameters",
        "",
        *aligned([*_HEAD, *rows]),
    ]
    for title, kind in (("writing", "writings"), ("source", "sources")):
        parts = getattr(comparison, kind)
        if len(parts) > 1:
            lines += ["", *_part_lines(comparison, parts, title, kind, width)]
    lines += ["", headline(comparison) + "."]
    lines += _wrapped(" ".join(plain_words(comparison)), width)
    for reason in comparison.recommendation.reasons:
        lines += _wrapped(reason, width, "- ", "  ")
    if would_be_larger(comparison) is not None:
        lines.append("- Will there be more text than this? Say how much: --corpus-size 10GB")
    return [*lines, "", "Train it:", f"  {train_command(comparison, data)}"]


def _part_lines(
    comparison: Comparison, parts: Sequence[Part], title: str, kind: str, width: int
) -> list[str]:
    """Bytes per token and tokens per word of each part, for a few vocabularies."""
    everything = shown(comparison)
    chosen = [one for one in everything if one.name == comparison.recommendation.name]
    references = [one for one in everything if one.support is None]
    others = [one for one in reversed(everything) if one not in (*chosen, *references)]
    beside = [*chosen, *references[: _MOST_BESIDE - 2], *others][:_MOST_BESIDE]
    places = [everything.index(one) for one in beside]
    names = [_in_two_lines(one.name) for one in beside]
    rows = [["", "of the", *(name[0] for name in names)]]
    rows.append([title, "text", *(name[1] for name in names)])
    for row in part_rows(comparison, parts, kind)[:_MOST_PARTS]:
        mark = "*" if row["is_by_character"] else ""
        figures = [f"{c['bytes']}/{c['words']}{mark}" for c in row["cells"]]
        rows.append([_cut(row["name"]), row["share"], *(figures[i] for i in places)])
    told = "bytes per token / tokens per word"
    if any(part.name in WRITINGS_WITHOUT_SPACES for part in parts):
        told += " (*: per character)"
    more = len(parts) - _MOST_PARTS
    last = [f"and {more} more"] if more > 0 else []
    return [*_wrapped(f"{told}:", width), *aligned(rows), *last]


def _in_two_lines(name: str) -> tuple[str, str]:
    """A vocabulary's name over a narrow column.

    >>> _in_two_lines("bpe 4,096"), _in_two_lines("cl100k_base")
    (('bpe', '4,096'), ('', 'cl100k_base'))
    """
    first, _, second = name.partition(" ")
    return (_cut(first, 11), _cut(second, 11)) if second else ("", _cut(first, 11))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a table, the first column to the left and the others to the right.

    >>> aligned([("size", "bytes"), ("bpe 512", "2.1")])
    ['size     bytes', 'bpe 512    2.1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


# --- inspect --------------------------------------------------------------------------------------


def inspection_lines(
    description: Description,
    measured: tuple[Measured, HeldOut] | None,
    support: Support | None,
    width: int = WIDTH,
) -> Iterator[str]:
    """What a tokenizer is, and what it makes of a text if one was given."""
    yield from aligned_pairs(lines_of(description), width)
    if measured is not None and support is not None:
        found, text = measured
        yield from ["", *aligned(_measured_rows(found, text)), ""]
        unknown = f"; {found.n_unknown:,} tokens of this text are unknown"
        yield from _wrapped(
            f"uses {found.n_used:,} of its {found.n_text_tokens:,} tokens "
            f"({format_share(found.share_used)}); {support.n_often:,} of those longer than a byte "
            f"occur {OFTEN} times or more{unknown if found.n_unknown else ''}",
            width,
        )
    yield ""
    told = [("longest", _told_tokens(description.longest))]
    if support is not None and support.rarest:
        told.append(("rarest", _told_tokens(support.rarest)))
    if description.unreachable:
        told.append(("no text gives", _told_tokens(description.unreachable)))
    yield from aligned_pairs(told, width)


def _measured_rows(found: Measured, text: HeldOut) -> list[list[str]]:
    rows = [
        ["", "of the", "", "bytes/", "tokens/"],
        ["", "text", "tokens", "token", "word"],
        _measured_row("all", found.whole, 1.0),
    ]
    for kind, parts in (("writings", text.writings), ("sources", text.sources)):
        of_parts: Sequence[PartMeasured] = getattr(found, kind)
        if len(parts) < 2:
            continue
        rows += [
            _measured_row(part.name, one, part.n_bytes / max(text.whole.n_bytes, 1))
            for part, one in list(zip(parts, of_parts, strict=True))[:_MOST_PARTS]
        ]
        if len(parts) > _MOST_PARTS:
            rows.append([f"and {len(parts) - _MOST_PARTS} more {kind}", "", "", "", ""])
    return rows


def _measured_row(name: str, one: PartMeasured, share: float) -> list[str]:
    figures = [f"{one.bytes_per_token:.2f}", f"{one.tokens_per_word:.2f}"]
    mark = "*" if name in WRITINGS_WITHOUT_SPACES else ""
    return [_cut(name), format_share(share), f"{one.n_tokens:,}", figures[0], figures[1] + mark]


def _told_tokens(uses: Sequence[TokenUse]) -> str:
    return "  ".join(dict.fromkeys(short_token(use.text) for use in uses[:_MOST_TOKENS]))


def short_token(text: str) -> str:
    """A token on a line: a run of one character as a number of times, the end of a long one cut.

    >>> short_token(" the"), short_token(" " * 40), short_token("ab" * 40)
    ('·the', '40 x ·', 'abababababababababababab…')
    """
    if len(text) > _LONG_TOKEN and len(set(text)) == 1:
        return f"{len(text)} x {mark_spaces(text[0])}"
    return mark_spaces(_cut(text, _LONG_TOKEN + 1))


def aligned_pairs(pairs: Iterable[tuple[str, str]], width: int = WIDTH) -> list[str]:
    """Names and values under each other.

    >>> aligned_pairs([("a", "one two three"), ("long", "four")], width=14)
    ['a     one two', '      three', 'long  four']
    """
    pairs = list(pairs)
    indent = max(len(name) for name, _ in pairs) + 2
    return [
        line
        for name, value in pairs
        for line in _wrapped(value, width, name.ljust(indent), " " * indent)
    ]


# --- play -----------------------------------------------------------------------------------------


def replay_lines(tokenizer: Tokenizer, text: str, width: int = WIDTH) -> Iterator[str]:
    """How each different word that takes more than one step comes to its tokens."""
    normalized = tokenizer.normalizer(text) if tokenizer.normalizer else text
    for word in dict.fromkeys(tokenizer.cutter.cut(normalized)):
        steps = replay(tokenizer, word)
        if len(steps) < 2:
            continue
        yield ""
        indent = 4 + max(len(step.told) for step in steps if len(step.told) < width // 2)
        for step in steps:
            pieces = [visible(tokenizer.token_bytes(token_id)) for token_id in step.ids]
            rest = [f"…{visible(step.rest)}"] if step.rest else []
            state = mark_spaces("|".join([*pieces, *rest]))
            if len(step.told) + 4 > indent:
                yield from _wrapped(step.told, width, "  ", "  ")
                yield from _broken(state, width, " " * indent, indent)
            else:
                yield from _broken(state, width, f"  {step.told}".ljust(indent), indent)


def _broken(state: str, width: int, begin: str, indent: int) -> Iterator[str]:
    """A word's pieces, broken between two of them where they are too long for a line."""
    line = begin
    for number, piece in enumerate(state.split("|")):
        part = f"|{piece}" if number else piece
        if len(line) + len(part) > width and len(line) > indent:
            yield line
            line = " " * indent
        line += part
    yield line


def _wrapped(text: str, width: int, begin: str = "", later: str = "") -> list[str]:
    found = textwrap.wrap(
        text, width, initial_indent=begin,
        subsequent_indent=later, break_on_hyphens=False,
    )  # fmt: skip
    return found or [begin.rstrip()]


def _cut(text: str, most: int = _LONG_NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
