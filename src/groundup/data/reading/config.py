"""What is read, and within which limits."""

from __future__ import annotations

import os
import re
from pathlib import Path

from groundup.runtime import config

HUB = "hf:"  # what the path of a data set of the Hugging Face Hub begins with
_SMALLEST_PIECE_BYTES = 64


def column_named(text: str) -> str | int:
    """What a command line says of a column: its number, or its name.

    >>> column_named("2"), column_named("body"), column_named("\u00b2")
    (2, 'body', '\u00b2')
    """
    return int(text) if text.isdecimal() else text


@config
class SourceConfig:
    """One source of data.

    path: a file or a folder (read with all its subfolders; the endings that are read stand in
        `reading.formats`), `hf:OWNER/NAME[/CONFIG][:SPLIT]` for a data set of the Hugging Face
        Hub or `hf:./FOLDER` for one on disk, or the name of a built-in source such as `demo`
        (write ./demo for a folder of that name)
    name: what the source is called in counts and document ids; None takes it from the path
    weight: how often each of its documents is seen in training, relative to the other sources
    max_epochs: how often each of its rows may be seen in pretraining at most; what it then does
        not give of its share, the others give. None: any number of times
    licence: of all its documents that do not name one themselves, such as CC-BY-4.0; None: unknown
    column: of its rows (.jsonl, .json, .parquet, .csv, .tsv, hf:) the one that holds the text; a
        number, counted from 1, for .csv and .tsv files that do not begin with a line of names;
        None: `text`, or those of a chat or a preference pair
    """

    path: str
    name: str | None = None
    weight: float = 1.0
    max_epochs: float | None = None
    licence: str | None = None
    column: str | int | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path is empty; give a file, a folder or a built-in source")
        try:
            self.path.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"path={os.fsencode(self.path)!r} is not UTF-8; rename it, or give the folder above"
            ) from error
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight={self.weight} must be above 0; or remove the source")
        if self.max_epochs is not None and not 0 < self.max_epochs < float("inf"):
            raise ValueError(
                f"max_epochs={self.max_epochs} must be above 0, or null for any number of times"
            )
        if self.name is not None and (not self.name or set(self.name) & set("/#\\\n")):
            raise ValueError(f"name={self.name!r} must hold no / # or \\; try 'books'")
        if self.column == "":
            raise ValueError("column is empty; name a column such as 'text', or leave it out")
        if isinstance(self.column, int) and self.column < 1:
            raise ValueError(f"column={self.column} must be a name, or a number counted from 1")

    @property
    def label(self) -> str:
        """The name given, or else the last part of the path without its ending."""
        if self.name:
            return self.name
        if self.path.startswith(HUB):
            return _hub_label(self.path.removeprefix(HUB))
        return Path(os.path.abspath(self.path)).stem.replace("#", "_") or "source"


def _hub_label(address: str) -> str:
    """A data set's name, or the last part of the path of its folder."""
    if address.startswith((".", "/", "~")):
        folder, colon, split = address.partition(":")
        address = os.path.basename(os.path.abspath(os.path.expanduser(folder))) + colon + split
    return re.sub(r"[/:#\\\n]", "-", address).strip("-") or "source"


@config
class ReadingConfig:
    """How much of it may be held or unpacked, and what happens at the first thing that is refused.

    piece_bytes: a longer text becomes several documents, each of at most so many bytes of UTF-8
    max_document_bytes: what has to be held whole (a page, a PDF, a book, a row, a line of JSON) is
        refused above so many bytes
    max_members: an archive of more files than this is refused
    max_expansion: what is packed may unpack to so many times its size; more is taken for a bomb
        once it has unpacked to 16 MiB
    max_unpacked_bytes: and to so many bytes altogether
    strict: stop with a DataError at the first refusal, other than of what is no fault: an ending
        that is not read, a second link to a folder, and what a web archive holds beside its pages
    """

    piece_bytes: int = 1 << 20
    max_document_bytes: int = 128 << 20
    max_members: int = 1_000_000
    max_expansion: float = 200.0
    max_unpacked_bytes: int = 1 << 40
    strict: bool = False

    def __post_init__(self) -> None:
        if self.piece_bytes < _SMALLEST_PIECE_BYTES:
            raise ValueError(f"piece_bytes={self.piece_bytes} must be at least 64; try 1048576")
        for field in ("max_document_bytes", "max_members", "max_unpacked_bytes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)} must be at least 1")
        if not self.max_expansion >= 1:
            raise ValueError(f"max_expansion={self.max_expansion} must be at least 1; try 200")
