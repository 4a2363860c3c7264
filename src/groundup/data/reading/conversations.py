r"""Rows of the chat formats that people have, as `messages` or `prompt`, `chosen` and `rejected`.

They are recognised by their columns; a row that `record_from_row` reads as it is stays as it is.

| format            | columns                                            | becomes              |
|-------------------|----------------------------------------------------|----------------------|
| OpenAI            | messages: [{role, content}], the content also null | a chat               |
|                   | or a list of text parts, with tool_calls           |                      |
| ShareGPT          | conversations (or conversation): [{from, value}],  | a chat               |
|                   | maybe system                                       |                      |
| Alpaca            | instruction, output, maybe input, system, history; | a chat; instruction  |
|                   | and text only if it spells the others out          | and input are joined |
|                   |                                                    | by a blank line      |
|                   | instruction, chosen, rejected, maybe input         | a preference pair    |
| Dolly             | instruction, response, maybe context               | a chat, as Alpaca    |
| prompt/completion | prompt, completion or response: strings or lists   | a chat; what Alpaca  |
|                   | of messages                                        | writes around a      |
|                   |                                                    | prompt is left out   |
| HH-RLHF           | chosen, rejected: "\n\nHuman: … \n\nAssistant: …"  | a preference pair    |
| UltraFeedback     | chosen, rejected: lists of messages, maybe prompt  | a preference pair    |

Roles are named `developer` (system), `human` (user), `gpt`, `bot` and `function_call` (assistant),
`function` and `observation` (tool) in some of them. A row with a `text` of its own is a document,
one with `messages` beside two such sides a pair. A call of a tool is written into the content as
Qwen and Hermes write it, `<tool_call>\n{"name": …, "arguments": …}\n</tool_call>`. A pair is one
only if both sides begin with the whole prompt. What fits none of this is refused by name. What a
`system` says stands first. Left out are definitions of tools, and reasoning beside the content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from groundup.data.records import Record, Refused, record_from_row

_ROLES = {
    "developer": "system",
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "function": "tool",
    "observation": "tool",
}
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_HH_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_HH_ROLES = {"Human": "user", "Assistant": "assistant"}
Turn = dict[str, Any]


def record_of_any_format(row: Any, record_id: str, source: str) -> Record:
    """`record_from_row` of a row of any of these formats; Refused names the format."""
    name, as_known = "", row
    try:
        if isinstance(row, Mapping):
            name, as_known = _as_known(row)
        return record_from_row(as_known, record_id, source)
    except Refused as refused:
        if not name:
            raise
        raise Refused(refused.reason, f"as {name}: {refused.detail}") from refused


def _as_known(row: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(name of its format, the same in known columns); ("", row) if nothing is to be done."""
    found = {name for name, value in row.items() if value is not None}
    for name, columns, convert in _FORMATS:
        if columns <= found and (as_known := _named(name, convert, row)) is not None:
            return name, as_known
    if isinstance(row.get("messages"), Sequence):
        return "", {**row, **_chat(row, _turns(row["messages"]))}
    if {"prompt", "chosen", "rejected"} <= found and row.get("system"):
        asked = row["prompt"]
        asked = [{"role": "user", "content": asked}] if isinstance(asked, str) else _turns(asked)
        return "", {**row, "prompt": _chat(row, asked)["messages"]}
    return "", row


def _named(name: str, convert: Any, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] | None = convert(row)
    except Refused as refused:
        raise Refused(refused.reason, f"as {name}: {refused.detail}") from refused
    return found


# --- chats ----------------------------------------------------------------------------------------


def _turns(messages: Any) -> Any:
    """Messages with the roles and plain contents of ours; what is none of them as it is."""
    if not isinstance(messages, list | tuple):
        return messages
    return [_turn(message, n) for n, message in enumerate(messages)]


def _turn(message: Any, n: int) -> Any:
    if not isinstance(message, Mapping):
        return message
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if isinstance(content, list | tuple):
        content = _joined_parts(content, n)
    calls = _calls(message)
    if calls and (content is None or isinstance(content, str)):
        content = "\n".join([*([content] if content else []), *calls])
    return {"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": content}


def _joined_parts(parts: Sequence[Any], n: int) -> str:
    texts = []
    for part in parts:
        kind = str(part.get("type") or "text") if isinstance(part, Mapping) else type(part).__name__
        text = part.get("text") if isinstance(part, Mapping) else part
        if (kind not in _TEXT_PARTS and kind != "str") or not isinstance(text, str):
            told = f"message {n} has a part of type {kind}; only parts of text are read"
            raise Refused("not_a_string", f"as OpenAI: {told}")
        texts.append(text)
    return "\n".join(texts)


def _calls(message: Mapping[str, Any]) -> list[str]:
    """The calls of tools in a message, as text."""
    calls = message.get("tool_calls")
    calls = list(calls) if isinstance(calls, list | tuple) else []
    if isinstance(message.get("function_call"), Mapping):  # OpenAI, before tools
        calls.append(message["function_call"])
    written = []
    for call in calls:
        told = call.get("function") or call if isinstance(call, Mapping) else {}
        if not isinstance(told, Mapping) or not isinstance(told.get("name"), str):
            raise Refused("not_a_string", "as OpenAI: a call of a tool that does not name it")
        arguments = told.get("arguments")
        if isinstance(arguments, str):
            with suppress(ValueError, RecursionError):
                arguments = json.loads(arguments)
        try:
            body = json.dumps({"name": told["name"], "arguments": arguments}, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise Refused("not_json", f"as OpenAI: arguments of a tool: {error}") from error
        written.append(f"<tool_call>\n{body}\n</tool_call>")
    return written


def _sharegpt(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if _is_read_already(row):
        return None
    said = row.get("conversations")
    turns = _turns(row["conversation"] if said is None else said)
    return _chat(row, turns)


def _chat(row: Mapping[str, Any], turns: Any) -> Mapping[str, Any]:
    """The row with these messages, behind what stands in `system`."""
    system = row.get("system")
    if isinstance(turns, list) and isinstance(system, str) and system.strip():
        begun = turns and isinstance(turns[0], Mapping) and turns[0].get("role") == "system"
        turns = turns if begun else [{"role": "system", "content": system}, *turns]
    return {"messages": turns}


def _alpaca(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    output = row.get("response") if row.get("output") is None else row["output"]
    instruction = row["instruction"]
    text = row.get("text")
    if _is_read_already({**row, "text": None}) or (
        text is not None and not _spells_out(text, instruction, output)
    ):
        return None
    return _chat(row, [*_history(row), *_exchange(_asked(row), output)])


def _history(row: Mapping[str, Any]) -> list[Turn]:
    history = row.get("history") or ()
    if history == "[]":  # of a table
        return []
    turns: list[Turn] = []
    for exchange in history if isinstance(history, list | tuple) else (history,):
        if not isinstance(exchange, list | tuple) or len(exchange) != 2:
            raise Refused("messages_not_a_list", "history must be a list of (user, assistant)")
        turns += _exchange(*exchange)
    return turns


def _asked(row: Mapping[str, Any]) -> Any:
    """The instruction, and behind a blank line what it is about."""
    instruction = row["instruction"]
    given = row.get("input") or row.get("context") or ""
    if not isinstance(given, str):
        raise Refused("not_a_string", f"input must be a string, got {type(given).__name__}")
    if not isinstance(instruction, str):
        return instruction
    return "\n\n".join(part for part in (instruction, given) if part.strip())


def _alpaca_pair(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if _is_read_already(row):
        return None
    prompt = [*_history(row), {"role": "user", "content": _asked(row)}]
    sides = {side: row[side] for side in ("chosen", "rejected")}
    return {"prompt": _chat(row, prompt)["messages"], **sides}


def _exchange(user: Any, assistant: Any) -> list[Turn]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def _spells_out(text: Any, *parts: Any) -> bool:
    return isinstance(text, str) and all(isinstance(one, str) and one in text for one in parts)


def _completion(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if _is_read_already(row):
        return None
    turns: list[Any] = []
    reply = row.get("response") if row.get("completion") is None else row["completion"]
    for said, role in ((_unwrapped(row["prompt"]), "user"), (reply, "assistant")):
        turns += _turns(said) if isinstance(said, list | tuple) else [
            {"role": role, "content": said}
        ]  # fmt: skip
    return _chat(row, turns)


def _unwrapped(prompt: Any) -> Any:
    """A prompt without what Alpaca's template writes around it.

    >>> _unwrapped("Below is an instruction.\\n\\n### Instruction:\\nSay a.\\n\\n### Response:\\n")
    'Say a.'
    """
    found = _TEMPLATE.fullmatch(prompt) if isinstance(prompt, str) else None
    return prompt if found is None else "\n\n".join(part for part in found.groups() if part)


_TEMPLATE = re.compile(
    r"Below is an instruction[^\n]*\n\n### Instruction:\n(.*?)"
    r"(?:\n\n### Input:\n(.*?))?\n\n### Response:\s*",
    re.DOTALL,
)


def _is_read_already(row: Mapping[str, Any]) -> bool:
    """Whether `record_from_row` has something that it would take first."""
    found = {name for name, value in row.items() if value is not None}
    return bool(found & {"messages", "text"}) or {"prompt", "chosen", "rejected"} <= found


# --- preference pairs -----------------------------------------------------------------------------


def _hh(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    sides = row["chosen"], row["rejected"]
    if _is_read_already(row) or not all(_is_hh(side) for side in sides):
        return None
    return _pair(row, *(_hh_turns(side) for side in sides))


def _is_hh(side: Any) -> bool:
    return isinstance(side, str) and side.lstrip().startswith("Human:") and "\n\nAssistant:" in side


def _hh_turns(side: str) -> list[Turn]:
    _, *parts = _HH_TURN.split(side.strip())
    speakers, said = parts[::2], parts[1::2]
    return [
        {"role": _HH_ROLES[who], "content": what.strip()}
        for who, what in zip(speakers, said, strict=True)
    ]


def _ultrafeedback(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    sides = [row["chosen"], row["rejected"]]
    if not all(isinstance(side, list | tuple) for side in sides):
        return None
    turns = [_turns(side) for side in sides]
    prompt = row.get("prompt")
    if all(len(side) == 1 for side in turns) and prompt is not None:
        asked = _turns(prompt) if isinstance(prompt, list | tuple) else [
            {"role": "user", "content": prompt}
        ]  # fmt: skip
        turns = [[*asked, *side] for side in turns]
    elif isinstance(prompt, list | tuple):
        asked = _turns(prompt)
        if any(side[: len(asked)] != asked for side in turns):
            raise Refused("prompts_differ", "a side does not begin with the whole prompt")
    elif isinstance(prompt, str) and not all(
        any(isinstance(turn, Mapping) and turn["content"] == prompt for turn in side)
        for side in turns
    ):
        raise Refused("prompts_differ", "a side does not hold the prompt")
    return _pair(row, *turns)


def _pair(
    row: Mapping[str, Any], chosen: Sequence[Any], rejected: Sequence[Any]
) -> Mapping[str, Any]:
    """What both sides begin with as the prompt, if only their last messages differ."""
    for side, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or not all(isinstance(turn, Mapping) for turn in turns):
            raise Refused("message_without_role", f"{side} needs messages of a role and a content")
        if turns[-1]["role"] != "assistant":
            raise Refused("roles_out_of_order", f"{side} does not end with the assistant")
    if chosen[:-1] != rejected[:-1]:
        raise Refused("prompts_differ", "chosen and rejected do not answer the same prompt")
    replies = {"chosen": chosen[-1]["content"], "rejected": rejected[-1]["content"]}
    return {"prompt": _chat(row, list(chosen[:-1]))["messages"], **replies}


_FORMATS = (
    ("UltraFeedback", {"chosen", "rejected"}, _ultrafeedback),
    ("HH-RLHF", {"chosen", "rejected"}, _hh),
    ("ShareGPT", {"conversations"}, _sharegpt),
    ("ShareGPT", {"conversation"}, _sharegpt),
    ("Alpaca", {"instruction", "chosen", "rejected"}, _alpaca_pair),
    ("Alpaca", {"instruction", "output"}, _alpaca),
    ("Dolly", {"instruction", "response"}, _alpaca),
    ("prompt and completion", {"prompt", "completion"}, _completion),
    ("prompt and response", {"prompt", "response"}, _completion),
)
