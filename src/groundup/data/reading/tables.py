"""Rows of CSV and TSV: what divides them, which line names them, and quotes that do not close.

CSV is read as RFC 4180 (2005) says: a field that begins with a quote goes on until the quote is
closed, over several lines if it must. Where it is not closed, only the line that opens it is lost
as long as those after it are rows themselves.

TSV has two customs. Excel and pandas quote a field that holds a tab, a line end or a quote; most
data sets quote nothing, and a quote at the beginning of a field is just that. So a quote that
closes on its line is one, and a line whose quotes make no sense is taken as it is. A field that
would go on over several lines, each of which has as many fields as there are names, is several
rows. Where the line of names is quoted, all of it is read as CSV.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from groundup.data.reading.columns import check_columns, is_known_set, suffice
from groundup.data.reading.config import ReadingConfig
from groundup.data.reading.encoding import encoding_of
from groundup.data.reading.origin import Origin
from groundup.data.reading.streams import BLOCK_BYTES, Content
from groundup.data.records import NAME_A_COLUMN, Refused, columns_found

if TYPE_CHECKING:
    from groundup.data.reading.rows import Row

_DELIMITERS = (",", ";", "\t", "|")
_SAYS_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n?')  # what Excel writes and reads in the first line
_LINES_THAT_ARE_ROWS = 8  # after so many of them a quote is not taken to be open any more


def table_rows(
    content: Content, origin: Origin, config: ReadingConfig, delimiter: str
) -> Iterator[Row]:
    """The rows under a line of names. Raises Refused without such a line, or such a column.

    Where the column is a number that names none of them, there is no such line and it is counted;
    but a line of names that are known is one all the same.
    """
    name, n_mark = encoding_of(content.blocks(), origin.notes)
    _allow_long_fields(config.max_document_bytes)
    with content.opened() as file:
        file.read(n_mark)
        lines = _Lines(io.TextIOWrapper(file, name, newline=""), config.max_document_bytes)
        try:
            table = _Table(lines, origin, delimiter)
            for n, row in enumerate(table.rows()):
                yield n, row, None
        except UnicodeDecodeError as error:  # a guess that the rest does not bear out
            detail = f"is not all {error.encoding}; save it as UTF-8"
            raise Refused("not_utf8", detail) from error


def _allow_long_fields(limit: int) -> None:
    """csv refuses fields above 128 kB; its limit is one number for the whole process."""
    csv.field_size_limit(max(csv.field_size_limit(), limit))


class _Open(Exception):  # noqa: N818 - a verdict on a quote
    """A quote that is not closed where it would have to be."""


class _Lines:
    """Lines of a text file that can be put back; one that is too long stands as Refused.

    taken: those of the row that is read now, the first of which is number `first`
    """

    def __init__(self, file: io.TextIOWrapper, limit: int) -> None:
        self._file, self._limit = file, limit
        self._back: deque[str | Refused] = deque()
        self._n_alone = 0  # of those put back, how many may be no more than a row by themselves
        self._is_alone = False  # the first of those taken is one of them
        self._n_fields, self._delimiter, self._n_like_rows = 0, "", 0
        self.taken: list[str] = []
        self.first = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.taken and self._is_alone:
            raise _Open
        line = self._back.popleft() if self._back else self._read()
        if isinstance(line, Refused):
            if self.taken:
                self._back.appendleft(line)
                raise _Open
            self.first += 1
            raise line
        if not line:
            raise StopIteration
        if not self.taken:
            self._is_alone = self._n_alone > 0
        self._n_alone = max(self._n_alone - 1, 0)
        self.taken.append(line)
        if self._n_fields > 1 and len(self.taken) > 1:
            is_like_row = _is_plain_row(line, self._delimiter, self._n_fields)
            self._n_like_rows = self._n_like_rows + 1 if is_like_row else 0
            if self._n_like_rows == _LINES_THAT_ARE_ROWS:
                raise _Open
        return line

    def begin_row(self) -> None:
        """Count what is taken from here on as the lines of another row."""
        self.first += len(self.taken)
        self.taken, self._n_like_rows = [], 0

    def put_back(self, n_alone: int) -> None:
        """All but the first of the lines taken; `n_alone` of these are whole rows, or none."""
        if len(self.taken) > 1:
            self._back.extendleft(reversed(self.taken[1:]))
            self.taken, self._n_alone = self.taken[:1], n_alone

    def put_all_back(self) -> None:
        """All of the lines taken, to be read as another row."""
        self._back.extendleft(reversed(self.taken))
        self.taken = []

    def stop_at_rows_of(self, n_fields: int, delimiter: str) -> None:
        """From here on raise _Open within a row after many lines that are rows of `n_fields`."""
        self._n_fields, self._delimiter = n_fields, delimiter

    def _read(self) -> str | Refused:
        try:
            line = self._file.readline(self._limit)
            if len(line) < self._limit:
                return line
            while line and not line.endswith(("\n", "\r")):
                line = self._file.readline(BLOCK_BYTES)
        except Refused as refused:  # of the file, from here on
            return refused
        return Refused("too_large", f"a line is above {self._limit:,} characters")


class _Table:
    """The names and the rows under them. Raises Refused without names that make records."""

    def __init__(self, lines: _Lines, origin: Origin, delimiter: str) -> None:
        self._lines = lines
        self._names, self._delimiter = self._header(origin, delimiter)
        has_spaces = f"{self._delimiter} " in lines.taken[0]
        is_quoted = lines.taken[0].startswith('"') and not self._names[0].startswith('"')
        if _is_counted(self._names, origin):
            is_quoted = False
            self._names = [str(n + 1) for n in range(len(self._names))]
            lines.put_all_back()
        else:
            check_columns(self._names, origin)
        self._quotes_little = self._delimiter == "\t" and not is_quoted
        if self._quotes_little:
            lines.stop_at_rows_of(len(self._names), self._delimiter)
        self._reader = csv.reader(
            lines,
            delimiter=self._delimiter,
            skipinitialspace=has_spaces,
            strict=True,
        )

    def rows(self) -> Iterator[dict[str, str] | Refused]:
        """Each as a dictionary, or why it is none; blank lines are passed over."""
        while True:
            self._lines.begin_row()
            try:
                fields = self._next_quoting_little() if self._quotes_little else self._next()
            except Refused as refused:
                if refused.reason not in ("too_large", "not_csv"):
                    raise  # of the file, not of a row
                yield refused
                continue
            if fields is None:
                return
            if not fields:
                continue
            if len(fields) != len(self._names):
                told = f"line {self._lines.first} has {len(fields)} fields"
                yield Refused("row_of_other_length", f"{told}; needs {len(self._names)}")
                continue
            yield dict(zip(self._names, fields, strict=True))

    def _header(self, origin: Origin, delimiter: str) -> tuple[list[str], str]:
        """The names, and what divides them: what the file says, or what gives the right names."""
        line = self._first_line()
        said = _SAYS_DELIMITER.fullmatch(line) if line else None
        if said:
            delimiter = said[1]
            line = self._first_line()
        if line is None:
            raise Refused("empty", "text is empty")
        try:
            names = _names_of(self._whole_header(line, delimiter), delimiter)
        except csv.Error as error:
            if delimiter == "\t":
                self._lines.put_back(0)
                return line.rstrip("\r\n").split(delimiter), delimiter
            raise Refused("not_csv", f"the line of names cannot be divided: {error}") from error
        if len(names) > 1 or said or _are_right(names, origin):
            return names, delimiter
        others = [one for one in _DELIMITERS if one in line]
        for other in others:
            names_so = _names_of([line], other, strict=False)
            if _are_right(names_so, origin):
                origin.notes[f"delimiter {other!r}"] += 1
                return names_so, other
        if others:
            detail = f"{columns_found(names)}; fields seem to be divided by {others[0]!r}, not by"
            raise Refused("columns_not_known", f"{detail} {delimiter!r}: {NAME_A_COLUMN}")
        return names, delimiter

    def _first_line(self) -> str | None:
        """The next line that is not blank; None if there is none."""
        while True:
            self._lines.begin_row()
            line = next(self._lines, None)
            if line is None or line.strip():
                return line

    def _whole_header(self, line: str, delimiter: str) -> list[str]:
        """The lines of the names, of which one may stand in quotes over several lines."""

        def lines() -> Iterator[str]:
            yield line
            yield from self._lines

        next(csv.reader(lines(), delimiter=delimiter, strict=True), None)
        return list(self._lines.taken)

    def _next(self) -> list[str] | None:
        """The fields of the next row, None at the end."""
        try:
            return next(self._reader, None)
        except (csv.Error, _Open) as error:
            lines, first = self._lines.taken, self._lines.first
            told = (
                f"line {first}" if len(lines) == 1 else f"lines {first} to {first + len(lines) - 1}"
            )
            is_open = isinstance(error, _Open) or "unexpected end" in str(error)
            fault = "a quote is not closed" if is_open else str(error)
            rest = lines[1:]
            judged = rest if is_open else rest[:-1] or rest  # the last may open a quote of its own
            if 2 * sum(map(self._is_row, judged)) > len(judged):
                told = f"line {first}"
                if rest:
                    fault += f" (read up to line {first + len(rest)}, and from the next line again)"
                self._lines.put_back(len(rest) - (not is_open))
            raise Refused("not_csv", f"{told} cannot be divided into fields: {fault}") from error

    def _next_quoting_little(self) -> list[str] | None:
        """The same where a quote at the beginning of a field need not be one."""
        n = len(self._names)
        try:
            fields = next(self._reader, None)
        except (csv.Error, _Open):
            fields = []
        lines = self._lines.taken
        if not lines or fields is None:
            return fields
        is_rows = n > 1 and len(lines) > 1 and all(map(self._is_row, lines))
        if is_rows or (len(fields) != n and '"' in lines[0]):
            plain = lines[0].rstrip("\r\n").split(self._delimiter)
            self._lines.put_back(max(len(lines) - 2, 0))
            return plain
        return fields

    def _is_row(self, line: str) -> bool:
        """Whether a line has as many fields as there are names, by itself."""
        if self._quotes_little:
            return _is_plain_row(line, self._delimiter, len(self._names))
        try:
            (fields,) = csv.reader([line], delimiter=self._delimiter, strict=True)
        except csv.Error:
            return False
        return len(fields) == len(self._names)


def _names_of(lines: list[str], delimiter: str, *, strict: bool = True) -> list[str]:
    reader = csv.reader(lines, delimiter=delimiter, strict=strict, skipinitialspace=True)
    return [name.strip() for name in next(reader, [])]


def _are_right(names: list[str], origin: Origin) -> bool:
    return suffice(names, origin) or _is_counted(names, origin)


def _is_counted(names: list[str], origin: Origin) -> bool:
    """Whether the column is the number of one, from 1, and not a name."""
    column = origin.column or ""
    is_number = column.isdecimal() and column not in names
    return is_number and 1 <= int(column) <= len(names) and not is_known_set(names)


def _is_plain_row(line: str, delimiter: str, n_fields: int) -> bool:
    """Whether a line that quotes nothing has so many fields; code is indented, rows are not."""
    return line.count(delimiter) == n_fields - 1 and not line.startswith(delimiter)
