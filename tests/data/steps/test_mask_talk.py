"""Chats and pairs masked: what is said and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.data.cleaning import CleaningConfig
from groundup.data.engine import Engine
from groundup.data.reading import ReadingConfig, SourceConfig
from groundup.data.steps.clean import clean
from groundup.data.steps.divide import divide
from groundup.data.steps.mask_talk import mask_said, mask_talk
from groundup.data.steps.read import read_source_into
from groundup.data.steps.shard import REMOVED, Shard
from groundup.data.table import rows_of

MASK = CleaningConfig(preset="none", identify_language=False, pii="mask")
OFF = CleaningConfig(preset="none", identify_language=False)


def chat(ask: str, reply: str = "Gladly.") -> dict[str, Any]:
    turns = [("system", "You are helpful."), ("user", ask), ("assistant", reply)]
    return {"messages": [{"role": role, "content": said} for role, said in turns]}


def pair(ask: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": ask, "chosen": chosen, "rejected": rejected}


def read(engine: Engine, folder: Path, *rows: Mapping[str, Any]) -> list[Shard]:
    path = folder / "said.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source = SourceConfig(path=str(path))
    return read_source_into(engine, source, "said", ReadingConfig()).shards


def talk_of(shards: list[Shard]) -> list[Shard]:
    return [shard for shard in shards if shard.kind != "documents"]


def rows_by_id(shards: list[Shard]) -> dict[str, str]:
    return {row["id"]: row["text"] for shard in shards for row in rows_of(shard.path)}


def test_each_turn_and_each_reply_is_masked(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "work")
    shards = read(
        engine,
        tmp_path,
        chat('Is "ann@firm.de" mine?\nCall +49 30 1234567.', "It is ann@firm.de."),
        chat("Who is there — naïvely?"),
        pair("I am bob@firm.de.", "Hello, bob@firm.de.", "Who?"),
    )
    assert {shard.kind for shard in shards} == {"chats", "preferences"}
    before = rows_by_id(shards)
    made = mask_talk(engine, shards, MASK)
    after = rows_by_id(made)
    assert list(after) == list(before)
    said = {id.rpartition("#")[2]: json.loads(text) for id, text in after.items()}
    assert [turn["content"] for turn in said["0"]["messages"]] == [
        "You are helpful.",
        'Is "<EMAIL>" mine?\nCall <PHONE>.',
        "It is <EMAIL>.",
    ]
    assert [turn["role"] for turn in said["0"]["messages"]] == ["system", "user", "assistant"]
    assert said["2"]["prompt"] == [{"role": "user", "content": "I am <EMAIL>."}]
    assert (said["2"]["chosen"], said["2"]["rejected"]) == ("Hello, <EMAIL>.", "Who?")
    untouched = next(id for id in before if id.endswith("#1"))
    assert after[untouched] == before[untouched]
    counts = {shard.kind: shard.artefact.counts["masked"] for shard in made}
    assert counts == {"chats": {"email": 2, "phone": 1}, "preferences": {"email": 2}}
    assert {shard.kind: shard.n for shard in made} == {"chats": 2, "preferences": 1}
    assert sum(shard.n_bytes for shard in made) == sum(len(t.encode()) for t in after.values())


def test_it_is_said_that_stands_in_no_way_of_the_json() -> None:
    """What JSON writes otherwise than it is said: quotes, newlines, letters beyond ASCII."""
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIabc012+/=\n" * 8 + "-----END PRIVATE KEY-----"
    said = {"messages": [{"content": f'é "{key}"', "role": "user"}]}
    text, found = mask_said(json.dumps(said))
    assert json.loads(text) == {"messages": [{"content": 'é "<KEY>"', "role": "user"}]}
    assert found == {"key": 1}
    assert mask_said(text) == (text, {})


def test_a_pair_that_differed_in_what_is_masked_alone_is_removed(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "work")
    shards = read(engine, tmp_path, pair("Who?", "ann@firm.de", "bob@firm.de"))
    [made] = mask_talk(engine, shards, MASK)
    assert (made.n, made.artefact.counts["dropped"]) == (0, {"equal_sides": 1})
    assert made.artefact.counts["masked"] == {}
    [gone] = rows_of(made.artefact.path(REMOVED))
    assert (gone["stage"], gone["reason"]) == ("clean", "equal_sides")
    assert json.loads(gone["text"])["chosen"] == "<EMAIL>"


def test_nothing_is_made_where_masking_is_off(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "work")
    shards = read(engine, tmp_path, chat("I am ann@firm.de."))
    n_made = engine.n_made
    assert mask_talk(engine, shards, OFF) == shards
    assert engine.n_made == n_made


def test_cleaning_takes_each_kind_and_keeps_the_order(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "work")
    document = {"text": "Write to ann@firm.de at once."}
    found = read(engine, tmp_path, chat("I am ann@firm.de."), document, pair("a", "b", "c"))
    shards = [found[1], found[0], found[2]]
    kinds = [shard.kind for shard in shards]
    for config, address in ((MASK, "<EMAIL>"), (OFF, "ann@firm.de")):
        made = clean(engine, shards, config)
        assert [shard.kind for shard in made] == kinds
        of_kind = {shard.kind: " ".join(rows_by_id([shard]).values()) for shard in made}
        assert {kind: address in text for kind, text in of_kind.items()} == {
            "documents": True,
            "chats": True,
            "preferences": False,
        }
    assert talk_of(clean(engine, shards, OFF)) == talk_of(shards)


def test_rows_without_a_find_stay_in_their_split_and_equal_prompts_on_one_side(
    tmp_path: Path,
) -> None:
    """Masked, twenty prompts are one; divided as they were read, some would be held out."""
    engine = Engine(tmp_path / "work")
    plain = [chat(f"What is {n}?") for n in range(60)]
    same = [pair(f"I am a{n}@firm.de.", f"Yes, {n}.", "No.") for n in range(20)]
    other = [pair(f"Who is {n}?", "You.", "Me.") for n in range(40)]
    shards = read(engine, tmp_path, *plain, *same, *other)

    def splits(shards: list[Shard]) -> dict[str, str]:
        divided = divide(engine, shards, fraction=0.3, minimum=1, limit_bytes=None)
        return {
            json.loads(line)["id"]: split
            for shard in divided
            for split in ("train", "heldout")
            for line in shard.artefact.path(f"{split}.jsonl").read_text().splitlines()
        }

    before, after = splits(shards), splits(mask_talk(engine, shards, MASK))
    assert before.keys() == after.keys()
    moved = {id for id in before if before[id] != after[id]}
    of_same = {id for id in before if 60 <= int(id.rpartition("#")[2]) < 80}
    assert moved <= of_same
    assert len({before[id] for id in of_same}) == 2
    assert len({after[id] for id in of_same}) == 1
