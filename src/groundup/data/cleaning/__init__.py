"""Which texts are worth learning from: repair, scores, rules, masking. `stage.py` is the whole.

The order of the files is that of the work: `repair` mends characters, `boilerplate` drops lines,
`scores` measures, `rules` judges by the limits in `config`, `pii` masks. `characters`, `words`,
`lines` and `repetition` are the compiled measures below `scores`.
"""

from groundup.data.cleaning.boilerplate import drop_lines
from groundup.data.cleaning.classifier import ClassifierConfig, HeldoutReport, QualityClassifier
from groundup.data.cleaning.config import (
    C4Config,
    CleaningConfig,
    FineWebConfig,
    GopherQualityConfig,
    RepetitionConfig,
    Rules,
)
from groundup.data.cleaning.languages import LanguageIdentifier
from groundup.data.cleaning.pii import mask_pii
from groundup.data.cleaning.repair import repair
from groundup.data.cleaning.rules import RULES, Rule, judge
from groundup.data.cleaning.scores import SCORE_SCHEMA, SCORES, Scorer, score_table
from groundup.data.cleaning.stage import Cleaned, clean_table
from groundup.data.cleaning.word_list import WordList

__all__ = [
    "RULES",
    "SCORES",
    "SCORE_SCHEMA",
    "C4Config",
    "ClassifierConfig",
    "Cleaned",
    "CleaningConfig",
    "FineWebConfig",
    "GopherQualityConfig",
    "HeldoutReport",
    "LanguageIdentifier",
    "QualityClassifier",
    "RepetitionConfig",
    "Rule",
    "Rules",
    "Scorer",
    "WordList",
    "clean_table",
    "drop_lines",
    "judge",
    "mask_pii",
    "repair",
    "score_table",
]
