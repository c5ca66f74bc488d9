"""The API key stays out of messages, files and results, whatever a server or a user does with it;
and a server that never ends is given up."""

import base64
import html
import json
import re
import time
import urllib.parse

import made_up_run
import pytest
from scripted_server import (
    KEY,
    ask,
    delta,
    events,
    raw,
    refuse,
    say,
    send,
    serve,
    settings,
    with_key,
)

from metarfft_core import params
from metarfft_core.cli import main
from metarfft_core.evaluation import api, redaction
from metarfft_core.params import ParamsError
from metarfft_core.system import yaml_files

PERCENT = "".join(f"%{byte:02X}" for byte in KEY.encode())
ECHOES = {
    "whole": KEY, "in capitals": KEY.upper(), "the beginning": KEY[:9], "the end": KEY[-8:],
    "percent": PERCENT, "percent twice": PERCENT.replace("%", "%25"),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of the header": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(b"x:" + KEY.encode()).decode(),
    "hexadecimal": KEY.encode().hex(), "JSON": "".join(f"\\u{ord(char):04x}" for char in KEY),
    "JSON in JSON": json.dumps("".join(f"\\u{ord(char):04x}" for char in KEY)),
    "entities": "".join(f"&#{ord(char)};" for char in KEY),
    "octal": "".join(f"\\{ord(char):03o}" for char in KEY), "backwards": KEY[::-1],
    "invisible characters": "\u200b".join(KEY),
    "a part of it": KEY.replace("-", "%2D"),
    "over lines": "\n".join([KEY[:3], KEY[3:6], KEY[6:]]),
    "masked as OpenAI does": f"{KEY[:8]}{'*' * 12}{KEY[-4:]}",
    "shortened": f"{KEY[:4]}...{KEY[-4:]}"}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    with_key(monkeypatch)


@pytest.fixture
def server():
    with serve() as scripted:
        yield scripted


def _shows_the_key(text):
    """Whether a text holds six characters in a row of the key, of its base64 or of its digits."""
    forms = [KEY, KEY.encode().hex(), *(base64.b64encode(b"x" * shift + KEY.encode()).decode()[4:-4]
                                        for shift in range(3))]
    return any(form[start:start + 6].lower() in text.lower()
               for form in forms for start in range(len(form) - 5))


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_an_error_that_echoes_the_key_does_not_show_it(server, echo):
    """Whole, partial, masked or encoded: what the server says of the key reaches no message."""
    server.replies = {"one": [refuse(401, f"Incorrect API key provided: {echo}. Get one at our "
                                          "site")]}
    with pytest.raises(ParamsError, match="HTTP 401: Incorrect API key provided: ") as caught:
        ask(settings(server.address), ["one"])
    said = str(caught.value)
    assert redaction.INSTEAD in said
    assert not _shows_the_key(said)
    assert echo not in said
    assert "Get one at our site" in said


@pytest.mark.parametrize("reply", [
    raw(events(delta(content="half"), {"error": {"message": KEY}})),
    raw(events(delta(f"error {KEY}"))),
    raw(events(delta(content="half"), {"error": {"code": 500, "message": ECHOES["percent"]}})),
    refuse(503, KEY), lambda handler: send(handler, 500, f"<html>{KEY}</html>".encode())])
def test_no_failure_shows_the_key(server, reply):
    """Errors inside a stream, finish reasons and pages of a proxy go the same way."""
    server.replies = {"one": [reply]}
    try:
        found = ask(settings(server.address, retries=0), ["one"])
    except api.ServerError as error:
        found = error
    assert KEY not in str(found)
    assert ECHOES["percent"] not in str(found)


@pytest.mark.parametrize("echo", [KEY, ECHOES["percent"], ECHOES["base64"], ECHOES["JSON"],
                                  KEY[:14]])
def test_an_answer_that_holds_the_key_is_stored_without_it(server, echo):
    """A model behind a careless proxy repeats the key in its text and its reasoning."""
    server.replies = {"one": [say(f"{echo}\nSo the answer is 4", reasoning=f"I use {echo} now")]}
    [answer] = ask(settings(server.address), ["one"]).values()
    # The last two characters of a base64 text also depend on what follows the key.
    assert re.fullmatch(r"\(the key\)(k=)?\nSo the answer is 4", answer.text)
    assert re.fullmatch(r"I use \(the key\)(k=)? now", answer.reasoning)


@pytest.mark.parametrize("text", [
    "So the answer is [1, 2, 3]", "100% of 20%25", "a &amp; b &#955; \\u03bb \\n x**2 ... --",
    "So the answer is 'sk-sec'", "0123456789"])
def test_any_other_answer_stays_as_it_is(text):
    """Escapes, percents and a few characters of the key change nothing in an answer."""
    assert redaction.answer(text, KEY) == text


def test_the_shortest_key_is_taken_out_of_an_answer(server, monkeypatch):
    """A key of eight characters, the shortest that is accepted, is not stored."""
    monkeypatch.setenv("METARFFT_API_KEY", "data-key")
    server.replies = {"one": [say("The data, my data-key.\nSo the answer is 4")]}
    [answer] = ask(settings(server.address), ["one"]).values()
    assert answer.text == f"The data, my {redaction.INSTEAD}.\nSo the answer is 4"


@pytest.mark.parametrize("key", [
    "a%41b%2Fc%2541d-XY", "x&amp;y&lt;zQ12345&#65;", r"q\u0041bc\/de\x41f", r"k.*+?^${}()|[]\z9",
    "sk-" + "Z" * 300, "********abcdef", "%5Cu0041-0123456"])
def test_a_key_of_any_characters_is_taken_out(key):
    """A key may hold what is an escape or a regular expression elsewhere."""
    for echo in (key, urllib.parse.quote(key, safe=""), json.dumps(key), html.escape(key),
                 key.encode().hex()):
        for said in (redaction.message(f"No {echo} here", key),
                     redaction.answer(f"No {echo} here", key)):
            assert said.startswith("No ")
            assert said.endswith(" here")
            assert not any(echo[at:at + 12] in said for at in range(len(echo) - 11))


def test_a_key_of_escapes_alone_is_refused(monkeypatch):
    """What is left of it without its escapes is too short to be taken out of an answer."""
    monkeypatch.setenv("METARFFT_API_KEY", "&#65;&#66;a1")
    with pytest.raises(ParamsError, match=r"has no key .* 8 or more"):
        api.read_key(settings("http://localhost:1/v1"))


def test_long_messages_are_read_in_no_time():
    """Messages of stars, of percents and of the key's beginnings take a second or so."""
    start = time.process_time()
    for text in ("*" * 10**6, "%25" * 10**6, "sk-" * 10**6, "sk-**" * 10**6, "\\" * 10**6):
        assert len(redaction.message(text, KEY)) <= redaction.LONGEST_MESSAGE
    for text in ("\\" * 300_000, "\\u" * 300_000, "%25" * 300_000):
        assert redaction.answer(text, KEY) == text
    assert time.process_time() - start < 10


# ----------------------------------------------------------------------- what a user writes


def _file(tmp_path, **changes):
    values = made_up_run.plain()
    values["evaluation"]["api"] = [{"name": "R1", "model": "r1",
                                    "base_url": "http://localhost:1/v1"} | changes]
    path = tmp_path / "run.yaml"
    path.write_text(yaml_files.dump(values))
    return path


@pytest.mark.parametrize("given", [
    KEY, "sk_live_0123456789abcdef", "AKIAIOSFODNN7EXAMPLEX", "0123456789ABCDEFG", "word", "A" * 40,
    [KEY], {"key": KEY}])
def test_a_key_instead_of_a_variable_is_refused_and_not_shown(tmp_path, monkeypatch, capsys, given):
    """Only what looks like a variable's name is one; the message says so without the value, and
    nothing is written."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    assert main(["build", "--params", str(_file(tmp_path, key_variable=given))]) == 2
    said = capsys.readouterr().err
    assert "evaluation.api.0.key_variable: " in said
    assert "such as METARFFT_API_KEY" in said
    assert KEY not in said
    assert str(given) not in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("name", ["METARFFT_API_KEY", "OPENAI_API_KEY", "KEY2", "X_1"])
def test_a_variable_is_accepted(tmp_path, name):
    """The usual names of environment variables stay possible."""
    [found] = params.load(_file(tmp_path, key_variable=name)).evaluation.api
    assert found.key_variable == name


@pytest.mark.parametrize("address", [
    f"https://user:{KEY}@host/v1", f"https://{KEY}@host/v1", f"https://host/v1?key={KEY}",
    f"https://host/v1#{KEY}"])
def test_credentials_in_an_address_are_refused_and_not_shown(tmp_path, capsys, address):
    """The message names the key and what is expected."""
    assert main(["build", "--params", str(_file(tmp_path, base_url=address))]) == 2
    said = capsys.readouterr().err
    assert "base_url: " in said
    assert "without a user, a password" in said
    assert KEY not in said


def test_no_error_beside_the_key_shows_it(tmp_path, capsys):
    """A section of another shape, and a file that is no YAML, are refused without their values."""
    path = _file(tmp_path)
    values = params.read(path)
    values["evaluation"]["api"] = {"name": "R1", "key_variable": KEY}
    path.write_text(yaml_files.dump(values))
    assert main(["build", "--params", str(path)]) == 2
    for wrong in (KEY, [KEY], [[KEY]], {KEY: 1}):
        values["evaluation"]["api"] = wrong
        path.write_text(yaml_files.dump(values))
        assert main(["build", "--params", str(path)]) == 2
    values["evaluation"] = KEY
    path.write_text(yaml_files.dump(values))
    assert main(["build", "--params", str(path)]) == 2
    path.write_text(f'name: x\nevaluation:\n  api:\n  - {{key_variable: "{KEY}\n')
    assert main(["build", "--params", str(path)]) == 2
    said = capsys.readouterr().err
    assert KEY not in said
    assert "line 5" in said


# ----------------------------------------------------------------------- a server without an end


def _drip(content, seconds, pause=0.05):
    """A reply that sends the same piece again and again."""
    def reply(handler):
        handler.send_response(200)
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not handler.server.ending.is_set():
            try:
                handler.wfile.write(content)
                handler.wfile.flush()
            except OSError:  # the client has gone
                return
            time.sleep(pause)
    return reply


@pytest.mark.parametrize("content", [b": a comment\n\n", events(delta(content="a"))[:-14], b"x"],
                         ids=["comments", "tokens", "bytes"])
def test_an_answer_that_drips_for_ever_is_given_up(server, content):
    """The whole answer has a bound of time: it fails once, is not asked again, and the others
    are answered."""
    server.replies = {"slow": [_drip(content, 40)]}
    start, found = time.monotonic(), {}
    with pytest.raises(api.ServerError, match=r"1 of 2 .* the answer was not complete after 3 s"):
        ask(settings(server.address, timeout=1.0, max_tokens=4), ["slow", "quick"], found)
    assert time.monotonic() - start < 15
    assert found[1].text == "You said quick"
    assert len(server.asked("slow")) == 1


@pytest.mark.parametrize("content", [
    b"x" * 10**5, events(delta(content="a" * 10**5))[:-14], b"data: [1,\n" * 10**4,
    b"data: {\"choices\": [" + b"{}," * 10**4 + b"\n"],
    ids=["a line", "long tokens", "many lines", "many choices"])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_of_gigabytes_is_given_up(server, content, status):
    """The bytes of an answer are bounded, those of an error too, and reading stays quick."""
    def reply(handler):
        handler.send_response(status)
        handler.end_headers()
        for _ in range(3000):
            try:
                handler.wfile.write(content)
            except OSError:
                return

    server.replies = {"big": [reply]}
    start, found = time.monotonic(), {}
    with pytest.raises(api.ServerError, match="1 of 2 samples got no answer"):
        ask(settings(server.address, retries=0), ["big", "quick"], found)
    assert time.monotonic() - start < 30
    assert found[1].text == "You said quick"


def test_a_count_that_no_server_means_is_no_count(server):
    """A count of tokens with a thousand digits, or below zero, counts as missing."""
    for count in (10**1000, -1):
        server.replies = {"one": [raw(events(delta(content="yes"), delta("stop"), {
            "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count}}))]}
        [answer] = ask(settings(server.address), ["one"]).values()
        assert (answer.prompt_tokens, answer.completion_tokens) == (7, None)
