from __future__ import annotations

import errno
import hashlib
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundup import runtime
from groundup.runtime import (
    CheckpointError,
    DataError,
    GroundupError,
    RecipeError,
    StorageError,
    TokenizerError,
    config,
    derive_seed,
    folder_lock,
    format_count,
    generator,
    hash_file,
    new_folder,
    read_json,
    remove_leftovers,
    select_device,
    stable_hash,
    storage_errors,
    to_dict,
    torch_generator,
    write_bytes,
    write_json,
    write_text,
)


@config
class Inner:
    depth: int = 2
    where: Path = Path("a/b")


@config
class Outer:
    name: str
    rate: float = 0.5
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- errors ---------------------------------------------------------------------------------------


def test_every_error_is_a_groundup_error() -> None:
    for kind in (RecipeError, DataError, TokenizerError, CheckpointError, StorageError):
        assert issubclass(kind, GroundupError)
    assert issubclass(GroundupError, ValueError)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left to write x/y; free some space, then run the same command"),
        (errno.EDQUOT, "no space left to write x/y"),
        (errno.EACCES, "no permission to write x/y; choose another --out or change its permiss"),
        (errno.EPERM, "no permission to write x/y"),
        (errno.EROFS, "no permission to write x/y"),
    ],
)
def test_the_disks_refusals_say_what_to_do(number: int, message: str) -> None:
    refusal = OSError(number, os.strerror(number))
    with pytest.raises(StorageError, match=message) as caught, storage_errors(Path("x/y")):
        raise refusal
    assert caught.value.__cause__ is refusal
    assert "\n" not in str(caught.value)


def test_other_errors_of_a_disk_say_what_it_said() -> None:
    with (
        pytest.raises(StorageError, match=r"cannot write x: input/output error; see that its disk"),
        storage_errors(Path("x")),
    ):
        raise OSError(errno.EIO, "input/output error")


def test_other_errors_pass_through() -> None:
    for error in (KeyError("x"), DataError("y")):
        with pytest.raises(type(error)) as caught, storage_errors(Path("x")):
            raise error
        assert caught.value is error


# --- configs --------------------------------------------------------------------------------------


def test_a_config_refuses_unknown_names() -> None:
    with pytest.raises(ValidationError, match="dept\n  Unexpected keyword argument"):
        Inner(dept=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match=r"inner.dept\n  Unexpected keyword argument"):
        Outer(name="x", inner={"dept": 3})  # type: ignore[arg-type]


def test_a_config_refuses_wrong_types_and_positions() -> None:
    with pytest.raises(ValidationError, match="valid integer"):
        Inner(depth="deep")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="Unexpected positional argument"):
        Inner(3)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="name\n  Field required"):
        Outer()  # type: ignore[call-arg]


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="depth"):
        Inner().depth = 3  # type: ignore[misc]


def test_configs_become_plain_values_and_come_back() -> None:
    outer = Outer(name="x", several=(Inner(depth=1), Inner()))
    values = to_dict(outer)
    assert values == {
        "name": "x",
        "rate": 0.5,
        "inner": {"depth": 2, "where": str(Path("a/b"))},
        "several": [
            {"depth": 1, "where": str(Path("a/b"))},
            {"depth": 2, "where": str(Path("a/b"))},
        ],
    }
    assert Outer(**values) == outer


# --- hashes and seeds -----------------------------------------------------------------------------


def test_a_hash_is_the_same_on_every_machine() -> None:
    """Golden: with another number every stored result would count as stale."""
    assert stable_hash({"b": [1, 2.5, None, True], "a": "é"}) == "a135dd4985f0d027e09838efd8d51e51"
    assert derive_seed(1, "data", 3) == 4545140469717356655
    text = b"1:data:3"
    by_hand = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
    assert derive_seed(1, "data", 3) == by_hand


def test_a_hash_sees_every_value_and_no_order_of_keys() -> None:
    assert stable_hash({"a": 1, "b": 2}) == stable_hash({"b": 2, "a": 1})
    assert stable_hash([1, 2]) != stable_hash([2, 1])
    assert stable_hash(Outer(name="x")) == stable_hash(to_dict(Outer(name="x")))
    assert stable_hash(Outer(name="x")) != stable_hash(Outer(name="x", rate=0.25))
    assert stable_hash({"a": "1"}) != stable_hash({"a": 1})
    assert stable_hash((1, 2)) == stable_hash([1, 2])


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (1 << 20) + b"y")  # more than one block
    first = hash_file(path)
    assert len(first) == 32
    path.write_bytes(b"x" * (1 << 20) + b"z")
    assert hash_file(path) != first


@given(seed=st.integers(0, 2**63 - 1), name=st.text())
def test_seeds_fit_every_generator(seed: int, name: str) -> None:
    derived = derive_seed(seed, name)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, name) != derive_seed(seed, name, "more")


def test_each_purpose_has_its_own_stream() -> None:
    names = [("data",), ("init",), ("data", 1), ("data", 2)]
    assert len({derive_seed(1, *purpose) for purpose in names}) == 4
    draws = [torch.rand(3, generator=torch_generator(1, *purpose)).tolist() for purpose in names]
    assert len({tuple(draw) for draw in draws}) == 4
    again = torch.rand(3, generator=torch_generator(1, "data")).tolist()
    assert draws[0] == again
    first, second = generator(1, "data").random(3), generator(1, "data").random(3)
    assert np.array_equal(first, second)


def test_global_randomness_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    torch_generator(5, "x")
    assert torch.equal(torch.rand(1), expected)


# --- files ----------------------------------------------------------------------------------------


def test_values_come_back_from_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "values.json"
    write_json(path, Outer(name="é"))
    assert read_json(path) == to_dict(Outer(name="é"))
    assert "é" in path.read_text(encoding="utf-8")
    assert path.read_bytes().endswith(b"}\n")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old and long")
    write_text(path, "new")
    assert _tree(tmp_path) == {"a.txt": b"new"}


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), refuse)
    with pytest.raises(StorageError, match=r"no space left to write .*a\.txt"):
        write_bytes(path, b"new")
    assert _tree(tmp_path) == {"a.txt": b"old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_really_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=f"no space left to write {tmp_path}"),
        storage_errors(tmp_path),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that exists and that this process may not write to, root or not."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no permission bits")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield folder
    finally:
        os.seteuid(user)
        folder.rmdir()


def test_no_permission_is_said_in_one_line(unwritable: Path) -> None:
    with pytest.raises(StorageError, match=rf"no permission to write {unwritable}/a\.txt; choose"):
        write_text(unwritable / "a.txt", "x")
    with (
        pytest.raises(StorageError, match=f"no permission to write {unwritable}/new"),
        new_folder(unwritable / "new"),
    ):
        raise AssertionError("there is no folder to work in")
    with (
        pytest.raises(StorageError, match=f"no permission to write {unwritable}; choose"),
        folder_lock(unwritable),
    ):
        raise AssertionError("there is no lock to hold")


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    with new_folder(path) as folder:
        assert folder.parent == path.parent
        assert not path.exists()
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_bytes(b"1")
    assert _tree(path) == {"sub/a": b"1"}
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for content in ({"a": b"1", "b": b"1"}, {"b": b"2"}):
        with new_folder(path) as folder:
            for name, data in content.items():
                (folder / name).write_bytes(data)
    assert _tree(tmp_path) == {"run/b": b"2"}


def _replace(path: Path, content: bytes, error: BaseException | None = None) -> None:
    """Write a new folder with one file, or fail on the way."""
    with new_folder(path) as folder:
        (folder / "a").write_bytes(content)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), DataError("bad")])
def test_a_failure_leaves_the_old_folder(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "run"
    with new_folder(path) as folder:
        (folder / "a").write_bytes(b"old")
    with pytest.raises(type(error)):
        _replace(path, b"new", error)
    assert _tree(tmp_path) == {"run/a": b"old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with new_folder(path) as folder:
        (folder / "a").write_bytes(b"old")
    with pytest.raises(StorageError, match="no space left to write"):
        _replace(path, b"ne", OSError(errno.ENOSPC, "no space left on device"))
    assert _tree(tmp_path) == {"run/a": b"old"}


def test_a_crash_while_replacing_leaves_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with new_folder(path) as folder:
        for name in ("a", "b"):
            (folder / name).write_bytes(b"old")

    def crash(folder: Path, **_: Any) -> None:
        first = min(child for child in Path(folder).rglob("*") if child.is_file())
        first.unlink()
        raise SystemExit("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(runtime.shutil, "rmtree", crash)
        with pytest.raises(SystemExit):
            _replace(path, b"new")
    found = _tree(path) if path.exists() else {}
    assert found in ({}, {"a": b"old", "b": b"old"}, {"a": b"new"})


def test_a_refusal_to_read_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    refusal = PermissionError(errno.EACCES, "Permission denied", str(source))
    with pytest.raises(Exception, match=r"source\.txt"), new_folder(tmp_path / "run"):
        raise refusal


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".run.abc123.tmp").mkdir()
    (tmp_path / ".run.abc123.tmp" / "file").write_bytes(b"x")
    (tmp_path / ".a.txt.4711.tmp").write_bytes(b"half")
    for name in ("run", ".hidden", "notes.tmp", "a.txt"):
        (tmp_path / name).write_bytes(b"keep")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"run", ".hidden", "notes.tmp", "a.txt"}
    remove_leftovers(tmp_path / "absent")


# --- the lock -------------------------------------------------------------------------------------

_WORKS_AND_HANGS = """
import sys
from pathlib import Path
from groundup.runtime import folder_lock, new_folder, write_text
folder = Path(sys.argv[1])
with folder_lock(folder), new_folder(folder / "run") as temporary:
    write_text(temporary / "a", "new")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_one_process_at_a_time_and_a_killed_one_leaves_the_old_folder(tmp_path: Path) -> None:
    _replace(tmp_path / "run", b"old")
    command = [sys.executable, "-c", _WORKS_AND_HANGS, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = f"another groundup is working in {tmp_path}; wait for it, or use another --out"
        with pytest.raises(StorageError, match=message), folder_lock(tmp_path):
            raise AssertionError("two hold the lock")
        other.kill()
    with folder_lock(tmp_path):
        assert _tree(tmp_path / "run") == {"a": b"old"}
        assert len(list(tmp_path.glob(".run.*.tmp"))) == 1
        remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"run", ".lock"}


def test_the_lock_is_let_go(tmp_path: Path) -> None:
    with pytest.raises(DataError), folder_lock(tmp_path):
        raise DataError("x")
    with folder_lock(tmp_path):
        pass


# --- the machine ----------------------------------------------------------------------------------


def test_a_named_device_is_taken_as_it_is() -> None:
    assert select_device("cpu") == torch.device("cpu")
    assert select_device("auto") == select_device()


def test_autocast_leaves_weights_in_float32() -> None:
    layer = torch.nn.Linear(4, 4)
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with runtime.autocast(torch.device("cpu"), precision):  # type: ignore[arg-type]
            assert layer(torch.ones(1, 4)).dtype == dtype
        assert layer.weight.dtype == torch.float32


def test_the_description_is_plain_values() -> None:
    described = runtime.machine_description()
    assert stable_hash(described) == stable_hash(dict(described))
    assert described["torch"] == torch.__version__
    assert described["threads"] == torch.get_num_threads()
    assert runtime.peak_memory_bytes() > 10_000_000


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (124_439_808, "124M"),
        (2.5e9, "2.5B"),
        (-1500, "-1.5k"),
    ],
)
def test_counts_are_short(n: float, text: str) -> None:
    assert format_count(n) == text


def test_counts_near_the_next_unit() -> None:
    assert format_count(999_999) == "1M"


# --- the machine's speed, memory and tools --------------------------------------------------------

CPU = torch.device("cpu")


def test_a_matrix_product_is_timed_by_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 n³ of them, in the shortest of six tries: 2 · 64³ in half a second."""
    tries = iter([9.0, 3.0, 0.5, 4.0, 0.75, 2.0])
    times = [0.0]

    def now() -> float:  # called before and after each product
        times.append(times[-1] + (next(tries) if len(times) % 2 == 0 else 100.0))
        return times[-1]

    monkeypatch.setattr(runtime.time, "perf_counter", now)
    assert runtime.matmul_flops(CPU, "float32", 64) == pytest.approx(2 * 64**3 / 0.5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float8"])
def test_the_rate_of_this_machine_is_one_that_machines_have(precision: Any) -> None:
    assert 1e6 < runtime.matmul_flops(CPU, precision, 96) < 1e14


def _with_headers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "Python.h").touch()
    monkeypatch.setattr(runtime.sysconfig, "get_path", lambda name: str(folder))


def test_what_compiling_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler under any of its names, the one in $CXX first, and Python's headers."""
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setattr(runtime.sysconfig, "get_path", lambda name: str(tmp_path / "nowhere"))
    found: set[str] = set()
    monkeypatch.setattr(runtime.shutil, "which", lambda name: name if name in found else None)
    monkeypatch.delenv("CXX", raising=False)
    assert runtime.compiler_missing(CPU) == "there is no C++ compiler"
    found.add("clang++")
    assert runtime.compiler_missing(CPU) == "there are no headers of Python"
    _with_headers(tmp_path, monkeypatch)
    assert runtime.compiler_missing(CPU) is None
    found.clear()
    found.add("my-own-c++")
    assert runtime.compiler_missing(CPU) == "there is no C++ compiler"
    monkeypatch.setenv("CXX", "my-own-c++")
    assert runtime.compiler_missing(CPU) is None


def test_compiling_is_tried_where_it_is_known_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "for mps on" in str(runtime.compiler_missing(torch.device("mps")))
    found = {"triton": object()}
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: found.get(name))
    assert runtime.compiler_missing(torch.device("cuda")) is None
    found.clear()
    assert runtime.compiler_missing(torch.device("cuda")) == "there is no triton"
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    assert runtime.compiler_missing(CPU) == "compiling for cpu on darwin is not tried"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much is resident")
def test_memory_in_use_grows_with_what_is_held() -> None:
    """64 MiB that are written to are resident; the peak is never less than what is in use."""
    block = b"held" * (1 << 18)
    before = runtime.memory_in_use_bytes(CPU)
    with mmap.mmap(-1, 64 * len(block)) as held:  # no allocator has these pages from before
        for _ in range(64):
            held.write(block)
        during = runtime.memory_in_use_bytes(CPU)
    assert during - before == pytest.approx(64 * len(block), rel=0.25)
    assert 10_000_000 < during <= runtime.peak_memory_bytes() + 4096 * 1024


def test_memory_in_use_is_the_peak_where_the_system_says_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(runtime, "peak_memory_bytes", lambda: 123)
    assert runtime.memory_in_use_bytes(CPU) == 123


@pytest.mark.parametrize("wanted", [True, False])
def test_a_cpu_is_deterministic_without_being_told(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    runtime.deterministic(CPU, wanted)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize("library", ["glibc", "another", "none"])
def test_keeping_freed_memory_never_fails(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    class Glibc:
        def mallopt(self, option: int, value: int) -> int:
            told.append((option, value))
            return 1

    def load(name: str | None) -> object:
        if library == "none":
            raise OSError("no such library")
        return Glibc() if library == "glibc" else object()

    monkeypatch.setattr(runtime.ctypes, "CDLL", load)
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    runtime.keep_freed_memory()
    assert told == ([(-4, 0), (-1, (1 << 31) - 1)] if library == "glibc" else [])


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(runtime.ctypes, "CDLL", loaded.append)
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    runtime.keep_freed_memory()
    assert loaded == []
