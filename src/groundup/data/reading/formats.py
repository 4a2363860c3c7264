"""Which files are read, by their names: endings of text, source code, documents, archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal[
    "text", "html", "pdf", "docx", "epub", "jsonl", "json", "csv", "tsv", "parquet", "warc",
    "zip", "tar",
]  # fmt: skip
Compression = Literal["gz", "zst", "bz2", "xz"]

CODE_ENDINGS = frozenset(
    """
    .ada .adb .ads .agda .asm .awk .bash .bat .bib .c .cc .cfg .clj .cljs .cmake .cmd .coffee .cpp
    .cr .cs .css .cu .cuh .cxx .d .dart .dhall .diff .dockerfile .el .elm .erl .ex .exs .f .f03
    .f90 .f95 .fish .for .fs .fsx .gd .glsl .go .gradle .graphql .groovy .h .hcl .hh .hlsl .hpp
    .hrl .hs .hx .hxx .idr .ini .java .jl .js .jsx .kt .kts .lean .less .lhs .lisp .lua .m .make
    .mjs .mk .ml .mli .mm .nim .nix .org .pas .patch .php .pl .pm .pony .proto .ps1 .purs .py .pyi
    .pyx .r .rb .rkt .rs .s .sass .sbt .scala .scm .scss .sh .sml .sol .sql .st .sv .svelte .swift
    .tcl .tex .tf .thrift .toml .ts .tsx .v .vb .vhd .vhdl .vim .vue .wgsl .yaml .yml .zig
    .zsh
    """.split()  # noqa: SIM905 - as a list it would fill two screens
)
TEXT_ENDINGS = frozenset({".txt", ".text", ".md", ".markdown", ".rst"})
CODE_NAMES = frozenset({"makefile", "dockerfile", "rakefile", "gemfile", "jenkinsfile"})

_FORMATS: dict[str, Format] = {
    **dict.fromkeys(sorted(TEXT_ENDINGS | CODE_ENDINGS), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".warc", ".wet"), "warc"),
    ".pdf": "pdf",
    ".docx": "docx",
    ".epub": "epub",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".zip": "zip",
    ".tar": "tar",
}
_COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
_SHORT_FORMS = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
ENDINGS_READ = (
    ".txt, .md, .rst, .html, .pdf, .docx, .epub, .jsonl, .json, .parquet, .csv, .tsv, .warc, .wet, "
    "source code, .zip and .tar, and any of these as .gz, .zst, .bz2 or .xz"
)


@dataclass(frozen=True)
class FileKind:
    """How a file is read, and how it is compressed if it is."""

    format: Format
    compression: Compression | None = None


def kind_of(name: str) -> FileKind | None:
    """How a file of that name is read; None if it is not.

    >>> kind_of("a/b.jsonl.zst")
    FileKind(format='jsonl', compression='zst')
    >>> kind_of("photo.jpg") is None
    True
    """
    name = name.rsplit("/", 1)[-1].lower()
    for short, long in _SHORT_FORMS.items():
        name = name.removesuffix(short) + long if name.endswith(short) else name
    if name in CODE_NAMES:
        return FileKind("text")
    stem, ending = _split(name)
    if found := _FORMATS.get(ending):
        return FileKind(found)
    compression = _COMPRESSIONS.get(ending)
    inner = _FORMATS.get(_split(stem)[1])
    if compression is None or inner is None or inner == "zip":
        return None
    return FileKind(inner, compression)


def ending_of(name: str) -> str:
    """The ending, in small letters, to count by.

    >>> ending_of("a/LICENSE"), ending_of("b.Tar.GZ")
    ('no ending', '.tar.gz')
    """
    stem, ending = _split(name.rsplit("/", 1)[-1].lower())
    if ending in _COMPRESSIONS:
        return _split(stem)[1] + ending
    return ending or "no ending"


def _split(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if stem and dot else (name, "")
