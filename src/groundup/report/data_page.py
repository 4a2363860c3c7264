"""Prepared data as a page of its own in the look of the report: `groundup data report`.

The page is for somebody who knows what he collected and not what is in it: what the folder holds
that he did not know, then the stream from files to tokens, then each part of that with examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from groundup.report.data_facts import DataFacts
from groundup.report.data_figures import drops, ends_of_kinds, refusals, stage_of
from groundup.report.data_findings import findings, headline
from groundup.report.data_flow import flow, lost_of_all
from groundup.report.data_settings import command, settings, tokenizer_words
from groundup.report.data_stages import n_bytes_out
from groundup.report.data_tables import (
    SMALL,
    clusters,
    contamination,
    human_languages,
    language_note,
    languages,
    length_note,
    lengths,
    packed,
    packing_example,
    pair,
    rounded,
    sources,
)
from groundup.report.data_went import (
    guesses,
    hits,
    reason,
    reasons,
    rules,
    rules_from,
    unread_files,
)
from groundup.report.data_words import language_name, share
from groundup.report.format import format_bytes, format_number
from groundup.report.tokenizer_page import read_page, report_style
from groundup.runtime import GroundupError, write_text


def write_data_page(facts: DataFacts, path: Path | None = None) -> Path:
    """Write the page of a prepared folder or a run, of which `facts_of` gives the facts.

    path: the file to write; data.html in that folder if it is not given. Raises GroundupError if
    it is a folder.
    """
    path = path or facts.prepared.folder / "data.html"
    if path.is_dir():
        raise GroundupError(f"{path} is a folder; give a file, such as {path / 'data.html'}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(read_page("data.html"))
    write_text(path, template.render(_view(facts), style=report_style()))
    return path


def _view(facts: DataFacts) -> dict[str, Any]:
    manifest = facts.manifest
    return {
        "title": ", ".join(source["name"] for source in manifest["sources"]),
        "headline": headline(facts),
        "findings": findings(facts),
        "tiles": _tiles(facts),
        "flow": flow(facts),
        "unread": unread_files(facts),
        "guesses": guesses(facts),
        "refused": reasons(refusals(facts), facts),
        "lost": lost_of_all(facts),
        "dropped": reasons(drops(facts), facts),
        "cuts": [reason(one, facts) for one in facts.reasons if one.is_cut],
        "rules": rules(facts),
        "rules_from": rules_from(facts),
        "languages": languages(facts),
        "language_note": language_note(facts),
        "lengths": lengths(facts),
        "length_note": length_note(facts),
        "clusters": clusters(facts),
        "pairs": [pair(one) for one in facts.pairs],
        "contamination": contamination(facts),
        "hits": hits(facts),
        "sources": sources(facts),
        "has_tokens": bool(facts.tokens),
        "packed": packed(facts),
        "packing_example": packing_example(facts),
        "packing_note": facts.packing_note,
        "settings": settings(facts),
        "command": command(facts),
        "tokenizer": tokenizer_words(facts),
        "fingerprint": manifest["fingerprint"],
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items() if v),
    }


def _tiles(facts: DataFacts) -> list[dict[str, str]]:
    read, left = ends_of_kinds(facts)
    kind = next((kind for kind in read if read[kind]), "documents")
    stages = facts.manifest["stages"]
    copies = facts.exact.n_removed + facts.near.n_removed
    tiles = [
        (share(1 - left[kind] / max(read[kind], 1)), "dropped", lost_of_all(facts)),
        (
            format_bytes(n_bytes_out(stage_of(facts, "divide"))),
            "of text left",
            f"of {format_bytes(stages[0]['bytes_in'])} in files",
        ),
        (f"{copies:,}", "copies", _near_words(facts)),
    ]
    if facts.languages:
        told = human_languages(facts)
        most = f", most in {language_name(told[0].code)}" if told else ""
        tile = (f"{len(told)}", "languages", f"with {share(SMALL)} of the text or more{most}")
        if len(told) == 1:
            name = language_name(told[0].code)
            tile = ("1", "language", f"{name}; any others have less than {share(SMALL)}")
        tiles.append(tile)
    typical = facts.lengths_read or facts.lengths
    unit = "characters" if facts.lengths_read else "bytes"
    if typical.n:
        half = rounded(typical.median_of_text, typical.longest)
        remark = f"half are shorter; half of the text is in those of at least {half}"
        what = "document" if facts.lengths_read else "piece"
        tiles.append((rounded(typical.median), f"{unit} in a {what}", remark))
    if facts.tokens:
        heldout = facts.counts.get("tokens", {}).get("heldout", 0)
        n_tokens = format_number(sum(facts.tokens.values()))
        tiles.append((n_tokens, "tokens to train on", f"{format_number(heldout)} held out"))
    return [{"value": v, "name": name, "remark": remark} for v, name, remark in tiles]


def _near_words(facts: DataFacts) -> str:
    exact, near = facts.exact.n_removed, facts.near.n_removed
    if exact and near:
        return f"{near:,} of them not quite the same"
    return "the same byte for byte" if exact else "not quite the same" if near else ""
