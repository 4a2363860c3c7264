"""What many tests share: one thread, and one tiny finished run that nobody changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from groundup.pipeline import STAGE_NAMES
from groundup.recipe import Recipe
from groundup.tokenizer import Tokenizer

from .tiny_build import copy_run, tiny_build, tiny_recipe, write_talk

settings.register_profile("any machine", deadline=None)  # the first call of all imports or compiles
settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long bytes are named by their argument: packed ones hold the second they were packed in,
    and tests that are called differently by each worker of pytest-xdist cannot be shared out."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in the same order every time, so that equal runs end in equal bytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def talk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short chats and preference pairs."""
    return write_talk(tmp_path_factory.mktemp("talk") / "talk")


@pytest.fixture(scope="session")
def tiny(talk_folder: Path) -> Recipe:
    """The recipe of `tiny_run`."""
    return tiny_recipe(talk_folder)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe) -> Path:
    """A finished run with every stage; to be read, never written."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    tiny_build(tiny, out).run(STAGE_NAMES)
    return out


@pytest.fixture
def run_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that the test may change."""
    return copy_run(tiny_run, tmp_path / "run")


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_run: Path) -> Tokenizer:
    return Tokenizer.load(tiny_run / "tokenizer")
