"""The engine: an artefact that stands is not made again, one that is damaged is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.engine import Artefact, Engine, Job, read_artefact, versions_of
from groundup.runtime import DataError, hash_file, stable_hash


def shout(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Join what the inputs say, and say it `times` over; a note in `log` for each call."""
    said = "".join((place / "said.txt").read_text() for place in inputs) + params["word"]
    (folder / "said.txt").write_text(said * params.get("times", 1))
    if "log" in params:
        with Path(params["log"]).open("a") as log:
            log.write("x")
    return {"n_characters": len(said)}


def fail(inputs: list[Path], params: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "half.txt").write_text("half")
    raise DataError("this cannot be used")


def job(word: str, *inputs: Artefact, log: Path | None = None, **params: Any) -> Job:
    places = {} if log is None else {"log": str(log)}
    return Job("shout", 1, shout, inputs, {"word": word, **params}, places)


def n_calls(log: Path) -> int:
    return len(log.read_text()) if log.exists() else 0


def test_jobs_build_on_each_other_and_stand(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def run() -> str:
        engine = Engine(tmp_path / "stages")
        a, b = engine.run([job("to ", log=log), job("be ", log=log)], "one")
        [both] = engine.run([job("or not", a, b, log=log)], "two")
        assert both.counts == {"n_characters": 12}
        return both.path("said.txt").read_text()

    assert run() == run() == "to be or not"
    assert n_calls(log) == 3


def test_the_header_says_what_it_is_made_of(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    [a] = engine.run([job("to ")], "one")
    [b] = engine.run([job("be", a, log=tmp_path / "log")], "two")
    header = json.loads((b.folder / "header.json").read_text())
    assert header["params"] == {"word": "be"}
    assert header["inputs"] == [{"artefact": a.name, "hash": a.hash}]
    assert header["files"] == {"said.txt": hash_file(b.path("said.txt"))} == b.files
    assert header["versions"] == {"stage": 1, **versions_of()}
    assert str(tmp_path) not in json.dumps(header)  # so that the folder may be moved
    assert read_artefact(b.folder) == b


def test_the_key_follows_from_all_that_decides_and_nothing_else(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    a, b = engine.run([job("a"), job("b")], "inputs")
    plain = job("c", a)
    others = [
        job("d", a),
        job("c", b),
        job("c", a, a),
        job("c", a, times=2),
        replace(plain, version=2),
        replace(plain, stage="whisper"),
        replace(plain, libraries=("numpy",)),
    ]
    assert len({one.key() for one in [plain, *others]}) == len(others) + 1
    same = [job("c", a, log=tmp_path / "log"), replace(plain, places={"at": "x"})]
    assert {one.key() for one in same} == {plain.key()}
    copied = Artefact(tmp_path / "elsewhere", {}, dict(a.files))
    assert job("c", copied).key() == plain.key()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "said.txt").write_text("to bf"),
        lambda folder: (folder / "said.txt").unlink(),
        lambda folder: (folder / "header.json").unlink(),
        lambda folder: (folder / "header.json").write_text('{"files": '),
    ],
)
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: Any) -> None:
    log = tmp_path / "log"
    [made] = Engine(tmp_path / "stages").run([job("to be", log=log)], "one")
    before = hash_file(made.folder / "header.json")
    damage(made.folder)
    engine = Engine(tmp_path / "stages")
    [again] = engine.run([job("to be", log=log)], "one")
    assert (again.path("said.txt").read_text(), n_calls(log), engine.n_made) == ("to be", 2, 1)
    assert hash_file(again.folder / "header.json") == before


def test_a_job_that_fails_leaves_nothing_and_the_others_stand(tmp_path: Path) -> None:
    log = tmp_path / "log"
    bad = Job("shout", 1, fail)
    with pytest.raises(DataError, match="this cannot be used"):
        Engine(tmp_path / "stages").run([job("a", log=log), bad, job("b", log=log)], "one")
    assert [p.name for p in (tmp_path / "stages" / "shout").iterdir()] == [job("a").key()]
    Engine(tmp_path / "stages").run([job("a", log=log), job("b", log=log)], "one")
    assert n_calls(log) == 2


def test_equal_jobs_are_done_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = Engine(tmp_path / "stages").run([job(w, log=log) for w in "aba"], "one")
    assert [one.path("said.txt").read_text() for one in found] == ["a", "b", "a"]
    assert n_calls(log) == 2


def test_what_a_kill_has_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "shout" / f".{job('a').key()}.abc.tmp"
    left.mkdir(parents=True)
    (left / "said.txt").write_text("ha")
    Engine(tmp_path).run([job("a")], "one")
    assert not left.exists()


def test_pruning_keeps_what_was_used(tmp_path: Path) -> None:
    Engine(tmp_path).run([job("old"), replace(job("old"), stage="gone")], "one")
    engine = Engine(tmp_path)
    [a] = engine.run([job("a")], "one")
    kept = engine.keep("made", lambda folder: {"n": (folder / "x").write_text("x")})
    engine.prune()
    assert sorted(p for p in tmp_path.glob("*/*")) == sorted([a.folder, kept.folder])


def test_what_is_kept_stands_under_what_it_holds(tmp_path: Path) -> None:
    def write(text: str) -> Artefact:
        return Engine(tmp_path).keep("made", lambda folder: {"n": (folder / "x").write_text(text)})

    first, second, other = write("to be"), write("to be"), write("or not")
    assert first == second == read_artefact(first.folder)
    assert first.folder != other.folder
    assert other.counts == {"n": 6}


@settings(max_examples=20, deadline=None)
@given(words=st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
def test_the_order_of_jobs_changes_no_artefact(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    one, two = (tmp_path_factory.mktemp("order") for _ in range(2))
    forward = Engine(one).run([job(word) for word in words], "all")
    backward = Engine(two).run([job(word) for word in reversed(words)], "all")
    assert [a.name for a in forward] == [a.name for a in reversed(backward)]
    assert stable_hash([a.files for a in forward]) == stable_hash(
        [a.files for a in reversed(backward)]
    )
