"""The engine of the pipeline: jobs make artefacts, and an artefact that stands is not made again.

A job is a function of files. What it makes is a folder `stages/STAGE/KEY/` that appears whole or
not at all, with a header of the hashes of its files. The key follows from the stage, its version,
its parameters and the hashes of what it reads, so a run that was killed goes on with the jobs that
are missing, and a run with other settings makes again only what follows from them. Who does the
jobs (`executors/`) and in which order they end changes nothing.

    >>> import tempfile
    >>> def count(inputs, params, folder):
    ...     _ = (folder / "n.txt").write_text(str(params["n"]))
    ...     return {"n": params["n"]}
    >>> with tempfile.TemporaryDirectory() as place:
    ...     engine = Engine(Path(place))
    ...     [made] = engine.run([Job("count", 1, count, params={"n": 3})], "count")
    ...     made.counts, sorted(made.files), engine.n_made
    ({'n': 3}, ['n.txt'], 1)
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from groundup import __version__
from groundup.data.executors import Executor, Serial
from groundup.runtime import (
    Listener,
    Silent,
    hash_file,
    new_folder,
    read_json,
    remove_leftovers,
    stable_hash,
    to_dict,
    write_json,
)

FORMAT = 1
HEADER = "header.json"
KEPT = "kept.json"  # in the folder of all stages: what the last whole run used
DO_AGAIN = "do_again"  # true in the counts of a job that met what will not stay so
Run = Callable[[list[Path], dict[str, Any], Path], dict[str, Any]]


@dataclass(frozen=True)
class Artefact:
    """A folder that a job made.

    counts: what the job said of it
    files: for each file, below the folder, the 128-bit hash of its bytes
    made: whether it was made just now; False if it stood before
    """

    folder: Path
    counts: Mapping[str, Any]
    files: Mapping[str, str]
    made: bool = field(default=False, compare=False)

    @cached_property
    def hash(self) -> str:
        """Of what it holds; equal contents of two jobs have one hash."""
        return stable_hash(self.files)

    @property
    def name(self) -> str:
        """Stage and key, as the header of what is made from it says."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def path(self, file: str) -> Path:
        """Where a file of it is."""
        return self.folder / file


@dataclass(frozen=True)
class Job:
    """One call of a stage's function.

    run: (folders of the inputs, params and places, the folder to write) -> counts, ready for JSON;
        a function of a module's top level, so that it can be sent to another process
    version: raised when the function gives other bytes than before
    params: what decides the result beside the inputs, ready for JSON
    places: what the function must know though it decides nothing, such as where a source lies
    libraries: distributions whose version may change the result
    """

    stage: str
    version: int
    run: Run
    inputs: tuple[Artefact, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()

    def key(self) -> str:
        """The name of the folder that it makes."""
        hashes = [artefact.hash for artefact in self.inputs]
        return stable_hash([FORMAT, self.stage, self.made_with(), to_dict(self.params), hashes])

    def made_with(self) -> dict[str, Any]:
        """The versions that may change the result."""
        return {"stage": self.version, **versions_of(self.libraries)}


def versions_of(libraries: Sequence[str] = ()) -> dict[str, str | None]:
    """Of this package, Python, Parquet's library and the distributions named (None: not there)."""
    found: dict[str, str | None] = {
        "groundup": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    return found | {name: _version_of(name) for name in ("pyarrow", *libraries)}


@cache
def _version_of(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


class Engine:
    """Runs jobs into a folder.

    folder: holds STAGE/KEY/ for each artefact; on Ray at one path on every machine
    """

    def __init__(
        self, folder: Path, executor: Executor | None = None, listener: Listener | None = None
    ) -> None:
        self.folder = folder
        self.executor = executor or Serial()
        self.listener = listener or Silent()
        self.n_made = 0
        self._used: set[Path] = set()

    @property
    def n_used(self) -> int:
        """Artefacts that the jobs run so far make, whether they stood or not."""
        return len(self._used)

    def run(
        self, jobs: Sequence[Job], label: str, *, executor: Executor | None = None
    ) -> list[Artefact]:
        """What the jobs make, in their order; those that stand whole are not made again.

        executor: another than the engine's, for jobs that start processes of their own
        """
        folders = [self.folder / job.stage / job.key() for job in jobs]
        todo = dict(zip(folders, jobs, strict=True))  # jobs of one key make one artefact
        places = sorted({folder.parent for folder in todo})
        for place in places:  # what a killed run has left
            remove_leftovers(place)
        calls = [partial(do_job, job, folder) for folder, job in todo.items()]
        answers = (executor or self.executor).run(
            calls, lambda n: self.listener.progress(label, n, len(calls), {})
        )
        for place in places:  # what killed workers have left
            remove_leftovers(place)
        found = dict(zip(todo, answers, strict=True))
        self.n_made += sum(artefact.made for artefact in answers)
        self._used |= set(folders)
        return [found[folder] for folder in folders]

    def keep(self, stage: str, write: Callable[[Path], dict[str, Any]]) -> Artefact:
        """An artefact made here and now by a function that follows from nothing on disk.

        Its key follows from what it wrote, so what is made from it stands as long as that does.
        """
        place = self.folder / stage
        remove_leftovers(place)
        with new_folder(place / "new") as temporary:
            counts = write(temporary)
            hashes = _hashes(temporary)
            key = stable_hash([FORMAT, stage, hashes])
            header = {"format": FORMAT, "stage": stage, "counts": counts, "files": hashes}
            write_json(temporary / HEADER, header)
        folder = place / key
        if read_artefact(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            (place / "new").rename(folder)
        else:
            shutil.rmtree(place / "new")
        self._used.add(folder)
        return Artefact(folder, to_dict(counts), hashes)

    def prune(self) -> None:
        """Delete the artefacts that no job run so far makes, such as those of other settings.

        What is left is listed in KEPT: a later run that fails leaves others beside it.
        """
        stages = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for stage in [path for path in stages if path.is_dir()]:
            for artefact in sorted(stage.iterdir()):
                if not artefact.is_dir():
                    artefact.unlink()
                elif artefact not in self._used:
                    shutil.rmtree(artefact)
            if not any(stage.iterdir()):
                stage.rmdir()
        kept = sorted(folder.relative_to(self.folder).as_posix() for folder in self._used)
        write_json(self.folder / KEPT, kept)


def do_job(job: Job, folder: Path) -> Artefact:
    """Make a job's artefact, unless it stands whole. Twice leaves what once leaves.

    One whose counts say DO_AGAIN is made again in any case.
    """
    found = read_artefact(folder)
    if found is not None and not found.counts.get(DO_AGAIN):
        return found
    with new_folder(folder) as temporary:
        inputs = [artefact.folder for artefact in job.inputs]
        counts = job.run(inputs, {**job.params, **job.places}, temporary)
        hashes = _hashes(temporary)
        header = {
            "format": FORMAT,
            "stage": job.stage,
            "versions": job.made_with(),
            "params": to_dict(job.params),
            "inputs": [{"artefact": a.name, "hash": a.hash} for a in job.inputs],
            "counts": counts,
            "files": hashes,
        }
        write_json(temporary / HEADER, header)
    return Artefact(folder, to_dict(counts), hashes, made=True)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def read_artefact(folder: Path) -> Artefact | None:
    """The artefact in a folder, or None if there is none or any of its files is not as it was."""
    try:
        header = read_json(folder / HEADER)
        files = dict(header["files"])
        if any(hash_file(folder / name) != digest for name, digest in files.items()):
            return None
        return Artefact(folder, header["counts"], files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
