"""`groundup tokenizer train`: count, learn, save; a folder that remembers what it was made of."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundup.cli_tokenizer.options import (
    Algorithm,
    ChatFormat,
    Data,
    Format,
    Json,
    Normalization,
    Normalizing,
    Pattern,
    advice_for_here,
    config_of,
    console,
    display_of,
    open_at,
)
from groundup.runtime import (
    TokenizerError,
    folder_lock,
    format_count,
    read_json,
    remove_leftovers,
    to_dict,
    write_json,
)

if TYPE_CHECKING:
    from groundup.tokenizer import Tokenizer, TokenizerConfig

FORMAT = 1


def train(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    algorithm: Annotated[Algorithm, typer.Option(help="How tokens are found.")] = Algorithm.bpe,
    vocab_size: Annotated[int, typer.Option(help="Tokens, special ones included.")] = 8192,
    pattern: Pattern = "qwen2",
    normalization: Normalizing = Normalization.none,
    chat_format: Format = ChatFormat.chatml,
    min_count: Annotated[int, typer.Option(help="Words that occur less often are dropped.")] = 1,
    workers: Annotated[
        int | None, typer.Option(help="Processes that count; by default as many as pay.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Json = False,
) -> None:
    """Train a tokenizer on text of any size; run it again to go on after a kill."""
    from groundup.tokenizer.counts import CountConfig

    config = config_of(
        algorithm, vocab_size, pattern, normalization, chat_format,
        counting=CountConfig(min_count=min_count, n_workers=workers),
    )  # fmt: skip
    with display_of(quiet=quiet, as_json=as_json) as display:
        found = _train(data, out, config, display)
    if as_json:
        print(json.dumps({"out": str(out), **found}, ensure_ascii=False))
    elif not quiet:
        for line in _result_lines(found, out):
            console.print(line)


def _train(
    data: Sequence[Path], out: Path, config: TokenizerConfig, listener: Any
) -> dict[str, Any]:
    """Train into `out`, or say what was found when that was done before."""
    from groundup.cli_tokenizer.text import readable_files
    from groundup.data.reading import SourceConfig, source_fingerprint

    _refuse_other_things(out)
    files = readable_files(data, listener)
    job = {
        "format": FORMAT,
        "config": {**to_dict(config), "counting": {"min_count": config.counting.min_count}},
        "data": source_fingerprint([SourceConfig(path=str(path)) for path in data]),
    }
    with folder_lock(out):
        begun = _read_job(out)
        if begun.get("result") and _is_whole(out, begun["result"], listener):
            if {name: begun.get(name) for name in job} == job:
                listener.stage("train", "done", "same text, same settings")
                return {**begun["result"], "was_done": True}
            raise TokenizerError(
                f"{out} holds a finished tokenizer of {_difference(begun, job)}; "
                "give another --out, or delete that folder first"
            )
        remove_leftovers(out)
        write_json(out / "training.json", {**job, "result": None})
        tokenizer, result = _train_on(files, config, out, listener)
        tokenizer.save(out)
        result["fingerprint"] = open_at(out).fingerprint
        write_json(out / "training.json", {**job, "result": result})
        for name in ("counts", "refused"):
            shutil.rmtree(out / name, ignore_errors=True)
    return {**result, "was_done": False}


def _train_on(
    files: Sequence[Path], config: TokenizerConfig, out: Path, listener: Any
) -> tuple[Tokenizer, dict[str, Any]]:
    """Count, learn, and say what came out."""
    from groundup.cli_tokenizer.text import shards_in
    from groundup.tokenizer.counts import count_words
    from groundup.tokenizer.laboratory import uses_in_words
    from groundup.tokenizer.trainer import count_loop, tokenizer_of_counts

    if config.normalizer is not None:
        listener.message(f"{config.normalization} loses {config.normalizer.loses}")
    if config.cutter.expression == config.pattern:
        listener.message(
            "a pattern of your own: transformers and tokenizers read what comes out, "
            "llama.cpp and Ollama know only the published patterns"
        )
    shards = shards_in(files, config, out / "refused")
    listener.stage("count words", "run", f"{len(files)} files")
    counts = count_words(
        shards, config.cutter, config.counting, folder=out / "counts",
        normalizer=config.normalizer, loop=count_loop(config), listener=listener,
    )  # fmt: skip
    report = counts.report
    listener.stage(
        "count words", "finished", f"{format_count(report.n_words)} words, "
        f"{format_count(report.n_distinct)} different"
    )  # fmt: skip
    listener.stage("learn", "run", f"{config.algorithm}, {config.vocab_size:,} tokens")
    with advice_for_here():
        tokenizer = tokenizer_of_counts(counts, config)
    n_tokens = int(uses_in_words(tokenizer, counts.table).sum())
    n_bytes = report.n_text_bytes - report.n_dropped_bytes
    listener.stage("learn", "finished", f"{tokenizer.vocab_size:,} tokens")
    refused = _refused(out / "refused")
    for reason, n in refused.items():
        listener.message(f"left out {n:,} rows: {reason.replace('_', ' ')}")
    result = {
        "algorithm": config.algorithm,
        "vocab_size": tokenizer.vocab_size,
        "bytes_per_token": round(n_bytes / n_tokens, 4),
        "n_files": len(files),
        "refused": refused,
        "counts": to_dict(report),
    }
    return tokenizer, result


def _result_lines(found: Mapping[str, Any], out: Path) -> Iterator[str]:
    """What came out, in words."""
    counts = found["counts"]
    begin = "done before" if found["was_done"] else "learned"
    yield (
        f"{begin}: {found['algorithm']}, {found['vocab_size']:,} tokens, "
        f"{found['bytes_per_token']:.2f} bytes per token on the text it was trained on"
    )
    told = f"from {format_count(counts['n_text_bytes'])} bytes in {found['n_files']} files"
    if counts["n_dropped_bytes"]:
        share = counts["n_dropped_bytes"] / counts["n_text_bytes"]
        told += f", {share:.1%} of it dropped as too rare"
    if refused := sum(found["refused"].values()):
        told += f", {refused:,} rows left out"
    yield told
    yield f"tokenizer: {out}"


def _refuse_other_things(out: Path) -> None:
    """Raise if a folder holds what no training here has begun."""
    if out.exists() and not out.is_dir():
        raise TokenizerError(f"--out {out} is a file; give a folder")
    if not out.is_dir() or (out / "training.json").exists():
        return
    others = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    if others:
        raise TokenizerError(
            f"--out {out} holds something else ({', '.join(others[:4])}"
            f"{', …' if len(others) > 4 else ''}); give a new or an empty folder"
        )


def _read_job(out: Path) -> dict[str, Any]:
    path = out / "training.json"
    try:
        return dict(read_json(path)) if path.exists() else {}
    except ValueError as error:
        raise TokenizerError(f"{path} is damaged ({error}); delete the folder {out}") from error


def _is_whole(out: Path, result: Mapping[str, Any], listener: Any) -> bool:
    """Whether a finished folder still has the tokenizer that was trained."""
    try:
        if open_at(out).fingerprint == result.get("fingerprint"):
            return True
    except TokenizerError:
        pass
    listener.message(f"the tokenizer in {out} is not what was trained there; it is made again")
    return False


def _difference(begun: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """In what a finished training differs from the one that is asked for."""
    before, now = begun.get("config") or {}, job["config"]
    told = [
        f"{name}={before.get(name)}, not {now[name]}"
        for name in now
        if name != "counting" and before.get(name) != now[name]
    ]
    if before.get("counting") != now["counting"]:
        told.append("another --min-count")
    if not told:
        told = ["other text" if begun.get("data") != job["data"] else "another make"]
    return "; ".join(told)


def _refused(notes: Path) -> dict[str, int]:
    total: Counter[str] = Counter()
    for path in sorted(notes.glob("*.json")):
        total.update(read_json(path))
    return dict(total.most_common())
