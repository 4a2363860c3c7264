"""What the commands of `groundup tokenizer` share: their options, and how they show their work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from groundup.runtime import GroundupError, TokenizerError

if TYPE_CHECKING:
    from groundup.tokenizer import Tokenizer, TokenizerConfig

console = Console(highlight=False, soft_wrap=True, markup=False)
RUN = "RUN"


class Algorithm(StrEnum):
    """How tokens are found."""

    bpe = "bpe"
    wordpiece = "wordpiece"
    unigram = "unigram"


class Normalization(StrEnum):
    """What is done to a text first."""

    none = "none"
    nfc = "nfc"
    nfkc = "nfkc"


class ChatFormat(StrEnum):
    """How conversations are laid out."""

    chatml = "chatml"
    llama3 = "llama3"
    alpaca = "alpaca"


Data = Annotated[
    list[Path],
    typer.Option("--data", help="A file or folder of text, of any kind that is read; repeatable."),
]
TokenizerPath = Annotated[
    Path,
    typer.Argument(
        metavar="TOKENIZER",
        help="A tokenizer's folder, tokenizer.json, vocab.json, merges.txt, *.tiktoken or *.model.",
    ),
]
Pattern = Annotated[
    str,
    typer.Option(
        help="What cuts text into words: qwen2, llama3, gpt2, cl100k, o200k, or an expression."
    ),
]
Normalizing = Annotated[
    Normalization,
    typer.Option(help="What is done to a text first; nfc and nfkc lose what they change."),
]
Format = Annotated[ChatFormat, typer.Option(help="Decides the special tokens.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class OrRun(TyperGroup):
    """A group whose first argument may be a run folder, for the stage of that name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named, or the stage's with the run as its argument."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        if not Path(args[0]).exists():
            known = [name for name in self.commands if name != RUN]
            near = get_close_matches(args[0], known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise GroundupError(
                f"{args[0]} is neither a command of groundup {ctx.info_name} nor a run folder; "
                f"{meant}"
            )
        return RUN, self.commands[RUN], args


# --- what several commands do ---------------------------------------------------------------------


def config_of(
    algorithm: str, vocab_size: int, pattern: str, normalization: str, chat_format: str,
    **more: Any,
) -> TokenizerConfig:  # fmt: skip
    """The settings of a training. Raises ValueError, which says what to change."""
    from groundup.tokenizer import PATTERNS, TokenizerConfig

    if pattern not in PATTERNS and re.fullmatch(r"\w*", pattern):  # a name, not an expression
        near = get_close_matches(pattern, PATTERNS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ", or give a regular expression"
        raise GroundupError(f"--pattern {pattern} is none of {', '.join(PATTERNS)}{meant}")
    kinds: dict[str, Any] = {
        "algorithm": str(algorithm),
        "normalization": str(normalization),
        "chat_format": str(chat_format),
    }
    return TokenizerConfig(vocab_size=vocab_size, pattern=pattern, **kinds, **more)


@contextmanager
def advice_for_here() -> Iterator[None]:
    """Name the option of a command where the trainer names a recipe's key."""
    try:
        yield
    except TokenizerError as error:
        told = str(error).replace("--set tokenizer.vocab_size=", "--vocab-size ")
        raise TokenizerError(told.replace("tokenizer.vocab_size", "--vocab-size")) from error


def open_at(path: Path) -> Tokenizer:
    """The tokenizer of a folder or a file."""
    from groundup.tokenizer import open_tokenizer

    return open_tokenizer(path)


_PLAIN_NAMES = ("tokenizer", "vocab", "merges", "encoder", "model", "added_tokens")


def name_of(path: Path) -> str:
    """A tokenizer's name: its file's, or its folder's where the file is called like all others.

    >>> name_of(Path("models/qwen/tokenizer.json")), name_of(Path("cl100k_base.tiktoken"))
    ('qwen', 'cl100k_base')
    """
    absolute = path.absolute()
    stem = absolute.name.split(".")[0] if not absolute.is_dir() else absolute.name
    return absolute.parent.name if stem in _PLAIN_NAMES else stem


def text_width() -> int:
    """How wide lines may be: as the terminal, but neither too narrow nor too wide to be read."""
    return min(max(console.width, 60), 100)


def display_of(*, quiet: bool, as_json: bool) -> Any:
    """Prints what goes on as a build does; as JSON lines, or not at all."""
    from groundup.terminal import Display, Style

    style: Style = "live" if sys.stdout.isatty() else "plain"
    if quiet:
        style = "quiet"
    if as_json:
        style = "json"
    return Display((), style)
