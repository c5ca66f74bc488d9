"""Assembles a chat server's answer from its events.

Servers that speak OpenAI's protocol differ in what they send. Here null means absent. A whole body
may replace a stream, a `message` may replace a `delta`, and finish reasons have many names.
"""

import codecs
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, model_validator

_ENDINGS = {
    "stop": {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"},
    "length": {"length", "max_tokens", "max_output_tokens", "max_length", "model_length",
               "model_context_window_exceeded"},
    "refused": {"content_filter", "content_filtered", "safety", "refusal", "recitation",
                "prohibited_content", "blocklist", "spii", "sensitive", "guardrail_intervened"},
    "failed": {"error", "insufficient_system_resource", "network_error", "server_error", "abort",
               "aborted", "cancelled", "canceled", "timeout", "overloaded"}}
"""Finish reasons of OpenAI, Anthropic, Google, Mistral, Cohere, DeepSeek, Zhipu, vLLM and TGI."""

_FILTERS = {"content_filter", "content_policy_violation", "invalid_prompt",
            "data_inspection_failed"}
"""Error codes of OpenAI, Azure and Alibaba that mean that a filter refused the prompt."""


_LONGEST_EVENT = 8 << 20  # bytes
_MOST_IN_VAIN = 64 << 20  # bytes of events that were parsed before their end had arrived
_MOST_TOKENS = 10**9  # a larger count is ignored


class Error(NamedTuple):
    """The content of an error that a server reports."""

    message: str
    codes: frozenset[str] = frozenset()

    @property
    def status(self) -> int | None:
        """The HTTP status that the error itself gives, inside a stream."""
        return min((int(code) for code in self.codes if re.fullmatch("[45][0-9][0-9]", code)),
                   default=None)

    @property
    def filtered(self) -> bool:
        """Whether a filter refused the prompt."""
        return bool(self.codes & _FILTERS)

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "Error | None":
        """Return the error in a payload, None if there is none."""
        error = payload.get("error")
        if not error and "error" in (payload.get("object"), payload.get("type")):  # older vLLM
            error = payload
        if not isinstance(error, dict):
            return cls(sound(str(error))) if error else None
        if not any(error.values()):
            return None
        message = error.get("message")
        codes = {str(error.get(name)).lower() for name in ("code", "type", "status")}
        return cls(sound(message if isinstance(message, str) else json.dumps(error)),
                   frozenset(codes))

    @classmethod
    def of_text(cls, text: str) -> "Error":
        """Return the error in the body of a response; the text itself if it has another form."""
        try:
            return cls.of(json.loads(text)) or cls(text)
        except (ValueError, AttributeError, RecursionError):
            return cls(text)


_Words = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")]
"""A text; any other type, which some servers send, counts as empty."""


class _Part(BaseModel):
    """A part of what a server sends, without its nulls."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value is not None}
        return values


class _Piece(_Part):
    """A piece of a Mistral message: text, or what the model thinks."""

    text: _Words = ""
    thinking: "str | list[_Piece]" = ""


class _Message(_Part):
    content: str | Annotated[list[_Piece], Field(max_length=10_000)] = ""
    refusal: _Words = ""  # OpenAI: what the model says instead of an answer
    reasoning: _Words = ""  # vLLM
    reasoning_content: _Words = ""  # DeepSeek

    def texts(self) -> tuple[str, str]:
        """Return the text and the reasoning of the message."""
        thought = self.reasoning_content or self.reasoning
        if isinstance(self.content, str):
            return self.content or self.refusal, thought
        return (_joined(self.content), thought + "".join(
            piece.thinking if isinstance(piece.thinking, str) else _joined(piece.thinking)
            for piece in self.content))


def _joined(pieces: list[_Piece]) -> str:
    return "".join(piece.text for piece in pieces)


class _Choice(_Part):
    delta: _Message = _Message()
    message: _Message = _Message()
    finish_reason: _Words = ""
    usage: Any = None  # Moonshot


class _Chunk(_Part):
    choices: Annotated[list[_Choice], Field(max_length=100)] = []
    usage: Any = None


@dataclass
class Draft:
    """What has arrived of an answer so far."""

    deltas: list[tuple[str, str]] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)
    begun: bool = False  # whether any choice has arrived
    complete: bool = False  # whether the server said that nothing follows
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def take(self, payload: dict[str, Any] | None) -> Error | None:
        """Add an item of `payloads`; returns the error in it, or None.

        Raises:
            ValueError: If it is not a chat completion.
        """
        if payload is None:
            self.complete = True
            return None
        if error := Error.of(payload):
            return error
        chunk = _Chunk.model_validate(payload)
        self._count(chunk.usage)
        for choice in chunk.choices:
            self.begun = True
            for kept, said in ((self.deltas, choice.delta), (self.messages, choice.message)):
                if any(texts := said.texts()):
                    kept.append(texts)
            self.finish_reason = choice.finish_reason or self.finish_reason
            self._count(choice.usage)
        return None

    def _count(self, usage: Any) -> None:
        for name in ("prompt_tokens", "completion_tokens"):
            count = usage.get(name) if isinstance(usage, dict) else None
            if type(count) is int and 0 <= count <= _MOST_TOKENS:
                setattr(self, name, count)

    @property
    def text(self) -> str:
        """The text; messages are ignored if deltas brought any text, because they repeat it."""
        return self._texts(0)

    @property
    def reasoning(self) -> str:
        """What the model wrote before its text."""
        return self._texts(1)

    def _texts(self, which: int) -> str:
        return sound("".join(pair[which] for pair in self.deltas or self.messages))

    @property
    def definite(self) -> bool:
        """Whether this is an answer, whatever follows."""
        return bool(self.finish_reason or (self.complete and (self.text or self.reasoning)))

    @property
    def ending(self) -> Literal["stop", "length", "refused", "failed", "unknown"]:
        """How the answer ended; an unknown finish reason counts as "stop"."""
        if not self.finish_reason:
            return "unknown"
        reason = self.finish_reason.lower().removeprefix("finish_reason_")
        return next((ending for ending, names in _ENDINGS.items() if reason in names), "stop")


def sound(text: str) -> str:
    """Join surrogate halves of characters that arrived in separate events."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


async def payloads(parts: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any] | None]:
    """Yield the JSON object of each server-sent event or of a plain body; None at the end marker.

    The data of an event may span several lines.

    Raises:
        ValueError: If an event is not a JSON object, is too long, or has too many lines.
    """
    held, plain, vain = b"", False, 0
    async for line in _lines(parts):
        if not held:
            plain = line.startswith(b"{")
        name, _, data = line.partition(b":")
        if plain:
            data = line
        elif held and not line:
            break
        elif name != b"data" or not data.strip():
            continue  # a comment, another field or a keep-alive
        if not held and data.strip() == b"[DONE]":
            yield None
            return
        held += data + b"\n"
        vain += len(held)  # a copy, even if it is not parsed
        if len(held) > _LONGEST_EVENT or vain - len(held) > _MOST_IN_VAIN:
            raise ValueError("an event that is too long")
        if plain and not data.endswith(b"}"):
            continue
        try:
            payload = json.loads(held)
        except (ValueError, RecursionError):
            continue  # the rest follows
        held, vain = b"", vain - len(held)
        if payload is not None:
            yield _mapping(payload)
        if plain:
            yield None
            return
    if held:
        raise ValueError("an event that is not JSON")


def _mapping(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise ValueError("an event that is not an object")
    return payload


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the stripped lines of a body; httpx would also split a text at U+2028.

    Text after the last newline is also a line, even if the connection breaks.
    """
    import httpx

    held: list[bytes] = []
    try:
        async for part in parts:
            *ends, rest = part.split(b"\n")
            for end in ends:
                line, held = b"".join([*held, end]), []
                yield _stripped(line)
            held.append(rest)
    except httpx.RequestError:
        yield _stripped(b"".join(held))
        raise
    yield _stripped(b"".join(held))


def _stripped(line: bytes) -> bytes:
    """Strip white space around a line, and a byte order mark before the first."""
    return line.removeprefix(codecs.BOM_UTF8).strip()
