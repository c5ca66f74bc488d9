"""Generation by a chat server that speaks OpenAI's protocol (the paper's Section 4, Figure 11).

This serves the long chain-of-thought models, DeepSeek-R1 and QwQ-32B, at temperature 0 with up to
24,000 tokens. Answers are streamed, because proxies would close a connection that is silent for the
minutes of a long answer. The requests use httpx. The openai package would also read keys,
organisations and headers from the environment, and its retries would not wait for the rate limit.
"""

import asyncio
import email.utils
import math
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from metarfft_core.evaluation import redaction, streams
from metarfft_core.params import Api, ParamsError

ENDING = ('End with the line "So the answer is X", without any formatting, X being the answer as '
          "a Python literal.")
"""What is added to an API model's question, because it was not trained on our format (our
assumption)."""

LEAST_SPEED = 2.0
"""Tokens a second. A server may take `timeout`, and the time of `max_tokens` at this speed, for one
answer; what drips more slowly is given up and not asked again."""

BYTES_PER_TOKEN = 4096
"""A token's event takes about 250 bytes. A server may send this many for each of `max_tokens`, and
a mebibyte more; what is longer is given up and not asked again."""

LONGEST_WAIT = 600.0  # seconds; a server that asks for more is out of quota, not just busy
_BACKOFF = {"initial": 1, "max": 60}  # seconds between two attempts, doubled each time
_FAILURES_IN_A_ROW = 10  # samples without an answer until the server counts as down
_LAST_WORDS = 30.0  # how many seconds to wait for what may follow the end of an answer
_OF_THE_PROMPT = (400, 413, 422)  # statuses that may concern one prompt alone
_PACKINGS = ("identity", "gzip", "deflate")  # others may unpack a few bytes to gigabytes
_ERROR_BYTES = 1 << 16  # of an error's body only this much is read
_MAY_PASS = (408, 409, 425, 429)  # and every status from 500


@dataclass(frozen=True)
class Answer:
    """A server's answer to one prompt."""

    text: str
    reasoning: str  # what the model wrote before the text; "" if the server or the text has none
    finish_reason: Literal["stop", "length", "refused"]
    prompt_tokens: int | None  # None if the server does not count
    completion_tokens: int | None  # reasoning included
    refusal: str = ""  # why the server refused the prompt, or filtered what the model wrote


class ServerError(RuntimeError):
    """The server left samples without an answer; the answers that it gave are kept."""


class _Failure(Exception):
    """An attempt that failed for a reason that may pass; the message gives the reason."""


class _Endless(_Failure):
    """An attempt that exceeded its bound of time or of bytes, as the next would."""


class _Refusal(Exception):
    """The server refuses the prompt; the message gives the reason."""


def question(prompt: str) -> str:
    """Return the question for an API model: a `direct` prompt and how the answer must end."""
    return f"{prompt}\n\n{ENDING}"


def cost(rows: Iterable[Mapping[str, Any]], settings: Api) -> float | None:
    """Return what rows with prompt_tokens and completion_tokens cost, in settings.currency.

    Returns None if a price or a count is missing. Failed attempts are not counted, though a server
    may charge them.
    """
    counts = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    known = all(count is not None and not math.isnan(count) for pair in counts for count in pair)
    if settings.price_in is None or settings.price_out is None or not known:
        return None
    return sum(prompt * settings.price_in + completion * settings.price_out
               for prompt, completion in counts) / 1e6


def read_key(settings: Api) -> str | None:
    """Read the key from the environment; None if the server needs no key.

    The key is never written to a file, log or message of the kit.

    Raises:
        ParamsError: If the key is missing, or too short to be taken out of what the server says.
    """
    if settings.key_variable is None:
        return None
    key = os.environ.get(settings.key_variable, "").strip()
    least = redaction.SHORTEST_KEY
    # A header cannot contain other characters.
    if not re.fullmatch("[!-~]+", key) or len(redaction.decoded(key)) < least:
        raise ParamsError(f"evaluation.api {settings.name}: the environment variable "
                          f"{settings.key_variable} has no key for {settings.base_url}; expected "
                          f"{least} or more ASCII characters without a space (or key_variable: "
                          "null, for a server without keys)")
    return key


def generate(settings: Api, prompts: list[str],
             accepted: bool = False) -> Iterator[list[tuple[int, Answer]]]:
    """Ask a server greedily. Do not call this inside a running event loop, such as a notebook's.

    A prompt that the server refuses gets an answer with the finish reason "refused". If the server
    has refused every prompt so far, the settings may be the reason. Such refusals are held back
    until the server answers a prompt, unless `accepted` is true.

    Args:
        settings: The settings of the API model.
        prompts: The prompts, sent unchanged as user messages.
        accepted: Whether the server has answered with these settings before.

    Yields:
        Lists of (position in `prompts`, answer), one list for those that arrive together. The first
            list is empty, as in engines.generate.

    Raises:
        ParamsError: Before the first request, if the key is missing; at once, if the server refuses
            the settings.
        ServerError: At the end, if all attempts failed for some samples; earlier, if too many
            samples in a row got no answer.
    """
    import httpx

    key = read_key(settings)
    if not prompts:
        return
    yield []
    client = httpx.AsyncClient(
        base_url=settings.base_url, headers={
            "Accept-Encoding": "identity",
            **({"Authorization": f"Bearer {key}"} if key else {})},
        timeout=httpx.Timeout(settings.timeout, connect=30, pool=None),
        limits=httpx.Limits(max_connections=settings.concurrency))
    asker = _Asker(client, settings, key, accepted)
    with asyncio.Runner() as runner:
        requests = runner.run(_start(asker, prompts))
        try:
            yield from _finished(runner, requests, asker)
        finally:
            runner.run(_stop(client, requests))


async def _start(asker: "_Asker", prompts: list[str]) -> dict[asyncio.Task, int]:
    """Start to ask all prompts; returns each task with the position of its prompt."""
    return {asyncio.create_task(asker(prompt)): position
            for position, prompt in enumerate(prompts)}


async def _stop(client, requests: Iterable[asyncio.Task]) -> None:
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await client.aclose()


def _finished(runner: asyncio.Runner, requests: dict[asyncio.Task, int],
              asker: "_Asker") -> Iterator[list[tuple[int, Answer]]]:
    """Yield answers as they arrive, and judge the failures."""
    pending, answers, failures, in_a_row = set(requests), [], [], 0
    while pending:
        done, pending = runner.run(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
        came = [(requests[request], request.result()) for request in done
                if not request.exception()]
        answers += came
        if answers and asker.accepted:
            yield answers
            answers = []
        errors = [request.exception() for request in done if request.exception()]
        for error in errors:
            if not isinstance(error, _Failure):
                raise error
        if len(answers) >= _FAILURES_IN_A_ROW or (answers and not pending):
            raise asker.wrong(answers[-1][1].refusal)
        failures += errors
        in_a_row = 0 if came else in_a_row + len(errors)
        if in_a_row >= _FAILURES_IN_A_ROW:
            break
    if failures:
        settings = asker.settings
        raise ServerError(f"{settings.name} at {settings.base_url}: {len(failures)} of "
                          f"{len(requests)} samples got no answer"
                          f"{', and the others were not finished' if pending else ''}"
                          f"; the last error: {failures[-1]}. Run the same command again to ask "
                          "for the missing samples")


class _Asker:
    """Asks many prompts, each on its own, within the limits of the settings."""

    def __init__(self, client, settings: Api, key: str | None, accepted: bool):
        self.client, self.settings, self.key = client, settings, key
        self.accepted = accepted  # whether the server has answered any prompt
        self.slots = asyncio.Semaphore(settings.concurrency)
        self.turn = asyncio.Lock()
        self.next = 0.0  # when the next request may start, on the monotonic clock

    async def __call__(self, prompt: str) -> Answer:
        import tenacity

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, _Failure) and not isinstance(error, _Endless)),
            wait=tenacity.wait_exponential_jitter(**_BACKOFF),
            stop=tenacity.stop_after_attempt(self.settings.retries + 1), reraise=True)
        async with self.slots:
            try:
                return await retrying(self._attempt, prompt)
            except _Refusal as refusal:
                return Answer("", "", "refused", 0, 0, str(refusal))

    async def _attempt(self, prompt: str) -> Answer:
        import httpx

        settings = self.settings
        body = {"model": settings.model, "messages": [{"role": "user", "content": prompt}],
                settings.max_tokens_parameter: settings.max_tokens, "stream": True,
                "stream_options": {"include_usage": True}}
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        await self._wait()
        longest = settings.timeout + settings.max_tokens / LEAST_SPEED
        limit = asyncio.timeout(longest)
        try:
            async with limit, self.client.stream("POST", "chat/completions",
                                                 json=body) as response:
                if response.headers.get("content-encoding", "identity") not in _PACKINGS:
                    raise _Failure("the server compressed its answer, which was not requested")
                if response.is_success:
                    return self._answer(await self._read(response))
                raise self._error(response.status_code,
                                  streams.Error.of_text(await _error_text(response)),
                                  _retry_after(response.headers.get("retry-after", "")))
        except TimeoutError:
            raise _Endless(f"the answer was not complete after {longest:g} s") from None
        except httpx.TimeoutException:
            raise _Failure(f"no data from the server for {settings.timeout:g} s") from None
        except httpx.RequestError as error:
            raise _Failure(f"the connection failed ({type(error).__name__})") from None

    async def _wait(self) -> None:
        """Wait until the next request may start: evenly spaced, or later if a server asks."""
        async with self.turn:
            while (left := self.next - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self.next = time.monotonic() + 60 / self.settings.requests_per_minute

    def _error(self, status: int | None, error: streams.Error, asked: float = 0) -> Exception:
        """Return the exception for an error, whether it is an HTTP status or inside a stream."""
        reason = f"HTTP {status}: " if status else "the server broke off: "
        reason += redaction.message(error.message, self.key)
        if error.filtered:
            self.accepted = True  # it judged the prompt, so it accepts the settings
            return _Refusal(reason)
        if status in _OF_THE_PROMPT:
            return _Refusal(reason)
        if status and status not in _MAY_PASS and status < 500:
            return self.wrong(reason)
        if asked > LONGEST_WAIT:
            return self.wrong(f"{reason} (it asks to wait {asked:.0f} s; run the same command "
                              "after that)")
        self.next = max(self.next, time.monotonic() + asked)
        return _Failure(reason)

    def wrong(self, reason: str) -> ParamsError:
        """Return the error for settings that the server refuses."""
        return ParamsError(f"evaluation.api {self.settings.name}: {self.settings.base_url} refuses "
                           f"model {self.settings.model!r}: {reason}")

    async def _read(self, response) -> streams.Draft:
        """Read what the server sends until it ends or fails.

        Failures after a definite end are ignored.
        """
        import httpx

        draft, error = streams.Draft(), None
        try:
            async with asyncio.timeout(None) as limit:
                async for payload in streams.payloads(self._bounded(response)):
                    if error := draft.take(payload):
                        break
                    self.accepted |= draft.begun
                    if draft.definite:
                        limit.reschedule(asyncio.get_running_loop().time() + _LAST_WORDS)
        except ValueError:
            if not draft.definite:
                raise _Failure("the server sent something other than a chat completion") from None
        except (httpx.RequestError, TimeoutError, _Endless):
            if not draft.definite:
                raise
        if error and not draft.definite:
            raise self._error(error.status, error)
        return draft

    async def _bounded(self, response) -> AsyncIterator[bytes]:
        """Yield the parts of a body, up to the bytes that its answer may take."""
        left = (1 << 20) + BYTES_PER_TOKEN * self.settings.max_tokens
        async for part in response.aiter_bytes():
            left -= len(part)
            if left < 0:
                raise _Endless("the server sent more than an answer of "
                               f"{self.settings.max_tokens} tokens can take")
            yield part

    def _answer(self, draft: streams.Draft) -> Answer:
        """Turn what the server has sent into an answer."""
        if not draft.definite:
            raise _Failure("the answer did not end" if draft.begun
                           else "the server sent no answer")
        ending = draft.ending
        reason = redaction.message(f"finish reason {draft.finish_reason}", self.key)
        if ending == "failed":
            raise _Failure(f"the answer ended with {reason}")
        if ending == "unknown":  # a whole answer without a finish reason
            cut = (draft.completion_tokens or 0) >= self.settings.max_tokens
            ending = "length" if cut else "stop"
        refusal = reason if ending == "refused" else ""
        # A server that does not parse the reasoning leaves it in the text.
        inside, _, text = draft.text.rpartition("</think>")
        text, thought = (redaction.answer(part, self.key)
                         for part in (text, draft.reasoning + inside))
        return Answer(text, thought, ending, draft.prompt_tokens, draft.completion_tokens, refusal)


async def _error_text(response) -> str:
    """Return the beginning of an error's body; "" if none comes, because the status is enough."""
    import httpx

    content = b""
    with suppress(httpx.RequestError):
        async for part in response.aiter_bytes():
            content += part
            if len(content) > _ERROR_BYTES:
                break
    return content[:_ERROR_BYTES].decode("utf-8", "replace")


def _retry_after(value: str) -> float:
    """Return the seconds in a Retry-After header, a number or a date; 0 for anything else."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
