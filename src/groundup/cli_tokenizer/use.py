"""`groundup tokenizer encode`, `decode`, `inspect` and `play`: a tokenizer used and looked into."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from groundup.cli_tokenizer.options import (
    Json,
    TokenizerPath,
    console,
    display_of,
    name_of,
    open_at,
    text_width,
)
from groundup.runtime import DataError, GroundupError, TokenizerError, to_dict

if TYPE_CHECKING:
    from groundup.tokenizer import Tokenizer
    from groundup.tokenizer.laboratory import Description, HeldOut, Measured

TINTS = ("on dark_cyan", "on dark_orange3", "on purple4", "on dark_goldenrod", "on deep_pink4")


def encode(
    tokenizer: TokenizerPath,
    text: Annotated[str | None, typer.Argument(help="The text; - reads standard input.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="A file of UTF-8 text; - is standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the token ids of a text; with --json the tokens too, for the whole input at once."""
    loaded = open_at(tokenizer)
    ids = loaded.encode(_input_text(text, file))
    if as_json:
        tokens = [loaded.token_string(token_id) for token_id in ids]
        print(json.dumps({"ids": ids, "tokens": tokens}, ensure_ascii=False))
    else:
        print(*ids)


def decode(
    tokenizer: TokenizerPath,
    more: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", hidden=True)] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--ids", help="Ids with spaces or commas between; a file, or - for standard input."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the text of token ids."""
    loaded = open_at(tokenizer)
    found = [token_id for part in [*(ids or []), *(more or [])] for token_id in _ids_of(part)]
    if not (ids or more):
        raise GroundupError('decode needs ids: --ids "72 101", --ids FILE or --ids -')
    try:
        text = loaded.decode(found)
    except ValueError as error:
        raise TokenizerError(str(error)) from error
    if as_json:
        print(json.dumps({"text": text}, ensure_ascii=False))
        return
    sys.stdout.write(text + ("\n" if sys.stdout.isatty() else ""))


def _ids_of(part: str) -> list[int]:
    """Ids in an argument, in a file, or on standard input; also what `encode --json` prints.

    >>> _ids_of("[72, 101]"), _ids_of("72 101"), _ids_of('{"ids": [1]}')
    ([72, 101], [72, 101], [1])
    """
    if not re.fullmatch(r"[\s\d,\[\]]*|\s*\{.*", part, re.DOTALL):
        part = _input_text(None, part)
    if part.lstrip().startswith("{"):
        try:
            part = str(json.loads(part)["ids"])
        except (ValueError, KeyError, TypeError) as error:
            raise GroundupError(
                "--ids got an object without ids; give what encode --json prints"
            ) from error
    try:
        return [int(word) for word in re.findall(r"[^\s,\[\]]+", part)]
    except ValueError as error:
        raise GroundupError(f"--ids takes whole numbers, such as 72 101; {error}") from error


def _input_text(text: str | None, file: str | None) -> str:
    """The text of an argument, a file, or standard input: every character of it."""
    if text is not None and file is not None:
        raise GroundupError("give a text or a --file, not both")
    if text is not None and text != "-":
        return text
    if file is None and text is None and sys.stdin.isatty():
        raise GroundupError("there is no text: give it as an argument, with --file, or pipe it in")
    name = "standard input" if file in (None, "-") else str(file)
    try:
        data = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
        return data.decode()
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 at byte {error.start}; save it as UTF-8 first"
        ) from error


# --- inspect --------------------------------------------------------------------------------------


def inspect(
    tokenizer: TokenizerPath,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Text to measure it on; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a tokenizer is, and what it does to a text."""
    from groundup.cli_tokenizer.text import all_samples
    from groundup.tokenizer.laboratory import HeldOut, describe, longest_tokens, measure, support

    loaded = open_at(tokenizer)
    description = describe(loaded)
    if not data:
        _print_inspection(description, None, None, as_json)
        return
    with display_of(quiet=as_json, as_json=False) as display:
        held_out = HeldOut.of(all_samples(data, display))
    measured, uses = measure(loaded, held_out)
    description = replace(description, longest=longest_tokens(loaded, uses))
    found = support(loaded, uses)
    _print_inspection(description, (measured, held_out), found, as_json)


def _print_inspection(
    description: Description,
    measured: tuple[Measured, HeldOut] | None,
    support: Any,
    as_json: bool,
) -> None:
    from groundup.report.tokenizer_lines import inspection_lines

    if as_json:
        found = {"tokenizer": to_dict(description)}
        if measured is not None:
            text = replace(measured[1], passages=())
            found |= {"text": to_dict(text), "measured": to_dict(measured[0])}
            found |= {"support": to_dict(support)}
        print(json.dumps(found, ensure_ascii=False))
        return
    for line in inspection_lines(description, measured, support, text_width()):
        console.print(line)


# --- play -----------------------------------------------------------------------------------------


def play(
    tokenizer: TokenizerPath,
    text: Annotated[
        str | None, typer.Argument(help="A text; without one, type as many as you like.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a page to play with in a browser instead.")
    ] = None,
) -> None:
    """See the tokens of what you type, with their ids, and how they come about."""
    loaded = open_at(tokenizer)
    if out is not None:
        from groundup.report.tokenizer_play import write_play

        write_play(loaded, out, name=name_of(tokenizer), text=text)
        console.print(f"page: {out}")
        return
    if text is not None:
        _print_played(loaded, text)
        return
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        console.print("type a text; an empty line or Ctrl-D leaves", style="dim")
    while True:
        try:
            line = input("text: " if is_terminal else "")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line and is_terminal:
            return
        _print_played(loaded, line)


def _print_played(tokenizer: Tokenizer, text: str) -> None:
    """The tokens in colours, with ids; then each word's way to its tokens."""
    from groundup.report.tokenizer_lines import replay_lines
    from groundup.tokenizer.laboratory.measure import mark_spaces, visible

    ids = tokenizer.encode(text)
    tokens = [visible(tokenizer.token_bytes(token_id)) for token_id in ids]
    coloured = Text()
    for place, token in enumerate(tokens):
        coloured.append(mark_spaces(token), style=f"white {TINTS[place % len(TINTS)]}")
        coloured.append("|", style="dim")
    console.print(coloured)
    n_bytes = len(text.encode(errors="replace"))
    console.print(
        f"{len(ids)} tokens, {len(text)} characters, {n_bytes} bytes, "
        f"{n_bytes / max(len(ids), 1):.2f} bytes per token",
        style="dim",
    )
    console.print("ids: " + " ".join(map(str, ids)))
    for line in replay_lines(tokenizer, text, text_width()):
        console.print(line)
