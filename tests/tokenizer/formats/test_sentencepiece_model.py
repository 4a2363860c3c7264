from __future__ import annotations

import io
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.runtime import TokenizerError
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.formats import open_tokenizer
from groundup.tokenizer.formats.sentencepiece_model import read_sentencepiece
from groundup.tokenizer.unigram import Unigram

sentencepiece = pytest.importorskip(
    "sentencepiece", reason="comparing with it needs sentencepiece; run: pip install sentencepiece"
)
model_pb2 = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
SETTINGS = settings(deadline=None, max_examples=60)

MODELS = [
    "tok_mistral/tokenizer.model.v1",
    *(
        pytest.param(f"tok_mistral/mistral_instruct_tokenizer_{name}", marks=pytest.mark.exhaustive)
        for name in ("240216.model.v2", "240323.model.v3", "241114.model.v7", "241114.model.v7m1")
    ),
    "tok_bert/t5_tokenizer_base.model",
    "tok_bert/spm_example.model",
    "tok_small_json/torchtune/m.model",
    "tok_small_json/torchtune/sentencepiece.model",
]


def is_normalised_alike(theirs, ours: Tokenizer, text: str) -> bool:
    """Whether the library's lookup in the normalizer's table does as SentencePiece's does."""
    assert ours.normalizer is not None
    return ours.normalizer(text) == theirs.normalize(text)


def is_equally_probable(ours: Tokenizer, ids: list[int], others: list[int]) -> bool:
    """Whether two cuts are of one probability: `-` `--` and `--` `-`.

    SentencePiece then takes the one that rounding has made the better, in a sum of 32 bits that
    begins where the text does, and so the same word is cut this way here and that way there.
    """
    if not isinstance(ours.model, Unigram):
        return False
    scores = ours.model.scores
    return Counter(scores[i] for i in ids) == Counter(scores[i] for i in others)


@pytest.mark.parametrize("name", MODELS)
def test_sentencepiece_gives_the_same_ids(data, many_texts, name: str) -> None:
    path = data(name)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = open_tokenizer(path)
    assert ours.vocab_size == theirs.vocab_size()
    texts = [text for text in many_texts if "\0" not in text]  # which ends a text over there
    alike = [text for text in texts if is_normalised_alike(theirs, ours, text)]
    assert len(alike) >= 0.99 * len(texts) - 2  # two of the edges are such
    expected = theirs.encode(alike)
    found = [ours.encode(text) for text in alike]
    assert ours.encode_batch(alike) == found
    differ = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
    assert all(is_equally_probable(ours, *pair) for pair in differ)
    n_differ = sum((Counter(ids) - Counter(others)).total() for ids, others in differ)
    assert n_differ < 0.0001 * sum(map(len, expected))
    for text, ids in zip(alike[:150], expected, strict=False):
        if ours.model.unk_id not in ids:
            assert ours.decode(ids) == theirs.decode(ids), text


@pytest.mark.parametrize("name", MODELS)
def test_control_pieces_are_special_and_cannot_be_spelled(data, name: str) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(data(name)))
    ours = open_tokenizer(data(name))
    special = {
        i for i in range(theirs.vocab_size()) if theirs.is_control(i) or theirs.is_unknown(i)
    }
    assert set(ours.special_tokens.values()) == special
    ids = ours.encode(" ".join(ours.special_tokens))
    assert special.isdisjoint({*ids} - {ours.model.unk_id})
    roles = {"end_of_text": theirs.bos_id(), "end_of_turn": theirs.eos_id()}
    for role, token_id in roles.items():
        if token_id >= 0:
            assert ours.special_tokens[getattr(ours.roles, role)] == token_id


def trained(texts: list[str], **options) -> bytes:
    written = io.BytesIO()
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 3),
        model_writer=written,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return written.getvalue()


OPTIONS = [
    dict(
        zip(("model_type", "byte_fallback", "normalization_rule_name", *flags), values, strict=True)
    )
    for flags in [("add_dummy_prefix", "remove_extra_whitespaces")]
    for values in product(
        ("bpe", "unigram"), (True, False), ("identity", "nmt_nfkc"), (True, False), (True, False)
    )
]


@pytest.fixture(
    scope="module", params=OPTIONS, ids=lambda options: "-".join(map(str, options.values()))
)
def pair(request, small_texts):
    """A small model with some options, as SentencePiece has it and as it is read here."""
    options = dict(request.param)
    if options["model_type"] == "bpe":
        options["user_defined_symbols"] = ["<think>", "[REF1]", "th", "the mill"]
        if options["normalization_rule_name"] == "identity":  # which leaves the sign of a space
            options["user_defined_symbols"].append("▁▁▁x")
    data = trained(small_texts, vocab_size=700, allow_whitespace_only_pieces=True, **options)
    return sentencepiece.SentencePieceProcessor(model_proto=data), read_sentencepiece(data, {})


PIECES = [
    "▁",
    " ",
    "  ",
    "a",
    "the",
    "mill",
    "▁▁▁x",
    "   x",
    "<think>",
    "[REF1]",
    "the mill",
    "天",
    "龍",
    "é",
    "\n",
    "<s>",
]
DRAWN_TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=8).map(
    "".join
)


def test_every_option_is_followed(pair, edge_texts) -> None:
    theirs, ours = pair
    for text in edge_texts:
        if "\0" not in text and is_normalised_alike(theirs, ours, text):
            ids = theirs.encode(text)
            assert ours.encode(text) == ids or is_equally_probable(ours, ours.encode(text), ids)
            if ours.model.unk_id not in ids:
                assert ours.decode(ids) == theirs.decode(ids), text


@given(text=DRAWN_TEXTS)
@SETTINGS
def test_every_option_is_followed_on_drawn_texts(pair, text: str) -> None:
    theirs, ours = pair
    if "\0" in text or not is_normalised_alike(theirs, ours, text):
        return
    ids, expected = ours.encode(text), theirs.encode(text)
    assert ids == expected or is_equally_probable(ours, ids, expected)


# --- what is refused ------------------------------------------------------------------------------


def changed(data: bytes, change) -> bytes:
    message = model_pb2.ModelProto()
    message.ParseFromString(data)
    change(message)
    return message.SerializeToString()


def _same_scores(message) -> None:
    scores = [piece for piece in message.pieces if piece.type == 1 and len(piece.piece) > 1]
    scores[1].score = scores[0].score


def _rename(message, index: int, name: str) -> None:
    [piece] = [piece for i, piece in enumerate(message.pieces) if i == index]
    piece.piece = name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m.trainer_spec, "model_type", 3), "its model_type is WORD"),
        (lambda m: setattr(m.trainer_spec, "treat_whitespace_as_suffix", True), "as_suffix"),
        (lambda m: setattr(m.normalizer_spec, "escape_whitespaces", False), "escape_whitespaces"),
        (lambda m: setattr(m.pieces[9], "type", 5), "unused pieces"),
        (
            lambda m: setattr(m.pieces[9], "piece", m.pieces[8].piece),
            "two of its pieces are the same",
        ),
        (lambda m: setattr(m.pieces[0], "type", 3), "0 unknown pieces"),
        (lambda m: setattr(m.trainer_spec, "byte_fallback", True), "no piece for the byte 0x00"),
        (_same_scores, "have the same score"),
        (
            lambda m: m.pieces.add(piece="a龘", score=-1e6),
            "holds '龘', which is no piece by itself",
        ),
        (lambda m: m.pieces.add(piece="½", type=4), "'½' is changed by its own normalizer"),
    ],
)
def test_what_cannot_be_followed_is_refused(small_texts, change, reason: str) -> None:
    data = trained(small_texts, vocab_size=400, model_type="bpe")
    read_sentencepiece(data, {})
    with pytest.raises(TokenizerError, match=reason):
        read_sentencepiece(changed(data, change), {})


def test_a_user_defined_piece_beside_a_piece_no_merge_spells_is_refused(small_texts) -> None:
    data = trained(small_texts, vocab_size=400, model_type="bpe", user_defined_symbols=["<think>"])

    unspelled = "天ع天ع"  # whose characters are pieces, and none of them joined
    with pytest.raises(TokenizerError, match=f"cannot spell its piece '{unspelled}'"):
        read_sentencepiece(changed(data, lambda m: m.pieces.add(piece=unspelled, score=-1e6)), {})
