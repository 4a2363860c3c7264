"""Quality rules' speed on one core: ours beside datatrove's, on the same documents in the same run.

    python bench/data_rules.py --data FOLDER --json FILE [--rounds 3] [--megabytes 8]

Both sides measure Gopher's repetition and quality rules, C4's and FineWeb's. Ours gives every score
of every text; datatrove's filters stop at the first limit that is broken, as they come. Words are
the same on both sides: datatrove is given a tokenizer that cuts with our kernel, so that what is
compared is the rules, and our limit on duplicate lines, where its code and FineWeb's paper differ.
Where spaCy is installed, datatrove's default for English, that is a second figure. Documents are
the .txt, .md and .rst files under FOLDER, mended, in pieces of 6,000 characters. The sides take
turns; figures are medians of megabytes of UTF-8 a second of CPU time.
Repair, language identification and masking are figures of their own, the second beside py3langid.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from groundup.data.cleaning import (
    C4Config,
    CleaningConfig,
    FineWebConfig,
    GopherQualityConfig,
    LanguageIdentifier,
    Scorer,
    judge,
    mask_pii,
    repair,
    score_table,
)
from groundup.data.cleaning.characters import code_points
from groundup.data.cleaning.words import find_words, split_sentences
from groundup.runtime import machine_description, write_json

PIECE_CHARACTERS = 6_000
ENDINGS = (".txt", ".md", ".rst")
CONFIG = CleaningConfig(
    preset="web", gopher_quality=GopherQualityConfig(), c4=C4Config(), identify_language=False
)


def read_pieces(folder: Path, n_bytes: int) -> list[str]:
    """Pieces spread evenly over all text under a folder, about so many bytes together."""
    pieces: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in ENDINGS and p.is_file()):
        text = path.read_text(encoding="utf-8", errors="replace")
        pieces += [text[i : i + PIECE_CHARACTERS] for i in range(0, len(text), PIECE_CHARACTERS)]
    share = max(sum(map(len, pieces)) // n_bytes, 1)
    return pieces[::share]


def our_tokenizer() -> Any:
    """Our words and sentences as datatrove's tokenizer."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Plain(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            found = find_words(code_points(text))
            ends = (found.starts + found.lengths).tolist()
            return [text[a:b] for a, b in zip(found.starts.tolist(), ends, strict=True)]

        def sent_tokenize(self, text: str) -> list[str]:
            return split_sentences(text)

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            spans, end = [], 0
            for sentence in split_sentences(text):
                start = text.index(sentence, end)
                end = start + len(sentence)
                spans.append((start, end))
            return spans

    return Plain()


def rules_of_datatrove(language: Any) -> Callable[[list[str]], int]:
    """How many texts all four filters keep; each looks at every text as it was, as ours do."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    kinds = (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter)
    filters = [kind(language=language) for kind in kinds]
    limit = FineWebConfig().max_duplicate_line_characters
    filters.append(FineWebQualityFilter(language=language, char_duplicates_ratio=limit))

    def run(texts: list[str]) -> int:
        kept = 0
        for number, text in enumerate(texts):
            verdicts = [f.filter(Document(text=text, id=str(number))) is True for f in filters]
            kept += all(verdicts)
        return kept

    return run


def our_rules() -> Callable[[list[str]], int]:
    """How many texts our rules keep."""
    scorer = Scorer(CONFIG)

    def run(texts: list[str]) -> int:
        table = pa.table({"id": list(map(str, range(len(texts)))), "text": texts})
        reasons, _ = judge(score_table(table, CONFIG, scorer), CONFIG)
        return reasons.count(None)

    return run


def measure(folder: Path, rounds: int, megabytes: int) -> dict[str, Any]:
    """All figures on one core."""
    raw = read_pieces(folder, megabytes * 1_000_000)
    texts = [repair(text) for text in raw]
    n_megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rates: dict[str, list[float]] = {}
    kept: dict[str, int] = {}

    def timed(name: str, work: Callable[[list[str]], Any], over: list[str]) -> None:
        started = time.process_time()
        found = work(over)
        rates.setdefault(name, []).append(n_megabytes / (time.process_time() - started))
        if isinstance(found, int):
            kept[name] = found

    sides = {"rules": our_rules(), "rules datatrove": rules_of_datatrove(our_tokenizer())}
    if importlib.util.find_spec("spacy"):
        sides["rules datatrove spacy"] = rules_of_datatrove("eng")
    identifier = LanguageIdentifier.load()
    theirs = their_identifier()
    others: dict[str, Callable[[str], Any]] = {
        "languages": identifier.identify,
        "languages py3langid": theirs.classify,
        "masking": mask_pii,
        "repair": repair,
    }
    for side in sides.values():
        side(texts[:2])  # compile, load
    for number in range(rounds):
        for name, side in list(sides.items())[:: 1 if number % 2 == 0 else -1]:
            timed(name, side, texts)
        for name, work in others.items():
            timed(name, over_each(work), raw)
    assert abs(kept["rules"] - kept["rules datatrove"]) <= 0.002 * len(texts), f"{kept} disagree"
    return {
        "machine": machine_description(),
        "commit": commit(),
        "documents": {"n": len(texts), "megabytes": n_megabytes, "kept": kept},
        "figures": figures(
            {name: statistics.median(found) for name, found in rates.items()}, rounds
        ),
    }


def over_each(work: Callable[[str], Any]) -> Callable[[list[str]], list[Any]]:
    """The same work on each text of a list."""
    return lambda texts: [work(text) for text in texts]


def their_identifier() -> Any:
    """py3langid's own, with the same model."""
    from py3langid.langid import MODEL_FILE
    from py3langid.langid import LanguageIdentifier as Theirs

    return Theirs.from_model_file(MODEL_FILE, norm_probs=True)


def figures(rates: dict[str, float], rounds: int) -> dict[str, Any]:
    """Each of ours beside its peer, where it has one."""
    pairs = {
        "rules": ("rules", "rules datatrove", "datatrove, our words"),
        "rules beside spacy": ("rules", "rules datatrove spacy", "datatrove, spaCy's words"),
        "languages": ("languages", "languages py3langid", "py3langid"),
        "masking": ("masking", None, None),
        "repair": ("repair", None, None),
    }
    found = {}
    for name, (ours, peer, peer_name) in pairs.items():
        if peer is not None and peer not in rates:
            continue
        beside = rates[peer] if peer else None
        found[name] = {
            "ours": rates[ours],
            "peer": beside,
            "peer_name": peer_name,
            "unit": "MB/s of CPU time",
            "ratio": rates[ours] / beside if beside else None,
            "rounds": rounds,
        }
    return found


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=8)
    arguments = parser.parse_args()
    found = measure(arguments.data, arguments.rounds, arguments.megabytes)
    for name, figure in found["figures"].items():
        beside = f"; {figure['peer_name']} {figure['peer']:.2f}" if figure["peer"] else ""
        ratio = f", {figure['ratio']:.1f} times" if figure["peer"] else ""
        print(f"{name}: {figure['ours']:.2f} {figure['unit']}{beside}{ratio}")
    if arguments.json:
        write_json(arguments.json, found)


if __name__ == "__main__":
    main()
