"""A model folder that transformers loads as it is, and the way back.

config.json, model.safetensors, generation_config.json here; the tokenizer writes its own files
beside them. Three architectures can be expressed: LlamaForCausalLM, Qwen3ForCausalLM and
GPT2LMHeadModel; `architecture_of` refuses every other combination before anything is trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from groundup.model import Decoder, ModelConfig
from groundup.model.transformer import VOCABULARY, stacked_rows
from groundup.runtime import CheckpointError, storage_errors, write_bytes, write_json
from groundup.tokenizer import Tokenizer

Architecture = Literal["llama", "qwen3", "gpt2"]
CLASS_NAMES: dict[Architecture, str] = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}


def architecture_of(config: ModelConfig) -> Architecture:
    """Which Hugging Face architecture a config is.

    Raises ValueError naming the choice that none of them has.

    >>> architecture_of(ModelConfig()), architecture_of(ModelConfig(qk_norm=False))
    ('qwen3', 'llama')
    """
    if config.norm == "rmsnorm" and config.position == "rope" and config.feedforward == "swiglu":
        if config.bias:
            raise ValueError("bias=true has no place in Llama or Qwen3; use bias=false")
        return "qwen3" if config.qk_norm else "llama"
    if config.norm == "layernorm" and config.position == "learned" and config.feedforward == "gelu":
        if not config.bias or not config.tied_embeddings or config.qk_norm:
            raise ValueError("GPT-2 needs bias=true, tied_embeddings=true and qk_norm=false")
        if config.n_kv_heads != config.n_heads or config.n_heads * config.d_head != config.d_model:
            raise ValueError("GPT-2 needs n_kv_heads=n_heads and n_heads * d_head = d_model")
        return "gpt2"
    raise ValueError(
        f"norm={config.norm}, position={config.position}, feedforward={config.feedforward} "
        "together are no Hugging Face architecture; use rmsnorm, rope, swiglu (Llama, Qwen3) or "
        "layernorm, learned, gelu (GPT-2)"
    )


# --- writing --------------------------------------------------------------------------------------


def save_model_folder(model: Decoder, tokenizer: Tokenizer, folder: Path, *, chat: bool) -> None:
    """Write model and tokenizer as a Hugging Face folder; equal weights give equal bytes.

    chat: generation stops at the end of a turn, not only at the end of a text.
    """
    weights = {name: value.detach().cpu() for name, value in model.named_parameters()}
    save_weights_folder(model.config, weights, tokenizer, folder, chat=chat)


def save_weights_folder(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    chat: bool,
) -> None:
    """`save_model_folder` from the parameters by name, as a copy of a model has them."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        converted = _to_hugging_face(config, weights)
        tensors = {name: value.contiguous() for name, value in converted}
        write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
        end = tokenizer.end_of_text_id
        ids: dict[str, Any] = {
            "bos_token_id": end,
            "eos_token_id": list(dict.fromkeys([tokenizer.end_of_turn_id, end])) if chat else end,
            "pad_token_id": tokenizer.special_tokens[pad] if (pad := tokenizer.roles.pad) else end,
        }
        write_json(folder / "config.json", {**_hugging_face_config(config), **ids})
        write_json(folder / "generation_config.json", ids)
        tokenizer.save(folder)


def _hugging_face_config(config: ModelConfig) -> dict[str, Any]:
    architecture = architecture_of(config)
    shared = {
        "architectures": [CLASS_NAMES[architecture]],
        "model_type": architecture,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied_embeddings,
        "dtype": "float32",
        "torch_dtype": "float32",  # the older name of the same thing
    }
    if architecture == "gpt2":
        return shared | {
            "n_positions": config.max_seq_len,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.d_ff,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_eps,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
        }
    return shared | {
        "max_position_embeddings": config.max_seq_len,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "intermediate_size": config.d_ff,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
    }


def _to_hugging_face(
    config: ModelConfig, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under its Hugging Face name, stacked matrices taken apart."""
    architecture = architecture_of(config)
    stacked = stacked_rows(config, weights)
    for name, value in weights.items():
        if name in VOCABULARY:
            value = value[: config.vocab_size]
        targets = _names(name, architecture)
        if architecture == "gpt2":
            yield targets[0], value.t() if _is_conv1d(name) else value
        else:
            yield from zip(targets, value.split(stacked.get(name, (len(value),))), strict=True)


def _is_conv1d(name: str) -> bool:
    """GPT-2 keeps the blocks' matrices transposed, (in, out)."""
    return name.startswith("blocks.") and name.endswith("weight") and "norm" not in name


_LLAMA_NAMES = {
    "attention_norm": ["input_layernorm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.q_norm": ["self_attn.q_norm"],
    "attention.k_norm": ["self_attn.k_norm"],
    "attention.out": ["self_attn.o_proj"],
    "feedforward_norm": ["post_attention_layernorm"],
    "feedforward.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "feedforward.down": ["mlp.down_proj"],
}
_GPT2_NAMES = {
    "attention_norm": ["ln_1"],
    "attention.qkv": ["attn.c_attn"],
    "attention.out": ["attn.c_proj"],
    "feedforward_norm": ["ln_2"],
    "feedforward.up": ["mlp.c_fc"],
    "feedforward.down": ["mlp.c_proj"],
}
_TOP_NAMES = {
    "embedding.weight": ("model.embed_tokens.weight", "transformer.wte.weight"),
    "position_embedding.weight": ("", "transformer.wpe.weight"),
    "norm.weight": ("model.norm.weight", "transformer.ln_f.weight"),
    "norm.bias": ("", "transformer.ln_f.bias"),
    "head.weight": ("lm_head.weight", "lm_head.weight"),
}


def _names(name: str, architecture: Architecture) -> list[str]:
    """Hugging Face's names for one of our parameters."""
    gpt2 = architecture == "gpt2"
    if name in _TOP_NAMES:
        return [_TOP_NAMES[name][gpt2]]
    _, layer, rest = name.split(".", 2)
    module, kind = rest.rsplit(".", 1)
    if gpt2:
        return [f"transformer.h.{layer}.{target}.{kind}" for target in _GPT2_NAMES[module]]
    return [f"model.layers.{layer}.{target}.{kind}" for target in _LLAMA_NAMES[module]]


# --- reading --------------------------------------------------------------------------------------


def load_model(folder: Path) -> Decoder:
    """Read a model folder of one of the three architectures.

    Raises CheckpointError naming the file that is missing, damaged or of another architecture.
    """
    model = Decoder(read_model_config(folder))
    load_weights(model, folder)
    return model.eval()


# What the decoder does and cannot do otherwise; a folder that says something else is refused.
_REQUIRED: dict[str, dict[str, Any]] = {
    "gpt2": {
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    "llama": {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    "qwen3": {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False},
}


def read_model_config(folder: Path) -> ModelConfig:
    """The `ModelConfig` that a folder's config.json describes.

    Raises CheckpointError if it is missing, damaged, or asks for what the decoder does not do.
    """
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{folder} is no model folder: it has no config.json") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(found, dict) or found.get("model_type") not in _REQUIRED:
        model_type = found.get("model_type") if isinstance(found, dict) else None
        raise CheckpointError(
            f"{path}: model_type {model_type!r} is not one of {list(CLASS_NAMES)}"
        )
    _check_supported(path, found)
    read = _config_from_gpt2 if found["model_type"] == "gpt2" else _config_from_llama
    try:
        config = read(found)
        if config.vocab_size < 1:
            raise ValueError(f"vocab_size={config.vocab_size} must be at least 1")
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the key {error}") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} describes no model that can be built: {reason}") from error
    return config


def _check_supported(path: Path, found: dict[str, Any]) -> None:
    required = _REQUIRED[found["model_type"]]
    wrong = {key: found[key] for key, value in required.items() if found.get(key, value) != value}
    rope = found.get("rope_parameters") or found.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in (None, "default"):
        wrong["rope_type"] = kind
    if wrong:
        key, value = next(iter(wrong.items()))
        needed = required.get(key, "default")
        raise CheckpointError(f"{path}: {key}={value!r} is not supported, only {needed!r}")


def _config_from_gpt2(found: dict[str, Any]) -> ModelConfig:
    return ModelConfig(
        vocab_size=found["vocab_size"],
        max_seq_len=found["n_positions"],
        d_model=found["n_embd"],
        n_layers=found["n_layer"],
        n_heads=found["n_head"],
        d_ff=found.get("n_inner") or 4 * found["n_embd"],
        norm="layernorm",
        norm_eps=found["layer_norm_epsilon"],
        position="learned",
        feedforward="gelu",
        qk_norm=False,
        bias=True,
    )


def _config_from_llama(found: dict[str, Any]) -> ModelConfig:
    rope = found.get("rope_parameters") or {}
    return ModelConfig(
        vocab_size=found["vocab_size"],
        max_seq_len=found["max_position_embeddings"],
        d_model=found["hidden_size"],
        n_layers=found["num_hidden_layers"],
        n_heads=found["num_attention_heads"],
        n_kv_heads=found.get("num_key_value_heads") or found["num_attention_heads"],
        d_head=found.get("head_dim") or 0,
        d_ff=found["intermediate_size"],
        norm_eps=found["rms_norm_eps"],
        rope_theta=rope.get("rope_theta") or found.get("rope_theta") or 10_000.0,
        qk_norm=found["model_type"] == "qwen3",
        tied_embeddings=found["tie_word_embeddings"],
    )


@torch.no_grad()
def load_weights(model: Decoder, folder: Path) -> None:
    """Copy the weights of a model folder into `model`, in place.

    Raises CheckpointError if the file is missing or damaged, or a tensor is missing or misshapen.
    """
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        sharded = (folder / "model.safetensors.index.json").exists()
        hint = "; it is cut into shards, which are not read" if sharded else ""
        raise CheckpointError(f"{folder} has no model.safetensors{hint}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    architecture, stacked = architecture_of(model.config), model.stacked_rows()
    if architecture == "gpt2" and "transformer.wte.weight" not in tensors:
        tensors = {f"transformer.{name}": value for name, value in tensors.items()}
    for name, parameter in model.named_parameters():
        targets = _names(name, architecture)
        whole = architecture == "gpt2" or name not in stacked
        if name in VOCABULARY:
            rows: tuple[int, ...] = (model.config.vocab_size,)
        else:
            rows = (len(parameter),) if whole else stacked[name]
        pieces = []
        for target, n_rows in zip(targets, rows, strict=True):
            if target not in tensors:
                raise CheckpointError(f"{path} lacks the tensor {target}")
            transposed = architecture == "gpt2" and _is_conv1d(name)
            piece = tensors[target].t() if transposed else tensors[target]
            if piece.shape != (n_rows, *parameter.shape[1:]):
                raise CheckpointError(
                    f"{path}: {target} has shape {tuple(piece.shape)}, "
                    f"the model needs {(n_rows, *parameter.shape[1:])}"
                )
            pieces.append(piece)
        value = torch.cat(pieces)
        parameter.zero_()[: len(value)].copy_(value)
