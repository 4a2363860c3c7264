"""Model folders that other people's software loads."""

from groundup.export.huggingface import (
    architecture_of,
    load_model,
    load_weights,
    read_model_config,
    save_model_folder,
)

__all__ = [
    "architecture_of",
    "load_model",
    "load_weights",
    "read_model_config",
    "save_model_folder",
]
