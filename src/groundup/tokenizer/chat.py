"""Conversations to token ids, with the mask that says which of them are trained.

The tokenizer says in which format (`templates.py`): chatml, llama3 or alpaca. Special tokens are
put in as ids and the text between two of them is encoded as plain text, so a user who types
`<|im_end|>` gets its letters and not the token. The format's Jinja template is the same layout for
other software and gives the same ids in transformers, for any content that spells no special token.
Where one is spelled, transformers makes it that token: a template gives it one string, in which
nothing tells the user's letters from the layout's, and its one switch (`split_special_tokens`)
takes the layout's tokens apart as well. What alpaca writes as text, `### Response:`, a content can
imitate in any software. Equal ids also need a tokenizer that treats the text after a special token
like any other; some of SentencePiece's (Metaspace with `prepend_scheme: first`) do not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, groupby, takewhile
from typing import TYPE_CHECKING, Literal, cast

from groundup.runtime import DataError
from groundup.tokenizer.pretokenize import well_formed
from groundup.tokenizer.templates import ROLES, ChatFormat, Role, chat_format

if TYPE_CHECKING:
    from groundup.tokenizer.tokenizer import Tokenizer

Outcome = Literal["whole", "exchanges_dropped", "reply_cut", "refused"]

# Who may speak after whom; None is the beginning, or the system message that stands there.
_MAY_FOLLOW: Mapping[Role | None, tuple[Role, ...]] = {
    None: ("user",),
    "user": ("assistant",),
    "assistant": ("user", "assistant", "tool"),
    "tool": ("assistant", "tool"),
}


@dataclass(frozen=True)
class Message:
    """One turn: who speaks and what they say.

    A call of a tool is part of what the assistant says, written out in its content; what the tool
    gives back is a message of role `tool`.
    """

    role: Role
    content: str


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as ids; `loss_mask` is true where the model learns to give that id."""

    ids: list[int]
    loss_mask: list[bool]


@dataclass(frozen=True)
class FittedChat:
    """A conversation made to fit, and what that took; `rendered` is None when it was refused."""

    rendered: RenderedChat | None
    outcome: Outcome


AnyMessages = Sequence[Message | Mapping[str, str]]


def check_conversation(messages: AnyMessages, *, needs_reply: bool = True) -> tuple[Message, ...]:
    """The messages, if they make a conversation.

    A system message or none comes first, then the user. After the user comes the assistant; after
    the assistant the user, a tool, or the assistant again; after a tool the assistant or another
    tool. So one reply may take several turns, as it does where tools are called, several at once
    too, and where a reply was recorded in pieces. Two user messages in a row, a tool that nobody
    called, one whose result nobody took up before the user went on, and a later system message are
    refused: they are mistakes in the data more often than not. Only the role and content of a
    message are read, so a tool call that stands in a field of its own has to be written into the
    content first.

    With `needs_reply` at least one turn must be the assistant's, or there is nothing to learn;
    without, a prompt that ends with the user passes. Raises DataError.

    >>> check_conversation([{"role": "user", "content": "Hi"}], needs_reply=False)
    (Message(role='user', content='Hi'),)
    >>> turns = [("user", "6 * 7?"), ("assistant", "calc(6 * 7)"), ("tool", "42")]
    >>> len(check_conversation([Message(*turn) for turn in [*turns, ("assistant", "It is 42.")]]))
    4
    """
    checked = tuple(_check_message(message, index) for index, message in enumerate(messages))
    n_system = _n_system(checked)
    if len(checked) == n_system:
        raise DataError("the conversation is empty; it needs at least one user message")
    previous: Role | None = None
    for index, message in enumerate(checked[n_system:], start=n_system):
        allowed = _MAY_FOLLOW[previous]
        if message.role not in allowed:
            raise DataError(
                f"message {index} is of role {message.role!r} where {_either(allowed)} must stand; "
                "after one system message or none the user begins, the assistant answers, and "
                "only what the assistant says may be followed by a tool"
            )
        previous = message.role
    if needs_reply and all(message.role != "assistant" for message in checked):
        raise DataError(
            "the conversation has no assistant message, so nothing can be learnt from it; add one"
        )
    return checked


def render_chat(
    tokenizer: Tokenizer, messages: AnyMessages, *, add_generation_prompt: bool = False
) -> RenderedChat:
    """Ids and loss mask of a conversation, in the tokenizer's chat format.

    Trained are the content of the assistant's messages and the token that ends each of these turns;
    the headers, the other roles and a newline after a message are not. Where one token spans the
    header's end and the content's beginning (a content that starts with a newline), it counts as
    header. With `add_generation_prompt` the header of the assistant's next message follows.

    Raises DataError for what is no conversation, TokenizerError for a tokenizer without a chat
    format or without the special tokens of its format.

    >>> from groundup.tokenizer.tokenizer import Tokenizer
    >>> tokenizer = Tokenizer.byte_level([])
    >>> messages = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    >>> chat = render_chat(tokenizer, messages)
    >>> tokenizer.decode(chat.ids)
    'user\\na?\\nassistant\\nb\\n'
    >>> [tokenizer.token_bytes(i) for i, trained in zip(chat.ids, chat.loss_mask) if trained]
    [b'b', b'<|im_end|>']
    """
    layout = chat_format(tokenizer.chat_format)
    checked = check_conversation(messages, needs_reply=False)
    if add_generation_prompt and checked[-1].role == "assistant":
        raise DataError(
            "the conversation already ends with the assistant; end it with a message of the user "
            "or of a tool to ask for a reply"
        )
    segments = _segments(layout, checked, add_generation_prompt=add_generation_prompt)
    return _join([_encode_segment(tokenizer, segment) for segment in segments])


def fit_chat(tokenizer: Tokenizer, messages: AnyMessages, max_tokens: int) -> FittedChat:
    """Render a conversation into at most `max_tokens` ids with something left to learn.

    An exchange is a user message with all that the assistant and tools say up to the next one. The
    first of these that fits: the whole; the system message and the newest exchanges, the oldest
    left out one by one; the system message and the last exchange with its end cut off, after the
    last token of the assistant that has room. When even so not one token of a reply is left, the
    chat is refused: there is never a row without a trained token. What stands after the
    assistant's last message (a user message without reply, a tool's result) is left out before any
    exchange. That the newline at the very end is cut off counts as nothing lost.

    Raises DataError for what is no conversation or has no reply, and TokenizerError as
    `render_chat` does.
    """
    layout = chat_format(tokenizer.chat_format)
    checked = check_conversation(messages)
    encode = cache(
        partial(_encode_segment, tokenizer)
    )  # most segments come again as exchanges are added
    whole = _fit(layout, encode, checked, max_tokens)
    if whole is not None:
        return FittedChat(whole, "whole")
    system, turns = checked[: _n_system(checked)], checked[_n_system(checked) :]
    last_reply = max(index for index, turn in enumerate(turns) if turn.role == "assistant")
    answered = turns[: last_reply + 1]
    starts = [index for index, turn in enumerate(answered) if turn.role == "user"]
    newest = None
    for start in reversed(starts):  # from the last exchange back, so the oldest cost nothing
        with_older = _fit(layout, encode, (*system, *answered[start:]), max_tokens)
        if with_older is None:
            break
        newest = with_older
    if newest is not None:
        return FittedChat(newest, "exchanges_dropped")
    segments = _segments(layout, (*system, *answered[starts[-1] :]))
    cut = _up_to_last_trained(_join([encode(segment) for segment in segments]), max_tokens)
    return FittedChat(cut, "reply_cut") if cut.ids else FittedChat(None, "refused")


# --- what is a conversation -----------------------------------------------------------------------


def _check_message(message: Message | Mapping[str, str], index: int) -> Message:
    if isinstance(message, Message):
        role, content = message.role, message.content
    elif isinstance(message, Mapping) and {"role", "content"} <= message.keys():
        role, content = cast(Role, message["role"]), message["content"]
    else:
        raise DataError(
            f"message {index} must have a role and a content, and is {message!r:.80}; "
            'write {"role": "user", "content": "..."}'
        )
    if role not in ROLES:
        raise DataError(f"message {index} is of role {role!r:.40}; use one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise DataError(
            f"the content of message {index} is of type {type(content).__name__}; give it as text "
            "(a tool call too: as the text that the model is to write)"
        )
    if not content.strip() and role != "system":
        raise DataError(
            f"message {index} ({role}) is empty; give it a text or leave the conversation out"
        )
    return Message(role, content)


def _n_system(messages: Sequence[Message]) -> int:
    """How many messages stand before the turns: the system message, or none."""
    return int(bool(messages) and messages[0].role == "system")


def _either(roles: Sequence[str]) -> str:
    """'user', 'assistant' or 'tool'."""
    *others, last = map(repr, roles)
    return f"{', '.join(others)} or {last}" if others else last


# --- rendering ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    """A part of the rendered conversation: of the layout, or one content."""

    text: str
    is_special: bool
    is_trained: bool


@dataclass(frozen=True)
class _Segment:
    """A special token, or all the text between two of them.

    Trained are the characters from `trained_from` on. They reach to the end: a reply is followed
    by a special token in every format.
    """

    text: str
    is_special: bool
    trained_from: int


def _segments(
    layout: ChatFormat, messages: Sequence[Message], *, add_generation_prompt: bool = False
) -> list[_Segment]:
    """The rendered conversation cut at the special tokens, as other software cuts it.

    What stands between two of them is encoded in one go, header, content and all: the pre-tokenizer
    may make one piece of the header's newline and white space that follows it.
    """
    segments = []
    pieces = _pieces(layout, messages, add_generation_prompt)
    for is_special, group in groupby(pieces, key=lambda piece: piece.is_special):
        run = list(group)
        if is_special:
            segments += [_Segment(p.text, True, 0 if p.is_trained else len(p.text)) for p in run]
        else:
            header = "".join(p.text for p in takewhile(lambda p: not p.is_trained, run))
            text = "".join(p.text for p in run)
            segments.append(_Segment(text, False, len(header)))
    return segments


def _pieces(
    layout: ChatFormat, messages: Sequence[Message], add_generation_prompt: bool
) -> Iterator[_Piece]:
    yield from _layout_pieces(layout, layout.start)
    for message in messages:
        yield from _layout_pieces(layout, layout.before[message.role])
        content = message.content.strip() if layout.strips else message.content
        is_reply = message.role == "assistant"
        yield _Piece(well_formed(content), False, is_trained=is_reply)
        yield from _layout_pieces(layout, layout.after[message.role], trains_end=is_reply)
    if add_generation_prompt:
        yield from _layout_pieces(layout, layout.before["assistant"])


def _layout_pieces(layout: ChatFormat, text: str, *, trains_end: bool = False) -> Iterator[_Piece]:
    for piece, is_special in layout.split(text):
        is_trained = trains_end and is_special and piece == layout.ends_turn
        yield _Piece(piece, is_special, is_trained)


def _encode_segment(tokenizer: Tokenizer, segment: _Segment) -> RenderedChat:
    if segment.is_special:
        return RenderedChat([tokenizer.special_id(segment.text)], [segment.trained_from == 0])
    ids = tokenizer.encode(segment.text)
    has_content = segment.trained_from < len(segment.text)
    first = _first_of_content(tokenizer, segment, ids) if has_content else len(ids)
    return RenderedChat(ids, [place >= first for place in range(len(ids))])


def _first_of_content(tokenizer: Tokenizer, segment: _Segment, ids: Sequence[int]) -> int:
    """Place of the first of a segment's ids that is of its content and of nothing before it.

    Without loss, the bytes of the ids are those of the text, and are counted. Else header and
    content are encoded each alone as well. What the whole shares with the header's ids, from the
    beginning, is the header's; if that is all of them, the rest is the content's. If not, or if
    the content's ids stand at the end just as they are alone, what is shared with them, from the
    end, is the content's, and what neither claims is not trained.
    """
    header, content = segment.text[: segment.trained_from], segment.text[segment.trained_from :]
    if tokenizer.is_lossless:
        starts = accumulate((len(tokenizer.token_bytes(i)) for i in ids), initial=0)
        return bisect_left(list(starts), len(header.encode()))
    header_ids, content_ids = tokenizer.encode(header), tokenizer.encode(content)
    of_header = _n_shared(ids, header_ids)
    of_content = _n_shared(ids[::-1], content_ids[::-1])
    if of_header == len(header_ids) and of_content < len(content_ids):
        return of_header
    return max(of_header, len(ids) - of_content)


def _n_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences share from their beginning."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _join(parts: Sequence[RenderedChat]) -> RenderedChat:
    """One after the other."""
    return RenderedChat(
        [token_id for part in parts for token_id in part.ids],
        [trained for part in parts for trained in part.loss_mask],
    )


# --- making it fit --------------------------------------------------------------------------------


def _fit(
    layout: ChatFormat,
    encode: Callable[[_Segment], RenderedChat],
    messages: Sequence[Message],
    max_tokens: int,
) -> RenderedChat | None:
    """The messages rendered, if all but the newline at the very end has room."""
    segments = _segments(layout, messages)
    parts = [encode(segment) for segment in segments]
    ends_whole = layout.after[messages[-1].role].startswith(layout.ends_turn)
    n_loose = len(parts[-1].ids) if ends_whole and not segments[-1].is_special else 0
    if sum(len(part.ids) for part in parts) - n_loose > max_tokens:
        return None
    joined = _join(parts)
    return RenderedChat(joined.ids[:max_tokens], joined.loss_mask[:max_tokens])


def _up_to_last_trained(chat: RenderedChat, max_tokens: int) -> RenderedChat:
    """At most `max_tokens` ids, of which the last is trained; none where that is not possible."""
    n_kept = min(max_tokens, len(chat.ids))
    while n_kept and not chat.loss_mask[n_kept - 1]:
        n_kept -= 1
    return RenderedChat(chat.ids[:n_kept], chat.loss_mask[:n_kept])
