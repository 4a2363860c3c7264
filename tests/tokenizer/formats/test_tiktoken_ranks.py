from __future__ import annotations

import base64

import pytest
import tiktoken
import tiktoken_ext.openai_public as openai_public
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.runtime import TokenizerError
from groundup.tokenizer import PATTERNS, Tokenizer, TokenizerConfig, train_tokenizer
from groundup.tokenizer.bpe import Bpe
from groundup.tokenizer.formats import open_tokenizer, save_ranks
from groundup.tokenizer.formats.tiktoken_ranks import (
    LLAMA3,
    model_of_ranks,
    parse_ranks,
    read_ranks,
)
from groundup.tokenizer.normalize import Nfc
from groundup.tokenizer.pretokenize import LibraryCutter, PatternCutter
from groundup.tokenizer.tokenizer import Roles

SETTINGS = settings(deadline=None, max_examples=100)
BYTES = [bytes([byte]) for byte in range(256)]


def lines(ranks: dict[bytes, int]) -> bytes:
    return b"".join(b"%s %d\n" % (base64.b64encode(t), rank) for t, rank in ranks.items())


def published(name: str, ranks: dict[bytes, int], monkeypatch) -> tiktoken.Encoding:
    """tiktoken's own encoding, its ranks from the file at hand instead of the network."""
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks)
    return tiktoken.Encoding(**getattr(openai_public, name)())


@pytest.mark.parametrize(
    "name",
    [
        "r50k_base",
        pytest.param("p50k_base", marks=pytest.mark.exhaustive),
        "cl100k_base",
        "o200k_base",
    ],
)
def test_published_ranks_give_tiktokens_ids(data, many_texts, monkeypatch, name: str) -> None:
    path = data(f"tok_tiktoken/{name}.tiktoken")
    ours = open_tokenizer(path)
    theirs = published(name, parse_ranks(path.read_bytes()), monkeypatch)
    assert ours.special_tokens == theirs._special_tokens
    assert ours.vocab_size == theirs.n_vocab
    assert ours.end_of_text_id == theirs.eot_token
    expected = theirs.encode_ordinary_batch(many_texts, num_threads=1)
    assert ours.encode_batch(many_texts) == expected
    for text, ids in zip(many_texts[:100], expected, strict=False):
        assert ours.encode(text) == ids  # the readable path
        assert ours.decode(ids) == theirs.decode(ids) == text


def test_ranks_of_unknown_make_need_a_pattern(data, many_texts) -> None:
    path = data("tok_small_json/torchtune/tiktoken_small.model")
    with pytest.raises(TokenizerError, match=r"it holds 2000 ranks, which are none of .*name the"):
        open_tokenizer(path)
    ours = open_tokenizer(path, pattern="llama3")
    assert ours.special_tokens == {}
    theirs = tiktoken.Encoding(
        "small",
        pat_str=PATTERNS["llama3"],
        mergeable_ranks=parse_ranks(path.read_bytes()),
        special_tokens={},
    )
    assert ours.encode_batch(many_texts) == theirs.encode_ordinary_batch(many_texts)


def test_llama3_is_known_by_its_ranks() -> None:
    # of the real one's size, with the two ranks by which it is told
    ranks = {token: rank for rank, token in enumerate(BYTES)}
    told = {b" the": 279, b"Hello": 9906}
    for rank in range(256, 128_000):
        if rank not in told.values():
            ranks[b"%06d" % rank] = rank
    llama3 = read_ranks(lines(ranks | told))
    assert llama3.special_tokens == LLAMA3.special_tokens
    assert (llama3.cutter, llama3.chat_format) == (PatternCutter("llama3"), "llama3")
    assert llama3.special_tokens["<|eot_id|>"] == 128009
    assert (
        llama3.special_tokens["<|reserved_special_token_250|>"] == llama3.vocab_size - 1 == 128255
    )
    with pytest.raises(TokenizerError, match="none of"):
        read_ranks(lines(ranks | {b" teh": 279, b"Hello": 9906}))


@given(data=st.data())
@SETTINGS
def test_any_ranks_give_tiktokens_ids(data: st.DataObject) -> None:
    # tokens that no training would give too: unreachable ones, parts that rank behind the whole
    spelled = st.text("ab ", min_size=2, max_size=6).map(str.encode)
    tokens = data.draw(st.lists(spelled, unique=True, max_size=12))
    order = data.draw(st.permutations([*tokens, b"a", b"b", b" "]))
    rest = [byte for byte in BYTES if byte not in order]
    ranks = {token: rank for rank, token in enumerate([*order, *rest])}
    theirs = tiktoken.Encoding(
        "drawn", pat_str="[\\s\\S]+", mergeable_ranks=ranks, special_tokens={}
    )
    model = model_of_ranks(ranks)
    word = data.draw(st.text("ab ", min_size=1, max_size=24))
    assert model.encode_word(word.encode()) == theirs.encode_ordinary(word)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"YQ== 0\nYQ 1\n", "its line 2 is b'YQ 1' where"),
        (b"YQ== 0\nYg== x\n", "its line 2 is b'Yg== x' where"),
        (b"YQ== 0\nYg== 0\n", "two of its tokens have the same rank"),
        (b"YQ== 0\nYg== 1\n", "no rank for 254 of the 256 bytes \\(the first is 0x00\\)"),
    ],
)
def test_damaged_ranks_say_so(content: bytes, reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason):
        read_ranks(content, "gpt2")


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tiktoken_gives_the_same_ids(small_texts, edge_texts, tmp_path, pattern: str) -> None:
    ours = train_tokenizer(
        small_texts, TokenizerConfig(vocab_size=400, pattern=pattern, trainer="readable")
    )
    save_ranks(ours, tmp_path / "ours.tiktoken")
    ranks = tiktoken.load.load_tiktoken_bpe(str(tmp_path / "ours.tiktoken"))
    theirs = tiktoken.Encoding(
        "ours", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens=ours.special_tokens
    )
    loaded = open_tokenizer(tmp_path / "ours.tiktoken", pattern=pattern)
    for text in edge_texts:
        ids = ours.encode(text)
        assert theirs.encode_ordinary(text) == ids
        assert loaded.encode(text) == ids
    assert theirs.n_vocab == ours.vocab_size


def test_what_tiktoken_wrote_is_written_back(data, tmp_path) -> None:
    path = data("tok_small_json/torchtune/tiktoken_small.model")
    save_ranks(open_tokenizer(path, pattern="llama3"), tmp_path / "again.tiktoken")
    assert (tmp_path / "again.tiktoken").read_bytes().split() == path.read_bytes().split()


def byte_level(pieces: list[bytes], merges: list[tuple[int, int, int]]) -> Tokenizer:
    model = Bpe((*BYTES, *pieces), tuple(merges), byte_ids=tuple(range(256)))
    return Tokenizer(model, PatternCutter("gpt2"), special_tokens={}, roles=Roles())


def test_what_tiktoken_could_not_follow_is_refused(tmp_path) -> None:
    a, b, c = b"abc"
    unreachable = byte_level([b"ab", b"bc", b"abc"], [(a, b, 256), (b, c, 257), (a, 257, 258)])
    unordered = byte_level([b"ab", b"bc"], [(b, c, 257), (a, b, 256)])
    doubled = byte_level([b"ab", b"ab"], [(a, b, 256)])
    model = byte_level([b"ab"], [(a, b, 256)]).model
    normalised = Tokenizer(
        model, PatternCutter("gpt2"), special_tokens={}, roles=Roles(), normalizer=Nfc()
    )
    cut = LibraryCutter('{"type": "Whitespace"}')
    otherwise_cut = Tokenizer(model, cut, special_tokens={}, roles=Roles())
    characters = Tokenizer(
        Bpe((b"a",), (), units="characters", unk_id=0),
        PatternCutter("gpt2"),
        special_tokens={},
        roles=Roles(),
    )
    for tokenizer, reason in [
        (unreachable, "its merges cannot spell its token b'abc', which tiktoken would give"),
        (unordered, "its ids do not grow in the order of its merges"),
        (doubled, "two of its tokens spell the same bytes"),
        (normalised, "this tokenizer's Nfc does more"),
        (otherwise_cut, "this tokenizer's LibraryCutter does more"),
        (characters, "tiktoken has byte-level BPE only"),
    ]:
        with pytest.raises(TokenizerError, match=f"{reason}.*save it as tokenizer.json"):
            save_ranks(tokenizer, tmp_path / "ours.tiktoken")
