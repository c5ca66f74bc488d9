"""The parameter files: the paper's values in ours, and one clear line for every mistake."""

import re
from collections import Counter
from pathlib import Path

import made_up_run
import pytest
import yaml

from metarfft_core import formats, models, params, tasks, training
from metarfft_core.params import Cell
from metarfft_core.system.places import ROOT
from metarfft_core.tasks import synthetic

FOLDER = ROOT / "params"
PROTOCOL = yaml.safe_load((Path(__file__).parent / "data" / "protocol.yaml").read_text())
OURS = {"name", "smoke"}
"""Keys of the kit's own, on which no result depends."""

IN_CONTEXT = {"tasks": ["sr_coin_flip"], "lengths": [1], "samples_per_length": 1,
              "synthetic_samples": 0}


def changed(keys, value):
    """The smoke run's values with one of them changed; `keys` are joined by dots."""
    return with_value(params.read(params.DEFAULT_FILE), keys, value)


def plain(keys, value):
    """The same, without the smoke run's optional keys."""
    return with_value(made_up_run.plain("smoke"), keys, value)


def with_value(values, keys, value):
    *sections, last = keys.split(".")
    part = values
    for section in sections:
        part = part[section]
    part[last] = value
    return values


def refused(values):
    """The one line that refuses these values."""
    with pytest.raises(params.ParamsError) as caught:
        params.check(values, "some.yaml")
    message = str(caught.value)
    assert message.startswith("some.yaml: ")
    assert "\n" not in message
    return message.removeprefix("some.yaml: ")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_is_valid_and_named_as_its_run(file):
    """Each parameter file loads, and its run has the file's name."""
    assert params.load(file).name == file.stem


def leaves(values, prefix=""):
    """Nested mappings as one, keys joined by dots."""
    flat = {}
    for key, value in values.items():
        nested = leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else None
        flat |= {f"{prefix}{key}": value} if nested is None else nested
    return flat


def stated(size):
    """What the paper states for a model's run, by the keys of our parameter files."""
    corpus = dict(PROTOCOL["corpus"])
    values = {"model.name": PROTOCOL["models"][size],
              "corpus.pretrain.tasks": "pretrain", "corpus.adaptation.tasks": "downstream",
              "corpus.validation.lengths": [corpus["pretrain"]["validation_length"]],
              "adaptation.methods": PROTOCOL["adaptation"]["methods"]}
    corpus["in_context"] = corpus["pretrain"] | corpus["in_context"]  # an exemplar to each of those
    values |= {"corpus.in_context.tasks": "pretrain",
               "corpus.in_context.synthetic_samples": corpus["in_context"]["synthetic_samples"]}
    for part in ("pretrain", "adaptation", "evaluation", "in_context"):
        first, last = corpus[part]["lengths"]
        values[f"corpus.{part}.lengths"] = f"{first}-{last}"
        values[f"corpus.{part}.samples_per_length"] = corpus[part]["samples_per_length"]
    for section, ours in (("rf_pretraining", "pretraining"), ("adaptation", "adaptation")):
        values |= {f"{ours}.{key}": value for key, value in PROTOCOL[section][size].items()
                   if value is not None}
    return values


@pytest.mark.parametrize("size", ["7b", "32b"])
def test_the_files_hold_the_papers_values(size):
    """Every value that the paper states is in its file as the paper states it."""
    file = leaves(params.read(FOLDER / f"{size}.yaml"))
    paper = stated(size)
    assert {key: file.get(key) for key in paper} == paper


def test_exemplars_and_snippets_are_the_papers():
    """An exemplar has fewer steps than the paper's limit, and there are as many snippets."""
    paper = PROTOCOL["corpus"]["in_context"]
    assert formats.EXEMPLAR_LENGTHS[-1] + 1 == paper["exemplar_max_steps"]
    assert len(synthetic.SNIPPETS) == paper["snippets"]


@pytest.mark.parametrize("size", ["7b", "32b"])
def test_what_the_paper_does_not_state_is_marked(size):
    """The lines of all other values carry the word assumption, those of the paper's do not."""
    text = (FOLDER / f"{size}.yaml").read_text()
    lines = text.splitlines()
    marked = {keys for keys, line in lines_of(yaml.compose(text)) if "assumption" in lines[line]}
    assert marked == set(leaves(yaml.safe_load(text))) - set(stated(size)) - OURS


def test_the_small_model_runs_the_papers_protocol():
    """135m.yaml is 7b.yaml but for the model, its rates and what the memory of one GPU allows."""
    small, paper = (leaves(params.read(FOLDER / f"{name}.yaml")) for name in ("135m", "7b"))
    assert set(small) == set(paper)
    assert {key for key in paper if small[key] != paper[key]} == {"name", "model.name"} | {
        f"{stage}.{key}" for stage in ("pretraining", "adaptation")
        for key in ("learning_rate", "micro_batch_size")} | {"model.context"}


def test_the_laptop_run_takes_the_downstream_tasks_with_the_shortest_traces():
    """Its three tasks are those whose traces are shortest at the lengths that it adapts on, and it
    evaluates to at least twice those."""
    run = params.load(FOLDER / "laptop.yaml")
    lengths = run.corpus.adaptation.lengths
    assert run.corpus.evaluation.lengths[-1] >= 2 * lengths[-1]
    tokenizer, sizes = models.load_tokenizer(run.model.name), {}
    for task in tasks.select(split="downstream"):
        drawn = [task.sample(length=length, seed=0, index=index)
                 for length in lengths for index in range(20)]
        traces = [formats.render(task, one, "rfft").completion for one in drawn]
        sizes[task.id] = sum(map(len, models.encode_completions(tokenizer, traces)))
    assert set(run.corpus.adaptation.tasks) == set(sorted(sizes, key=sizes.get)[:3])


def test_the_second_laptop_run_differs_from_the_first_in_its_seed_and_in_what_is_compared():
    """laptop_seed100.yaml trains and asks as laptop.yaml does; the methods are fewer, the seeds on
    each task more."""
    first, second = (params.load(FOLDER / f"{name}.yaml") for name in ("laptop", "laptop_seed100"))
    differ = {"name": ..., "seed": ..., "adaptation": {"methods", "further"},
              "evaluation": {"in_context", "counterfactual"}}
    assert first.model_dump(exclude=differ) == second.model_dump(exclude=differ)
    assert not {cell.seed for cell in first.cells} & {cell.seed for cell in second.cells}
    assert Counter((cell.method, cell.task) for cell in second.cells) == {
        (method, task): 2 for method in ("vanilla_rfft", "meta_rfft")
        for task in first.corpus.adaptation.tasks}


def lines_of(node, prefix=""):
    """Each value's keys, joined by dots, with the number of its line from 0."""
    for key, value in node.value:
        keys = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from lines_of(value, f"{keys}.")
        else:
            yield keys, key.start_mark.line


@pytest.mark.parametrize("size", ["7b", "32b"])
def test_the_papers_runs_take_every_task_of_a_split(size):
    """The names of the splits mean their tasks, and leave out what cannot be had."""
    run = params.load(FOLDER / f"{size}.yaml")
    for section, split in ((run.corpus.pretrain, "pretrain"),
                           (run.corpus.adaptation, "downstream")):
        assert section.tasks == [task.id for task in tasks.select(split=split)]
        assert section.leave_out
    assert run.corpus.evaluation.lengths == list(range(1, 31))
    assert not run.smoke


@pytest.mark.parametrize(("keys", "value", "said"), [
    ("corpus.adaptation.lenghts", "1-3",
     "corpus.adaptation.lenghts: unknown key; did you mean lengths? (allowed: lengths, "),
    ("corpus.worker", 2, "corpus.worker: unknown key; did you mean workers? (allowed: workers, "),
    ("adaptaton", {}, "adaptaton: unknown key; did you mean adaptation? (allowed: name, smoke, "),
    ("zzz", 1, "zzz: unknown key (allowed: name, smoke, seed, "),
    ("pretraining.learning_rate", "1e-5",
     "pretraining.learning_rate: input should be a valid number, got '1e-5' "
     "(a string; in YAML write a small number as 1.0e-5)"),
    ("pretraining.steps", "12", "pretraining.steps: input should be a valid integer, got '12'"),
    ("pretraining.steps", 1.5, "pretraining.steps: input should be a valid integer"),
    ("pretraining.steps", 0, "pretraining.steps: input should be greater than or equal to 1, got "),
    ("pretraining.batch_size", True, "pretraining.batch_size: input should be a valid integer"),
    ("seed", None, "seed: input should be a valid integer, got None"),
    ("smoke", "yes", "smoke: input should be a valid boolean, got 'yes'"),
    ("name", "a/b", "name: "),
    ("model", "SmolLM2", "model: "),
    ("seed", 2**32, "seed: input should be less than 4294967296, got 4294967296"),
    ("seed", -1, "seed: input should be greater than or equal to 0, got -1"),
    ("adaptation.further", [{"methods": ["direct"], "tasks": ["lc_2544"], "seeds": [2**32]}],
     "adaptation.further.0.seeds.0: input should be less than 4294967296, got 4294967296"),
    ("pretraining.steps", 2**63, "pretraining.steps: input should be less than 92233"),
    ("corpus.pretrain.lengths", "1-99999999999",
     "corpus.pretrain.lengths: expected a range such as 1-15, up to 10000, or a list of lengths, "),
    ("corpus.pretrain.lengths", "1-²", "corpus.pretrain.lengths: expected a range such as 1-15"),
    ("evaluation.limit_factor", 1e308, "evaluation.limit_factor: input should be less than or "),
    ("evaluation.engine", "vlm", "evaluation.engine: input should be 'vllm' or 'transformers'"),
    ("evaluation.confidence", 95, "evaluation.confidence: input should be less than 1, got 95"),
    ("corpus.pretrain.tasks", ["sr_coin_flp"], "corpus.pretrain.tasks: no task 'sr_coin_flp'; the "
                                               "nearest are coin_flip (sr_coin_flip)"),
    ("corpus.pretrain.tasks", "pretraining", "corpus.pretrain.tasks: expected pretrain, downstream "
                                             "or a list of tasks, got 'pretraining'"),
    ("corpus.pretrain.tasks", [], "corpus.pretrain.tasks: expected at least one task"),
    ("corpus.adaptation.tasks", ["lc_258", "lc_258"],
     "corpus.adaptation.tasks: expected at least one task, without repeats, got "
     "['lc_258', 'lc_258']"),
    ("corpus.pretrain.lengths", "1-61", "corpus.pretrain: task bbh_dyck_languages cannot draw "
                                        "length 61: it allows 1 to 60"),
    ("corpus.validation.lengths", [61], "corpus.validation: task bbh_dyck_languages cannot draw"),
    ("corpus.adaptation_validation.lengths", [99], "corpus.adaptation_validation: task lc_2544"),
    ("corpus.evaluation.lengths", [1, 61], "corpus.evaluation: task lc_2544 cannot draw length 61"),
    ("corpus.evaluation.lengths", [3, 1], "corpus.evaluation.lengths: expected ascending lengths"),
    ("corpus.evaluation.lengths", "1..5", "corpus.evaluation.lengths: expected a range such as "),
    ("corpus.evaluation.lengths", "5-1", "corpus.evaluation.lengths: expected "),
    ("corpus.evaluation.lengths", 5, "corpus.evaluation.lengths: input should be a valid list"),
    ("corpus.evaluation.lengths", [], "corpus.evaluation.lengths: expected ascending lengths"),
    ("corpus.wording", "ours", "corpus.wording: input should be 'kit' or 'paper', got 'ours'"),
    ("corpus.in_context", IN_CONTEXT | {"synthetic": 1},
     "corpus.in_context.synthetic: unknown key; did you mean synthetic_samples? (allowed: "),
    ("corpus.in_context", IN_CONTEXT | {"synthetic_samples": -1},
     "corpus.in_context.synthetic_samples: input should be greater than or equal to 0, got -1"),
    ("corpus.in_context", IN_CONTEXT | {"tasks": ["lc_2544"]}, "corpus.adaptation.tasks: these are "
     "pre-training tasks of the same run: lc_2544"),
    ("corpus.in_context", IN_CONTEXT | {"lengths": [61]}, "corpus.in_context: task sr_coin_flip "
                                                          "cannot draw length 61: it allows 1 to"),
    ("corpus.adaptation.tasks", ["sr_coin_flip"],
     "corpus.adaptation.tasks: these are pre-training tasks of the same run: sr_coin_flip"),
    ("pretraining.workers", 3, "pretraining: workers 3 x micro_batch_size 1 does not divide "
                               "batch_size 4"),
    ("pretraining.rank", None, "pretraining: expected a rank with method pissa and none with "
                               "full: got method pissa and rank None"),
    ("pretraining.method", "full", "pretraining: expected a rank with method pissa and none with "
                                   "full"),
    ("pretraining.method", "lora", "pretraining.method: input should be 'full' or 'pissa', got "),
    ("adaptation.micro_batch_size", 3,
     "adaptation: micro_batch_size 3 does not divide batch_size 4"),
    ("adaptation.methods", ["direct", "direct"],
     "adaptation: methods: expected without repeats, got ['direct', 'direct']"),
    ("adaptation.methods", ["direct", "cot"], "adaptation.methods.1: input should be 'direct', "),
])
def test_a_wrong_value_is_named_with_what_is_allowed(keys, value, said):
    """One line names the key, what is allowed and what was got."""
    assert refused(changed(keys, value)).startswith(said)


API = {"name": "R1", "model": "r1", "base_url": "http://localhost:1/v1"}
MIX = {"file": "general.jsonl", "share": 0.5}


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
@pytest.mark.parametrize("keys", [
    *(f"{stage}.{key}" for stage in ("pretraining", "adaptation") for key in (
        "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm", "mix.share")),
    "pretraining.in_context_share", "evaluation.limit_factor", "evaluation.confidence",
    "evaluation.api.0.timeout", "evaluation.api.0.price_in", "evaluation.api.0.price_out"])
def test_a_number_that_is_not_finite_is_refused(keys, value):
    """Every number of the schema is finite, in a file and through a notebook."""
    values = plain("pretraining.mix", dict(MIX))
    values["adaptation"]["mix"], values["evaluation"]["api"] = dict(MIX), {"0": dict(API)}
    with_value(values, keys, value)
    values["evaluation"]["api"] = [values["evaluation"]["api"]["0"]]
    said = f"{keys}: input should be a finite number, got {value}"
    assert refused(values) == said
    with pytest.raises(params.ParamsError, match=re.escape(said)):
        params.from_notebook(notebook(**values))


def test_a_seed_that_the_libraries_refuse_is_refused_at_once():
    """The schema takes what transformers' set_seed takes, and nothing above it."""
    import numpy

    numpy.random.seed(params.check(changed("seed", 2**32 - 1)).seed)
    with pytest.raises(ValueError, match="Seed must be between"):
        numpy.random.seed(2**32)


def test_checkpoints_and_validations_have_intervals_of_their_own():
    """With early stopping, checkpoints may be rarer than validations, and at other steps."""
    values = changed("pretraining.early_stopping_patience", 2)
    for each in (3, 4, 100):
        values["pretraining"] |= {"evaluate_every": 6, "save_every": each}
        assert params.check(values).pretraining.save_every == each


def test_a_missing_key_is_named():
    """A section or a key that lacks is named with its place."""
    values = params.read(params.DEFAULT_FILE)
    del values["evaluation"], values["model"]["context"]
    assert refused(values) == ("model.context: this key is missing; "
                               "evaluation: this key is missing")


def test_several_mistakes_are_named_together():
    """Two wrong keys in different sections are named in one line."""
    values = changed("evaluation.engin", "vllm")
    values["corpus"]["pretrain"]["lenght"] = [1]
    message = refused(values)
    assert "evaluation.engin: unknown key; did you mean engine?" in message
    assert "corpus.pretrain.lenght: unknown key; did you mean lengths?" in message


@pytest.mark.parametrize(("text", "said"), [
    ("name: [", "not a YAML file"), ("- 1\n", "expected keys and values, got list"),
    ("", "expected keys and values, got NoneType"), (b"\xff\xfe\x00", "not a YAML file"),
    ("name: !!python/object/apply:os.getcwd []", "line 1: name: the tag tag:yaml.org,2002:python"),
])
def test_what_is_no_parameter_file_is_refused(tmp_path, text, said):
    """A file that is no mapping, or tries to build objects, is named in one line."""
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(params.ParamsError, match=re.escape(said)) as caught:
        params.load(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """A missing file, or a folder in its place, is named with the reason."""
    with pytest.raises(params.ParamsError, match=r"none\.yaml: No such file"):
        params.load(tmp_path / "none.yaml")
    with pytest.raises(params.ParamsError, match="Is a directory"):
        params.load(tmp_path)


def test_values_cannot_be_changed_afterwards():
    """Checked parameters are frozen."""
    run = params.load(params.DEFAULT_FILE)
    with pytest.raises(ValueError, match="frozen"):
        run.model.name = "other"


def test_leave_out_accepts_what_some_tasks_cannot_draw():
    """With leave_out, and so with a split's name, an undrawable length is no error."""
    values = changed("corpus.validation.lengths", [61])
    values["corpus"]["pretrain"]["leave_out"] = True
    assert params.check(values).corpus.validation.lengths == [61]
    values["corpus"]["pretrain"] = {"tasks": "pretrain", "lengths": "1-61",
                                    "samples_per_length": 1}
    assert params.check(values).corpus.pretrain.leave_out


def test_resolved_parameters_mean_the_same():
    """The values of a checked run give the same run again, with the same digest."""
    for file in FOLDER.glob("*.yaml"):
        run = params.load(file)
        again = params.check(yaml.safe_load(yaml.safe_dump(run.model_dump())))
        assert again == run
        assert again.digest == run.digest


def test_the_digest_follows_every_value_but_the_workers():
    """The number of workers cannot change a result; every other value can."""
    run = params.load(params.DEFAULT_FILE)
    for section in ("corpus", "pretraining", "adaptation", "evaluation"):
        assert params.check(changed(f"{section}.workers", 4)).digest == run.digest
    for keys, value in (("seed", 1), ("name", "other"), ("evaluation.limit_extra", 65),
                        ("corpus.pretrain.samples_per_length", 7)):
        assert params.check(changed(keys, value)).digest != run.digest


def test_what_is_not_asked_for_leaves_the_digest():
    """The kit's wording, said or not, is one run; another wording or in-context samples are not."""
    run = params.load(params.DEFAULT_FILE)
    assert params.check(changed("corpus.wording", "kit")).digest == run.digest
    assert not {"wording", "in_context"} & set(run.model_dump()["corpus"])
    for keys, value in (("corpus.wording", "paper"), ("corpus.in_context", IN_CONTEXT)):
        other = params.check(changed(keys, value))
        assert other.digest != run.digest
        assert params.check(other.model_dump()) == other


HEAD = "\n".join(f"{key} = None" for key in params.Params.model_fields)
"""The parameter cell of a notebook."""


def notebook(**values):
    """The variables of a notebook after its parameter cell, with those that Jupyter adds.

    `values` are injected, as papermill does it."""
    lines = ["# Parameters", *(f"{key} = {value!r}" for key, value in values.items())]
    executed = ["", HEAD, "\n".join(lines), "import re"]
    return {"__name__": "__main__", "_": "", "_i1": "import re", "In": executed, "Out": {},
            "re": re, "exit": object(), "quit": object(), "open": open, "get_ipython": lambda: None,
            "Path": Path, "name": None, "smoke": None, "seed": None, "model": None,
            "corpus": None, "pretraining": None, "adaptation": None, "evaluation": None} | values


def test_a_notebook_without_parameters_takes_the_default_file(monkeypatch):
    """All variables None: the file named by the environment holds, else the smoke run's."""
    monkeypatch.delenv("METARFFT_PARAMS", raising=False)
    assert params.from_notebook(notebook()) == params.load(FOLDER / "smoke.yaml")
    monkeypatch.setenv("METARFFT_PARAMS", str(FOLDER / "test.yaml"))
    assert params.from_notebook(notebook()) == params.load(FOLDER / "test.yaml")


def test_a_notebooks_variable_replaces_its_key(monkeypatch):
    """A variable that is not None replaces the key of the default file."""
    monkeypatch.delenv("METARFFT_PARAMS", raising=False)
    run = params.from_notebook(notebook(seed=5))
    assert run.seed == 5
    assert run.model == params.load(params.DEFAULT_FILE).model


def test_a_file_given_to_a_notebook_replaces_everything(monkeypatch):
    """With all values of a file, as papermill gives them, nothing of the default file is left."""
    monkeypatch.setenv("METARFFT_PARAMS", "/nowhere")
    values = params.read(FOLDER / "32b.yaml")
    assert params.from_notebook(notebook(**values)) == params.load(FOLDER / "32b.yaml")
    del values["evaluation"]
    with pytest.raises(params.ParamsError, match="evaluation: this key is missing"):
        params.from_notebook(notebook(**values))


def test_a_misspelt_variable_of_a_notebook_is_refused(monkeypatch):
    """A variable that is no parameter stops the notebook, with the nearest name."""
    monkeypatch.delenv("METARFFT_PARAMS", raising=False)
    with pytest.raises(params.ParamsError, match="sed: unknown key; did you mean seed"):
        params.from_notebook(notebook(sed=3))


@pytest.mark.parametrize("cell", [
    HEAD + "\nsed = 3", HEAD.replace("seed = None", "sed = 3"),
    HEAD.replace("seed = None", "sed: int = 3"), "# Parameters\nsed = 3"],
    ids=["added", "in its place", "annotated", "injected"])
def test_a_misspelt_name_in_a_parameter_cell_is_refused_until_it_is_mended(cell, monkeypatch):
    """The cell that was executed last counts: once it is right, the notebook goes on."""
    monkeypatch.delenv("METARFFT_PARAMS", raising=False)
    variables = notebook() | {"In": ["", HEAD, "# Parameters\nseed = 0", cell]}
    with pytest.raises(params.ParamsError, match="sed: unknown key; did you mean seed"):
        params.from_notebook(variables)
    variables["In"].append(cell.replace("sed", "seed"))
    assert params.from_notebook(variables) == params.load(FOLDER / "smoke.yaml")


def test_a_notebooks_other_variables_are_no_parameters(monkeypatch):
    """What later cells bind, or a magic that is no Python, does not stop the set-up cell."""
    monkeypatch.delenv("METARFFT_PARAMS", raising=False)
    variables = notebook() | {"run": 1, "rows": [2], "sede": 3}
    variables["In"] += ["%matplotlib inline", "rows = [2]\nsede = 3"]
    assert params.from_notebook(variables) == params.load(FOLDER / "smoke.yaml")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A folder of the test for all runs."""
    monkeypatch.setenv("METARFFT_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def test_a_folder_is_opened_and_opened_again(outputs):
    """The resolved parameters are written once, and the same run may come back."""
    run = params.load(params.DEFAULT_FILE)
    assert params.open_folder(run) == outputs / "smoke"
    assert params.load(outputs / "smoke" / "params.yaml") == run
    (outputs / "smoke" / "corpus").mkdir()
    params.open_folder(params.check(changed("corpus.workers", 7)))


def test_a_folder_with_other_results_is_refused(outputs):
    """Another run's results are kept; the message names the values that differ."""
    params.open_folder(params.load(params.DEFAULT_FILE))
    (outputs / "smoke" / "corpus").mkdir()
    with pytest.raises(params.ParamsError, match=r"other parameters \(pretraining\.steps, seed\)"):
        params.open_folder(params.check(changed("seed", 3) | {
            "pretraining": changed("pretraining.steps", 9)["pretraining"]}))


def test_a_folder_without_results_takes_other_parameters(outputs):
    """A run that was refused before it made anything does not block a corrected one."""
    params.open_folder(params.load(params.DEFAULT_FILE))
    run = params.check(changed("seed", 3))
    params.open_folder(run)
    assert params.load(outputs / "smoke" / "params.yaml") == run


def test_a_folder_that_cannot_be_written_is_named(outputs):
    """A file in the folder's place is named with the reason (this holds for root too)."""
    outputs.write_text("in the way")
    with pytest.raises(params.ParamsError, match=r"outputs/smoke cannot be written: "):
        params.open_folder(params.load(params.DEFAULT_FILE))
    outputs.unlink()
    outputs.mkdir()
    (outputs / "smoke").write_text("in the way")
    with pytest.raises(params.ParamsError, match=r"outputs/smoke cannot be written: "):
        params.open_folder(params.load(params.DEFAULT_FILE))


ADAPTATION = "adaptation.further"


def further(**values):
    """The smoke run with one more block of trainings."""
    return plain(ADAPTATION, [{"methods": ["meta_rfft"], "tasks": ["lc_2544"]} | values])


def test_further_trainings_are_more_cells_of_the_grid():
    """Seeds and methods of single tasks come after the grid of all methods and tasks, and each
    is evaluated; a method in words brings its format."""
    run = params.check(plain(ADAPTATION, [
        {"methods": ["vanilla_rfft", "meta_rfft"], "tasks": ["lc_2544"], "seeds": [1, 2]},
        {"methods": ["meta_rfft_nl"], "tasks": ["lc_2544"]}]))
    assert run.trainings[:4] == [Cell(method, "lc_2544", 0) for method in run.adaptation.methods]
    assert run.trainings[4:] == [
        Cell("vanilla_rfft", "lc_2544", 1), Cell("vanilla_rfft", "lc_2544", 2),
        Cell("meta_rfft", "lc_2544", 1), Cell("meta_rfft", "lc_2544", 2),
        Cell("meta_rfft_nl", "lc_2544", 0)]
    assert set(run.cells) == set(run.trainings)


def test_names_of_tasks_are_the_same_parameters_as_their_ids():
    """A file with names of tasks, wherever it lists tasks, has the digest of one with ids, and its
    stored form holds ids."""
    values = plain("adaptation.further", [
        {"methods": ["vanilla_rfft"], "tasks": ["lc_2544"], "seeds": [3]}])
    values["corpus"]["pretrain"] = {"tasks": ["lc_1275", "bbh_navigate"], "lengths": [2],
                                    "samples_per_length": 2}
    values["corpus"]["in_context"] = {"tasks": ["lc_896"], "lengths": [2], "samples_per_length": 2,
                                      "synthetic_samples": 0}
    values["corpus"]["validation"]["lengths"] = [3]
    text = yaml.safe_dump(values)
    named = text
    for id in ("lc_2544", "lc_1275", "bbh_navigate", "lc_896"):
        assert id in named
        named = named.replace(id, tasks.get(id).name)
    by_id, by_name = params.check(values), params.check(yaml.safe_load(named))
    assert named != text
    assert by_name.digest == by_id.digest
    assert by_name.model_dump() == by_id.model_dump()
    assert by_name.cells == by_id.cells


def test_a_training_of_one_task_is_named_by_its_id_or_its_name():
    """A cell, an adaptation and a reinforcement learning take the task's name for its id."""
    run = params.load(ROOT / "params" / "rl_test.yaml")
    name = tasks.get("nupa_length").name
    assert Cell("meta_rfft", name, 0) == Cell("meta_rfft", "nupa_length", 0)
    assert training.Job.named(run, "adapt", task=name, method="meta_rfft").task == "nupa_length"
    assert training.Arm(run, name, "base", "outcome").task == "nupa_length"


@pytest.mark.parametrize(("named", "message"), [
    (["lc_258", "add_digits"], r"without repeats, got \['lc_258', 'lc_258'\]"),
    (["add_digit"], r"nearest are add_digits \(lc_258\)"),
    (["add_digits_cf"], r"without a changed rule .* got Add digits, counterfactual \(lc_258_cf\)")])
def test_a_list_of_tasks_holds_each_known_task_once(named, message):
    """A task under two names, an unknown name and a counterfactual are refused in a list."""
    with pytest.raises(params.ParamsError, match=message):
        params.check(plain("corpus.adaptation.tasks", named))


def test_counterfactual_and_1shot_cells_follow_the_trained_ones():
    """What is evaluated besides: the changed rule of each task by the methods named, then the
    1-shot prompts and the API models on every task."""
    values = plain("evaluation.counterfactual", ["meta_rfft"])
    values["evaluation"] |= {"in_context": ["base_1shot"], "api": [
        {"name": "DeepSeek-R1", "model": "r1", "base_url": "http://localhost:1/v1"}]}
    run = params.check(values)
    assert run.cells[4:] == [Cell("meta_rfft", "lc_2544_cf", 0),
                             Cell("base_1shot", "lc_2544", 0), Cell("DeepSeek-R1", "lc_2544", 0)]


@pytest.mark.parametrize(("values", "message"), [
    (further(tasks=["lc_258"]), "adaptation.further.0.tasks: expected tasks of corpus"),
    (further(), "task lc_2544, method meta_rfft, seed 0 is given twice"),
    (further(metods=["direct"]), "did you mean methods?"),
    (plain("evaluation.counterfactual", ["meta_rfft_nl"]), "expected methods that are trained"),
    (plain("evaluation.api", [{"name": "direct", "model": "x", "base_url": "http://y"}]),
     "used once"),
    (plain("evaluation.api", [{"name": "R1", "model": "x", "base_url": "y"}]),
     "evaluation.api.0.base_url: string should match pattern"),
    (plain("pretraining.in_context_share", 0.5), "corpus.in_context is missing"),
    (plain("pretraining.mix", {"file": "general.jsonl", "share": 1.5}), "less than 1, got 1.5"),
    (plain("trackers", ["wandb"]), "'tensorboard' or 'trackio', got 'wandb'")])
def test_what_cannot_be_had_in_the_new_keys_is_refused(values, message):
    """Each mistake in the optional keys gives one line that names the key and what is allowed."""
    assert message in refused(values)


def test_equal_tokens_need_rule_following_samples():
    """Without a rule-following method there are no tokens to be equal to."""
    values = plain("adaptation.equal", "trained_tokens")
    values["adaptation"]["methods"] = ["direct"]
    assert "needs vanilla_rfft or meta_rfft" in refused(values)


def test_optional_keys_leave_the_digest_as_it_was():
    """A file without the optional keys has the digest of one that gives their defaults; workers
    and trackers never change it, a mix does."""
    digest = params.check(plain("seed", 0)).digest
    for keys, value in (("evaluation.api", []), ("adaptation.equal", "samples"),
                        ("trackers", ["tensorboard"]), ("corpus.workers", 7)):
        assert params.check(plain(keys, value)).digest == digest
    mixed = plain("pretraining.mix", {"file": "general.jsonl", "share": 0.1})
    assert params.check(mixed).digest != digest


def test_a_cell_holds_the_id_of_its_task():
    """A cell made with a task's name is that of its id, and says both its method and its task."""
    cell = Cell("direct", "alternating_digit_sum", 0)
    assert cell == Cell("direct", "lc_2544", 0)
    assert str(cell) == "direct on lc_2544"


def test_a_cell_with_method_and_task_swapped_is_no_training():
    """The error names the swapped task, and the tasks that the run trains on."""
    run = params.check(plain(ADAPTATION, []))
    with pytest.raises(params.ParamsError, match="task: expected one of lc_2544, got 'direct'"):
        training.Job(run, "adapt", Cell("lc_2544", "direct", run.seed))
