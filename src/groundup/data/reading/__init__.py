"""Reading sources: files of many kinds become documents, chats and preference pairs.

Nothing is dropped in silence: what cannot be used comes out as a Refusal with one of `REASONS`.

    inputs.py    which files a source is made of          read.py      one of them, by its kind
    formats.py   kinds, by ending                         archives.py  .zip, .tar
    streams.py   unpacking, within limits                 encoding.py  bytes to text
    latin.py     which encoding, for Latin letters
    text.py html.py pdf.py docx.py epub.py warc.py rows.py parquet.py hub.py   one kind each
"""

from groundup.data.reading.config import ReadingConfig, SourceConfig
from groundup.data.reading.inputs import InputFile, find_inputs, input_hash, source_fingerprint
from groundup.data.reading.read import read_input, read_source
from groundup.data.reading.reasons import REASONS

__all__ = [
    "REASONS",
    "InputFile",
    "ReadingConfig",
    "SourceConfig",
    "find_inputs",
    "input_hash",
    "read_input",
    "read_source",
    "source_fingerprint",
]
