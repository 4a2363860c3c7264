"""The commands of `groundup data`: parse, call, print.

`data RUN` prepares the data of a run, as the other stages' commands do; every other command is
about prepared data alone. The work is done in `data/`.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from groundup.cli_data.explain import explain
from groundup.cli_data.peek import peek
from groundup.cli_data.prepare import prepare
from groundup.cli_data.quality import quality
from groundup.cli_data.report import report
from groundup.cli_data.verify import verify
from groundup.cli_tokenizer.options import RUN, OrRun


def with_stage(prepare_run: Callable[..., None]) -> typer.Typer:
    """The commands, and `data RUN` beside them, which prepares the data of a run."""
    app = typer.Typer(
        cls=OrRun,
        help="Prepare and check data; or, with a run folder, prepare a run's.",
        no_args_is_help=True,
    )
    for command in (prepare, report, peek, explain, quality, verify):
        app.command()(command)
    app.command(RUN)(prepare_run)
    return app
