"""Preparing data: sources in; train and held-out documents, chats and preference pairs out.

    read -> clean -> dedup_exact -> dedup_near -> dedup_lines -> dedup_substrings -> decontaminate
         -> divide -> tokenize

Each stage is jobs over shards (`steps/`), made by the engine (`engine.py`) in a work folder where
they outlive a kill. What the last one made is published in the output folder, with the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from groundup.data.adopt import check_finished
from groundup.data.config import DataConfig, DedupConfig, source_names
from groundup.data.decontaminate import check_benchmarks
from groundup.data.engine import Artefact, Engine, versions_of
from groundup.data.executors import Executor, ExecutorName
from groundup.data.identity import files_used
from groundup.data.manifest import MANIFEST, PAGE, is_prepared, stage_entry, write_manifest
from groundup.data.publish import publish, publish_tokens, removed_by_reason
from groundup.data.reading.config import HUB
from groundup.data.reading.inputs import check_sources
from groundup.data.records import Record
from groundup.data.split import SPLITS
from groundup.data.steps.clean import clean
from groundup.data.steps.decontaminate import Report, decontaminate
from groundup.data.steps.dedup import cut_shared, drop_exact, drop_near
from groundup.data.steps.divide import divide
from groundup.data.steps.read import read_builtin_into, read_source_into
from groundup.data.steps.shard import KINDS, REMOVED, Shard
from groundup.data.steps.tokenize import TokenizerChoice, tokenize, tokenizer_artefact
from groundup.runtime import (
    DataError,
    Listener,
    Silent,
    folder_lock,
    read_json,
    remove_leftovers,
    storage_errors,
    to_dict,
    write_json,
)
from groundup.tokenizer import open_tokenizer

__all__ = [
    "DataConfig",
    "DedupConfig",
    "TokenizerChoice",
    "check_outside",
    "prepare",
    "source_names",
    "suited_executor",
]

Builtin = Mapping[str, Callable[[], Iterable[Record]]]
PROCESSES_FROM_BYTES = 32 << 20
IN_PART = ("repeated_lines", "repeated_substrings", "contaminated_span")  # the rest stays
STAGES = "stages"  # the work folder, beside what is published


def prepare(
    config: DataConfig,
    out: Path,
    *,
    builtin: Builtin | None = None,
    work: Path | None = None,
    executor: Executor | None = None,
    tokenizer: TokenizerChoice | None = None,
    manifest_name: str = MANIFEST,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Read all sources, clean, drop duplicates, divide, and write the folder `out`; gives counts.

    A source whose path is a key of `builtin` takes its records from there. `work` keeps what each
    stage made, for when this is called again: after a kill, or with other settings; `out/stages` if
    it is not given. The same bytes come from each executor. With a `tokenizer`, given or to be
    trained, token shards are written too.
    """
    listener = listener or Silent()
    builtin = builtin or {}
    work = work or out / STAGES
    if not config.sources:
        raise DataError("data.sources is empty; give --data PATH, or name a file, a folder or demo")
    check_sources(config.sources, builtin)
    for source in config.sources:
        if source.path in builtin or source.path.startswith(HUB):
            continue
        check_outside(out, Path(source.path))
        check_finished(Path(source.path))
        if is_prepared(Path(source.path)):
            raise DataError(
                f"{source.path} is prepared data; give what it was made of, or train on it with "
                f"groundup build --data {source.path}"
            )
    with storage_errors(out), folder_lock(work):
        remove_leftovers(out)
        before = _fingerprint_in(out / manifest_name)
        if tokenizer is not None and tokenizer.path is not None:
            open_tokenizer(tokenizer.path)  # before any work, if it is none
        check_benchmarks(config.decontamination)
        engine = Engine(work, executor, listener)
        flow = _Flow(engine, config, listener, files_used(config))
        flow.read(builtin)
        flow.clean()
        flow.drop_duplicates()
        flow.decontaminate()
        flow.divide()
        counts = flow.publish(out, tokenizer, manifest_name)
        engine.prune()
        if counts["fingerprint"] != before and (out / PAGE).is_file():
            (out / PAGE).unlink()
            told = f"{PAGE} was of other data and is gone; groundup data report {out} makes it anew"
            listener.message(told)
    if not engine.n_made:
        is_same = counts["fingerprint"] == before
        told = "nothing has changed: all of it stood" if is_same else "all parts of it stood"
        listener.message(told)
    elif engine.n_made < engine.n_used:
        told = f"{engine.n_made:,} of {engine.n_used:,} parts were made; the others stood"
        listener.message(told)
    for reason, entry in counts["removed"].items():
        done = "cut something from" if reason in IN_PART else "left out"
        listener.message(f"{done} {entry['n']} for {reason}, such as {entry['examples'][0]}")
    return counts


def suited_executor(config: DataConfig) -> ExecutorName:
    """Processes where there is so much to read that starting them pays, else serial."""
    n_bytes = 0
    for source in config.sources:
        path = Path(source.path)
        with suppress(OSError):  # whoever reads it says so
            for file in [path] if path.is_file() else path.rglob("*"):
                with suppress(OSError):
                    n_bytes += file.stat().st_size if file.is_file() else 0
                if n_bytes >= PROCESSES_FROM_BYTES:
                    return "processes"
    return "serial"


def check_outside(out: Path, source: Path) -> None:
    """Raise DataError if `out` would be read from `source` by the next run, or replace it."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"the output {out} lies inside the source {source} and would be read as text later; "
            "choose another --out, or a source folder beside it"
        )
    if source.resolve().is_relative_to(out.resolve()):
        raise DataError(
            f"the source {source} lies inside the output {out}, where it would be replaced; "
            "choose another --out"
        )


# --- one run --------------------------------------------------------------------------------------

Sides = dict[str, dict[str, int]]


@dataclass
class _Flow:
    """The shards on their way through the stages, and what the manifest says of each stage."""

    engine: Engine
    config: DataConfig
    listener: Listener
    files_used: dict[str, Any]
    shards: list[Shard] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    removed: dict[str, list[Path]] = field(default_factory=dict)  # stage -> files
    contamination: Report | None = None

    def read(self, builtin: Builtin) -> None:
        """Sources to shards."""
        config = self.config
        dropped: Counter[str] = Counter()
        artefacts: list[Artefact] = []
        for source, name in zip(config.sources, source_names(config.sources), strict=True):
            if source.path in builtin:
                found = read_builtin_into(self.engine, source, name, builtin[source.path])
            else:
                found = read_source_into(self.engine, source, name, config.reading)
            self.shards += found.shards
            self.sources.append(found.about)
            artefacts += found.artefacts
            for artefact in found.artefacts:
                dropped.update(artefact.counts["dropped"])
        after = _sides(self.shards)
        before = {kind: dict(counts) for kind, counts in after.items()}
        before["documents"] = {
            "n": after["documents"]["n"] + dropped.total(),
            "n_bytes": sum(source["bytes"] for source in self.sources),
        }
        self.stages.append(stage_entry("read", before, after, {"documents": dropped}))
        self._keep_removed("read", artefacts)

    def clean(self) -> None:
        """Repair, score, judge and mask the user's documents; mask their chats and pairs."""
        cleaning = self.config.cleaning

        def is_asked(shard: Shard) -> bool:
            return _is_own(shard) or (cleaning.pii == "mask" and not shard.is_builtin)

        self._through("clean", is_asked, lambda own: clean(self.engine, own, cleaning))
        masked: Counter[str] = Counter()
        for shard in self.shards:
            masked.update(shard.artefact.counts.get("masked", {}))
        if masked:
            self.stages[-1]["masked"] = dict(sorted(masked.items()))

    def drop_duplicates(self) -> None:
        """Exact duplicates of each kind, near ones of the user's documents, and what they share."""
        engine, dedup = self.engine, self.config.dedup
        if dedup.exact:
            made = list(self.shards)
            for kind in KINDS:
                places = [n for n, shard in enumerate(self.shards) if shard.kind == kind]
                found = drop_exact(engine, [self.shards[n] for n in places])
                for n, shard in zip(places, found, strict=True):
                    made[n] = shard
            self._passed("dedup_exact", made)
        if (near := dedup.near) is not None:
            self._through("dedup_near", _is_own, lambda own: drop_near(engine, own, near))
        for name, shared in (("lines", dedup.lines), ("substrings", dedup.substrings)):
            if shared is not None:
                self._through(f"dedup_{name}", _is_own, partial(cut_shared, engine, config=shared))

    def decontaminate(self) -> None:
        """Take out what gives away evaluation sets, where some are named."""
        if not self.config.decontamination.benchmarks:
            return
        found = decontaminate(self.engine, self.shards, self.config.decontamination)
        made, self.contamination = found
        self._passed("decontaminate", made)

    def divide(self) -> None:
        """Cut what is long, and hold some out."""
        config = self.config
        divided = divide(
            self.engine,
            self.shards,
            fraction=config.heldout_fraction,
            minimum=config.min_heldout,
            limit_bytes=config.split_long_documents_bytes,
        )
        self._passed("divide", divided)

    def publish(
        self, out: Path, choice: TokenizerChoice | None, manifest_name: str
    ) -> dict[str, Any]:
        """Write the output folder from what the stages made; gives its counts."""
        removed = removed_by_reason(self.removed)
        counts = {**_counts(self.shards, self.sources), "removed": removed}
        _check_enough(counts, self.config)
        about, made = None, None
        tokens: dict[str, list[Artefact]] = {}
        if choice is not None:
            made = tokenizer_artefact(self.engine, choice, self.shards, self.listener)
            tokens = tokenize(self.engine, self.shards, made)
        (out / manifest_name).unlink(missing_ok=True)  # from here on it is not true
        publish(out, self.shards, self.removed)
        publish_tokens(out, made, tokens)
        if made is not None:
            n_tokens = sum(a.counts["n_tokens"] for found in tokens.values() for a in found)
            sides = _sides(s for s in self.shards if s.kind == "documents")
            self.stages.append(stage_entry("tokenize", sides, sides, {}, n_tokens=n_tokens))
            about = {"hash": made.counts["fingerprint"], "vocab_size": made.counts["vocab_size"]}
            counts["tokens"] = {
                split: sum(
                    artefact.counts["n_tokens"]
                    for found in tokens.values()
                    for artefact in found
                    if artefact.counts["split"] == split
                )
                for split in SPLITS
            }
        write_json(out / "counts.json", counts)
        manifest = write_manifest(
            out,
            sources=self.sources,
            stages=self.stages,
            parameters=to_dict(self.config),
            files_used=self.files_used,
            versions=versions_of(LIBRARIES),
            tokenizer=about,
            contamination=self.contamination,
            name=manifest_name,
        )
        return {**counts, "fingerprint": manifest["fingerprint"]}

    def _through(
        self,
        stage: str,
        chosen: Callable[[Shard], bool],
        run: Callable[[list[Shard]], list[Shard]],
    ) -> None:
        """Pass the chosen shards through a stage; the rest goes by it."""
        places = [n for n, shard in enumerate(self.shards) if chosen(shard)]
        if places:
            made = list(self.shards)
            for n, shard in zip(places, run([self.shards[n] for n in places]), strict=True):
                made[n] = shard
            self._passed(stage, made)

    def _passed(self, stage: str, made: Sequence[Shard]) -> None:
        """Note what a stage did, and go on with what it made."""
        before = {shard.artefact.folder for shard in self.shards}
        new = [shard for shard in made if shard.artefact.folder not in before]
        dropped: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        for shard in new:
            dropped[shard.kind].update(shard.artefact.counts.get("dropped", {}))
        self.stages.append(stage_entry(stage, _sides(self.shards), _sides(made), dropped))
        self.shards = list(made)
        self._keep_removed(stage, [shard.artefact for shard in new])

    def _keep_removed(self, stage: str, artefacts: Iterable[Artefact]) -> None:
        files = [artefact.path(REMOVED) for artefact in artefacts if REMOVED in artefact.files]
        if files:
            self.removed[stage] = files


def _fingerprint_in(manifest: Path) -> str | None:
    """Of what was prepared here before, if anything was."""
    try:
        return str(read_json(manifest)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_own(shard: Shard) -> bool:
    return shard.kind == "documents" and not shard.is_builtin


LIBRARIES = (
    "numpy", "pyarrow", "xxhash", "numba", "ftfy", "py3langid", "resiliparse",
    "pypdfium2", "datasets", "tokenizers", "tiktoken", "regex",
)  # fmt: skip


def _sides(shards: Iterable[Shard]) -> Sides:
    found: Sides = {kind: {"n": 0, "n_bytes": 0} for kind in KINDS}
    for shard in shards:
        found[shard.kind]["n"] += shard.n
        found[shard.kind]["n_bytes"] += shard.n_bytes
    return found


def _counts(shards: Sequence[Shard], sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What counts.json says of what was kept: by kind, split and source."""

    def of(kind: str, names: Iterable[str]) -> Sides:
        found: Sides = {split: {"n": 0, "n_bytes": 0} for split in SPLITS}
        wanted = set(names)
        for shard in shards:
            if shard.kind == kind and shard.source in wanted:
                for split in SPLITS:
                    for figure, value in shard.artefact.counts["splits"][split].items():
                        found[split][figure] += value
        return found

    return {
        **{kind: of(kind, [source["name"] for source in sources]) for kind in KINDS},
        "sources": {
            source["name"]: {
                "weight": source["weight"],
                **{kind: of(kind, [source["name"]]) for kind in KINDS},
            }
            for source in sources
        },
    }


def _check_enough(counts: Mapping[str, Any], config: DataConfig) -> None:
    n_found = {kind: sum(counts[kind][split]["n"] for split in SPLITS) for kind in KINDS}
    if not any(n_found.values()):
        removed = counts["removed"].items()
        told = "; ".join(
            f"{entry['n']} {r}, such as {entry['examples'][0]}" for r, entry in removed
        )
        paths = ", ".join(source.path for source in config.sources)
        is_judged = any(entry["stage"] == "clean" for _, entry in removed)
        raise DataError(
            f"nothing is left of {paths} ({told or 'no rows'}); add other text"
            f"{', or loosen data.cleaning' if is_judged else ''}"
        )
    if n_found["documents"] and not all(counts["documents"][split]["n"] for split in SPLITS):
        n_bytes = sum(counts["documents"][split]["n_bytes"] for split in SPLITS)
        raise DataError(
            f"the sources hold {n_found['documents']} document(s) of {n_bytes} bytes together, too "
            "small to train on one part and hold out another; add text, or lower "
            "data.split_long_documents_bytes"
        )
