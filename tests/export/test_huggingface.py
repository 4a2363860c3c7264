from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from groundup.export import (
    architecture_of,
    load_model,
    load_weights,
    read_model_config,
    save_model_folder,
)
from groundup.generate import SamplingConfig, stream_tokens
from groundup.model import Decoder, count_parameters
from groundup.runtime import CheckpointError, StorageError
from groundup.tokenizer import Tokenizer

from .conftest import SHAPES, TEXTS

INPUT_IDS = torch.randint(300, (2, 40), generator=torch.Generator().manual_seed(8))


def _their_logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(INPUT_IDS).logits


def _spread(model: PreTrainedModel) -> PreTrainedModel:
    """Random values for every tensor, also those that transformers starts at 0 or 1."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


# --- ours in transformers -------------------------------------------------------------------------


def test_transformers_computes_the_same(
    model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(model, tokenizer, tmp_path, chat=False)
    theirs, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())  # no tensor missing, left over or of another shape
    assert (
        type(theirs).__name__
        == json.loads((tmp_path / "config.json").read_text())["architectures"][0]
    )
    assert theirs.dtype == torch.float32
    assert theirs.num_parameters() == count_parameters(model.config).total  # no padded row
    torch.testing.assert_close(_their_logits(theirs), model(INPUT_IDS), rtol=1e-4, atol=1e-4)


def test_transformers_generates_the_same(
    model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(model, tokenizer, tmp_path, chat=True)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompt = tokenizer.encode("The dog sat")
    stops = {tokenizer.end_of_turn_id, tokenizer.end_of_text_id}
    greedy = SamplingConfig(temperature=0, max_tokens=20)
    ours = list(stream_tokens(model, prompt, stop_ids=stops, config=greedy))
    ids = torch.tensor([prompt])
    answer = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False
    )[0, len(prompt) :].tolist()
    if len(ours) < 20:
        assert answer[-1] in stops
        answer = answer[:-1]
    assert answer == ours
    assert len(ours) > 3


def test_the_tokenizer_lies_beside_the_model(
    small_model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(small_model, tokenizer, tmp_path, chat=True)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("chat", [False, True])
def test_where_generation_stops(
    small_model: Decoder, tokenizer: Tokenizer, tmp_path: Path, chat: bool
) -> None:
    save_model_folder(small_model, tokenizer, tmp_path, chat=chat)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    stop = [299, 297] if chat else 297
    assert theirs.generation_config.eos_token_id == stop
    assert theirs.config.eos_token_id == stop
    assert theirs.generation_config.pad_token_id == 297


# --- there and back -------------------------------------------------------------------------------


def test_what_was_saved_comes_back_bit_by_bit(
    model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(model, tokenizer, tmp_path, chat=False)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (loaded.head.weight is loaded.embedding.weight) == model.config.tied_embeddings


def test_equal_weights_give_equal_bytes(
    model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(model, tokenizer, tmp_path / "a", chat=True)
    save_model_folder(load_model(tmp_path / "a"), tokenizer, tmp_path / "b", chat=True)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {path.name for path in (tmp_path / "b").iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_whoever_may_read_the_config_may_read_the_weights(
    small_model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save_model_folder(small_model, tokenizer, tmp_path, chat=False)
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_loading_weights_into_a_model_keeps_its_tensors(
    small_model: Decoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """An optimizer that holds the parameters goes on holding the right ones."""
    save_model_folder(small_model, tokenizer, tmp_path, chat=False)
    other = Decoder(small_model.config)
    parameters = list(other.parameters())
    load_weights(other, tmp_path)
    assert all(a is b for a, b in zip(parameters, other.parameters(), strict=True))
    assert torch.equal(other(INPUT_IDS), small_model(INPUT_IDS))


# --- theirs in ours -------------------------------------------------------------------------------

LLAMA = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GPT2 = {
    "vocab_size": 300,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
THEIRS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "llama_tied_grouped": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-5)
    ),
    "llama_other_theta": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**LLAMA, head_dim=12, num_key_value_heads=2)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
    "gpt2_narrow": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, n_inner=40)),
}


@pytest.mark.parametrize("name", THEIRS)
def test_what_transformers_saves_computes_the_same_here(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = _spread(THEIRS[name]())
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(INPUT_IDS), _their_logits(theirs), rtol=1e-4, atol=1e-4)


def test_half_precision_is_read_into_float32(tmp_path: Path) -> None:
    theirs = _spread(THEIRS["llama"]()).bfloat16()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.embedding.weight.dtype == torch.float32
    wide = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(ours(INPUT_IDS), _their_logits(wide), rtol=1e-4, atol=1e-4)


FOREIGN = {
    "attention_bias": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, attention_bias=True)),
    "mlp_bias": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, mlp_bias=True)),
    "scaled_rope": lambda: LlamaForCausalLM(
        LlamaConfig(
            **LLAMA, rope_parameters={"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
        )
    ),
    "other_activation": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, hidden_act="gelu")),
    "sliding_window": lambda: Qwen3ForCausalLM(
        Qwen3Config(
            **LLAMA,
            head_dim=8,
            num_key_value_heads=4,
            use_sliding_window=True,
            sliding_window=4,
            max_window_layers=0,
        )
    ),
    "gpt2_exact_gelu": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, activation_function="gelu")),
    "gpt2_untied": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, tie_word_embeddings=False)),
    "gpt2_layer_scaling": lambda: GPT2LMHeadModel(
        GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True)
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_checkpoint_that_would_compute_something_else_is_refused(
    name: str, tmp_path: Path
) -> None:
    _spread(FOREIGN[name]()).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError):
        load_model(tmp_path)


# --- what no architecture has ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": True}, "bias=true has no place in Llama or Qwen3; use bias=false"),
        ({"feedforward": "gelu"}, "together are no Hugging Face architecture; use rmsnorm, rope"),
        ({"norm": "layernorm"}, "norm=layernorm, position=rope, feedforward=swiglu together are"),
    ],
)
def test_what_llama_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture_of(dataclasses.replace(SHAPES["llama_untied"], **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": False}, "GPT-2 needs bias=true, tied_embeddings=true and qk_norm=false"),
        ({"tied_embeddings": False}, "GPT-2 needs bias=true, tied_embeddings=true"),
        ({"qk_norm": True}, "GPT-2 needs bias=true, tied_embeddings=true and qk_norm=false"),
        ({"n_kv_heads": 2}, r"GPT-2 needs n_kv_heads=n_heads and n_heads \* d_head = d_model"),
        ({"d_head": 16}, r"GPT-2 needs n_kv_heads=n_heads and n_heads \* d_head = d_model"),
    ],
)
def test_what_gpt2_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        architecture_of(dataclasses.replace(SHAPES["gpt2"], **changes))


def test_a_foreign_model_is_refused_before_anything_is_written_of_it(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = Decoder(dataclasses.replace(SHAPES["llama_untied"], bias=True))
    with pytest.raises(ValueError, match="bias=true has no place"):
        save_model_folder(model, tokenizer, tmp_path, chat=False)
    assert list(tmp_path.iterdir()) == []


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(small_model: Decoder, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_model_folder(small_model, tokenizer, tmp_path, chat=False)
    return tmp_path


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"{folder} has no model.safetensors"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=f"{folder} is no model folder: it has no config.js"):
        load_model(folder)
    with pytest.raises(CheckpointError, match="is no model folder"):
        load_model(folder / "elsewhere")


@pytest.mark.parametrize("n_bytes", [0, 4, 100, 5000, -1])
def test_truncated_weights_are_noticed(folder: Path, n_bytes: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged: "):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b'{"model_type": ', b"\xff\xfe{}"])
def test_a_damaged_config_is_noticed(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config.json is damaged: it is not JSON"):
        load_model(folder)


def test_another_architecture_is_named(folder: Path) -> None:
    _change(folder, model_type="mamba")
    message = r"config.json: model_type 'mamba' is not one of \['llama', 'qwen3', 'gpt2'\]"
    with pytest.raises(CheckpointError, match=message):
        read_model_config(folder)


def _change(folder: Path, **values: Any) -> None:
    """Set keys of config.json; None takes them out."""
    path = folder / "config.json"
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def _no_mapping(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _change(folder, hidden_size=None),
        lambda folder: _change(folder, hidden_size="wide"),
        lambda folder: _change(folder, num_attention_heads=5, head_dim=None),
        lambda folder: _change(folder, vocab_size=0),
        _no_mapping,
    ],
    ids=["missing_key", "wrong_type", "impossible", "no_vocabulary", "no_mapping"],
)
def test_a_config_that_describes_no_model_is_refused(folder: Path, damage: Any) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(folder)


def test_a_file_is_no_model_folder(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is no model folder"):
        load_model(folder / "config.json")


def test_a_missing_tensor_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.self_attn.k_proj.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(CheckpointError, match=f"model.safetensors lacks the tensor {name}"):
        load_model(folder)


def test_a_misshapen_tensor_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    name = "model.layers.1.mlp.down_proj.weight"
    save_file(load_file(path) | {name: torch.zeros(32, 5)}, path)
    message = rf"{name} has shape \(32, 5\), the model needs \(32, 96\)"
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


@pytest.mark.parametrize("shape", [(16, 5), (5,), ()])
def test_a_misshapen_piece_is_named(folder: Path, shape: tuple[int, ...]) -> None:
    path = folder / "model.safetensors"
    name = "model.layers.1.self_attn.k_proj.weight"
    save_file(load_file(path) | {name: torch.zeros(shape)}, path)
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_pieces_of_the_wrong_heights_are_refused(folder: Path) -> None:
    """Gate and up of 90 and 102 rows add up to the right height and mean something else."""
    path = folder / "model.safetensors"
    gate, up = (f"model.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up"))
    save_file(load_file(path) | {gate: torch.zeros(90, 32), up: torch.zeros(102, 32)}, path)
    with pytest.raises(CheckpointError, match=gate):
        load_model(folder)


def test_weights_of_a_smaller_model_are_refused(folder: Path) -> None:
    deeper = dataclasses.replace(read_model_config(folder), n_layers=3)
    with pytest.raises(CheckpointError, match=r"lacks the tensor model.layers.2.input_layernorm"):
        load_weights(Decoder(deeper), folder)


# --- the disk refuses -----------------------------------------------------------------------------


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that exists and that this process may not write to, root or not."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no permission bits")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield folder
    finally:
        os.seteuid(user)
        folder.rmdir()


def test_no_permission_is_said_in_one_line(
    small_model: Decoder, tokenizer: Tokenizer, unwritable: Path
) -> None:
    with pytest.raises(StorageError, match=f"no permission to write {unwritable}"):
        save_model_folder(small_model, tokenizer, unwritable, chat=False)
