"""Generation by a chat server that speaks OpenAI's protocol (the paper's Section 4, Figure 11).

For the long chain-of-thought models, DeepSeek-R1 and QwQ-32B, at temperature 0 with up to 24,000
tokens. Answers are streamed: a connection that is silent for the minutes of a long answer would be
cut by what lies between. The requests are made with httpx, because the openai package would also
read keys, organisations and headers from the environment, and its retries would not wait for the
rate limit.
"""

import asyncio
import email.utils
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from metarfft_core.params import Api, ParamsError

ENDING = ('End with the line "So the answer is X", without any formatting, X being the answer as '
          "a Python literal.")
"""What an API model is asked for beside the question: it was not taught to (our assumption)."""

LONGEST_WAIT = 600.0  # seconds; a server that asks for more has run out of quota, not of breath
_BACKOFF = {"initial": 1, "max": 60}  # seconds between two attempts, doubled each time
_FAILURES_IN_A_ROW = 10  # samples without an answer, after which the server counts as down


@dataclass(frozen=True)
class Answer:
    """What a server answered to one prompt."""

    text: str
    reasoning: str  # what the model wrote before it, "" where the server or the text has none
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int  # reasoning included


class ServerError(RuntimeError):
    """The server left samples without an answer; what it did answer is not lost."""


class _Failure(Exception):
    """An attempt that failed in a way that may pass; the message says how."""


def question(prompt: str) -> str:
    """What an API model is asked: a prompt of the format `direct` and how the answer is to end."""
    return f"{prompt}\n\n{ENDING}"


def cost(rows: Iterable[Mapping[str, Any]], settings: Api) -> float | None:
    """What rows with prompt_tokens and completion_tokens cost; None where a price is missing.

    In settings.currency. Attempts that failed are not counted, though a server may charge them.
    """
    if settings.price_in is None or settings.price_out is None:
        return None
    return sum(row["prompt_tokens"] * settings.price_in
               + row["completion_tokens"] * settings.price_out for row in rows) / 1e6


def read_key(settings: Api) -> str | None:
    """The key out of the environment, None where none is needed; ParamsError where it is missing.

    It stands in no file, log or message of the kit.
    """
    if settings.key_variable is None:
        return None
    key = os.environ.get(settings.key_variable, "").strip()
    if not re.fullmatch("[!-~]+", key):  # nothing else can stand in a header
        raise ParamsError(f"evaluation.api {settings.name}: the environment variable "
                          f"{settings.key_variable} holds no key for {settings.base_url} (for a "
                          "server without keys: key_variable: null)")
    return key


def generate(settings: Api, prompts: list[str]) -> Iterator[list[tuple[int, Answer]]]:
    """Ask a server greedily; yield (position in `prompts`, answer) as they come.

    The prompts become user messages as they are. What comes together is one list; the first list
    is empty, as that of engines.generate. Not to be called where an event loop runs (such as
    a notebook's own process). Raises ParamsError, before the first request, where the key is
    missing, and at once where the server refuses a request for good; ServerError at the end where
    samples got no answer in all their attempts, or when too many in a row did not.
    """
    import httpx

    key = read_key(settings)
    if not prompts:
        return
    yield []
    client = httpx.AsyncClient(
        base_url=settings.base_url, headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(settings.timeout, connect=30, pool=None),
        limits=httpx.Limits(max_connections=settings.concurrency))
    with asyncio.Runner() as runner:
        requests = runner.run(_start(client, settings, key, prompts))
        try:
            yield from _finished(runner, requests, settings)
        finally:
            runner.run(_stop(client, requests))


async def _start(client, settings: Api, key: str | None,
                 prompts: list[str]) -> dict[asyncio.Task, int]:
    """Begin to ask all prompts; each task with the position of its prompt."""
    ask = _Asker(client, settings, key)
    return {asyncio.create_task(ask(prompt)): position for position, prompt in enumerate(prompts)}


async def _stop(client, requests: Iterable[asyncio.Task]) -> None:
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await client.aclose()


def _finished(runner: asyncio.Runner, requests: dict[asyncio.Task, int],
              settings: Api) -> Iterator[list[tuple[int, Answer]]]:
    """Yield answers as they come, and judge what failed."""
    pending, failures, in_a_row = set(requests), [], 0
    while pending:
        done, pending = runner.run(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
        answers = [(requests[one], one.result()) for one in done if not one.exception()]
        if answers:
            yield answers
        errors = [one.exception() for one in done if one.exception()]
        for error in errors:
            if not isinstance(error, _Failure):
                raise error
        failures += errors
        in_a_row = 0 if answers else in_a_row + len(errors)
        if in_a_row >= _FAILURES_IN_A_ROW:
            break
    if failures:
        raise ServerError(f"{settings.name} at {settings.base_url}: {len(failures)} of "
                          f"{len(requests)} samples got no answer"
                          f"{', the others were not waited for' if pending else ''}; the last "
                          f"error: {failures[-1]}. Run the same again for what is missing")


class _Asker:
    """Asks one prompt at a time of many, within the limits of the settings."""

    def __init__(self, client, settings: Api, key: str | None):
        self.client, self.settings, self.key = client, settings, key
        self.places = asyncio.Semaphore(settings.concurrency)
        self.turn = asyncio.Lock()
        self.next = 0.0  # when the next request may start, on the monotonic clock

    async def __call__(self, prompt: str) -> Answer:
        import tenacity

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Failure),
            wait=tenacity.wait_exponential_jitter(**_BACKOFF),
            stop=tenacity.stop_after_attempt(self.settings.retries + 1), reraise=True)
        async with self.places:
            return await retrying(self._attempt, prompt)

    async def _attempt(self, prompt: str) -> Answer:
        import httpx

        body = {"model": self.settings.model, "messages": [{"role": "user", "content": prompt}],
                "temperature": 0, "max_tokens": self.settings.max_tokens, "stream": True,
                "stream_options": {"include_usage": True}}
        await self._wait()
        try:
            async with self.client.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    self._refuse(response)
                return await self._read(response)
        except httpx.TimeoutException:
            raise _Failure(f"no word from the server in {self.settings.timeout:g} s") from None
        except httpx.RequestError as error:
            raise _Failure(f"the connection failed ({type(error).__name__})") from None

    async def _wait(self) -> None:
        """Wait until the next request may start: evenly spaced, later where a server asks so."""
        async with self.turn:
            while (left := self.next - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self.next = time.monotonic() + 60 / self.settings.requests_per_minute

    def _refuse(self, response) -> None:
        """Raise what an HTTP status other than 200 means."""
        status = response.status_code
        reason = f"HTTP {status}: {self._say(response.text)}"
        if status not in (408, 409, 425, 429) and status < 500:
            raise self._wrong(reason)
        asked = _retry_after(response.headers.get("retry-after", ""))
        if asked > LONGEST_WAIT:
            raise self._wrong(f"{reason} (it asks to wait {asked:.0f} s: run the same again then)")
        self.next = max(self.next, time.monotonic() + asked)
        raise _Failure(reason)

    def _wrong(self, reason: str) -> ParamsError:
        return ParamsError(f"evaluation.api {self.settings.name}: {self.settings.base_url} refuses "
                           f"model {self.settings.model!r}: {reason}")

    def _say(self, text: str) -> str:
        """A server's own words, in one short line and without the key, which some repeat."""
        with suppress(ValueError, KeyError, TypeError):  # in another form: the text as it is
            text = str(_Chunk.model_validate_json(text).error["message"])
        if self.key:
            text = text.replace(self.key, "(the key)")
        return " ".join(text.split())[:300]

    async def _read(self, response) -> Answer:
        """Put a streamed answer together."""
        text, reasoning, finish_reason, usage = [], [], None, None
        try:
            async for data in _events(response):
                chunk = _Chunk.model_validate_json(data)
                if chunk.error:
                    raise _Failure(f"the server broke off: {self._say(data.decode())}")
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    finish_reason = choice.finish_reason or finish_reason
                    text.append(choice.delta.content or "")
                    reasoning.append(choice.delta.reasoning_content or choice.delta.reasoning or "")
        except ValueError:
            raise _Failure("the server sent what is no chat completion") from None
        if finish_reason not in ("stop", "length"):
            raise _Failure(f"the answer ended with finish reason {finish_reason}")
        if usage is None:
            raise self._wrong("it counts no tokens (stream_options.include_usage)")
        # A server without a parser for it leaves the reasoning in the text.
        inside, _, text = "".join(text).rpartition("</think>")
        return Answer(text, "".join(reasoning) + inside, finish_reason, usage.prompt_tokens,
                      usage.completion_tokens)


class _Delta(BaseModel):
    content: str | None = None
    reasoning: str | None = None  # vLLM
    reasoning_content: str | None = None  # DeepSeek


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


async def _events(response) -> AsyncIterator[bytes]:
    """The data of each server-sent event. httpx's own lines would end at U+2028 in a text too."""
    rest = b""
    async for part in response.aiter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            field, _, data = line.strip().partition(b":")
            if field == b"data" and data.strip() != b"[DONE]":
                yield data


def _retry_after(value: str) -> float:
    """The seconds that a Retry-After header asks for: a number or a date; 0 for anything else."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
