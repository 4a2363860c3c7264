"""`groundup data prepare`: the whole pipeline on what a person has, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundup.cli_tokenizer.options import Json, advice_for_here, console, display_of
from groundup.runtime import LOCK, DataError, GroundupError, format_count, read_json

if TYPE_CHECKING:
    from groundup.data.config import DataConfig
    from groundup.data.prepare import Builtin
    from groundup.data.steps.tokenize import TokenizerChoice


class ExecutorChoice(StrEnum):
    """Who does the jobs."""

    serial = "serial"
    processes = "processes"
    ray = "ray"


def prepare(
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A file, a folder, hf:OWNER/NAME, or demo; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe, by name or as a file: what it says below data is done."),
    ] = None,
    executor: Annotated[
        ExecutorChoice | None,
        typer.Option(help="Who does the jobs; by default processes where there is much to do."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, or jobs at a time; by default one for each processor."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster; else Ray starts here.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Write token shards with this tokenizer.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Train a tokenizer of so many tokens, and write shards.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Of tables and rows: which column holds the text, by name or number."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as cleaning.preset=web; repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Json = False,
) -> None:
    """Read, clean, deduplicate and divide text; run it again to go on after a kill."""
    from groundup.data.executors import ExecutorConfig, open_executor
    from groundup.data.prepare import prepare as prepare_data
    from groundup.data.prepare import suited_executor

    choice = _tokenizer_choice(tokenizer, vocab_size)
    config, builtin = _config_of(data or [], sets or [], recipe, column)
    _refuse_other_things(out)
    name = executor.value if executor else suited_executor(config)
    workers_config = ExecutorConfig(name=name, n_workers=workers, address=address)
    with (
        display_of(quiet=quiet, as_json=as_json) as display,
        open_executor(workers_config) as opened,
        advice_for_here(),
    ):
        counts = prepare_data(
            config,
            out,
            builtin=builtin,
            executor=opened,
            tokenizer=choice,
            listener=display,
        )
    if as_json:
        print(json.dumps({"out": str(out), **counts}, ensure_ascii=False))
    elif not quiet:
        for line in _result_lines(out, counts):
            console.print(line)


def _config_of(
    data: Sequence[str], sets: Sequence[str], name: str | None, column: str | None
) -> tuple[DataConfig, Builtin]:
    """The settings, and the sources that groundup makes itself."""
    from groundup.data.reading.config import column_named
    from groundup.recipe import DEMO, checked_source, data_recipe
    from groundup.stages import demo_records, has_demo

    if not data and name is None and not any(item.startswith("sources=") for item in sets):
        raise GroundupError("give --data PATH, or --recipe FILE with data.sources in it")
    if column is not None and not data:
        raise GroundupError("--column is about what --data names; a recipe's sources say it there")
    sources: list[Any] = [checked_source(path) for path in data]
    if column is not None:
        sources = [{"path": path, "column": column_named(column)} for path in sources]
    recipe = data_recipe(sources, sets, name)
    builtin: Builtin = {DEMO: lambda: demo_records(recipe)} if has_demo(recipe) else {}
    return recipe.data, builtin


def _tokenizer_choice(path: Path | None, vocab_size: int | None) -> TokenizerChoice | None:
    from groundup.data.steps.tokenize import TokenizerChoice
    from groundup.tokenizer import TokenizerConfig

    if path is not None and vocab_size is not None:
        raise GroundupError(
            "--tokenizer is a tokenizer that is there and --vocab-size trains one; give one of them"
        )
    if path is not None:
        return TokenizerChoice(path=path)
    if vocab_size is not None:
        return TokenizerChoice(config=TokenizerConfig(vocab_size=vocab_size))
    return None


def _refuse_other_things(out: Path) -> None:
    """Raise if a folder holds what no preparation here has begun."""
    from groundup.data.manifest import is_prepared
    from groundup.data.prepare import STAGES

    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a folder")
    if not out.is_dir() or (out / STAGES / LOCK).is_file() or is_prepared(out):
        return
    others = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    if others:
        raise DataError(
            f"--out {out} holds something else ({', '.join(others[:4])}"
            f"{', …' if len(others) > 4 else ''}); give a new or an empty folder"
        )


def _result_lines(out: Path, counts: Mapping[str, Any]) -> Iterator[str]:
    """What came out, in words."""
    from groundup.data.manifest import MANIFEST
    from groundup.report.data_words import plain

    manifest = read_json(out / MANIFEST)
    for stage in manifest["stages"]:
        dropped = ", ".join(_told(stage["dropped"])) or "nothing dropped"
        what = "pieces" if stage["name"] in ("divide", "tokenize") else "documents"
        yield (
            f"{stage['name']:16} {stage['documents_in']:>10,} -> {stage['documents_out']:>10,} "
            f"{what}, {format_count(stage['bytes_out']):>6} bytes: {dropped}"
        )
        for kind in ("chats", "preferences"):
            if f"{kind}_in" in stage:
                dropped = ", ".join(_told(stage[f"{kind}_dropped"]))
                yield (
                    f"{'':16} {stage[f'{kind}_in']:>10,} -> {stage[f'{kind}_out']:>10,} {kind}"
                    f"{f': {dropped}' if dropped else ''}"
                )
    for source in manifest["sources"]:
        if (unread := source["unread"])["files"]:
            largest = unread["largest"][0]
            yield (
                f"{source['name']}: nothing was read of {unread['files']:,} of its "
                f"{source['files']:,} files, {format_count(unread['bytes'])} bytes; the largest is "
                f"{largest['path']} ({plain(largest['reason'])})"
            )
        if source["assumed"]:
            assumed = ", ".join(f"{note} ({n:,})" for note, n in source["assumed"].items())
            yield f"{source['name']}: assumed: {assumed}"
    for split, n_tokens in counts.get("tokens", {}).items():
        yield f"{split}: {format_count(n_tokens)} tokens"
    yield f"data: {out}, fingerprint {counts['fingerprint']}"


def _told(dropped: Mapping[str, int]) -> Iterable[str]:
    from groundup.report.data_words import plain

    for reason, n in sorted(dropped.items(), key=lambda item: (-item[1], item[0])):
        yield f"{n:,} {plain(reason)}"
