"""Generation with a key-value cache: one prompt as a stream, or many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundup.generate.sampling import SamplingConfig, sample
from groundup.model import Decoder, KVCache
from groundup.runtime import DataError, torch_generator
from groundup.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Generation:
    """What one prompt was answered with; `finished` if it ended at a stop token."""

    ids: list[int]
    finished: bool


@torch.inference_mode()
def stream_tokens(
    model: Decoder, prompt: Sequence[int], *, stop_ids: Collection[int], config: SamplingConfig
) -> Iterator[int]:
    """Yield one token at a time until a stop token (not yielded), `max_tokens` or a full context.

    Raises DataError if the prompt leaves no room to generate.
    """
    room = _room(model, len(prompt))
    generator = torch_generator(config.seed, "sampling")
    device = next(model.parameters()).device
    cache = KVCache(model.config, 1, len(prompt) + room, device=device)
    new = torch.tensor([list(prompt)], device=device)
    last = torch.tensor([len(prompt) - 1], device=device)
    for _ in range(min(room, config.max_tokens)):
        logits = model(new, cache=cache, select=last)  # (1, vocab_size)
        token = sample(logits, config, generator)
        if int(token) in stop_ids:
            return
        yield int(token)
        new, last = token[None], torch.zeros_like(last)


def stream_text(
    model: Decoder,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    stop_ids: Collection[int],
    config: SamplingConfig,
) -> Iterator[str]:
    """Like `stream_tokens`, as pieces of text that never split a character."""
    decoder = StreamDecoder(tokenizer)
    for token in stream_tokens(model, prompt, stop_ids=stop_ids, config=config):
        if piece := decoder.push(token):
            yield piece
    if rest := decoder.flush():
        yield rest


def generate_batch(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    stop_ids: Collection[int],
    config: SamplingConfig,
    batch_size: int = 64,
) -> list[Generation]:
    """Answer many prompts, in their order; prompts of similar length run together.

    Every prompt's draws come from one generator for its batch, so a result depends on its
    neighbours unless temperature is 0.
    """
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    results: dict[int, Generation] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = [prompts[index] for index in chosen]
        generator = torch_generator(config.seed, "sampling", start)
        answers = _generate_together(model, batch, stop_ids, config, generator)
        results.update(zip(chosen, answers, strict=True))
    return [results[index] for index in range(len(prompts))]


@torch.inference_mode()
def _generate_together(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    stop_ids: Collection[int],
    config: SamplingConfig,
    generator: torch.Generator,
) -> list[Generation]:
    longest = max(map(len, prompts))
    rooms = [min(_room(model, len(prompt)), config.max_tokens) for prompt in prompts]
    device = next(model.parameters()).device
    n_padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    new = torch.tensor(rows, device=device)  # (batch, longest), padded on the left
    last = torch.arange(1, len(prompts) + 1, device=device) * longest - 1
    cache = KVCache(
        model.config, len(prompts), longest + max(rooms), device=device, n_padding=n_padding
    )
    stops = torch.tensor(sorted(stop_ids), device=device)
    room = torch.tensor(rooms, device=device)
    stopped = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    columns: list[Tensor] = []
    for n_made in range(1, max(rooms) + 1):
        token = sample(model(new, cache=cache, select=last), config, generator)  # (batch,)
        columns.append(token)
        stopped |= torch.isin(token, stops) | (room <= n_made)
        if bool(stopped.all()):
            break
        new, last = token[:, None], torch.arange(len(prompts), device=device)
    made = torch.stack(columns, dim=1).tolist()
    return [_until_stop(row[:room], stop_ids) for row, room in zip(made, rooms, strict=True)]


def _until_stop(ids: list[int], stop_ids: Collection[int]) -> Generation:
    for index, token in enumerate(ids):
        if token in stop_ids:
            return Generation(ids[:index], finished=True)
    return Generation(ids, finished=False)


def _room(model: Decoder, prompt_len: int) -> int:
    """Tokens that fit after a prompt."""
    if prompt_len < 1:
        raise DataError("the prompt is empty; give at least one token")
    room = model.config.max_seq_len - prompt_len
    if room < 1:
        raise DataError(
            f"the prompt has {prompt_len} tokens, the model's context holds "
            f"{model.config.max_seq_len}; shorten it"
        )
    return room
