"""`groundup data report`: prepared data as one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from groundup.cli_tokenizer.options import Json, console


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_DIR", help="A folder of prepared data, or a run.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page to write; data.html there by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a page: what the data holds, what was dropped and why, with examples."""
    from groundup.report.data_facts import facts_of
    from groundup.report.data_findings import findings, headline
    from groundup.report.data_page import write_data_page

    if not as_json:
        console.print(_work(folder))
    facts = facts_of(folder)
    page = write_data_page(facts, out)
    if as_json:
        told = {"headline": headline(facts), "findings": findings(facts), "page": str(page)}
        print(json.dumps(told, ensure_ascii=False))
        return
    console.print(headline(facts))
    for finding in findings(facts):
        console.print(f"  {finding}")
    console.print(f"page: {page}")


def _work(folder: Path) -> str:
    """What is to be read, so that nobody wonders for how long."""
    from groundup.data.manifest import read_manifest
    from groundup.report.format import format_bytes

    stages = read_manifest(folder)["stages"]
    n_gone = sum(sum(stage["dropped"].values()) for stage in stages)
    return (
        f"reading {format_bytes(stages[-1]['bytes_out'])} of documents, {n_gone:,} that went, "
        "and what was measured of them …"
    )
