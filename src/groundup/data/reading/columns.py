"""Which columns a table must have, so that it is refused once and not row by row."""

from __future__ import annotations

from collections.abc import Sequence

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
        "prompt completion",
        "chosen rejected",
    )
)
READ_COLUMNS = frozenset.union(*_SUFFICE) | {"input", "system", "history"}


def suffice(names: Sequence[str], origin: Origin) -> bool:
    """Whether rows of these columns can be records: they hold the one named, or a known set.

    >>> suffice(["id", "text"], Origin("s", "a.csv"))
    True
    >>> suffice(["id", "text"], Origin("s", "a.csv", column="body"))
    False
    """
    if origin.column:
        return origin.column in names
    return any(columns <= set(names) for columns in _SUFFICE)


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
    wanted = {origin.column} if origin.column else READ_COLUMNS
    return [name for name in names if name in wanted or name in LICENCE_COLUMNS]
