"""Generation by a chat server that speaks OpenAI's protocol (the paper's Section 4, Figure 11).

For the long chain-of-thought models, DeepSeek-R1 and QwQ-32B, at temperature 0 with up to 24,000
tokens. Answers are streamed: a connection that is silent for the minutes of a long answer would be
cut by what lies between. The requests are made with httpx, because the openai package would also
read keys, organisations and headers from the environment, and its retries would not wait for the
rate limit.
"""

import asyncio
import email.utils
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from metarfft_core.evaluation import streams
from metarfft_core.params import Api, ParamsError

ENDING = ('End with the line "So the answer is X", without any formatting, X being the answer as '
          "a Python literal.")
"""What an API model is asked for beside the question: it was not taught to (our assumption)."""

LONGEST_WAIT = 600.0  # seconds; a server that asks for more has run out of quota, not of breath
_BACKOFF = {"initial": 1, "max": 60}  # seconds between two attempts, doubled each time
_FAILURES_IN_A_ROW = 10  # samples without an answer, after which the server counts as down
_LAST_WORDS = 30.0  # seconds that an answer which has ended is waited for what may follow it
_OF_THE_PROMPT = (400, 413, 422)  # statuses that may speak of one prompt alone
_MAY_PASS = (408, 409, 425, 429)  # and everything from 500


@dataclass(frozen=True)
class Answer:
    """What a server answered to one prompt."""

    text: str
    reasoning: str  # what the model wrote before it, "" where the server or the text has none
    finish_reason: Literal["stop", "length", "refused"]
    prompt_tokens: int | None  # None where the server does not count
    completion_tokens: int | None  # reasoning included
    refusal: str = ""  # why the server refused the prompt, or filtered what the model wrote


class ServerError(RuntimeError):
    """The server left samples without an answer; what it did answer is not lost."""


class _Failure(Exception):
    """An attempt that failed in a way that may pass; the message says how."""


class _Refusal(Exception):
    """The server refuses the prompt; the message says why."""


def question(prompt: str) -> str:
    """What an API model is asked: a prompt of the format `direct` and how the answer is to end."""
    return f"{prompt}\n\n{ENDING}"


def cost(rows: Iterable[Mapping[str, Any]], settings: Api) -> float | None:
    """What rows with prompt_tokens and completion_tokens cost; None where a price or count is
    missing.

    In settings.currency. Attempts that failed are not counted, though a server may charge them.
    """
    counts = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    known = all(one is not None and not math.isnan(one) for pair in counts for one in pair)
    if settings.price_in is None or settings.price_out is None or not known:
        return None
    return sum(prompt * settings.price_in + completion * settings.price_out
               for prompt, completion in counts) / 1e6


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


def generate(settings: Api, prompts: list[str],
             accepted: bool = False) -> Iterator[list[tuple[int, Answer]]]:
    """Ask a server greedily; yield (position in `prompts`, answer) as they come.

    The prompts become user messages as they are. What comes together is one list; the first list
    is empty, as that of engines.generate. Not to be called where an event loop runs (such as
    a notebook's own process).

    A prompt that the server refuses has an answer with the finish reason "refused". Where it has
    refused every prompt so far, the settings may be what it refuses: such refusals are held back
    until it answers any, unless `accepted` says that it answered with these settings before.

    Raises ParamsError, before the first request, where the key is missing, and at once where the
    server refuses the settings; ServerError at the end where samples got no answer in all their
    attempts, or when too many in a row did not.
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
    asker = _Asker(client, settings, key, accepted)
    with asyncio.Runner() as runner:
        requests = runner.run(_start(asker, prompts))
        try:
            yield from _finished(runner, requests, asker)
        finally:
            runner.run(_stop(client, requests))


async def _start(asker: "_Asker", prompts: list[str]) -> dict[asyncio.Task, int]:
    """Begin to ask all prompts; each task with the position of its prompt."""
    return {asyncio.create_task(asker(prompt)): position
            for position, prompt in enumerate(prompts)}


async def _stop(client, requests: Iterable[asyncio.Task]) -> None:
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await client.aclose()


def _finished(runner: asyncio.Runner, requests: dict[asyncio.Task, int],
              asker: "_Asker") -> Iterator[list[tuple[int, Answer]]]:
    """Yield answers as they come, and judge what failed."""
    pending, answers, failures, in_a_row = set(requests), [], [], 0
    while pending:
        done, pending = runner.run(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
        came = [(requests[one], one.result()) for one in done if not one.exception()]
        answers += came
        if answers and asker.accepted:
            yield answers
            answers = []
        errors = [one.exception() for one in done if one.exception()]
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
                          f"{', the others were not waited for' if pending else ''}; the last "
                          f"error: {failures[-1]}. Run the same again for what is missing")


class _Asker:
    """Asks one prompt at a time of many, within the limits of the settings."""

    def __init__(self, client, settings: Api, key: str | None, accepted: bool):
        self.client, self.settings, self.key = client, settings, key
        self.accepted = accepted  # whether the server has answered any prompt
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
        try:
            async with self.client.stream("POST", "chat/completions", json=body) as response:
                if response.is_success:
                    return self._answer(await self._read(response))
                text = ""
                with suppress(httpx.RequestError):  # the status says enough
                    await response.aread()
                    text = response.text
                asked = _retry_after(response.headers.get("retry-after", ""))
                raise self._error(response.status_code, streams.Error.of_text(text), asked)
        except httpx.TimeoutException:
            raise _Failure(f"no word from the server in {settings.timeout:g} s") from None
        except httpx.RequestError as error:
            raise _Failure(f"the connection failed ({type(error).__name__})") from None

    async def _wait(self) -> None:
        """Wait until the next request may start: evenly spaced, later where a server asks so."""
        async with self.turn:
            while (left := self.next - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self.next = time.monotonic() + 60 / self.settings.requests_per_minute

    def _error(self, status: int | None, error: streams.Error, asked: float = 0) -> Exception:
        """What to raise for an error: one by its HTTP status, or one inside of a stream."""
        reason = f"HTTP {status}: " if status else "the server broke off: "
        reason += self._say(error.message)
        if error.filtered:
            self.accepted = True  # what it judged is the prompt
            return _Refusal(reason)
        if status in _OF_THE_PROMPT:
            return _Refusal(reason)
        if status and status not in _MAY_PASS and status < 500:
            return self.wrong(reason)
        if asked > LONGEST_WAIT:
            return self.wrong(f"{reason} (it asks to wait {asked:.0f} s: run the same again then)")
        self.next = max(self.next, time.monotonic() + asked)
        return _Failure(reason)

    def wrong(self, reason: str) -> ParamsError:
        """The error for settings that the server does not take."""
        return ParamsError(f"evaluation.api {self.settings.name}: {self.settings.base_url} refuses "
                           f"model {self.settings.model!r}: {reason}")

    def _say(self, text: str) -> str:
        """A server's own words, in one short line and without the key, which some repeat."""
        if self.key:
            text = text.replace(self.key, "(the key)")
        return " ".join(text.split())[:300]

    async def _read(self, response) -> streams.Draft:
        """What the server sends, until it ends or fails; what follows a definite end may fail."""
        import httpx

        draft, error = streams.Draft(), None
        try:
            async with asyncio.timeout(None) as limit:
                async for payload in streams.payloads(response.aiter_bytes()):
                    if error := draft.take(payload):
                        break
                    self.accepted |= draft.begun
                    if draft.definite:
                        limit.reschedule(asyncio.get_running_loop().time() + _LAST_WORDS)
        except ValueError:
            if not draft.definite:
                raise _Failure("the server sent what is no chat completion") from None
        except (httpx.RequestError, TimeoutError):
            if not draft.definite:
                raise
        if error and not draft.definite:
            raise self._error(error.status, error)
        return draft

    def _answer(self, draft: streams.Draft) -> Answer:
        """The answer in what the server has sent."""
        if not draft.definite:
            raise _Failure("the answer did not end" if draft.begun
                           else "the server sent no answer")
        ending = draft.ending
        if ending == "failed":
            raise _Failure(f"the answer ended with finish reason {draft.finish_reason}")
        if ending == "unknown":  # a whole answer, and no word on its end
            cut = (draft.completion_tokens or 0) >= self.settings.max_tokens
            ending = "length" if cut else "stop"
        refusal = self._say(f"finish reason {draft.finish_reason}") if ending == "refused" else ""
        # A server without a parser for it leaves the reasoning in the text.
        inside, _, text = draft.text.rpartition("</think>")
        return Answer(text, draft.reasoning + inside, ending, draft.prompt_tokens,
                      draft.completion_tokens, refusal)


def _retry_after(value: str) -> float:
    """The seconds that a Retry-After header asks for: a number or a date; 0 for anything else."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
