"""What servers send in OpenAI's protocol, each in its own way, from a real one on loopback."""

import gzip
import json

import forked
import made_up_run
import pytest
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

from metarfft_core import corpus, evaluation, params, training
from metarfft_core.evaluation import api
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files

TEXT = "So the answer is 4"
GOOD = api.Answer(TEXT, "", "stop", 7, 11)
COUNTS = USAGE["usage"]
TASK = "nupa_length"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key is in the environment, and no proxy comes between."""
    with_key(monkeypatch)


@pytest.fixture
def server():
    with serve() as scripted:
        yield scripted


def chunk(**parts):
    """A chunk with one choice, of which these are the parts."""
    return {"choices": [parts]}


def body(finish_reason="stop", **message):
    """A whole answer, as a server sends it that does not stream."""
    return {"object": "chat.completion", "usage": COUNTS, "choices": [
        {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}]}


def broken(content):
    """A reply whose connection breaks where more is announced."""
    return lambda handler: send(handler, 200, content, Content_Length=str(len(content) + 1000))


def error(status=None, **parts):
    """An event with an error in it, after the beginning of an answer."""
    code = {} if status is None else {"code": status}
    return raw(events(delta(content="half"), {"error": {"message": "gone", **code, **parts}}))


PLAIN = events(delta(content="So the answer"), delta(content=" is 4"), delta("stop"), USAGE)
BODY = json.dumps(body(content=TEXT)).encode()
SMILE = "\U0001f600"

NULLS = {
    "delta": events(delta(content=TEXT), chunk(delta=None), chunk(delta=None, finish_reason="stop"),
                    USAGE),
    "choices": events(delta(content=TEXT), delta("stop"), {**USAGE, "choices": None}),
    "usage": events({**delta(content=TEXT), "usage": None}, delta("stop"), USAGE,
                    {"choices": [], "usage": None}),
    "counts": events(delta(content=TEXT), delta("stop"), USAGE,
                     {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}}),
    "content": events(delta(content=None, reasoning=None, reasoning_content=None, refusal=None),
                      delta(content=TEXT), delta("stop"), USAGE),
    "message": events(chunk(delta={"content": TEXT}, message=None), delta("stop"), USAGE),
    "error": events({**delta(content=TEXT), "error": None}, delta("stop"), USAGE),
    "parts of an error": events({**delta(content=TEXT), "error": {"code": None, "message": None}},
                                delta("stop"), USAGE),
    "finish reason after the end": events(delta("stop", content=TEXT), delta(None), USAGE),
    "data": b"data: null\n\n" + PLAIN}

FORMS = {
    "a message instead of a delta": events(chunk(message={"content": TEXT}, finish_reason="stop"),
                                           USAGE),
    "a message for each delta": events(chunk(message={"content": "So the answer"}),
                                       chunk(message={"content": " is 4"}, finish_reason="stop"),
                                       USAGE),
    "a message that repeats the deltas": events(
        delta(content=TEXT), chunk(delta={}, message={"content": TEXT}, finish_reason="stop"),
        USAGE),
    "a plain body": BODY,
    "a plain body over lines": json.dumps(body(content=TEXT), indent=2).encode(),
    "a plain body after signs of life": b"\n\n \n" + BODY,
    "a plain body after a byte order mark": b"\xef\xbb\xbf" + BODY,
    "a plain body whose finish reason is null": json.dumps(body(None, content=TEXT)).encode(),
    "content in parts": events(
        delta(content=[{"type": "text", "text": TEXT}]), delta("stop"), USAGE),
    "other things than words": events(
        delta(content=TEXT, reasoning={"effort": "high"}, refusal=False), delta("stop"), USAGE),
    "usage in the choice": events(delta(content=TEXT),
                                  chunk(delta={}, finish_reason="stop", usage=COUNTS)),
    "usage in each chunk": events(
        {**delta(content=TEXT), "usage": {"prompt_tokens": 7, "completion_tokens": 1}},
        {**delta("stop"), "usage": COUNTS}),
    "empty choices with usage first": events(
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}},
        delta(content=TEXT), delta("stop"), USAGE),
    "a finish reason before the last content": events(
        delta("stop", content="So the answer"), delta(content=" is 4"), USAGE),
    "no finish reason, but the last word": events(delta(content=TEXT), USAGE)}

LINES = {
    "keep-alive comments": PLAIN.replace(b"\n\n", b"\n\n: ping\n\n:\n\n"),
    "events of another name": b'event: ping\ndata: {"type": "ping"}\n\n' + PLAIN,
    "other fields": b"retry: 3000\n" + PLAIN.replace(b"data:", b"id: 1\nevent: message\ndata:"),
    "empty data": b"data:\n\ndata: \n\n" + PLAIN,
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "no space": PLAIN.replace(b"data: ", b"data:"),
    "several lines of data": PLAIN.replace(b'"choices": [', b'"choices":\ndata: [\ndata: '),
    "several lines of data, CRLF": PLAIN.replace(b'"choices": [', b'"choices":\ndata: [').replace(
        b"\n", b"\r\n"),
    "no empty lines": PLAIN.replace(b"\n\n", b"\n"),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "no last word": PLAIN.replace(b"data: [DONE]\n\n", b""),
    "no last end of line": PLAIN.replace(b"\n\ndata: [DONE]\n\n", b"")}


@pytest.mark.parametrize("content", [
    pytest.param(content, id=name) for part in (NULLS, FORMS, LINES)
    for name, content in part.items()])
def test_every_form_of_an_answer_is_read_and_asked_for_once(server, content):
    """Null means absent; deltas, messages, whole bodies and all that event streams allow are one
    answer.
    """
    server.replies = {"one": [raw(content)]}
    assert ask(settings(server.address), ["one"]) == {0: GOOD}
    assert len(server.requests) == 1


@pytest.mark.parametrize(("reason", "ending"), [
    ("STOP", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"),
    ("stop_sequence", "stop"), ("FINISH_REASON_STOP", "stop"), ("tool_calls", "stop"),
    ("max_tokens", "length"), ("MAX_TOKENS", "length"), ("model_length", "length"),
    ("content_filter", "refused"), ("SAFETY", "refused")])
@pytest.mark.parametrize("form", ["stream", "body"])
def test_a_finish_reason_may_have_another_name(server, reason, ending, form):
    """An answer with any name for its end is taken, and asked for once."""
    content = (json.dumps(body(reason, content=TEXT)).encode() if form == "body"
               else events(delta(content=TEXT), delta(reason), USAGE))
    server.replies = {"one": [raw(content)]}
    answer = ask(settings(server.address), ["one"])[0]
    refusal = f"finish reason {reason}" if ending == "refused" else ""
    assert answer == api.Answer(TEXT, "", ending, 7, 11, refusal)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource", "abort"])
def test_a_finish_reason_that_is_a_failure_is_asked_again(server, reason):
    """Where the server itself says that it failed, there is no answer."""
    server.replies = {"one": [raw(events(delta(reason, content="half"))), say(TEXT)]}
    assert ask(settings(server.address), ["one"]) == {0: GOOD}
    assert len(server.requests) == 2


END = PLAIN[:PLAIN.index(b'data: {"choices": [], "usage"')]  # up to the finish reason


def unending(handler):
    """An answer that ends on a connection that does not."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(END)
    handler.wfile.flush()
    hang(handler)


@pytest.mark.parametrize("reply", [
    pytest.param(broken(END), id="the connection breaks"),
    pytest.param(raw(END + b"data: {broken\n\n"), id="no JSON follows"),
    pytest.param(raw(END + b'data: {"error": {"message": "gone"}}\n\n'), id="an error follows"),
    pytest.param(raw(END + b'data: {"error": {"message": "no", "code": 401}}\n\n'),
                 id="a refusal follows"),
    pytest.param(raw(END), id="nothing follows"),
    pytest.param(raw(END + b"data: [DONE]\n\n"), id="no usage"),
    pytest.param(raw(END + b'data: {"choices": [], "usage": "none"}\n\n'), id="usage in words"),
    pytest.param(broken(json.dumps(body(content=TEXT) | {"usage": None}).encode()),
                 id="the connection breaks after a body"),
    pytest.param(unending, id="the connection stays open")])
def test_an_answer_that_has_ended_is_never_asked_for_again(server, monkeypatch, reply):
    """After a finish reason nothing that comes or fails to come loses the answer, which is paid;
    counts of tokens that did not come are missing.
    """
    monkeypatch.setattr(api, "_LAST_WORDS", 0.5, raising=False)
    server.replies = {"one": [reply]}
    assert ask(settings(server.address, timeout=20.0), ["one"]) == {
        0: api.Answer(TEXT, "", "stop", None, None)}
    assert len(server.requests) == 1


def test_counts_that_came_before_the_break_are_kept(server):
    """A connection that breaks before the last word has lost nothing."""
    server.replies = {"one": [broken(PLAIN.replace(b"data: [DONE]\n\n", b""))],
                      "two": [broken(BODY)]}
    assert ask(settings(server.address), ["one", "two"]) == {0: GOOD, 1: GOOD}
    assert len(server.requests) == 2


def test_an_end_without_a_reason_is_judged_by_the_limit(server):
    """A whole answer of as many tokens as allowed was cut, one of fewer ended by itself."""
    server.replies = {"one": [raw(events(delta(content=TEXT), USAGE))],
                      "two": [raw(json.dumps(body(None, content=TEXT)).encode())]}
    for limit, expected in ((11, "length"), (12, "stop")):
        answers = ask(settings(server.address, max_tokens=limit), ["one", "two"])
        assert [answer.finish_reason for answer in answers.values()] == [expected] * 2


@pytest.mark.parametrize("content", [
    pytest.param(events(), id="the last word alone"), pytest.param(events(USAGE), id="usage alone"),
    pytest.param(events(delta(role="assistant", content="")), id="a role alone"),
    pytest.param(b'{"choices": null}', id="null choices"),
    pytest.param(json.dumps(body(None, content=None)).encode(), id="null content"),
    pytest.param(BODY[:-30], id="half a body"),
    pytest.param(b'data: {"choices":\n\n' + PLAIN, id="half an event"),
    pytest.param(b"[" * 100_000, id="a body of brackets"),
    pytest.param(b"data: " + b'{"a":' * 100_000 + b"\n\n", id="an event of brackets")])
def test_what_is_no_answer_is_asked_for_again(server, content):
    """A reply in which no answer ends, or nothing is said, is tried once more."""
    server.replies = {"one": [raw(content), say(TEXT)]}
    assert ask(settings(server.address), ["one"]) == {0: GOOD}
    assert len(server.requests) == 2


def test_reasoning_is_kept_apart_in_every_form(server):
    """Reasoning comes beside the text in messages and whole bodies too, and in Mistral's parts."""
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
               {"type": "text", "text": TEXT}]
    messages = [{"content": TEXT, "reasoning_content": "hm"}, {"content": TEXT, "reasoning": "hm"},
                {"content": TEXT, "reasoning": "hm", "reasoning_content": "hm"},
                {"content": thought}]
    replies = [events(chunk(message=message, finish_reason="stop"), USAGE)
               for message in messages]
    replies += [json.dumps(body(**message)).encode() for message in messages]
    replies += [events(delta("stop", **message), USAGE) for message in messages]
    prompts = [f"prompt {number}" for number in range(len(replies))]
    server.replies = {prompt: [raw(reply)] for prompt, reply in zip(prompts, replies, strict=True)}
    answers = ask(settings(server.address), prompts)
    assert set(answers.values()) == {api.Answer(TEXT, "hm", "stop", 7, 11)}
    assert len(answers) == len(server.requests) == len(prompts)


def test_any_cut_between_two_pieces_is_allowed(server):
    """Pieces of one byte, compressed or not, cut characters, field names and ends of lines."""
    text = f"≤ {SMILE} data: \u2028 é\r\n{TEXT}"
    content = b"\xef\xbb\xbf" + events(delta(content=text), delta("stop"), USAGE).replace(
        b"\n", b"\r\n")

    def by_bytes(content, **headers):
        def reply(handler):
            handler.protocol_version = "HTTP/1.1"
            send(handler, 200, b"", Transfer_Encoding="chunked", Connection="close", **headers)
            for byte in content:
                handler.wfile.write(b"1\r\n%c\r\n" % byte)
            handler.wfile.write(b"0\r\n\r\n")
        return reply

    server.replies = {"plain": [by_bytes(content)],
                      "gzip": [by_bytes(gzip.compress(content), Content_Encoding="gzip")]}
    answers = ask(settings(server.address), ["plain", "gzip"])
    assert [answers[0].text, answers[1].text] == [text, text]
    assert len(server.requests) == 2


def test_halves_of_a_character_are_put_together(server):
    """A character whose two escapes come in two events arrives, a half alone becomes a mark."""
    halves = [json.dumps(delta(content=half)).replace("\\\\u", "\\u")
              for half in ("\\ud83d", "\\ude00", "\\ud83d")]
    content = "".join(f"data: {half}\n\n" for half in halves).encode()
    server.replies = {"one": [raw(content + events(delta("stop"), USAGE))]}
    assert ask(settings(server.address), ["one"])[0].text == f"{SMILE}\ufffd"
    assert len(server.requests) == 1


def test_long_lines_take_no_longer_than_their_length(server):
    """Eight million characters arrive in one event and in one body."""
    text = "x" * 8_000_000
    server.replies = {"one": [raw(events(delta(content=text), delta("stop"), USAGE))],
                      "two": [raw(json.dumps(body(content=text)).encode())]}
    answers = ask(settings(server.address, max_tokens=2000), ["one", "two"])
    assert [len(answers[0].text), len(answers[1].text)] == [8_000_000] * 2


# ----------------------------------------------------------------------- refusals


@pytest.mark.parametrize("reply", [
    pytest.param(refuse(400, "too long"), id="400"),
    pytest.param(refuse(413, "too long"), id="413"),
    pytest.param(refuse(422, "too long"), id="422"),
    pytest.param(lambda handler: send(handler, 400, b"too long"), id="no JSON"),
    pytest.param(error(400), id="inside of a stream"),
    pytest.param(raw(b'data: {"object": "error", "message": "too long", "code": 400}\n\n'),
                 id="older vLLM"),
    pytest.param(raw(b'{"error": {"message": "too long", "code": "400"}}'), id="a plain body")])
def test_a_refused_prompt_fails_one_sample(server, reply):
    """The others are answered, the refused one is not asked again, and its answer says why."""
    server.replies = {"bad": [reply]}
    answers = ask(settings(server.address, concurrency=1), ["one", "bad", "two"])
    assert [answers[0].text, answers[2].text] == ["You said one", "You said two"]
    assert (answers[1].text, answers[1].finish_reason) == ("", "refused")
    assert (answers[1].prompt_tokens, answers[1].completion_tokens) == (0, 0)
    assert "too long" in answers[1].refusal or "gone" in answers[1].refusal
    assert [request.prompt for request in server.requests] == ["one", "bad", "two"]


def test_a_refusal_before_the_first_answer_is_kept_once_that_comes(server):
    """The order of the prompts does not decide whether a refused one stops the run."""
    server.replies = {"bad": [refuse(400, "too long")]}
    answers = ask(settings(server.address, concurrency=1), ["bad", "one"])
    assert answers[0].refusal == "HTTP 400: too long"
    assert answers[1].text == "You said one"


def test_settings_that_are_refused_for_every_prompt_stop_the_run(server):
    """Ten prompts refused and none answered are no ten bad prompts; on a server that answered
    these settings before they are.
    """
    prompts = [f"prompt {number}" for number in range(15)]
    server.replies = {prompt: [refuse(400, "max_tokens is too large")] for prompt in prompts}
    wrong = settings(server.address, concurrency=1)
    with pytest.raises(ParamsError, match="refuses model 'smollm2': HTTP 400: max_tokens is too"):
        ask(wrong, prompts)
    assert len(server.requests) in (10, 11)
    with pytest.raises(ParamsError, match="max_tokens is too large"):
        ask(wrong, prompts[:1])
    found = [answer for finished in api.generate(wrong, prompts, accepted=True)
             for _, answer in finished]
    assert [answer.finish_reason for answer in found] == ["refused"] * 15


@pytest.mark.parametrize("reply", [
    pytest.param(lambda handler: send(handler, 400, json.dumps({"error": {
        "message": "filtered", "code": "content_filter"}}).encode()), id="Azure"),
    pytest.param(lambda handler: send(handler, 403, json.dumps({"error": {
        "message": "filtered", "type": "content_policy_violation"}}).encode()), id="403"),
    pytest.param(error(message="filtered", code="content_filter"), id="inside of a stream"),
    pytest.param(raw(events(delta("content_filter"), USAGE)), id="a finish reason")])
def test_a_filter_refuses_prompts_never_the_settings(server, reply):
    """Where a filter refuses every prompt, every sample is refused, and the run goes on."""
    prompts = [f"prompt {number}" for number in range(12)]
    server.replies = {prompt: [reply] for prompt in prompts}
    answers = ask(settings(server.address), prompts)
    assert {answer.finish_reason for answer in answers.values()} == {"refused"}
    assert all("filter" in answer.refusal for answer in answers.values())
    assert len(answers) == len(server.requests) == 12


@pytest.mark.parametrize("status", [401, 402, 403, 404])
@pytest.mark.parametrize("inside", [False, True])
def test_a_wrong_key_or_model_stops_at_once(server, status, inside):
    """One request, one line, and the answers that came are kept."""
    server.replies = {"bad": [error(status) if inside else refuse(status, "gone")]}
    found, message = {}, f"refuses model 'smollm2': HTTP {status}: gone"
    with pytest.raises(ParamsError, match=message) as caught:
        ask(settings(server.address, concurrency=1), ["one", "bad", "two"], found)
    assert "\n" not in str(caught.value)
    assert found[0].text == "You said one"
    assert len(server.asked("bad")) == 1


@pytest.mark.parametrize("reply", [
    pytest.param(error(), id="no code"), pytest.param(error("server_error"), id="a word"),
    pytest.param(error(502), id="502"), pytest.param(error(429), id="429"),
    pytest.param(raw(events({"error": "gone"})), id="a text"),
    pytest.param(raw(b'{"error": {"message": "gone"}}'), id="a plain body"),
    pytest.param(raw(b'event: error\ndata: {"type": "error", "message": "gone"}\n\n'),
                 id="an event of its own")])
def test_an_error_inside_a_stream_is_tried_again_and_named(server, reply):
    """Errors that may pass, with a status of 200, are asked again; the last one is named."""
    server.replies = {"one": [reply, say(TEXT)], "two": [reply]}
    assert ask(settings(server.address), ["one"]) == {0: GOOD}
    with pytest.raises(api.ServerError, match="gone"):
        ask(settings(server.address, retries=0), ["two"])
    assert len(server.requests) == 3


def test_a_refusal_whose_words_break_off_is_still_one(server):
    """The status alone says that the prompt is refused."""
    server.replies = {"bad": [lambda handler: send(handler, 400, b'{"err', Content_Length="999")]}
    answers = ask(settings(server.address, concurrency=1), ["one", "bad"])
    assert answers[1].finish_reason == "refused"
    assert len(server.asked("bad")) == 1


def test_a_refusal_holds_no_key(server):
    """What a server says of a prompt is stored, so the key that it repeats is taken out."""
    server.replies = {"bad": [refuse(400, f"no {KEY}\nhere")]}
    answers = ask(settings(server.address, concurrency=1), ["one", "bad"])
    assert answers[1].refusal == "HTTP 400: no (the key) here"


# ----------------------------------------------------------------------- settings and results


def test_the_limit_has_the_name_that_the_server_wants(server):
    """max_completion_tokens takes the place of max_tokens, and no temperature is sent for null."""
    ask(settings(server.address, max_tokens_parameter="max_completion_tokens", temperature=None),
        ["one"])
    assert server.requests[0].body == {
        "model": "smollm2", "messages": [{"role": "user", "content": "one"}],
        "max_completion_tokens": 24, "stream": True, "stream_options": {"include_usage": True}}


def _values(**changes):
    values = made_up_run.plain()
    values["adaptation"]["methods"] = ["direct"]
    values["corpus"]["adaptation"]["tasks"] = [TASK]
    values["corpus"]["evaluation"] = {"lengths": [1, 4], "samples_per_length": 3}
    values["evaluation"]["api"] = [{"name": "R1", "model": "r1", "requests_per_minute": 60_000,
                                    "base_url": "http://localhost:1/v1", "retries": 0} | changes]
    return values


def test_the_settings_for_such_servers_leave_the_digest_at_their_defaults():
    """A run that does not need them keeps its results; one that changes them has others."""
    plain = params.check(_values())
    assert params.check(_values(max_tokens_parameter="max_tokens", temperature=0)).digest == \
        plain.digest
    assert params.check(_values(temperature=0.0)).digest == plain.digest
    assert not {"max_tokens_parameter", "temperature"} & plain.model_dump()["evaluation"][
        "api"][0].keys()
    for changes in ({"max_tokens_parameter": "max_completion_tokens"}, {"temperature": None}):
        assert params.check(_values(**changes)).digest != plain.digest


@pytest.mark.parametrize(("changes", "message"), [
    ({"temperature": 1}, "evaluation.api.0.temperature: "),
    ({"temperature": False}, "evaluation.api.0.temperature: "),
    ({"max_tokens_parameter": "max_new_tokens"}, "'max_tokens' or 'max_completion_tokens'"),
    ({"max_tokens_paramter": "max_tokens"}, "did you mean max_tokens_parameter")])
def test_other_values_of_these_settings_are_refused(changes, message):
    """Generation is greedy, `temperature: no` is not null, and the limit has one of two names."""
    with pytest.raises(ParamsError, match=message):
        params.check(_values(**changes))


def test_an_unknown_count_makes_the_cost_unknown():
    """A cost that left rows out would be too low."""
    priced = settings("http://localhost/v1", price_in=0.5, price_out=2.0)
    for missing in (None, float("nan")):
        assert api.cost([{"prompt_tokens": 7, "completion_tokens": missing}], priced) is None


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    """A run whose trained method is evaluated, its API model not."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    forked.fork_stages(monkeypatch)
    run = params.check(_values(base_url=server.address))
    params.open_folder(run)
    corpus.build(run)
    cell = Cell("direct", TASK, run.seed)
    files.write_json(training.Job(run, "adapt", cell).manifest,
                     {"weights": {}, "params_digest": run.digest})
    results = evaluation.path(run, cell)
    results.parent.mkdir(parents=True)
    results.touch()
    files.write_json(results.with_suffix(".json"),
                     evaluation.header(run, cell) | {"finished": True,
                                                     "sha256": files.sha256(results)})
    return run


def _rows(run):
    path = evaluation.path(run, Cell("R1", TASK, run.seed))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_refused_sample_is_stored_named_and_not_asked_again(server, run, capsys):
    """It is a row without an answer that says why; it counts as not right, the log names it, and
    only who deletes it asks again.
    """
    plan = evaluation.plan(run, Cell("R1", TASK, run.seed))
    bad = plan[4]
    server.replies = {row["prompt"]: [say(f"So the answer is {row['gold_answer']}")]
                      for row in plan} | {bad["prompt"]: [refuse(400, "too long")]}
    evaluation.launch(run)
    printed = capsys.readouterr().out
    assert (f"length {bad['length']}, index {bad['index']}: refused by the server, HTTP 400: "
            "too long") in printed
    assert "R1 on nupa_length: the server refused 1 of 6 samples" in printed.splitlines()[-1]
    [row] = [row for row in _rows(run) if row["finish_reason"] == "refused"]
    assert (row["index"], row["text"], row["answer"], row["outcome"], row["refusal"]) == (
        bad["index"], "", None, "no_answer", "HTTP 400: too long")
    outcomes = [row["outcome"] for row in _rows(run)]
    assert outcomes.count("right") == 5
    assert evaluation.recompute(_rows(run)) == outcomes

    evaluation.launch(run)
    assert len(server.requests) == 6
    path = evaluation.path(run, Cell("R1", TASK, run.seed))
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows(run)
                            if row["finish_reason"] != "refused"), encoding="utf-8")
    path.with_suffix(".json").unlink()
    server.replies[bad["prompt"]] = [say("So the answer is 4")]
    evaluation.launch(run)
    assert [request.prompt for request in server.requests[6:]] == [bad["prompt"]]
    assert len(_rows(run)) == 6


def test_a_last_sample_that_is_refused_ends_an_interrupted_run(server, run):
    """What was answered before the interruption shows that the settings are right."""
    plan = evaluation.plan(run, Cell("R1", TASK, run.seed))
    server.replies = {plan[-1]["prompt"]: [refuse(500, "busy"), refuse(400, "too long")]}
    with pytest.raises(api.ServerError, match="1 of 6"):
        evaluation.evaluate(run, Cell("R1", TASK, run.seed))
    evaluation.evaluate(run, Cell("R1", TASK, run.seed))
    assert [row["finish_reason"] for row in _rows(run)].count("refused") == 1


def test_answers_without_a_count_of_tokens_are_kept_and_named(server, run, capsys):
    """The answers are paid: they are stored, and the end says that their cost is not known."""
    for row in evaluation.plan(run, Cell("R1", TASK, run.seed)):
        server.replies[row["prompt"]] = [raw(events(delta("stop", content=TEXT)))]
    evaluation.launch(run)
    assert "6 of 6 answers came without a count of tokens" in capsys.readouterr().out
    assert {row["completion_tokens"] for row in _rows(run)} == {None}


def test_a_filtered_answer_is_not_right_whatever_it_says(server, run):
    """What a filter cut off is kept as text, and counts as no answer."""
    for row in evaluation.plan(run, Cell("R1", TASK, run.seed)):
        server.replies[row["prompt"]] = [say(f"So the answer is {row['gold_answer']}",
                                             "content_filter")]
    evaluation.evaluate(run, Cell("R1", TASK, run.seed))
    assert {row["outcome"] for row in _rows(run)} == {"no_answer"}
    assert all(row["text"] for row in _rows(run))
