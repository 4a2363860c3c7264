"""Text to token ids and back, conversations included. `tokenizer.py` is the place to begin."""

from groundup.tokenizer.chat import (
    FittedChat,
    Message,
    RenderedChat,
    Role,
    check_conversation,
    fit_chat,
    render_chat,
)
from groundup.tokenizer.formats import open_tokenizer, save_ranks, save_tokenizer
from groundup.tokenizer.pretokenize import PATTERNS, PatternCutter
from groundup.tokenizer.stream import StreamDecoder
from groundup.tokenizer.templates import CHAT_FORMATS, ChatFormat
from groundup.tokenizer.tokenizer import Tokenizer
from groundup.tokenizer.trainer import (
    TokenizerConfig,
    train_tokenizer,
    train_tokenizer_on_files,
)

__all__ = [
    "CHAT_FORMATS",
    "PATTERNS",
    "ChatFormat",
    "FittedChat",
    "Message",
    "PatternCutter",
    "RenderedChat",
    "Role",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerConfig",
    "check_conversation",
    "fit_chat",
    "open_tokenizer",
    "render_chat",
    "save_ranks",
    "save_tokenizer",
    "train_tokenizer",
    "train_tokenizer_on_files",
]
