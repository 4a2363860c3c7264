"""llama.cpp's test vectors: texts, and the ids that it gives with a vocabulary from a GGUF file.

The vocabularies are written into files of the formats that are read here. Each pair of files at
hand (texts in .inp, ids in .out) is a case, so that one that is added is tested too.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.tokenizer import Tokenizer
from groundup.tokenizer.formats import open_tokenizer

from ..conftest import DATA

gguf = pytest.importorskip("gguf", reason="reading vectors needs gguf; run: pip install gguf")

FOLDER = DATA / "tokvec_llamacpp"
SEPARATOR = "\n__ggml_vocab_test__\n"
PAIRS = sorted(path.name.removesuffix(".inp") for path in FOLDER.glob("*.inp"))
# Where the data are, these are; without them each is skipped.
KNOWN = ["ggml-vocab-bert-bge.gguf", "ggml-vocab-gpt-2.gguf"]


def strings(reader: gguf.GGUFReader, name: str) -> list[str]:
    field = reader.fields[f"tokenizer.ggml.{name}"]
    return [field.parts[i].tobytes().decode() for i in field.data]


def berts_spelling(token: str) -> str:
    """llama.cpp marks what begins a word, and BERT what does not; names in brackets are as here."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[1:] if token.startswith("▁") else f"##{token}"


def read_vocabulary(path: Path, folder: Path) -> Tokenizer:
    """A GGUF file's vocabulary, by way of the files that it was made from."""
    reader = gguf.GGUFReader(path)
    kind = reader.fields["tokenizer.ggml.model"].contents()
    tokens = strings(reader, "tokens")
    if kind == "gpt2":
        ids = {token: i for i, token in enumerate(tokens)}
        (folder / "vocab.json").write_text(json.dumps(ids))
        (folder / "merges.txt").write_text("\n".join(strings(reader, "merges")), encoding="utf-8")
    else:
        assert kind == "bert"
        lines = "\n".join(map(berts_spelling, tokens))
        (folder / "vocab.txt").write_text(lines, encoding="utf-8")
    return open_tokenizer(folder)


def test_there_is_a_case_for_each_vocabulary() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"no vectors at {FOLDER}")
    assert sorted(path.name for path in FOLDER.glob("*.gguf")) == PAIRS
    assert {*KNOWN} <= {*PAIRS}


@pytest.mark.parametrize("name", PAIRS or KNOWN)
def test_llama_cpp_gives_the_same_ids(name: str, tmp_path: Path) -> None:
    if not (FOLDER / name).exists():
        pytest.skip(f"no vectors at {FOLDER}")
    with (FOLDER / f"{name}.inp").open(encoding="utf-8", newline="") as file:
        texts = file.read().split(SEPARATOR)
    lines = (FOLDER / f"{name}.out").read_text(encoding="utf-8").split("\n")
    assert (texts.pop(), lines.pop()) == ("", "")
    expected = [[int(token_id) for token_id in line.split()] for line in lines]
    assert len(texts) == len(expected) == 46
    ours = read_vocabulary(FOLDER / name, tmp_path)
    assert [ours.encode(text) for text in texts] == expected
    assert ours.encode_batch(texts) == expected
