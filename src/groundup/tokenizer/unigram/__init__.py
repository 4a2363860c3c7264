"""Unigram, the readable way: learn how probable each piece is, cut a word the most probable way.

A word is taken to be made by drawing pieces one after another, each with a probability of its own
and no memory of the last. Encoding looks for the most probable cut (`model.py`). Training begins
with far too many pieces, every substring that repeats, and in turn estimates their probabilities
and takes out those that the text misses least (`trainer.py`, over the arrays of `lattice.py`).

Kudo 2018 (Subword Regularization) brought the model; Kudo and Richardson 2018 (SentencePiece) the
trainer that this one follows; Liang and Klein 2007 (Structured Bayesian Nonparametric Models with
Variational Inference) the digamma in its maximisation step.

Legend
    unit      what words are made of: a byte, or a character
    piece     a run of units that the vocabulary holds
    score     the natural logarithm of a piece's probability
    node      a place in a word: before its first unit, between two, after its last
    edge      a piece as it lies in a word, from one node to a later one
    lattice   all the edges of all the words; a path through a word is a cut of it
"""

from groundup.tokenizer.unigram.lattice import Floats, Lattice
from groundup.tokenizer.unigram.model import Unigram, Units
from groundup.tokenizer.unigram.trainer import TrainingSteps, UnigramTraining, train_unigram

__all__ = [
    "Floats",
    "Lattice",
    "TrainingSteps",
    "Unigram",
    "UnigramTraining",
    "Units",
    "train_unigram",
]
