"""`groundup tokenizer compare`: try vocabularies on a text, and say which to take."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
    config_of,
    console,
    display_of,
    name_of,
    open_at,
    text_width,
)
from groundup.runtime import GroundupError, to_dict

if TYPE_CHECKING:
    from groundup.tokenizer import Tokenizer
    from groundup.tokenizer.laboratory import ModelShape

VOCAB_SIZES = tuple(1 << power for power in range(9, 18))  # 512 to 131,072
MOST_SIZES = 7  # tried unasked
SEQ_LEN = 1024  # of the model whose arithmetic is counted
# How much text a vocabulary of one token needs at least, to be tried unasked
BYTES_PER_TOKEN_TRIED = 40


def compare(
    data: Data,
    vocab_sizes: Annotated[
        str, typer.Option(help="Such as 4k,8k,16k or 8192; by default what the text may support.")
    ] = "",
    algorithms: Annotated[
        str, typer.Option(help="Of bpe, wordpiece, unigram, with commas.")
    ] = "bpe,wordpiece,unigram",
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", help="A tokenizer to compare with; repeatable."),
    ] = None,
    model_size: Annotated[
        str, typer.Option(help="Parameters of the model it is for, such as 14M or 1.3b.")
    ] = "124M",
    corpus_size: Annotated[
        str, typer.Option(help="How much text there will be, such as 10GB, if --data is a sample.")
    ] = "",
    pattern: Pattern = "qwen2",
    normalization: Normalizing = Normalization.none,
    chat_format: Format = ChatFormat.chatml,
    out: Annotated[Path | None, typer.Option("--out", help="The page to write.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", help="A folder for what is counted and learnt; run again, it is used."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try vocabularies on your text, and say which to take and why."""
    from groundup.cli_tokenizer.kept import Kept
    from groundup.cli_tokenizer.text import count_and_hold_out, n_bytes_in, readable_files
    from groundup.report.tokenizer_lines import comparison_lines
    from groundup.report.tokenizer_page import write_comparison
    from groundup.tokenizer.laboratory import HeldOut, Question
    from groundup.tokenizer.laboratory import compare as compare_vocabularies
    from groundup.tokenizer.trainer import tokenizer_of_counts

    names = _algorithms(algorithms)
    opened = _references(references or [])
    config = config_of(Algorithm.bpe, 1024, pattern, normalization, chat_format)
    with display_of(quiet=as_json, as_json=False) as display:
        readable_files(data, display)
        n_bytes = n_bytes_in(data)
        sizes = _vocab_sizes(vocab_sizes, n_bytes)
        shape = _model_shape(model_size)
        corpus_bytes = _corpus_bytes(corpus_size, n_bytes)
        if keep is None:
            counts, samples = count_and_hold_out(data, config, n_bytes, display)
            trainer = tokenizer_of_counts
        else:
            kept = Kept.of(keep, data, config, display)
            counts, samples = kept.counts(data, config, n_bytes)
            trainer = kept.train
        comparison = compare_vocabularies(
            counts,
            HeldOut.of(samples),
            Question(names, sizes, shape, config, corpus_bytes),
            references=opened,
            listener=display,
            trainer=trainer,
        )
    told = [str(path) for path in data]
    if out is not None:
        write_comparison(comparison, out, data=told)
    if as_json:
        print(json.dumps({"data": told, **to_dict(comparison)}, ensure_ascii=False))
        return
    for line in comparison_lines(comparison, told, text_width()):
        console.print(line)
    if out is not None:
        console.print(f"page: {out}")


def _algorithms(text: str) -> list[Any]:
    known = [name.value for name in Algorithm]
    names = [name for name in re.split(r"[,\s]+", text.lower()) if name]
    for name in names:
        if name not in known:
            raise GroundupError(f"--algorithms {name} is none of {', '.join(known)}")
    return names or known


def _vocab_sizes(text: str, n_bytes: float) -> list[int]:
    """The sizes that are asked for, or those that a text of `n_bytes` may support.

    >>> _vocab_sizes("4k, 6000", 0), _vocab_sizes("", 100_000)
    ([4096, 6000], [512, 1024, 2048])
    """
    if not text.strip():
        found = [size for size in VOCAB_SIZES if size * BYTES_PER_TOKEN_TRIED <= n_bytes]
        return found[-MOST_SIZES:] or [VOCAB_SIZES[0]]
    sizes = []
    for word in filter(None, re.split(r"[,\s]+", text.lower())):
        match = re.fullmatch(r"([\d_]+)(k?)", word)
        if not match:
            raise GroundupError(f"--vocab-sizes {word} is no number of tokens; try 8k or 8192")
        sizes.append(int(match[1]) * (1024 if match[2] else 1))
    return sizes


def _corpus_bytes(text: str, n_bytes: float) -> float | None:
    """How much text there will be; None if all of it is counted here.

    >>> _corpus_bytes("10GB", 1e6), _corpus_bytes("", 1e6)
    (10000000000.0, None)
    """
    from groundup.cli_tokenizer.text import TRAIN_BYTES

    if not text:
        return n_bytes if n_bytes > TRAIN_BYTES else None
    match = re.fullmatch(r"([\d.]+)\s*([kmgt]?)b?", text.strip().lower())
    if not match:
        raise GroundupError(f"--corpus-size {text} is no amount of text; try 500MB or 10GB")
    return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}[match[2]]


def _model_shape(size: str) -> ModelShape:
    """The shape of a model of that size whose vocabulary is the one that Tao et al. found best."""
    from groundup.model import ModelConfig, count_parameters, training_flops_per_token
    from groundup.plan.sizes import parse_size, sized
    from groundup.tokenizer.laboratory import ModelShape

    try:
        n_parameters = parse_size(size)
    except ValueError as error:
        raise GroundupError(f"--model-size: {error}") from error
    vocab_size = 1024
    for _ in range(3):  # each time nearer: the width decides the vocabulary, and it the width
        found = sized(n_parameters, vocab_size, SEQ_LEN)
        config = ModelConfig(
            vocab_size=vocab_size, max_seq_len=SEQ_LEN, d_model=found.d_model,
            n_layers=found.n_layers, n_heads=found.n_heads, n_kv_heads=found.n_kv_heads,
            tied_embeddings=found.tied_embeddings,
        )  # fmt: skip
        counted = count_parameters(config)
        shape = ModelShape(
            name=size,
            d_model=found.d_model,
            n_layers=found.n_layers,
            n_body=counted.total - counted.embedding - counted.head,
            body_flops=training_flops_per_token(config, SEQ_LEN) - 6 * vocab_size * found.d_model,
            is_tied=found.tied_embeddings,
        )
        vocab_size = max(shape.tao_vocab_size, 256)
    return shape


def _references(paths: Sequence[Path]) -> dict[str, Tokenizer]:
    """Other tokenizers by a name that is short and its own."""
    opened: dict[str, Tokenizer] = {}
    for path in paths:
        name = name_of(path)
        while name in opened:
            name += "'"
        opened[name] = open_at(path)
    return opened
