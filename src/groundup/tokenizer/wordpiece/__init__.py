"""WordPiece, the readable way: learn pieces from counted words, spell a word by the longest ones.

This is the plain path. `train_wordpiece` finds the pieces that Hugging Face tokenizers'
WordPieceTrainer finds, id for id, `WordPiece.encode_word` spells as its models.WordPiece does, and
the fast trainer and encoder are held against both.

Schuster and Nakajima 2012 (Japanese and Korean Voice Search) made WordPiece, Wu et al. 2016
(Google's Neural Machine Translation System) took it to translation, Devlin et al. 2019 (BERT) to
language models. They never published their trainer. What everybody trains instead is byte-pair
encoding's: join the pair that occurs most often. What is WordPiece about it is that a piece at the
start of a word is another piece than the same letters further in, and that a word is spelled by
the longest piece that fits, again and again, with no merges to replay.

Legend
    word      a pre-token
    unit      what a word is made of before any piece is learnt: its bytes, or its characters
    piece     the bytes of one token; it either starts a word or continues one
    spelling  a piece as tokenizer.json writes it: `ing` if it starts a word, `##ing` if it
              continues one; bytes as GPT-2's visible characters
    pair      two neighbouring ids in a word
    count     how often a word, or a pair in all words, occurs in the text
"""

from groundup.tokenizer.wordpiece.model import (
    BERT_MAX_WORD_CHARS,
    PREFIXES,
    UNKNOWN,
    Units,
    WordPiece,
)
from groundup.tokenizer.wordpiece.trainer import train_wordpiece

__all__ = [
    "BERT_MAX_WORD_CHARS",
    "PREFIXES",
    "UNKNOWN",
    "Units",
    "WordPiece",
    "train_wordpiece",
]
