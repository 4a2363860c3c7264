"""Text to token ids and back, conversations included. `tokenizer.py` is the place to begin."""

from groundup.tokenizer.bpe import train_bpe
from groundup.tokenizer.chat import (
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    FittedChat,
    Message,
    RenderedChat,
    Role,
    check_conversation,
    fit_chat,
    render_chat,
)
from groundup.tokenizer.pretokenize import PATTERNS, count_pretokens, split_text
from groundup.tokenizer.tokenizer import StreamDecoder, Tokenizer
from groundup.tokenizer.trainer import TokenizerConfig, train_tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "PATTERNS",
    "SPECIAL_TOKENS",
    "FittedChat",
    "Message",
    "RenderedChat",
    "Role",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerConfig",
    "check_conversation",
    "count_pretokens",
    "fit_chat",
    "render_chat",
    "split_text",
    "train_bpe",
    "train_tokenizer",
]
