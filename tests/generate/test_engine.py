from __future__ import annotations

import re

import pytest
import torch

from groundup.generate import (
    Generation,
    SamplingConfig,
    generate_batch,
    stream_text,
    stream_tokens,
)
from groundup.model import Decoder
from groundup.runtime import DataError
from groundup.tokenizer import Tokenizer

GREEDY = SamplingConfig(temperature=0, max_tokens=12)


def _stream(model: Decoder, prompt: list[int], config: SamplingConfig, stops=()) -> list[int]:
    return list(stream_tokens(model, prompt, stop_ids=set(stops), config=config))


def _plainly(model: Decoder, prompt: list[int], n_tokens: int) -> list[int]:
    """Greedy without a cache: the whole text is read again for every token."""
    ids = list(prompt)
    for _ in range(n_tokens):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


PROMPTS = [[5, 17, 60, 2, 200, 9], [1], [250, 251, 3], list(range(30)), [7, 7, 7]]


def test_greedy_takes_the_likeliest_each_time(model: Decoder) -> None:
    for prompt in PROMPTS:
        assert _stream(model, prompt, GREEDY) == _plainly(model, prompt, 12)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_batch_gives_what_each_prompt_gives_alone(model: Decoder, batch_size: int) -> None:
    together = generate_batch(model, PROMPTS, stop_ids={299}, config=GREEDY, batch_size=batch_size)
    assert [answer.ids for answer in together] == [_plainly(model, p, 12) for p in PROMPTS]
    assert not any(answer.finished for answer in together)
    assert len({tuple(answer.ids) for answer in together}) > 1


def test_stop_tokens_end_a_text_and_are_left_out(model: Decoder) -> None:
    free = [_plainly(model, prompt, 12) for prompt in PROMPTS]
    stop = free[0][5]
    expected = [
        Generation(ids[: ids.index(stop)], True) if stop in ids else Generation(ids, False)
        for ids in free
    ]
    assert generate_batch(model, PROMPTS, stop_ids={stop}, config=GREEDY) == expected
    assert expected[0].finished
    assert not all(answer.finished for answer in expected)
    for prompt, answer in zip(PROMPTS, expected, strict=True):
        assert _stream(model, prompt, GREEDY, stops={stop}) == answer.ids


def test_no_stop_tokens_are_fine(model: Decoder) -> None:
    answers = generate_batch(model, PROMPTS[:2], stop_ids=(), config=GREEDY)
    assert [len(answer.ids) for answer in answers] == [12, 12]


def test_no_prompts_give_no_answers(model: Decoder) -> None:
    assert generate_batch(model, [], stop_ids={1}, config=GREEDY) == []


def test_a_full_context_ends_the_text(model: Decoder) -> None:
    long = SamplingConfig(temperature=0, max_tokens=1000)
    prompt = list(range(60))
    assert _stream(model, prompt, long) == _plainly(model, prompt, 4)
    assert generate_batch(model, [prompt], stop_ids=(), config=long) == [
        Generation(_plainly(model, prompt, 4), finished=False)
    ]


def test_a_long_neighbour_does_not_cut_a_text_short(model: Decoder) -> None:
    prompts = [[5, 17, 60], list(range(60))]
    answers = generate_batch(model, prompts, stop_ids=(), config=GREEDY)
    assert answers[0].ids == _plainly(model, prompts[0], 12)
    assert answers[1].ids == _plainly(model, prompts[1], 4)


def test_a_prompt_that_leaves_no_room_is_refused(model: Decoder) -> None:
    message = re.escape("the prompt has 64 tokens, the model's context holds 64; shorten it")
    with pytest.raises(DataError, match=message):
        _stream(model, list(range(64)), GREEDY)
    with pytest.raises(DataError, match=message):
        generate_batch(model, [[1], list(range(64))], stop_ids=(), config=GREEDY)
    assert len(_stream(model, list(range(63)), GREEDY)) == 1


def test_an_empty_prompt_is_refused(model: Decoder) -> None:
    with pytest.raises(DataError, match="the prompt is empty; give at least one token"):
        _stream(model, [], GREEDY)
    with pytest.raises(DataError, match="the prompt is empty"):
        generate_batch(model, [[]], stop_ids=(), config=GREEDY)


def test_an_empty_prompt_among_others_is_refused(model: Decoder) -> None:
    with pytest.raises(DataError, match="the prompt is empty"):
        generate_batch(model, [[], [1, 2]], stop_ids=(), config=GREEDY)


def test_the_seed_decides_the_text(model: Decoder) -> None:
    config = SamplingConfig(temperature=2.0, max_tokens=20, seed=1)
    other = SamplingConfig(temperature=2.0, max_tokens=20, seed=2)
    prompt = [5, 17, 60]
    assert _stream(model, prompt, config) == _stream(model, prompt, config)
    assert _stream(model, prompt, config) != _stream(model, prompt, other)
    batches = [
        generate_batch(model, PROMPTS, stop_ids=(), config=chosen, batch_size=2)
        for chosen in (config, config, other)
    ]
    assert batches[0] == batches[1] != batches[2]


def test_global_randomness_plays_no_part(model: Decoder) -> None:
    config = SamplingConfig(temperature=1.0, max_tokens=10)
    torch.manual_seed(1)
    first = _stream(model, [5], config)
    torch.manual_seed(2)
    assert _stream(model, [5], config) == first


def test_pieces_of_text_join_to_the_decoded_tokens(model: Decoder, tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode("The cat")
    config = SamplingConfig(temperature=3.0, max_tokens=40, seed=5)
    pieces = list(stream_text(model, tokenizer, prompt, stop_ids=(), config=config))
    assert "".join(pieces) == tokenizer.decode(_stream(model, prompt, config))
    assert all(pieces)


def test_gradients_are_on_again_between_tokens(model: Decoder) -> None:
    stream = stream_tokens(model, [1, 2], stop_ids=(), config=GREEDY)
    next(stream)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
