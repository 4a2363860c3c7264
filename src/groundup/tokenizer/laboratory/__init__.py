"""The laboratory: what a vocabulary does to a text, before a model is trained on it.

`compare.py` is the place to begin: it trains candidates (`candidates.py`), measures them on
held-out text (`text.py`, `measure.py`) and chooses (`recommend.py`, where the rule is stated).
`describe.py` says what a tokenizer is, `replay.py` how a word comes to its tokens. Nothing here
prints or reads files; the commands of `groundup tokenizer` do.
"""

from groundup.tokenizer.laboratory.candidates import train_candidates
from groundup.tokenizer.laboratory.compare import Comparison, Example, Question, compare
from groundup.tokenizer.laboratory.describe import Description, describe, unreachable_ids
from groundup.tokenizer.laboratory.measure import (
    Measured,
    Support,
    TokenUse,
    longest_tokens,
    measure,
    support,
    uses_in_words,
)
from groundup.tokenizer.laboratory.recommend import (
    Cost,
    ModelShape,
    Recommendation,
    Tried,
    recommend,
)
from groundup.tokenizer.laboratory.replay import Step, replay
from groundup.tokenizer.laboratory.text import HeldOut, Part, Sample

__all__ = [
    "Comparison",
    "Cost",
    "Description",
    "Example",
    "HeldOut",
    "Measured",
    "ModelShape",
    "Part",
    "Question",
    "Recommendation",
    "Sample",
    "Step",
    "Support",
    "TokenUse",
    "Tried",
    "compare",
    "describe",
    "longest_tokens",
    "measure",
    "recommend",
    "replay",
    "support",
    "train_candidates",
    "unreachable_ids",
    "uses_in_words",
]
