"""The commands of `groundup tokenizer`: parse, read, call, print.

`tokenizer RUN` trains the tokenizer of a run, as the other stages' commands do; every other command
is about tokenizers alone. Measuring is `tokenizer/laboratory`, the pages are in `report/`.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from groundup.cli_tokenizer.compare import compare
from groundup.cli_tokenizer.options import RUN, OrRun
from groundup.cli_tokenizer.train import train
from groundup.cli_tokenizer.use import decode, encode, inspect, play


def with_stage(train_run: Callable[..., None]) -> typer.Typer:
    """The commands, and `tokenizer RUN` beside them, which trains the tokenizer of a run."""
    app = typer.Typer(
        cls=OrRun,
        help="Train, compare, look into and use tokenizers; or, with a run folder, train a run's.",
        no_args_is_help=True,
    )
    for command in (train, compare, inspect, play, encode, decode):
        app.command()(command)
    app.command(RUN)(train_run)
    return app
