"""Chats and pairs as other projects write them, and those that cannot be mapped."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundup.data.reading.conversations import record_of_any_format
from groundup.data.records import Chat, Document, Preference, Refused

from .samples import read

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": "é"}}\n</tool_call>'


def turns_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    chat = record_of_any_format(row, "a#0", "a")
    assert isinstance(chat, Chat)
    assert (chat.id, chat.source) == ("a#0", "a")
    return [(message.role, message.content) for message in chat.messages]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [HI, HELLO]}, "user: Hi|assistant: Hello"),
        ({"messages": [{"role": "developer", "content": "Be kind."}, HI, HELLO]},
         "system: Be kind.|user: Hi|assistant: Hello"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"},
                                                    {"type": "text", "text": "you"}]}, HELLO]},
         "user: Hi\nyou|assistant: Hello"),
        ({"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "function": {"name": "f", "arguments": '{"x": "é"}'}}]},
            {"role": "tool", "tool_call_id": "1", "content": "sun"}, HELLO]},
         f"user: Hi|assistant: {CALL}|tool: sun|assistant: Hello"),
        ({"messages": [HI, {"role": "assistant", "content": "Wait.", "function_call":
            {"name": "f", "arguments": {"x": "é"}}}, {"role": "function", "content": "sun"},
            HELLO]},
         f"user: Hi|assistant: Wait.\n{CALL}|tool: sun|assistant: Hello"),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
         "user: Hi|assistant: Hello"),
        ({"conversation": [{"from": "human", "value": "Hi"}, {"from": "bot", "value": "Hello"}],
          "system": "Be kind."}, "system: Be kind.|user: Hi|assistant: Hello"),
        ({"instruction": "Add", "input": "1 1", "output": "2"}, "user: Add\n\n1 1|assistant: 2"),
        ({"instruction": "Sing", "input": "", "output": "La"}, "user: Sing|assistant: La"),
        ({"instruction": "Sing", "output": "La", "text": "### Instruction: Sing\nLa"},
         "user: Sing|assistant: La"),
        ({"instruction": "And?", "output": "So.", "history": [["Hi", "Hello"]]},
         "user: Hi|assistant: Hello|user: And?|assistant: So."),
        ({"prompt": "Hi", "completion": "Hello"}, "user: Hi|assistant: Hello"),
        ({"prompt": [HI], "completion": [HELLO]}, "user: Hi|assistant: Hello"),
        ({"prompt": "Hi", "response": "Hello"}, "user: Hi|assistant: Hello"),
        ({"messages": [HI, HELLO], "system": "Be brief."},
         "system: Be brief.|user: Hi|assistant: Hello"),
        ({"instruction": "", "input": "1 1", "output": "2", "history": "[]"},
         "user: 1 1|assistant: 2"),
        ({"instruction": "Add", "input": "", "context": "1 1", "output": "2"},
         "user: Add\n\n1 1|assistant: 2"),
        ({"prompt": "Below is an instruction that describes a task. Write a response.\n\n"
                    "### Instruction:\nAdd\n\n### Input:\n1 1\n\n### Response:\n",
          "response": "2"}, "user: Add\n\n1 1|assistant: 2"),
        ({"instruction": "Who?", "context": "It rained.", "response": "Rain.", "category": "qa"},
         "user: Who?\n\nIt rained.|assistant: Rain."),
    ],
)  # fmt: skip
def test_chats_of_other_formats(row: dict[str, Any], expected: str) -> None:
    assert "|".join(f"{role}: {content}" for role, content in turns_of(row)) == expected


HH = "\n\nHuman: One\n\nand more\n\nAssistant: Two\n\nHuman: Three\n\nAssistant: "


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"chosen": HH + "Good", "rejected": HH + "Bad"}, "One\n\nand more|Two|Three"),
        (
            {"chosen": [HI, {**HELLO, "content": "Good"}], "prompt": "Hi",
             "rejected": [HI, {**HELLO, "content": "Bad"}], "messages": [HI, HELLO]},
            "Hi",
        ),
        (
            {"chosen": [{**HELLO, "content": "Good"}], "rejected": [{**HELLO, "content": "Bad"}],
             "prompt": [HI, HELLO, HI]},
            "Hi|Hello|Hi",
        ),
        (
            {"instruction": "Add", "input": "1 1", "output": "Good", "chosen": "Good",
             "rejected": "Bad"},
            "Add\n\n1 1",
        ),
    ],
)  # fmt: skip
def test_pairs_of_other_formats(row: dict[str, Any], prompt: str) -> None:
    pair = record_of_any_format(row, "a#0", "a")
    assert isinstance(pair, Preference)
    assert "|".join(message.content for message in pair.prompt) == prompt
    assert [m.role for m in pair.prompt] == (["user", "assistant"] * 2)[: len(pair.prompt)]
    assert (pair.chosen, pair.rejected) == ("Good", "Bad")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Good", "rejected": "Bad"},
        {"prompt": [HI], "chosen": "Good", "rejected": "Bad"},
        {"instruction": "Hi", "chosen": "Good", "rejected": "Bad"},
        {side: [HI, {**HELLO, "content": side}] for side in ("chosen", "rejected")},
    ],
)
def test_what_a_system_says_stands_before_a_pair(row: dict[str, Any]) -> None:
    pair = record_of_any_format({**row, "system": "Be brief."}, "a#0", "a")
    assert isinstance(pair, Preference)
    assert [(m.role, m.content) for m in pair.prompt] == [("system", "Be brief."), ("user", "Hi")]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"instruction": "a", "input": ["x"], "output": "b"}, "not_a_string", "as Alpaca: input"),
        ({"instruction": "a", "output": "b", "history": 5}, "messages_not_a_list", "as Alpaca: "),
        ({"messages": [{"role": "user", "content": [{"type": ["text"], "text": "a"}]}, HELLO]},
         "not_a_string", "as OpenAI: message 0 has a part of type"),
        ({"prompt": "q", "chosen": None, "rejected": "b"}, "empty", "chosen is null"),
        ({"prompt": [{"role": "system", "content": "S"}, HI], "chosen": [HI, HELLO],
          "rejected": [HI, {**HELLO, "content": "No"}]}, "prompts_differ",
         "as UltraFeedback: a side"),
        ({"chosen": HH + "a", "rejected": "\n\nHuman: x\n\nAssistant: b"}, "prompts_differ",
         "as HH-RLHF: chosen and rejected do not answer the same prompt"),
        ({"chosen": HH + "a", "rejected": HH + "a"}, "equal_sides", "as HH-RLHF: "),
        ({"chosen": HH, "rejected": HH + "a"}, "empty", "as HH-RLHF: chosen is empty"),
        ({"chosen": [HI, HELLO], "rejected": [HELLO, HI, HELLO]}, "prompts_differ",
         "as UltraFeedback: "),
        ({"chosen": [HI], "rejected": [HI]}, "roles_out_of_order",
         "as UltraFeedback: chosen does not end with the assistant"),
        ({"chosen": [], "rejected": [HI]}, "message_without_role", "as UltraFeedback: chosen"),
        ({"chosen": "a", "rejected": "b"}, "columns_not_known", "prompt with chosen and rejected"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}]}, "roles_out_of_order",
         "as ShareGPT: message 0 is of role 'assistant'"),
        ({"conversations": [{"value": "Hi"}]}, "message_without_role", "as ShareGPT: message 0"),
        ({"conversations": "Hi"}, "messages_not_a_list", "as ShareGPT: "),
        ({"instruction": "Add", "output": ""}, "empty_message", "as Alpaca: message 1"),
        ({"instruction": "Add", "output": "2", "history": ["x"]}, "messages_not_a_list",
         "as Alpaca: history"),
        ({"prompt": "Hi", "completion": 5}, "not_a_string", "as prompt and completion: "),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, HELLO]},
         "not_a_string", "as OpenAI: message 0 has a part of type image_url"),
        ({"messages": [HI, {"role": "assistant", "tool_calls": [{"id": 1}]}]}, "not_a_string",
         "as OpenAI: a call of a tool that does not name it"),
        ({"messages": [HI, {"role": "assistant", "content": None, "tool_calls": []}]},
         "empty_message", "message 1 (assistant) has no content"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused_by_name(
    row: dict[str, Any], reason: str, detail: str
) -> None:
    with pytest.raises(Refused) as refused:
        record_of_any_format(row, "a#0", "a")
    assert refused.value.reason == reason
    assert detail in refused.value.detail


@pytest.mark.parametrize(
    "row",
    [
        {"text": "t", "chosen": HH + "a", "rejected": HH + "b"},
        {"text": "t", "conversations": [{"from": "human", "value": "Hi"}]},
        {"text": "t", "instruction": "Add", "output": "2"},
        {"text": "t", "prompt": "a", "completion": "b"},
    ],
)
def test_a_row_with_a_text_of_its_own_stays_a_document(row: dict[str, Any]) -> None:
    assert record_of_any_format(row, "a#0", "a") == Document("t", "a#0", "a")


def test_the_formats_are_read_from_files_of_rows(tmp_path: Path) -> None:
    alpaca = {"instruction": "Add", "input": "1 1", "output": "2"}
    shared = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    (tmp_path / "a.jsonl").write_text(json.dumps(alpaca) + "\n")
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(alpaca), list(alpaca.values())])
    pq.write_table(pa.Table.from_pylist([alpaca]), tmp_path / "c.parquet")
    pq.write_table(pa.Table.from_pylist([{"conversations": shared}]), tmp_path / "d.parquet")
    *alpacas, sharegpt = read(tmp_path)
    assert [record.id for record in alpacas] == ["s/a.jsonl#0", "s/b.csv#0", "s/c.parquet#0"]
    said = [record.messages for record in alpacas if isinstance(record, Chat)]
    assert said[0] == said[1] == said[2]
    assert isinstance(sharegpt, Chat)
    assert [message.content for message in sharegpt.messages] == ["Hi", "Hello"]
