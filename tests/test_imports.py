"""Who may import whom: each part only what stands before it in the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import groundup

SOURCE = Path(groundup.__file__).parent
ANYWHERE = frozenset({"__init__"})  # the version
FIRST = ("runtime",)
PARTS = ("tokenizer", "model", "optim", "demo")
MIDDLE = ("data", "generate", "distributed", "export", "plan")
STAGES = ("align", "evaluate", "serve", "report")
WHOLE = ("recipe", "stages", "pipeline")
COMMANDS = ("cli_tokenizer", "cli_data")
# What each part may import beside itself.
ALLOWED: dict[str, tuple[str, ...]] = {
    "runtime": (),
    "workers": FIRST,
    "tokenizer": (*FIRST, "workers"),
    "model": FIRST,
    "demo": FIRST,
    "optim": (*FIRST, "model"),
    "data": (*FIRST, "workers", "tokenizer"),
    "generate": (*FIRST, "tokenizer", "model"),
    "distributed": (*FIRST, "model", "optim"),
    "export": (*FIRST, "tokenizer", "model"),
    "plan": (*FIRST, "model"),
    "train": (*FIRST, *PARTS, *MIDDLE),
    **dict.fromkeys(STAGES, (*FIRST, *PARTS, *MIDDLE, "train")),
    "recipe": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES),
    "stages": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES, "recipe"),
    "pipeline": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES, "recipe", "stages"),
    "terminal": FIRST,
    "cli_tokenizer": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES, *WHOLE, "terminal"),
    "cli_data": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES, *WHOLE, "terminal", "cli_tokenizer"),
    "cli": (*FIRST, *PARTS, *MIDDLE, "train", *STAGES, *WHOLE, "terminal", *COMMANDS),
    "__main__": ("cli",),
    "__init__": (),
}


def part_of(path: Path, source: Path) -> str:
    """The folder or file of the first level that a file belongs to."""
    return path.relative_to(source).parts[0].removesuffix(".py")


def imported(path: Path, source: Path) -> Iterator[tuple[int, str]]:
    """(line, part) for each import of groundup, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = ["groundup", *path.relative_to(source).parts[:-1]]
                above = package[: len(package) - node.level + 1]
                module = ".".join([*above, *filter(None, [module])])
            names = [module]
            if module == "groundup":
                names = [f"groundup.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "groundup":
                part = parts[1] if len(parts) > 1 else "__init__"
                yield node.lineno, "__init__" if part == "__version__" else part


def violations(source: Path) -> list[str]:
    """Every import against the direction, as `file:line part`."""
    found = []
    for path in sorted(source.rglob("*.py")):
        own = part_of(path, source)
        for line, part in imported(path, source):
            if part != own and part not in ALLOWED.get(own, ()) and part not in ANYWHERE:
                found.append(f"{path.relative_to(source).as_posix()}:{line} {part}")
    return found


def test_every_part_of_the_house_has_a_place_in_the_order() -> None:
    assert {part_of(path, SOURCE) for path in SOURCE.rglob("*.py")} <= set(ALLOWED)


def test_imports_go_in_one_direction() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("place", "line", "part"),
    [
        ("model/layers.py", "from groundup.optim import Optimizer", "optim"),
        ("model/layers.py", "import groundup.data.loader", "data"),
        ("data/pack.py", "from groundup import demo", "demo"),
        ("data/pack.py", "from ..generate import engine", "generate"),
        ("data/pack.py", "from .. import generate", "generate"),
        ("train/loop.py", "def f():\n    from groundup.evaluate.stage import evaluate", "evaluate"),
        ("align/preference.py", "from groundup.evaluate import checks", "evaluate"),
        ("runtime.py", "from groundup.tokenizer import Tokenizer", "tokenizer"),
        ("terminal.py", "import groundup.recipe as r", "recipe"),
    ],
)
def test_a_planted_violation_is_caught(place: str, line: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("from groundup import __version__\n" + line + "\n")
    (found,) = violations(tmp_path)
    assert found.startswith(place)
    assert found.endswith(f" {part}")


def test_what_is_allowed_is_not_caught(tmp_path: Path) -> None:
    path = tmp_path / "train" / "loop.py"
    path.parent.mkdir()
    path.write_text("from groundup.model import Decoder\nfrom . import metrics\nimport torch\n")
    assert violations(tmp_path) == []


def test_the_environment_is_read_in_runtime_alone() -> None:
    readers = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if {"environ", "getenv"}
        & {
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
    }
    # `__main__.py` sets one variable before torch is loaded, which runtime.py would do too late.
    assert readers <= {"runtime.py", "__main__.py"}


def test_nothing_is_pickled() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
                assert "pickle" not in names, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = getattr(node.func.value, "id", "")
                assert (owner, node.func.attr) not in {("torch", "save"), ("torch", "load")}, path
