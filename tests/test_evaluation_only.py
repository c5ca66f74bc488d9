"""Runs that train nothing: a base model without a chat template, asked with one exemplar, and
models behind servers alone."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nbformat
import pytest
import scripted_server
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, evaluation, figures, models, params, runner, training
from metarfft_core.analysis import verify
from metarfft_core.bridges import general as bridge
from metarfft_core.models import chat_template
from metarfft_core.params import ParamsError
from metarfft_core.planning import display, plan
from metarfft_core.system import files
from metarfft_core.system.places import ROOT


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny model whose tokenizer has no chat template, as a base model's."""
    folder = write_tiny(tmp_path_factory.mktemp("base") / "model")
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.fixture
def values(base, tmp_path, monkeypatch):
    """The parameters of a run that asks the base model with an exemplar and trains nothing."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    values = tiny_run(base).model_dump()
    values["model"]["chat_template"] = "plain"
    values["adaptation"]["methods"] = []
    values["evaluation"]["in_context"] = ["base_1shot"]
    return values


@pytest.mark.slow
def test_a_base_model_is_evaluated_without_any_training(values, monkeypatch, capsys):
    """Corpus, evaluation, figures, the check after a run and the notebooks of the trainings pass;
    no training starts, and the run has nothing of one."""
    config = params.check(values)
    corpus.build(config)
    training.launch_all(config)
    manifest = files.read_json(evaluation.launch(config) / "manifest.json")
    assert manifest["base_1shot"]["lc_2544"]["rows"] == 1
    figures.accuracy_figure(config)
    assert verify.verify(config) == []
    monkeypatch.setenv("METARFFT_PARAMS", str(config.folder / "params.yaml"))
    for number in ("02", "03", "04"):
        [notebook] = runner.NOTEBOOKS.glob(f"{number}*.ipynb")
        space = {"__name__": "notebook"}
        for cell in nbformat.read(notebook, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, notebook.name, "exec"), space)
    printed = capsys.readouterr().out
    assert "no method of this run needs RF-pretraining" in printed
    assert "this run trains nothing" in printed
    assert not list(config.folder.glob("pretrain*")) + list(config.folder.glob("adapt*"))
    shown = display.show(plan.plan(config))
    assert "Total: " in shown
    assert "Empty DataFrame" not in shown


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None,
                    reason="install lm_eval==0.4.13 to run this")
def test_a_base_model_is_pretrained_in_the_plain_template(values, monkeypatch, tmp_path):
    """As Llama in Table 3: RF-pretraining alone, then one exemplar for the base model and for the
    trained one, and lm-eval on the trained weights. The template is in the manifest of the
    training, and beside its weights."""
    values["evaluation"]["in_context"] = ["base_1shot", "meta_1shot"]
    values["pretraining"] |= {"steps": 2, "evaluate_every": 1, "save_every": 1}
    config = params.check(values)
    corpus.build(config)
    training.launch_all(config)
    job = training.Job(config, "pretrain")
    plain = chat_template.FALLBACKS["plain"]
    assert files.read_json(job.manifest)["chat_template"] == chat_template.about(plain)
    assert models.load_tokenizer(str(job.folder / "model")).chat_template == plain
    evaluation.launch(config)
    assert set(evaluation.read(config).method) == {"base_1shot", "meta_1shot"}
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "1", "question": "What falls?", "answerKey": "A", '
                    '"choices": {"text": ["Rain", "Light"], "label": ["A", "B"]}}\n')
    monkeypatch.setattr(bridge, "BENCHMARKS", {"arc_challenge": bridge.BENCHMARKS["arc_challenge"]})
    monkeypatch.setattr(bridge, "_data", lambda *_: ("a file", {
        "dataset_path": "json", "dataset_name": None, "training_split": None,
        "validation_split": None, "fewshot_split": None, "dataset_kwargs": {
            "data_files": {"test": str(data)}, "cache_dir": str(tmp_path / "data")}}))
    [result] = bridge.evaluate(config, job)
    assert result == config.folder / "general" / "pretrain" / "arc_challenge.json"
    assert files.read_json(result)["model_sha256"] == models.model_hash(job.folder / "model")


def test_a_base_model_without_a_named_template_is_refused(values):
    """The message names the key and the kit's templates, before anything is built."""
    del values["model"]["chat_template"]
    with pytest.raises(ParamsError, match=r"model.chat_template: .* name one \(plain\)"):
        corpus.build(params.check(values))


def test_the_plain_template_is_the_prompt_and_an_empty_line(base):
    """The ids are those of the begin token, the prompt and two line ends; the counter and a saved
    copy agree."""
    tokenizer = models.load_tokenizer(str(base), "plain")
    text = f"{tokenizer.bos_token or ''}rule:\n  x += 1\nQ: 2?\n\n"
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert models.encode_prompt(tokenizer, "rule:\n  x += 1\nQ: 2?") == expected
    completion = models.encode_completion(tokenizer, "3")
    assert models.token_counter(str(base), "plain")("rule:\n  x += 1\nQ: 2?", "3") == \
        len(expected) + len(completion)


def test_a_trained_base_model_keeps_the_template(base, tmp_path):
    """The folder of a trained model has the template that it was trained in, so other tools ask
    it in the same way; the tokenizer of a model that has a template of its own is left alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    models.save(model, base, tmp_path / "trained", "plain")
    kept = AutoTokenizer.from_pretrained(tmp_path / "trained").chat_template
    assert kept == chat_template.FALLBACKS["plain"]
    own = models.load_tokenizer(models.EMBEDDED).chat_template
    assert models.load_tokenizer(models.EMBEDDED, "plain").chat_template == own != kept


def test_a_run_with_nothing_to_evaluate_is_refused(values):
    """Neither trained nor asked: the message names the keys that could give it something."""
    values["evaluation"]["in_context"] = []
    with pytest.raises(ParamsError, match=r"adaptation.methods: expected .* else to evaluate"):
        params.check(values)


def test_the_questions_are_those_of_a_run_that_trains(values):
    """The samples of the evaluation are the same whether the run trains methods or not."""
    alone = params.check(values | {"name": "alone"})
    values["adaptation"] = values["adaptation"] | {"methods": ["vanilla_rfft"]}
    other = params.check(values | {"name": "other"})
    rows = []
    for config in (alone, other):
        corpus.build(config)
        rows.append(corpus.read(config, "evaluation_1shot", "rfft").to_list())
    assert rows[0] == rows[1]


def test_rf_pretraining_runs_only_for_methods_that_need_it(values):
    """With one exemplar, the RF-pretrained model needs its training and the base model none."""
    assert training.jobs(params.check(values)) == []
    values["evaluation"]["in_context"] = ["base_1shot", "meta_1shot"]
    config = params.check(values)
    assert training.jobs(config) == [training.Job(config, "pretrain")]


def test_the_plan_of_servers_alone_is_one_sentence(values):
    """A run that computes nothing here says so, in the command and in the form."""
    values["evaluation"] |= {"in_context": [], "api": [
        {"name": "R1", "model": "r1", "base_url": "http://localhost:1/v1"}]}
    made = plan.plan(params.check(values))
    assert made.stages.gpu_hours.sum() == 0
    assert display.show(made).startswith("Nothing is computed on this machine")
    [line] = display.summary(made)
    assert (line.what, line.value) == ("GPU hours", "0")


@pytest.mark.parametrize("file", ["deepseek_r1", "qwq_32b", "r1_distill_7b"])
def test_the_files_of_servers_name_no_secret_and_train_nothing(file):
    """They ask the twelve tasks of one model, at its limit of 24,000 tokens, and need no GPU."""
    config = params.load(ROOT / "params" / f"{file}.yaml")
    [api] = config.evaluation.api
    assert training.jobs(config) == []
    assert {cell.method for cell in config.cells} == {api.name}
    assert len(config.cells) == 12
    assert (api.max_tokens, api.temperature) == (24000, 0.0)
    assert corpus_of(config) == corpus_of(params.load(ROOT / "params" / "7b.yaml"))


def corpus_of(config):
    """What decides which questions are asked."""
    return (config.seed, config.corpus.adaptation.tasks, config.corpus.adaptation.lengths,
            config.corpus.adaptation.samples_per_length, config.corpus.evaluation)


def test_a_server_alone_is_evaluated(tmp_path, monkeypatch):
    """The file of QwQ, made small, against a server on loopback: every question is asked with the
    names that the server wants, and scored."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    values = params.read(ROOT / "params" / "qwq_32b.yaml")
    values["corpus"]["adaptation"] |= {"tasks": ["lc_461"], "samples_per_length": 2}
    values["corpus"]["evaluation"] = {"lengths": [1, 2], "samples_per_length": 2}
    values["corpus"]["workers"] = 1
    with scripted_server.serve() as server:
        values["evaluation"]["api"][0] |= {
            "base_url": server.address, "temperature": None,
            "max_tokens_parameter": "max_completion_tokens"}
        config = params.check(values)
        corpus.build(config)
        training.launch_all(config)
        evaluation.launch(config)
    rows = evaluation.read(config)
    assert (rows.method == "QwQ-32B").all()
    assert len(rows) == len(server.requests) == 4
    for request in server.requests:
        assert request.body["max_completion_tokens"] == 24000
        assert not {"max_tokens", "temperature"} & set(request.body)


class _Gated(BaseHTTPRequestHandler):
    """A hub that lists a model's files and keeps them from who has not accepted a licence."""

    def do_GET(self):
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_a_gated_model_says_how_to_get_it(tmp_path):
    """The Hub's own client is refused by a server; the one line names the licence's page and how
    to log in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gated) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", "from metarfft_core import models\n"
             "try:\n    models.resolve('meta-llama/Llama-3.1-8B', weights=False)\n"
             "except ValueError as error:\n    import json; print(json.dumps(str(error)))"],
            env={**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                 "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1",
                 "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        server.shutdown()
    assert json.loads(done.stdout) == (
        "model.name: meta-llama/Llama-3.1-8B is gated: accept its licence at "
        "https://huggingface.co/meta-llama/Llama-3.1-8B, then log in with `hf auth login`, or set "
        "$HF_TOKEN"), done.stderr
