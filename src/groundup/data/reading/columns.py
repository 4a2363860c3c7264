"""Which columns a table must have, so that it is refused once and not row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from groundup.data.reading.origin import Origin
from groundup.data.records import NAME_A_COLUMN, Refused, columns_found

LICENCE_COLUMNS = ("licence", "license")
_SUFFICE = tuple(
    frozenset(columns.split())
    for columns in (
        "text",
        "messages",
        "conversations",
        "conversation",
        "instruction output",
        "instruction response",
        "prompt completion",
        "prompt response",
        "chosen rejected",
    )
)
READ_COLUMNS = frozenset.union(*_SUFFICE) | {"input", "context", "system", "history"}


def suffice(names: Sequence[str], origin: Origin) -> bool:
    """Whether rows of these columns can be records: they hold the one named, or a known set.

    >>> suffice(["id", "text"], Origin("s", "a.csv"))
    True
    >>> suffice(["id", "text"], Origin("s", "a.csv", column="body"))
    False
    """
    column = column_in(names, origin)
    return column in names if column else is_known_set(names)


def column_in(names: Collection[str], origin: Origin) -> str | None:
    """The column that is named for the text; None if none is, or a number that these have not.

    A number is for tables without a line of names, and leaves what has names as it is.

    >>> column_in(["text"], Origin("s", "a.jsonl", column="2")) is None
    True
    """
    column = origin.column
    return None if column and column.isdecimal() and column not in names else column


def is_known_set(names: Iterable[str]) -> bool:
    """Whether columns of these names are a document, a chat or a pair."""
    found = set(names)
    return any(columns <= found for columns in _SUFFICE)


def check_columns(names: Sequence[str], origin: Origin) -> None:
    """Raise Refused unless they suffice and each that is read is there once."""
    if not suffice(names, origin):
        need = f"; need {origin.column}" if origin.column else ""
        raise Refused("columns_not_known", f"{columns_found(names)}{need}; {NAME_A_COLUMN}")
    for name in read_of(names, origin):
        if names.count(name) > 1:
            detail = f"{names.count(name)} columns are named {name}; rename all but one"
            raise Refused("column_named_twice", detail)


def read_of(names: Sequence[str], origin: Origin) -> list[str]:
    """Those of the columns that are read."""
    column = column_in(names, origin)
    wanted = {column} if column else READ_COLUMNS
    return [name for name in names if name in wanted or name in LICENCE_COLUMNS]
