"""A chat server on loopback that replies as a test scripts it, and what asks it."""

import dataclasses
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from metarfft_core import params
from metarfft_core.evaluation import api

KEY = "sk-secret-0123456789"


def with_key(monkeypatch):
    """The key is in the environment, and no proxy comes between."""
    monkeypatch.setenv("METARFFT_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def settings(base_url, **changes):
    """Settings for a server, without a pause between two requests."""
    values = {"name": "SmolLM2", "model": "smollm2", "base_url": base_url, "max_tokens": 24,
              "requests_per_minute": 60_000, "timeout": 60.0, "retries": 2}
    return params.Api(**values | changes)


def ask(settings, prompts, found=None):
    """The answers by the position of their prompt."""
    found = {} if found is None else found
    for finished in api.generate(settings, prompts):
        found |= dict(finished)
    return found


@dataclasses.dataclass
class Request:
    """What the scripted server was asked, and when (monotonic seconds)."""

    prompt: str
    body: dict
    headers: dict
    time: float


class Scripted(ThreadingHTTPServer):
    """A server that plays a list of replies for each prompt and repeats the last one."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.requests = {}, []
        self.active = self.most_active = 0
        self.lock, self.ending = threading.Lock(), threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def asked(self, prompt):
        return [request for request in self.requests if request.prompt == prompt]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with self.server.lock:
            replies = self.server.replies.get(prompt, [say(f"You said {prompt}")])
            reply = replies[min(len(self.server.asked(prompt)), len(replies) - 1)]
            self.server.requests.append(Request(prompt, body, dict(self.headers),
                                                time.monotonic()))
            self.server.active += 1
            self.server.most_active = max(self.server.most_active, self.server.active)
        try:
            reply(self)
        finally:
            with self.server.lock:
                self.server.active -= 1

    def log_message(self, *_):
        pass


@contextmanager
def serve():
    """A scripted server that listens."""
    with Scripted() as scripted:
        thread = threading.Thread(target=scripted.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield scripted
        finally:
            scripted.ending.set()
            scripted.shutdown()
            thread.join()


def send(handler, status, content, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def events(*chunks):
    """Chunks as server-sent events, with the last word."""
    lines = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks] + ["[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def delta(finish_reason=None, **parts):
    """A chunk."""
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 11}}


def say(text, finish_reason="stop", **parts):
    """A good reply, a character in each event."""
    content = events({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
                     delta(**parts), *(delta(content=character) for character in text),
                     delta(finish_reason), USAGE)
    return lambda handler: send(handler, 200, b": a comment\n\n" + content)


def refuse(status, message, **headers):
    """A reply with another status than 200."""
    content = json.dumps({"error": {"message": message}}).encode()
    return lambda handler: send(handler, status, content, **headers)


def raw(content):
    """A reply with status 200 and any content."""
    return lambda handler: send(handler, 200, content)


def hang(handler):
    """No reply at all, until the test is over."""
    handler.server.ending.wait(60)
