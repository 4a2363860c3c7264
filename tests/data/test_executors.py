"""Who does the jobs changes no byte; a worker that dies loses nothing."""

from __future__ import annotations

import importlib.util
import operator
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from groundup.data.engine import Engine, Job
from groundup.data.executors import (
    Executor,
    ExecutorConfig,
    Processes,
    RayCluster,
    Serial,
    open_executor,
)
from groundup.runtime import DataError, GroundupError, hash_file

HAS_RAY = importlib.util.find_spec("ray") is not None
NO_RAY = "Ray is not installed here; pip install 'groundup[ray]'"


def square(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A file with a square; the first call with a `once` kills its own process half way."""
    (folder / "half.txt").write_text("half")
    if "once" in params and not Path(params["once"]).exists():
        Path(params["once"]).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "half.txt").unlink()
    (folder / "n.txt").write_text(str(params["n"] ** 2))
    return {"n": params["n"]}


def refuse(*_: Any) -> dict[str, Any]:
    raise DataError("this cannot be used; give another")


def stumble(*_: Any) -> dict[str, Any]:
    raise KeyError("a fault of ours")


def jobs(n: int, once: Path | None = None) -> list[Job]:
    places = {} if once is None else {"once": str(once)}
    return [Job("square", 1, square, params={"n": i}, places=places) for i in range(n)]


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(folder: Path, executor: Executor, once: Path | None = None) -> dict[str, str]:
    heard: list[int] = []

    class Hears:
        def progress(self, label: str, done: int, total: int, figures: object) -> None:
            heard.append(done)

        def message(self, text: str) -> None: ...

    found = Engine(folder, executor, Hears()).run(jobs(5, once), "square")
    assert [one.counts["n"] for one in found] == list(range(5))
    assert heard == [1, 2, 3, 4, 5]
    return tree(folder)


@pytest.mark.slow
def test_processes_give_the_bytes_of_one_and_outlive_a_killed_worker(tmp_path: Path) -> None:
    plain = run(tmp_path / "serial", Serial())
    assert len(plain) == 10
    with Processes(2) as executor:
        assert run(tmp_path / "processes", executor) == plain
        assert run(tmp_path / "killed", executor, tmp_path / "once") == plain
        killed = int((tmp_path / "once").read_text())
        assert killed not in executor.workers.process_ids
        with pytest.raises(DataError, match="this cannot be used; give another"):
            executor.run([refuse, refuse], lambda n: None)
    with pytest.raises(ProcessLookupError):
        os.kill(killed, 0)


@pytest.mark.slow
def test_workers_that_keep_dying_are_given_up() -> None:
    """The calls are of the standard library: a new worker has nothing else to import."""
    harmless = partial(pow, 2, 3)
    fatal = partial(signal.raise_signal, signal.SIGKILL)
    with Processes(2) as executor, pytest.raises(GroundupError, match=r"exit code -9.*--workers"):
        executor.run([fatal, harmless], lambda n: None)
    faulty = partial(operator.getitem, {}, "a fault of ours")
    with Processes(2) as executor, pytest.raises(RuntimeError, match="a fault of ours"):
        executor.run([faulty, harmless], lambda n: None)


def test_serial_goes_in_order() -> None:
    done: list[int] = []
    with open_executor() as executor:
        assert executor.run([partial(pow, n, 2) for n in range(4)], done.append) == [0, 1, 4, 9]
    assert done == [1, 2, 3, 4]


def test_an_executor_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="n_workers=0 must be at least 1"):
        ExecutorConfig(name="processes", n_workers=0)
    with pytest.raises(ValueError, match=r"an address \(head:1\) is for ray, not for serial"):
        ExecutorConfig(address="head:1")
    assert isinstance(open_executor(ExecutorConfig(name="processes")), Processes)
    assert isinstance(open_executor(ExecutorConfig(name="ray", address="head:1")), RayCluster)


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what importing a missing one comes to
    with pytest.raises(DataError, match=r"needs Ray; run: pip install 'groundup\[ray\]'"):
        RayCluster().__enter__()


@pytest.mark.skipif(not HAS_RAY, reason=NO_RAY)
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_an_address_where_nobody_answers_is_told(address: str) -> None:
    with pytest.raises(DataError, match=f"no Ray cluster answers at {address} .*--address"):
        RayCluster(address).__enter__()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason=NO_RAY)
def test_ray_gives_the_bytes_of_one_and_outlives_a_killed_worker(tmp_path: Path) -> None:
    plain = run(tmp_path / "serial", Serial())
    with RayCluster(n_workers=2) as executor:
        assert run(tmp_path / "ray", executor) == plain
        assert run(tmp_path / "killed", executor, tmp_path / "once") == plain
        with pytest.raises(DataError, match="this cannot be used; give another"):
            executor.run([refuse], lambda n: None)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            executor.run([stumble], lambda n: None)


def test_a_worker_does_not_import_torch() -> None:
    """It takes seconds and hundreds of megabytes, for each process."""
    code = (
        "import sys\n"
        "from groundup.data.steps import clean, decontaminate, dedup, divide, read, tokenize\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
