"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from groundup import __version__, cli_data, cli_tokenizer
from groundup.runtime import GroundupError, format_count, keep_freed_memory, to_dict

app = typer.Typer(
    help="Build a language model from the ground up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipes_app = typer.Typer(help="The recipes that ship with groundup.", invoke_without_command=True)
app.add_typer(recipes_app, name="recipes")
STOPPED = 130  # 128 + SIGINT, as shells count it
console = Console(highlight=False, soft_wrap=True, markup=False)

Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one recipe key.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Also send figures to tensorboard, wandb or trackio; repeatable."),
]
Profile = Annotated[
    bool, typer.Option("--profile", help="Trace a few training steps and say what they spend.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A run or a model folder.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"groundup {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """The options that come before a command."""


# --- building -------------------------------------------------------------------------------------


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder; runs/NAME if not given.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A file or folder of your own, or hf:OWNER/NAME; repeatable."),
    ] = None,
    sets: Sets = None,
    only: Annotated[str | None, typer.Option("--only", help="Run this stage alone.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Run this stage and those after it again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    track: Track = None,
    profile: Profile = False,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go from raw text to an evaluated chat model; run it again to go on."""
    from groundup.pipeline import STAGE_NAMES, Build
    from groundup.recipe import load_recipe
    from groundup.runtime import select_device
    from groundup.train.sinks import check_sinks

    for name in (only, first):
        if name is not None and name not in STAGE_NAMES:
            raise GroundupError(f"no stage is called {name!r}; there are {', '.join(STAGE_NAMES)}")
    loaded = load_recipe(recipe, overrides=sets or [], data=data or [])
    out = out or Path("runs") / loaded.name
    stages: Sequence[str] = (only,) if only else STAGE_NAMES
    with _display(STAGE_NAMES, quiet=quiet, as_json=as_json) as display:
        work = Build(
            loaded,
            out,
            display,
            select_device(device),
            track=check_sinks(track or []),
            profile=profile,
        )
        if dry_run:
            _print_plan(work, stages, first, as_json)
            return
        if first:
            place = STAGE_NAMES.index(first)
            work.run([name for name in stages if name in STAGE_NAMES[:place]])
            work.run([name for name in stages if name in STAGE_NAMES[place:]], again=True)
        else:
            work.run(stages)
    if not (quiet or as_json or only):
        _print_summary(out)


def _stage_command(stage: str, summary: str) -> Callable[..., None]:
    def command(
        run: RunArgument,
        track: Track = None,
        profile: Profile = False,
        device: Device = "auto",
        quiet: Quiet = False,
        as_json: Json = False,
    ) -> None:
        from groundup.pipeline import STAGE_NAMES, open_run
        from groundup.runtime import select_device
        from groundup.train.sinks import check_sinks

        tracked = check_sinks(track or [])
        with _display(STAGE_NAMES, quiet=quiet, as_json=as_json) as display:
            work = open_run(run, display, select_device(device))
            work.track, work.profile = tracked, profile
            work.run([stage])

    command.__doc__ = summary
    return command


for _stage, _summary in {
    "data": "Read, deduplicate and divide a run's data.",
    "tokenizer": "Train a run's tokenizer.",
    "pretrain": "Pretrain a run's model.",
    "sft": "Fine-tune a run's model on conversations.",
    "align": "Teach a run's model the preferences.",
    "evaluate": "Measure every model of a run.",
    "report": "Write a run's report.",
}.items():
    app.command(_stage)(_stage_command(_stage, _summary))
for _stage, _commands, _summary in (
    ("data", cli_data, "Read, clean, deduplicate and divide a run's data."),
    ("tokenizer", cli_tokenizer, "Train a run's tokenizer."),
):
    app.add_typer(_commands.with_stage(_stage_command(_stage, _summary)), name=_stage)


def _display(stages: tuple[str, ...], *, quiet: bool, as_json: bool) -> Any:
    from groundup.terminal import Display, Style

    style: Style = "live" if sys.stdout.isatty() else "plain"
    if quiet:
        style = "quiet"
    if as_json:
        style = "json"
    return Display(stages, style)


def _print_plan(work: Any, stages: Sequence[str], first: str | None, as_json: bool) -> None:
    from groundup.stages import STAGES

    stale = False
    for stage in STAGES:
        if stage.name not in stages:
            continue
        plan = work.plan(stage, again=stage.name == first)
        status, reason = plan.status, plan.reason
        if stale and status == "done":
            status, reason = "run", "what it reads will change"
        stale = stale or status in ("run", "resume")
        if as_json:
            print(json.dumps({"stage": stage.name, "status": status, "reason": reason}))
        else:
            console.print(f"{stage.name:10} {status:7} {reason}")


def _print_summary(out: Path) -> None:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for stage, figures in report["stages"].items():
        bits = figures["bits_per_byte"]
        console.print(
            f"{stage}: {bits['value']:.3f} bits per byte of held-out text, "
            f"{format_count(figures['tokens'])} tokens trained"
        )
    talk = "chat" if len(report["stages"]) > 1 else "generate"
    console.print(f"report: {out / 'report.html'}\ntalk to it: groundup {talk} {out}")


# --- comparing ------------------------------------------------------------------------------------


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Two or more run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("compare.html"),
    as_json: Json = False,
) -> None:
    """Set two or more runs side by side: recipes, curves and scores."""
    from groundup.report.compare import compare_runs
    from groundup.report.compare_page import comparison_lines, write_comparison

    comparison = compare_runs(runs)
    write_comparison(comparison, out)
    if as_json:
        print(json.dumps(to_dict(comparison), ensure_ascii=False))
        return
    for line in comparison_lines(comparison):
        console.print(line)
    console.print(f"\npage: {out}")


# --- recipes --------------------------------------------------------------------------------------


@recipes_app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes that ship."""
    if context.invoked_subcommand is not None:
        return
    from groundup.model import count_parameters
    from groundup.recipe import load_recipe, shipped_recipes

    for name in shipped_recipes():
        recipe = load_recipe(name)
        size = format_count(count_parameters(recipe.model_config).total)
        console.print(f"{name:12} {size:>6}  {recipe.description}")


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Print a recipe with every default filled in, and what it counts to."""
    from groundup.model import count_parameters, training_flops_per_token
    from groundup.recipe import dump_recipe, load_recipe

    recipe = load_recipe(name, overrides=sets or [])
    parameters = count_parameters(recipe.model_config).total
    flops = training_flops_per_token(recipe.model_config, recipe.model.max_seq_len)
    total = flops * recipe.pretrain.tokens
    if as_json:
        counts = {"parameters": parameters, "pretrain_flops": total}
        print(json.dumps({**to_dict(recipe), "counts": counts}))
        return
    console.print(
        f"# {parameters:,} parameters; pretraining on {format_count(recipe.pretrain.tokens)} "
        f"tokens takes {total:.3g} floating-point operations",
    )
    console.print(dump_recipe(recipe), end="")


@recipes_app.command("schema")
def schema() -> None:
    """Print the JSON schema of a recipe."""
    from groundup.recipe import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))


# --- talking --------------------------------------------------------------------------------------


@app.command()
def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Option("--prompt", help="The text to go on from.")] = "",
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.7,
    top_k: Annotated[int, typer.Option(help="Only the k likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Only the likeliest tokens up to this mass.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 200,
    device: Device = "auto",
) -> None:
    """Go on from a prompt, as the text is made."""
    from groundup.generate import SamplingConfig, stream_text

    sampling = SamplingConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    loaded = _load(model, device)
    tokenizer = loaded.tokenizer
    ids = [tokenizer.end_of_text_id, *tokenizer.encode(prompt)]
    stops = set(tokenizer.stop_ids)
    print(prompt, end="", flush=True)
    for piece in stream_text(loaded.model, tokenizer, ids, stop_ids=stops, config=sampling):
        print(piece, end="", flush=True)
    print()


@app.command()
def chat(
    model: ModelArgument,
    system: Annotated[str, typer.Option("--system", help="A system message.")] = "",
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.7,
    top_k: Annotated[int, typer.Option(help="Only the k likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Only the likeliest tokens up to this mass.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.")] = 200,
    device: Device = "auto",
) -> None:
    """Talk to a model. /reset forgets, /system TEXT sets the system message, /quit leaves."""
    from groundup.generate import SamplingConfig
    from groundup.generate.chat import ChatSession

    sampling = SamplingConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    loaded = _load(model, device)
    session = ChatSession(loaded.model, loaded.tokenizer, sampling, system=system)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        console.print(
            "/reset forgets, /system TEXT sets the system message, /quit leaves", style="dim"
        )
    while True:
        try:
            line = input("you: " if is_terminal else "").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        command, _, rest = line.partition(" ")
        match command:
            case "":
                continue
            case "/quit" | "/exit":
                return
            case "/reset":
                session.reset()
                console.print("forgotten", style="dim")
            case "/system":
                session.reset(system=rest)
                console.print("a new conversation, with this system message", style="dim")
            case _ if command.startswith("/"):
                console.print(f"no command {command}; there are /reset, /system, /quit")
            case _:
                _reply(session, line, is_terminal)


def _reply(session: Any, line: str, is_terminal: bool) -> None:
    try:
        if is_terminal:
            print("groundup: ", end="", flush=True)
        for piece in session.say(line):
            print(piece, end="", flush=True)
        print()
    except KeyboardInterrupt:
        print(" …")
    except GroundupError as error:
        console.print(f"\n{error}")
    if session.n_forgotten:
        console.print(
            f"the context was full: the oldest {session.n_forgotten} messages are forgotten",
            style="dim",
        )


@dataclass(frozen=True)
class _Loaded:
    model: Any
    tokenizer: Any


def _load(path: Path, device: str) -> _Loaded:
    from groundup.export.huggingface import load_model
    from groundup.pipeline import find_model
    from groundup.runtime import select_device
    from groundup.tokenizer import Tokenizer

    folder = find_model(path)
    return _Loaded(load_model(folder).to(select_device(device)), Tokenizer.load(folder))


# --- the way out ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what a user did wrong ends in one line and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    keep_freed_memory()
    try:
        app(args=[a for a in arguments if a != "--debug"], standalone_mode=True)
    except GroundupError as error:
        if debug:
            raise
        return _fail(str(error), 2)
    except ValidationError as error:
        if debug:
            raise
        return _fail(error.errors()[0]["msg"].removeprefix("Value error, "), 2)
    except SystemExit as leaving:
        if leaving.code == STOPPED:  # what typer makes of Ctrl-C
            but = ", without --from," if "--from" in arguments else ""
            return _fail(f"stopped; run the same command again{but} to go on", STOPPED)
        return int(leaving.code or 0)
    return 0


def _fail(text: str, code: int) -> int:
    print(f"groundup: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
