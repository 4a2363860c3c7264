from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from groundup.data.loader import TokenBatch
from groundup.generate import SamplingConfig, stream_tokens
from groundup.model import Decoder, KVCache, ModelConfig, build_decoder
from groundup.runtime import GroundupError, compiler_missing
from groundup.train.compiling import WORTH_FROM_S, compile_blocks, decide
from groundup.train.interrupt import Interrupted
from groundup.train.job import Job
from groundup.train.loop import train
from groundup.train.objectives import next_token_loss
from groundup.train.precision import apply_precision
from groundup.train.recompute import Recompute, apply_recompute

from ..model.shapes import SHAPES
from ..tiny_build import SignalAt
from .small_job import SEQ_LEN, RandomBatches, small_job, small_model, token_batch

compiling = importlib.import_module("groundup.train.compiling")
loop = importlib.import_module("groundup.train.loop")

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))
needs_compiler = pytest.mark.skipif(
    compiler_missing(CPU) is not None, reason=str(compiler_missing(CPU))
)
# What torch itself does when its compiler is imported and when it traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not:UserWarning"),
]


def gradients_and_loss(model: Decoder, batch: TokenBatch) -> dict[str, Tensor]:
    model.zero_grad()
    loss = next_token_loss(model, batch)
    loss.total.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return {**found, "loss": loss.total.detach()}


def batch_of(vocab_size: int, n_rows: int, seq_len: int, *, documents: bool) -> TokenBatch:
    """Random rows; with `documents` of two texts each, with a masked half."""
    generator = torch.Generator().manual_seed(n_rows * 1000 + seq_len)
    ids = torch.randint(0, vocab_size, (n_rows, seq_len + 1), generator=generator)
    mask = torch.ones(n_rows, seq_len, dtype=torch.bool)
    batch = token_batch(ids, mask)
    if not documents:
        return batch
    half = torch.arange(seq_len) * 2 // seq_len
    mask[:, ::2] = False
    return replace(token_batch(ids, mask), document_ids=half.expand(n_rows, seq_len).int())


# --- whether --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "device", "missing", "expected_s", "answer"),
    [
        (False, CPU, None, 1e9, (False, "compile=false")),
        (False, CUDA, "no tools", 1e9, (False, "compile=false")),
        (True, CPU, None, 0.0, (True, "compile=true")),
        ("auto", CPU, "there is no C++ compiler", 1e9, (False, "there is no C++ compiler")),
        ("auto", CPU, None, 149.9, (False, "150 s of training are too few to win it back")),
        ("auto", CPU, None, 150.0, (True, "150 s of training win it back")),
        ("auto", CUDA, None, 59.0, (False, "59 s of training are too few to win it back")),
        ("auto", CUDA, None, 61.0, (True, "61 s of training win it back")),
        ("auto", CPU, None, 0.0, (False, "0 s of training are too few to win it back")),
        ("auto", MPS, None, 1e9, (False, "1000000000 s of training are too few to win it back")),
    ],
)
def test_whether_to_compile(
    wanted: Any,
    device: torch.device,
    missing: str | None,
    expected_s: float,
    answer: tuple[bool, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "compiler_missing", lambda _: missing)
    assert decide(wanted, device, expected_s) == answer


def test_what_is_asked_for_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "compiler_missing", lambda _: "there is no C++ compiler")
    with pytest.raises(GroundupError, match=r"there is no C\+\+ compiler; .*compile=auto"):
        decide(True, CPU, 0.0)


def test_auto_never_compiles_where_no_time_is_known_to_win_it_back() -> None:
    assert set(WORTH_FROM_S) == {"cpu", "cuda"}
    assert not decide("auto", MPS, 1e9)[0]


# --- which passes ---------------------------------------------------------------------------------


class Compiler:
    """Stands for torch.compile: runs the function as it is, and counts."""

    def __init__(self) -> None:
        self.n_compiled = self.n_calls = 0

    def __call__(self, plain: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
        assert dynamic is False, "the same shapes are to give the same kernels"
        self.n_compiled += 1

        def forward(*args: Any, **kwargs: Any) -> Any:
            self.n_calls += 1
            return plain(*args, **kwargs)

        return forward


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    spy = Compiler()
    monkeypatch.setattr(torch, "compile", spy)
    limit = torch._dynamo.config.recompile_limit
    yield spy
    torch._dynamo.config.recompile_limit = limit


def test_training_passes_alone_run_what_is_compiled(compiler: Compiler) -> None:
    model = small_model()
    compile_blocks(model)
    assert compiler.n_compiled == 2
    (batch,) = RandomBatches().micro_batches(0, 99)
    next_token_loss(model, batch).total.backward()
    assert compiler.n_calls == 2, "once for each block"
    model(
        batch.input_ids, cache=KVCache(model.config, 6, SEQ_LEN)
    )  # gradients on, but with a cache
    with torch.no_grad():
        next_token_loss(model, batch)
    with torch.inference_mode():
        next_token_loss(model.eval(), batch)
    sampling = SamplingConfig(max_tokens=4, seed=1)
    assert len(list(stream_tokens(model, [1, 2], stop_ids=set(), config=sampling))) == 4
    assert compiler.n_calls == 2


def test_names_stay_what_they_were(compiler: Compiler) -> None:
    model, plain = small_model(), small_model()
    compile_blocks(model)
    assert list(dict(model.named_parameters())) == list(dict(plain.named_parameters()))
    assert list(dict(model.named_modules())) == list(dict(plain.named_modules()))
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict(), strict=True)


# --- a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("begins", [True, False])
def test_a_run_goes_on_as_it_began(
    begins: bool, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it would be decided otherwise: that does not matter any more."""
    asked: list[Any] = []

    def decided(answer: bool) -> Callable[..., tuple[bool, str]]:
        return lambda *arguments: asked.append(arguments) or (answer, "it is so")

    monkeypatch.setattr(loop, "decide", decided(begins))
    job = small_job(tmp_path, listener=SignalAt("pretrain", 3))
    with pytest.raises(Interrupted):
        train(job)
    assert len(asked) == 1
    said = [m for m in job.listener.messages if "compiling the blocks: it is so" in m]
    assert len(said) == begins
    monkeypatch.setattr(loop, "decide", decided(not begins))
    before = compiler.n_calls
    progress = train(small_job(tmp_path, model=small_model(5)))
    assert progress.is_compiled is begins
    assert compiler.n_calls - before == (3 * 2 if begins else 0)
    assert len(asked) == 1


def test_a_short_run_is_not_compiled_by_itself(tmp_path: Path, compiler: Compiler) -> None:
    progress = train(small_job(tmp_path, compile="auto"))
    assert progress.is_compiled is False
    assert compiler.n_compiled == 0


# --- against the plain path -----------------------------------------------------------------------


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing compiled before, nothing left after."""
    limit = torch._dynamo.config.recompile_limit
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()
    torch._dynamo.config.recompile_limit = limit


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Within 1e-5 of the largest entry of each tensor."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        largest = float(value.abs().max())
        torch.testing.assert_close(
            found[name], value, atol=1e-5 * largest, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("shape", ["qwen3_grouped_untied", "gpt2"])
def test_loss_and_gradients_are_those_of_the_plain_blocks(shape: str) -> None:
    """For whole rows and for rows of two documents, of several widths, in any order."""
    model, plain = (build_decoder(SHAPES[shape], seed=0) for _ in range(2))
    compile_blocks(model)
    for _ in range(2):
        for n_rows, seq_len, documents in ((4, 32, False), (3, 24, True)):
            batch = batch_of(97, n_rows, seq_len, documents=documents)
            assert_close(gradients_and_loss(model, batch), gradients_and_loss(plain, batch))
    assert counters["stats"]["unique_graphs"] > 0, "or else nothing was compiled"
    assert not counters["graph_break"]
    same = batch_of(97, 2, 16, documents=True)
    with torch.no_grad():
        ours, theirs = (next_token_loss(m, same).total for m in (model, plain))
    assert torch.equal(ours, theirs)
    sampling = SamplingConfig(max_tokens=6, seed=1)
    texts = [
        list(stream_tokens(m, [5, 6, 7], stop_ids=set(), config=sampling)) for m in (model, plain)
    ]
    assert texts[0] == texts[1]


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("recompute", ["none", "layers"])
def test_all_blocks_share_one_compilation(recompute: Recompute) -> None:
    model = build_decoder(replace(SHAPES["qwen3"], n_layers=5), seed=0)
    apply_recompute(model, recompute)
    compile_blocks(model)
    for _ in range(2):
        gradients_and_loss(model, batch_of(97, 2, 16, documents=True))
    assert counters["stats"]["unique_graphs"] == 1


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("precision", "recompute"),
    [("float32", "selective"), ("float8", "layers")],
)
def test_it_goes_with_recomputation_and_float8(precision: Any, recompute: Recompute) -> None:
    """In float8 a sum that differs in its last bit moves later roundings by a sixteenth.

    So two correct runs are as far from each other as from float32: directions are compared.
    """
    size = {"d_model": 64, "n_heads": 2, "d_ff": 128, "n_layers": 2}
    config = ModelConfig(vocab_size=97, max_seq_len=32, **size)
    batch, found = batch_of(97, 4, 32, documents=True), []
    for compiles in (True, False):
        model = build_decoder(config, seed=0)
        apply_precision(model, precision, CPU)
        apply_recompute(model, recompute)
        if compiles:
            compile_blocks(model)
        found.append(gradients_and_loss(model, batch))
    if precision == "float32":
        assert_close(*found)
        return
    assert float(found[0]["loss"]) == pytest.approx(float(found[1]["loss"]), rel=1e-2)
    for name, value in found[1].items():
        cosine = torch.cosine_similarity(found[0][name].flatten(), value.flatten(), dim=0)
        assert value.ndim < 2 or cosine > 0.97, name


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
def test_a_compiled_run_that_resumes_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """Each process compiles anew; `reset` makes this one forget what it compiled."""

    def job(folder: str, seed: int = 0, **more: Any) -> Job:
        model = build_decoder(replace(small_model().config, dropout=0.2), seed)
        return small_job(tmp_path / folder, model=model, compile=True, micro_rows=4, **more)

    whole = job("whole")
    assert train(whole).is_compiled
    for step in (2, 3):
        torch.compiler.reset()
        with pytest.raises(Interrupted):
            train(job("cut", seed=0 if step == 2 else 7, listener=SignalAt("pretrain", step)))
    torch.compiler.reset()
    last = job("cut", seed=9)
    assert train(last).is_compiled
    for ours, theirs in zip(last.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
