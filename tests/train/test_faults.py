"""What a run does when its disk or its files fail: real refusals of the system, real damage.

bench/faults.py does the same, and more, to processes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from groundup.runtime import StorageError, new_folder, write_bytes
from groundup.train.checkpoint import read_checkpoint
from groundup.train.interrupt import Interrupted
from groundup.train.loop import train
from groundup.train.metrics import MetricsFile

from ..tiny_build import Recorder, SignalAt, tree
from .small_job import small_job

OF_THE_CLOCK = {"seconds", "tokens_per_s", "data_wait_s", "flops_per_s", "of_peak", "memory_bytes"}
WEIGHTS = "model/model.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoints/step-*"))


def steps(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints(folder)]


def outcome(folder: Path) -> tuple[bytes, bytes, list[dict[str, float]]]:
    """Weights, optimizer and metrics that a run ended in."""
    last = checkpoints(folder)[-1]
    lines = [
        {key: value for key, value in line.items() if key not in OF_THE_CLOCK}
        for line in MetricsFile(folder / "metrics.jsonl")
    ]
    optimizer = last / "trainer" / "optimizer.safetensors"
    return (last / WEIGHTS).read_bytes(), optimizer.read_bytes(), lines


def go_on(folder: Path, listener: Recorder | None = None, **changes: Any) -> Recorder:
    """Run the job to its end from where it stands."""
    listener = listener or Recorder()
    train(small_job(folder, keep_checkpoints=3, listener=listener, **changes))
    return listener


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[dict[str, float]]]:
    """What a run ends in that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    go_on(folder)
    return outcome(folder)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A run of six steps, stopped at the fifth, with its three newest checkpoints."""
    folder = tmp_path / "cut"
    with pytest.raises(Interrupted):
        go_on(folder, SignalAt("pretrain", 5, signal.SIGTERM))
    for older in checkpoints(folder)[:-3]:
        shutil.rmtree(older)
    assert steps(folder) == [2, 4, 5]
    return folder


# --- damaged checkpoints --------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def replace_by_a_file(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    shutil.rmtree(newest)
    newest.write_text("no folder")


def replace_by_a_link_to_nowhere(folder: Path) -> None:
    newest = checkpoints(folder)[-1]
    shutil.rmtree(newest)
    newest.symlink_to(folder / "nowhere")


def damage_weights(n: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for path in checkpoints(folder)[-n:]:
            flip_a_bit(path / WEIGHTS)

    return damage


def empty_weights(folder: Path) -> None:
    (checkpoints(folder)[-1] / WEIGHTS).write_bytes(b"")


def zero_state(folder: Path) -> None:
    """What a file system may leave of a file that was being written when the power went."""
    state = checkpoints(folder)[-1] / "trainer" / "state.json"
    state.write_bytes(bytes(state.stat().st_size))


def take_the_state_of_another_run(folder: Path) -> None:
    """A state that is whole in itself, of the same step and the same shapes."""
    other = folder.with_name("other")
    with pytest.raises(Interrupted):
        train(small_job(other, muon=True, listener=SignalAt("pretrain", 5)))
    state = Path("trainer") / "state.json"
    shutil.copy(checkpoints(other)[-1] / state, checkpoints(folder)[-1] / state)


HARM: dict[str, tuple[Callable[[Path], None], int]] = {
    "the newest replaced by a file": (replace_by_a_file, 1),
    "the newest replaced by a link to nowhere": (replace_by_a_link_to_nowhere, 1),
    "weights of no length": (empty_weights, 1),
    "state of zeros": (zero_state, 1),
    "state of another run": (take_the_state_of_another_run, 1),
    "the two newest damaged": (damage_weights(2), 2),
    "all damaged": (damage_weights(3), 3),
}


@pytest.mark.parametrize("name", HARM)
def test_a_run_survives_damage_and_ends_in_the_same_bytes(cut: Path, whole: Any, name: str) -> None:
    harm, n_passed = HARM[name]
    harm(cut)
    messages = go_on(cut).messages
    warnings = [text for text in messages if "is damaged" in text]
    assert len(warnings) == n_passed
    for step, text in zip((5, 4, 2), warnings, strict=False):
        assert f"step-0000000{step} is damaged" in text
    resumed = [f"pretrain: going on from step {(4, 2)[n_passed - 1]} of 6"] if n_passed < 3 else []
    assert [text for text in messages if "going on" in text] == resumed
    assert outcome(cut) == whole


def test_an_old_checkpoint_that_was_being_removed_is_no_trouble(cut: Path, whole: Any) -> None:
    """A kill in the middle of a removal leaves part of a folder, below a newest that is whole."""
    (checkpoints(cut)[0] / WEIGHTS).unlink()
    assert go_on(cut).messages == ["pretrain: going on from step 5 of 6"]
    assert outcome(cut) == whole
    assert steps(cut) == [4, 5, 6]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that others may read; in the test this process is bound by permissions."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no permission bits")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    user = os.geteuid()
    try:
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.mark.parametrize("place", [WEIGHTS, "trainer/state.json"])
def test_a_checkpoint_that_may_not_be_read_is_kept(readable: Path, cut: Path, place: str) -> None:
    """It may be whole: what is asked for is the permission, and nothing is deleted."""
    folder = readable / "cut"
    shutil.copytree(cut, folder)
    before = tree(folder)
    file = checkpoints(folder)[-1] / place
    mode = file.stat().st_mode
    file.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    with pytest.raises(StorageError, match=rf"no permission to read .*{file.name}.*run the same"):
        go_on(folder)
    os.seteuid(os.getuid())
    file.chmod(mode)
    assert tree(folder) == before


# --- a disk that refuses --------------------------------------------------------------------------


class At(Recorder):
    """Does something when the run has reported a step."""

    def __init__(self, step: int, do: Callable[[], object]) -> None:
        super().__init__()
        self.step, self.do = step, do

    def progress(self, label: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        super().progress(label, done, total, figures)
        if done == self.step:
            self.step = -1
            self.do()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_metrics_on_a_full_disk_stop_the_run_which_goes_on_when_there_is_space(
    tmp_path: Path, whole: Any
) -> None:
    """From step 3 on metrics.jsonl is a link to the device that is always full."""
    folder, aside = tmp_path / "run", tmp_path / "aside.jsonl"
    file = folder / "metrics.jsonl"

    def fill() -> None:
        shutil.move(file, aside)
        file.symlink_to("/dev/full")

    with pytest.raises(StorageError, match=r"no space left to write .*metrics\.jsonl; free some"):
        go_on(folder, At(3, fill))
    assert all(read_checkpoint(path) for path in checkpoints(folder))
    assert steps(folder) == [0, 2]
    file.unlink()
    shutil.move(aside, file)
    assert go_on(folder).messages == ["pretrain: going on from step 2 of 6"]
    assert outcome(folder) == whole


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Lets the system refuse files past a size, until the test ends."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_the_system_takes_half_of_is_cut_off_again(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.log(1, {"loss": 2.0})
    size = file.path.stat().st_size
    small_files(size + 9)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: File too large; .* run the same"):
        file.log(2, {"loss": 1.5})
    small_files(1 << 20)
    assert file.path.stat().st_size == size + 9
    file.rewind(1)
    file.log(2, {"loss": 1.25})
    assert list(file) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.25}]


def test_a_checkpoint_too_large_for_the_disk_stops_the_run_with_the_ones_before_it(
    cut: Path, whole: Any, small_files: Callable[[int], None]
) -> None:
    before = tree(cut / "checkpoints")
    small_files((checkpoints(cut)[-1] / WEIGHTS).stat().st_size // 2)
    with pytest.raises(StorageError, match="File too large") as caught:
        go_on(cut)
    small_files(1 << 30)
    assert "\n" not in str(caught.value)
    assert tree(cut / "checkpoints") == before
    go_on(cut)
    assert outcome(cut) == whole


@pytest.mark.parametrize("step", [2, 3])
def test_a_folder_that_is_gone_stops_the_run(tmp_path: Path, whole: Any, step: int) -> None:
    """As when the disk is lost, a checkpoint half written or not: none is begun where it was."""
    folder, away = tmp_path / "run", tmp_path / "away"
    with pytest.raises(StorageError, match="disk is there, then run the same command") as caught:
        go_on(folder, At(step, lambda: folder.rename(away)))
    assert "\n" not in str(caught.value)
    assert checkpoints(folder) == []
    assert all(read_checkpoint(path) for path in checkpoints(away))
    go_on(away)
    assert outcome(away) == whole


def test_a_checkpoint_whose_folder_goes_while_it_is_written_is_not_committed(
    tmp_path: Path,
) -> None:
    """What is written after the loss makes the folder anew, without what was written before."""
    path, away = tmp_path / "run" / "step-00000001", tmp_path / "away"

    def write_and_lose() -> None:
        with new_folder(path) as folder:
            write_bytes(folder / "model" / "weights", b"1")
            path.parent.rename(away)
            write_bytes(folder / "trainer" / "optimizer", b"2")

    with pytest.raises(StorageError, match="disk is there"):
        write_and_lose()
    assert not path.exists()


def test_metrics_that_are_damaged_in_the_middle_keep_their_other_lines(
    cut: Path, whole: Any
) -> None:
    file = cut / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:1], "\0" * len(lines[1]), "\n", *lines[2:]]))
    messages = go_on(cut).messages
    assert any("metrics.jsonl" in text and "1 line" in text for text in messages)
    weights, optimizer, expected = whole
    assert outcome(cut) == (weights, optimizer, [line for line in expected if line["step"] != 2])
    assert all(json.loads(line) for line in file.read_text().splitlines())
