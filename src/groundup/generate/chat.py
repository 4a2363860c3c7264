"""A conversation with a model: history in, one streamed reply at a time out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from groundup.generate.engine import stream_text
from groundup.generate.sampling import SamplingConfig
from groundup.model import Decoder
from groundup.runtime import DataError, derive_seed
from groundup.tokenizer import Tokenizer
from groundup.tokenizer.chat import Message, render_chat


class ChatSession:
    """Remembers what was said; the oldest exchanges are forgotten when the context is full."""

    def __init__(
        self, model: Decoder, tokenizer: Tokenizer, sampling: SamplingConfig, *, system: str = ""
    ) -> None:
        self.model, self.tokenizer, self.sampling = model, tokenizer, sampling
        self.n_forgotten = 0
        self.reset(system=system)

    def reset(self, system: str | None = None) -> None:
        """Begin a new conversation; `system` None keeps the system message."""
        if system is not None:
            self.system = [Message("system", system)] if system else []
        self.turns: list[Message] = []
        self.n_replies = 0

    def say(self, text: str) -> Iterator[str]:
        """Yield the reply to `text` piece by piece, then remember both.

        A third of the context is kept free for the reply. Raises DataError if the message alone
        does not leave that much.
        """
        ids = self._take_in(Message("user", text))
        sampling = replace(
            self.sampling, seed=derive_seed(self.sampling.seed, "reply", self.n_replies)
        )
        stops = set(self.tokenizer.stop_ids)
        pieces = []
        try:
            for piece in stream_text(
                self.model, self.tokenizer, ids, stop_ids=stops, config=sampling
            ):
                pieces.append(piece)
                yield piece
        finally:
            self.n_replies += 1
            reply = "".join(pieces)
            if reply.strip():
                self.turns.append(Message("assistant", reply))
            else:
                self.turns.pop()

    def _take_in(self, message: Message) -> list[int]:
        """Add a message, forget what no longer fits, and render the prompt; or change nothing."""
        turns, n_forgotten = [*self.turns, message], 0
        room = self.model.config.max_seq_len * 2 // 3
        while True:
            messages = [*self.system, *turns]
            ids = render_chat(self.tokenizer, messages, add_generation_prompt=True).ids
            if len(ids) <= room:
                self.turns, self.n_forgotten = turns, n_forgotten
                return ids
            if len(turns) < 3:
                raise DataError(
                    f"the message takes {len(ids)} tokens, the model can read {room}; shorten it"
                )
            turns = turns[2:]
            n_forgotten += 2
