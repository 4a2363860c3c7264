"""From a prompt to text."""

from groundup.generate.engine import Generation, generate_batch, stream_text, stream_tokens
from groundup.generate.sampling import SamplingConfig

__all__ = ["Generation", "SamplingConfig", "generate_batch", "stream_text", "stream_tokens"]
