"""What a source yields: documents, chats, preference pairs, and refusals with their reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundup.runtime import DataError
from groundup.tokenizer.chat import Message, check_conversation
from groundup.tokenizer.templates import ROLES

NAME_A_COLUMN = "name the one that holds the text: --column NAME, or column: of the source"
_COLUMNS_TOLD = 20
_NAME_CHARACTERS = 40
_DOCUMENT_AND_CHATS = ("text", "messages")


@dataclass(frozen=True)
class Document:
    """Text to pretrain on.

    licence: its licence where that is certain
    path: of its file, relative to the source; members of archives as "a.zip!/b.txt"
    start, end: the bytes of that file that hold it, where that makes sense
    """

    text: str
    id: str
    source: str
    licence: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    start: int | None = field(default=None, kw_only=True)
    end: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Chat:
    """A conversation with at least one assistant turn."""

    messages: tuple[Message, ...]
    id: str
    source: str
    licence: str | None = None


@dataclass(frozen=True)
class Preference:
    """Two replies to one prompt, of which the first is the better."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    id: str
    source: str
    licence: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Something that was not taken: at which stage, for which reason (a slug), and the details."""

    id: str
    source: str
    stage: str
    reason: str
    detail: str


Record = Document | Chat | Preference


class Refused(Exception):  # noqa: N818 - a verdict on one record, caught by the reader
    """Raised while a row is made into a record; carries the reason and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def record_from_row(row: Any, record_id: str, source: str) -> Record:
    """One row of JSONL or Parquet as a record; Refused if it is none.

    `messages` makes a chat; `prompt`, `chosen` and `rejected` a preference pair; `text` a
    document. Columns that are null count as absent; a row with several is the first of these.
    """
    if not isinstance(row, Mapping):
        raise Refused("row_is_no_object", f"a row must be an object, got {type(row).__name__}")
    found = {name for name, value in row.items() if value is not None}
    if "messages" in found:
        return Chat(_conversation(row["messages"]), record_id, source)
    if {"prompt", "chosen", "rejected"} <= found:
        return _preference(row, record_id, source)
    if "text" in found:
        return Document(clean_text(row["text"], "text"), record_id, source)
    for name in _DOCUMENT_AND_CHATS:
        if name in row:
            raise Refused("empty", f"{name} is null")
    for columns in (("prompt", "chosen", "rejected"), ("instruction", "output")):
        null = [name for name in columns if name in row and row[name] is None]
        if null and set(columns) <= set(row):
            raise Refused("empty", f"{', '.join(null)} is null")
    need = "need text, or messages, or prompt with chosen and rejected"
    raise Refused(
        "columns_not_known",
        f"{columns_found(sorted(map(str, row)))}; {need}; or {NAME_A_COLUMN}",
    )


def columns_found(names: Iterable[Any]) -> str:
    """The columns that there are, as far as there is room to tell.

    >>> columns_found(["title", "body"])
    'columns found: title, body'
    """
    told = [str(name) for name in names]
    shown = [
        name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}..."
        for name in told[:_COLUMNS_TOLD]
    ]
    more = f" and {len(told) - len(shown)} more" if len(told) > len(shown) else ""
    return f"columns found: {', '.join(shown) or 'none'}{more}"


def clean_text(value: Any, field: str) -> str:
    """A string with newlines as \\n; Refused if it is no string, empty, or not storable as text."""
    if not isinstance(value, str):
        raise Refused("not_a_string", f"{field} must be a string, got {type(value).__name__}")
    if "\0" in value:
        raise Refused("has_nul", f"{field} holds a NUL character; it is not plain text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused("not_utf8", f"{field} holds half a surrogate pair: {error}") from error
    if not value.strip():
        raise Refused("empty", f"{field} is empty")
    return value.replace("\r\n", "\n").replace("\r", "\n")


def messages_as_rows(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as plain dictionaries, ready for JSON."""
    return [{"role": message.role, "content": message.content} for message in messages]


def _preference(row: Mapping[str, Any], record_id: str, source: str) -> Preference:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    chosen, rejected = (clean_text(row[side], side) for side in ("chosen", "rejected"))
    if chosen == rejected:
        raise Refused("equal_sides", "chosen and rejected are the same")
    turns = _plain_turns(prompt, "prompt")
    conversation = _checked([*turns, {"role": "assistant", "content": chosen}])
    if conversation[-2].role == "assistant":
        raise Refused("roles_out_of_order", "the prompt ends with the assistant, who comes next")
    return Preference(conversation[:-1], chosen, rejected, record_id, source)


def _conversation(messages: Any) -> tuple[Message, ...]:
    return _checked(_plain_turns(messages, "messages"))


def _plain_turns(messages: Any, field: str) -> list[dict[str, str]]:
    """The role and cleaned content of each message, other keys left out."""
    if not isinstance(messages, list | tuple):
        kind = type(messages).__name__
        raise Refused("messages_not_a_list", f"{field} must be a list of messages, got {kind}")
    turns = []
    for number, message in enumerate(messages):  # from 0, as `check_conversation` counts
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise Refused("message_without_role", f"message {number} needs a role and a content")
        if message["role"] == "system" and message.get("content") == "":
            turns.append({"role": "system", "content": ""})
            continue
        if not str(message.get("content") or "").strip():
            raise Refused("empty_message", f"message {number} ({message['role']}) has no content")
        content = clean_text(message["content"], f"content of message {number}")
        turns.append({"role": message["role"], "content": content})
    return turns


def _checked(turns: Sequence[Mapping[str, str]]) -> tuple[Message, ...]:
    try:
        return check_conversation(turns)
    except DataError as error:
        raise Refused(_fault(turns), str(error)) from error


def _fault(turns: Sequence[Mapping[str, str]]) -> str:
    """Why `check_conversation` refused, as a slug to count by."""
    roles = [turn["role"] for turn in turns]
    if not roles:
        return "no_messages"
    if not set(roles) <= set(ROLES):
        return "unknown_role"
    return "roles_out_of_order" if "assistant" in roles else "no_assistant_turn"
