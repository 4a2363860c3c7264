"""The machine: device, precision, seeds, hashes, atomic writes and errors.

The one place that reads the environment. Every other module imports from here and nothing here
imports from them.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast, dataclass_transform

import numpy as np
import xxhash
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from groundup import __version__

if TYPE_CHECKING:  # imported where it is used: words are counted in processes that need none of it
    import torch

T = TypeVar("T")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
Precision = Literal["float32", "bfloat16", "float8"]


# --- errors ---------------------------------------------------------------------------------------


class GroundupError(ValueError):
    """Something the user can mend: one line with the thing, what it got, and the fix.

    GroundupError
    ├── RecipeError      a recipe or an override that does not hold together
    ├── DataError        a source, document, chat or preference pair that cannot be used
    ├── TokenizerError   a tokenizer that cannot be trained or read
    ├── CheckpointError  a checkpoint or model folder that is damaged or of another make
    └── StorageError     no space, no permission
    """


class RecipeError(GroundupError):
    """A recipe or an override that does not hold together."""


class DataError(GroundupError):
    """A source, document, chat or preference pair that cannot be used."""


class TokenizerError(GroundupError):
    """A tokenizer that cannot be trained or read."""


class CheckpointError(GroundupError):
    """A checkpoint or model folder that is damaged or of another make."""


class StorageError(GroundupError):
    """The disk refused: no space left, no permission."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals while writing `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        if not _is_about(error, path):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"no space left to write {path}; free some space, then run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(
                f"no permission to write {path}; choose another --out or change its permissions"
            ) from error
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; "
            "see that its disk is there, then run the same command again"
        ) from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error names no file, or `path`, its parent, a file in it or its temporary name."""
    if not isinstance(error.filename, str | os.PathLike):
        return True
    named, path = Path(error.filename).absolute(), path.absolute()
    temporary = str(path.with_name(f".{path.name}."))
    is_inside = named.is_relative_to(path) or str(named).startswith(temporary)
    return is_inside or path.is_relative_to(named)


# --- configs --------------------------------------------------------------------------------------


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that refuses unknown names and wrong types."""
    strict = ConfigDict(extra="forbid")
    return cast(type[T], pydantic_dataclass(frozen=True, kw_only=True, config=strict)(cls))


def to_dict(value: Any) -> Any:
    """A config as plain dictionaries, lists and scalars, ready for JSON or YAML."""
    if type(value) in (str, int, float, bool, type(None)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return to_dict(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


# --- hashes and seeds -----------------------------------------------------------------------------


def stable_hash(value: Any) -> str:
    """128-bit hash, in hex, of a value's canonical JSON; equal on every machine.

    >>> stable_hash({"b": 1, "a": 2}) == stable_hash({"a": 2, "b": 1})
    True
    """
    text = json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def hash_file(path: Path) -> str:
    """128-bit hash, in hex, of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose: the same (seed, names) gives the same number everywhere.

    >>> derive_seed(1, "data") == derive_seed(1, "data") != derive_seed(2, "data")
    True
    """
    text = ":".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for one purpose."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *names))


# --- the machine ----------------------------------------------------------------------------------


def select_device(name: str = "auto") -> torch.device:
    """The device to compute on: `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises GroundupError if there is no such device here.
    """
    import torch

    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise GroundupError(
                f"there is no device {name!r} on this machine; use auto, cpu, cuda or mps"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Context in which matrix products run in `precision`; weights stay in float32."""
    import torch

    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision != "float32", cache_enabled=True
    )


def deterministic(device: torch.device, wanted: bool) -> None:
    """Make every operation give the same bits each time, from now on and where the device can.

    A CPU does so anyway. On CUDA some kernels become slower, and one that has no such form raises.
    """
    import torch

    if wanted and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Let the C library keep the large blocks it frees, where it is glibc.

    A tensor of some megabytes is otherwise handed back to the system when it is freed and comes
    back as pages that must be zeroed again, in every operation of every step.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(None)
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, (1 << 31) - 1)):
            library.mallopt(option, value)
    except (OSError, AttributeError):  # another C library
        pass


def compiler_missing(device: torch.device) -> str | None:
    """What torch.compile lacks here, or None if it has all it needs."""
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "there is no triton"
    if device.type != "cpu" or sys.platform != "linux":
        return f"compiling for {device.type} on {sys.platform} is not tried"
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers if name):
        return "there is no C++ compiler"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "there are no headers of Python"
    return None


def matmul_flops(device: torch.device, precision: Precision, size: int = 0) -> float:
    """Floating-point operations a second of a large matrix product, measured here and now.

    The best of several, which takes a fraction of a second.
    """
    import torch

    size = size or (8192 if device.type == "cuda" else 1024)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    values = torch.linspace(-1, 1, size * size, device=device, dtype=dtype)  # no draw, not all one
    a, b = values.view(size, size), values.flip(0).view(size, size)
    best = float("inf")
    for _ in range(6):
        synchronize(device)
        started = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def synchronize(device: torch.device) -> None:
    """Wait for the device to have done all it was asked."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory_bytes() -> int:
    """The largest resident size this process has had, in bytes; 0 where the system keeps none."""
    if os.name == "nt":  # no `resource` module there; the operating system keeps no peak for us
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def memory_in_use_bytes(device: torch.device) -> int:
    """The most that was allocated on a GPU, else this process's resident size now; 0 if unknown."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return peak_memory_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def machine_description() -> dict[str, Any]:
    """What the report says about where it ran."""
    import torch

    device = select_device()
    accelerator = torch.cuda.get_device_name() if device.type == "cuda" else None
    return {
        "system": platform.platform(terse=True),
        "processor": _processor_name(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": accelerator,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "groundup": __version__,
    }


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# --- files ----------------------------------------------------------------------------------------


def write_bytes(path: Path, data: bytes) -> None:
    """Write `path` whole or not at all: temporary name, fsync, rename."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(to_dict(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file written by `write_json`."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `path` if the block succeeds and vanishes if not.

    What stood at `path` before is replaced. All files are fsynced before the rename, so after a
    crash `path` is either the old folder, the new one, or absent; never half of one.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        made = temporary.stat()
        try:
            yield temporary
            if not os.path.samestat(made, temporary.stat()):
                # Its disk went away and what was written since made a folder of that name anew.
                raise StorageError(
                    f"{path.parent} is gone or another; "
                    "see that its disk is there, then run the same command again"
                )
            temporary.chmod(0o755)
            _fsync_tree(temporary)
            if path.exists():
                aside = Path(
                    tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
                )
                path.rename(aside / path.name)
                temporary.rename(path)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                temporary.rename(path)
            _fsync_path(path.parent)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary, ignore_errors=True)


LOCK = ".lock"  # in a folder that is worked in


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time work in `folder`; a process that dies lets go of it.

    Raises StorageError if another one holds it.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    with file:
        if os.name != "nt":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"another groundup is working in {folder}; wait for it, or use another --out"
                ) from error
        yield


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted `write_bytes` or `new_folder` left in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _fsync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _fsync_path(path)
    _fsync_path(folder)


def _fsync_path(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder to sync it
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- telling the caller ---------------------------------------------------------------------------


class Listener(Protocol):
    """Hears how a long piece of work goes on; the command line draws it, tests collect it."""

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """`done` of `total` units of the work called `label`, with the newest figures."""

    def message(self, text: str) -> None:
        """One line worth reading: a warning, a count, a sample."""


class Silent:
    """A listener that ignores everything."""

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Ignore."""


def format_count(n: float) -> str:
    """A number a person can read at a glance.

    >>> format_count(1234567), format_count(950)
    ('1.23M', '950')
    """
    n = float(f"{n:.3g}") if abs(n) >= 1000 else n
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(n) >= limit:
            return f"{n / limit:.3g}{suffix}"
    return f"{n:g}"


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, *names))
