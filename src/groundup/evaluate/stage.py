"""The evaluate stage: every trained stage measured on the same held-out text and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from groundup.data.prepared import read_chats, read_texts
from groundup.evaluate.baselines import ngram_bits_per_byte, xz_bits_per_byte
from groundup.evaluate.checks import Check, leaves_room, reply_to, score_checks
from groundup.evaluate.likelihood import score_documents
from groundup.export.huggingface import load_model
from groundup.generate import SamplingConfig, stream_text
from groundup.model import Decoder
from groundup.runtime import Listener, config, write_json
from groundup.tokenizer import Tokenizer
from groundup.train.context import take_bytes

N_SAMPLES = 5


@config
class EvaluateConfig:
    """What is measured.

    heldout_bytes: how much held-out text the models and the baselines are scored on.
    baselines: also score xz and a byte n-gram model, fitted to the same training text.
    temperature: of the replies to checks, but for those that ask for their own; 0 takes the
        likeliest token.
    max_tokens: longest reply to a check.
    """

    heldout_bytes: int = 500_000
    baselines: bool = True
    temperature: float = 0.0
    max_tokens: int = 150

    def __post_init__(self) -> None:
        if self.heldout_bytes < 1:
            raise ValueError(f"heldout_bytes={self.heldout_bytes} must be at least 1")
        SamplingConfig(temperature=self.temperature, max_tokens=self.max_tokens)  # refuses nonsense


@dataclass(frozen=True)
class CheckSet:
    """Checks of chat skills with the level of chance of each (skill, split)."""

    checks: Sequence[Check]
    chance: Mapping[tuple[str, str], float]


def evaluate(
    settings: EvaluateConfig,
    models: Mapping[str, Path],
    *,
    data: Path,
    folder: Path,
    check_set: CheckSet | None,
    device: torch.device,
    seed: int,
    listener: Listener,
) -> dict[str, Any]:
    """Measure the model folder of each stage; writes `results.json` and returns it.

    models: stage name -> model folder, in the order they were trained.
    check_set: None where the data has no checks of its own.
    """
    heldout = list(take_bytes(read_texts(data, "heldout"), settings.heldout_bytes))
    results: dict[str, Any] = {"stages": {}, "checks": [], "samples": {}, "baselines": {}}
    sampling = SamplingConfig(
        temperature=settings.temperature, max_tokens=settings.max_tokens, seed=seed
    )
    total = len(models) + int(settings.baselines)
    for done, (stage, path) in enumerate(models.items()):
        listener.progress("evaluate", done, total, {})
        model, tokenizer = load_model(path).to(device), Tokenizer.load(path)
        interval = score_documents(model, tokenizer, heldout).bits_per_byte
        results["stages"][stage] = {
            "bits_per_byte": {"value": interval.value, "ci95": [interval.lo, interval.hi]}
        }
        if check_set is not None:
            scores = score_checks(
                model,
                tokenizer,
                check_set.checks,
                stage=stage,
                chance=check_set.chance,
                config=sampling,
            )
            results["checks"] += [score.as_row() for score in scores]
        sampler = _chat_samples if stage != "pretrain" else _text_samples
        results["samples"][stage] = sampler(model, tokenizer, data, seed)
    if settings.baselines and heldout:
        listener.progress("evaluate", total - 1, total, {})
        results["baselines"] = _baselines(data, heldout)
    listener.progress("evaluate", total, total, {})
    write_json(folder / "results.json", results)
    return results


def _baselines(data: Path, heldout: list[str]) -> dict[str, Any]:
    xz = xz_bits_per_byte(read_texts(data, "train"), heldout)
    ngram = ngram_bits_per_byte(read_texts(data, "train"), heldout)
    return {
        "xz_bits_per_byte": xz.bits_per_byte,
        "xz_train_bytes": xz.train_bytes,
        "ngram_bits_per_byte": ngram.bits_per_byte,
        "ngram_order": ngram.order,
        "ngram_train_bytes": ngram.train_bytes,
    }


Samples = list[dict[str, str]]
Sampler = Callable[[Decoder, Tokenizer, Path, int], Samples]


def _text_samples(model: Decoder, tokenizer: Tokenizer, data: Path, seed: int) -> Samples:
    """Held-out documents begun by their first words and gone on with by the model."""
    end = tokenizer.end_of_text_id
    samples = []
    for place, text in enumerate(islice(read_texts(data, "heldout"), N_SAMPLES)):
        first_line, newline, _ = text[:200].partition("\n")
        is_title = newline and len(first_line) < 100
        prompt = first_line + newline if is_title else " ".join(first_line.split(" ")[:8])
        ids = [end, *tokenizer.encode(prompt)][-(model.config.max_seq_len // 2) :]
        settings = SamplingConfig(max_tokens=120, seed=seed + place)
        reply = "".join(stream_text(model, tokenizer, ids, stop_ids={end}, config=settings))
        samples.append({"prompt": prompt.strip(), "reply": reply})
    return samples


def _chat_samples(model: Decoder, tokenizer: Tokenizer, data: Path, seed: int) -> Samples:
    """Held-out conversations up to their first reply, answered by the model."""
    prompts = []
    for chat in read_chats(data, "heldout"):
        first_reply = next(
            i for i, message in enumerate(chat.messages) if message.role == "assistant"
        )
        prompt = [{"role": m.role, "content": m.content} for m in chat.messages[:first_reply]]
        if prompt not in prompts and leaves_room(model, tokenizer, prompt):
            prompts.append(prompt)
        if len(prompts) == N_SAMPLES:
            break
    replies = reply_to(model, tokenizer, prompts, SamplingConfig(max_tokens=150, seed=seed))
    return [
        {"prompt": prompt[-1]["content"], "reply": reply}
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
