"""The transformer: its description, its layers, what it costs."""

from groundup.model.config import ModelConfig
from groundup.model.costs import count_parameters, forward_flops_per_token, training_flops_per_token
from groundup.model.kv_cache import KVCache
from groundup.model.token_loss import Labels
from groundup.model.transformer import Decoder, build_decoder, initialize

__all__ = [
    "Decoder",
    "KVCache",
    "Labels",
    "ModelConfig",
    "build_decoder",
    "count_parameters",
    "forward_flops_per_token",
    "initialize",
    "training_flops_per_token",
]
