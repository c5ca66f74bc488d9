"""The form for a parameter file: its fields, messages, costs and what it saves."""

import copy
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from metarfft_core import cli, lab, params
from metarfft_core.lab import parameter_form
from metarfft_core.params import fields
from metarfft_core.planning import display, plan
from metarfft_core.system import places, yaml_files
from metarfft_core.system.places import ROOT

PRESETS = sorted((ROOT / "params").glob("*.yaml"))
SMALL = [path for path in PRESETS if path.stem in ("smoke", "test", "laptop", "laptop_seed100")]
LARGE = [pytest.param(path, marks=pytest.mark.slow) for path in PRESETS if path not in SMALL]
CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FILES = Path(parameter_form.__file__).parent / "static"


def leaves(node, prefix=""):
    """Each scalar or list of a file, by its keys joined by dots."""
    if not isinstance(node, dict):
        return {prefix[:-1]: node}
    return {key: value for name, inner in node.items()
            for key, value in leaves(inner, f"{prefix}{name}.").items()}


def comments(text):
    """The comments of a YAML file, in order; no text of these files has a # within quotes."""
    return re.findall(r"(?:^|\s)(#.*)$", text, re.MULTILINE)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in the project's place, with the kit's parameter files."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setattr(places, "project", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", [*SMALL, *LARGE], ids=lambda path: path.stem)
def test_the_total_is_that_of_the_command(path, capsys):
    """The form's GPU hours are those that `metarfft plan` prints, and the sum of its table."""
    made = lab.form(path.stem)
    made.wait()
    cli.main(["plan", "--params", str(path)])
    told = capsys.readouterr().out
    shown = {what: value for what, value, _ in made.cost}
    assert told.startswith(f"Total: {shown['GPU hours']} GPU hours: ")
    assert shown["Fits"] == ("yes" if "Everything fits." in told else "no")
    rows = re.findall(r"^ *(?:RF-pretraining|(?:adapt|eval), all) .*% +\S+ +\S+ +([\d.,e-]+)",
                      told, re.MULTILINE)
    assert len(rows) == 3
    total = sum(float(row.replace(",", "")) for row in rows)
    assert float(shown["GPU hours"].replace(",", "")) == pytest.approx(total, rel=0.01)


def test_every_key_of_every_preset_has_a_field_that_reads_back():
    """What a field shows of a preset is read as the preset's value; its help is the schema's."""
    known = {field.key: field for field in fields.fields()}
    for path in PRESETS:
        values = yaml.load(path.read_text(), yaml.CSafeLoader)
        for key, value in leaves(values).items():
            while key not in known:  # within an optional section, which is one field
                key = key.rpartition(".")[0]
                value = values
                for name in key.split("."):
                    value = value[name]
            assert known[key].read(known[key].text(value)) == value
    page = (ROOT / "docs" / "parameters.md").read_text()
    for field in known.values():
        assert field.help
        assert field.help in page


@pytest.mark.parametrize(("key", "text", "said"), [
    ("pretraining.steps", "0", "input should be greater than or equal to 1, got 0"),
    ("seed", "one", "input should be a valid integer, got 'one'"),
    ("name", "My run", "string should match pattern"),
    ("adaptation.methods", "[direct, cot]", "1: input should be 'direct', "),
    ("corpus.adaptation.tasks", "[sr_coin_flip]", "these are pre-training tasks of the same run"),
    ("corpus.pretrain.tasks", "[coin]", "no task 'coin'; the nearest are"),
    ("pretraining.learning_rate", "1e-5", "1e-5 is read as the text '1e-5': write a small"),
    ("evaluation.batch_size", "", "input should be a valid integer, got None"),
    ("corpus.evaluation.lengths", "[1", "expected a value as in YAML, got '[1'")])
def test_the_message_beside_a_field_is_the_schemas(key, text, said):
    """It is shown only at the field, says what the check of a file says, and nothing is planned or
    saved until it is mended."""
    made = lab.form("smoke")
    made.texts = made.texts | {key: text}
    assert list(made.messages) == [key]
    assert made.messages[key].startswith(said)
    assert (made.config, made.target) == (None, "")
    assert made.status.startswith("Not planned")
    with pytest.raises(params.ParamsError, match=re.escape(f"{key}: {made.messages[key]}")):
        made.save()
    if key not in ("pretraining.learning_rate", "corpus.evaluation.lengths"):  # no YAML
        values = params.read(ROOT / "params" / "smoke.yaml")
        *sections, last = key.split(".")
        part = values
        for section in sections:
            part = part[section]
        part[last] = text if key == "name" else yaml.safe_load(text)
        with pytest.raises(params.ParamsError) as caught:
            params.check(values)
        assert made.messages[key].partition(": ")[2] in str(caught.value)
        assert made.messages[key].partition(": ")[0] in str(caught.value)
    made.texts = made.texts | {key: made.original[key]}
    assert not made.messages
    assert made.config == params.load(ROOT / "params" / "smoke.yaml")


def test_what_two_keys_contradict_is_said_at_their_section():
    """PiSSA without a rank is no fault of one field."""
    made = lab.form("smoke")
    made.set(pretraining__rank="")
    assert list(made.messages) == ["pretraining"]
    assert made.messages["pretraining"].startswith("expected a rank with method pissa")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_saved_file_has_the_comments_and_exactly_the_changes(path, project):
    """It is accepted, differs from its base in the changed keys and the name alone, in lines that
    hold them, and every comment is there in its order."""
    made = parameter_form.Form(path)
    made.set(seed="7", name="mine", evaluation__limit_extra="80",
             corpus__evaluation__lengths="[2, 3]", corpus__evaluation__samples_per_length="3",
             adaptation__epochs="2", evaluation__tensor_parallel="3")
    assert not made.messages
    saved = made.save()
    assert saved == project / "params" / "mine.yaml"
    before, after = path.read_text(), saved.read_text()
    assert params.load(saved) == made.config
    old, new = (leaves(yaml.safe_load(text)) for text in (before, after))
    assert {key: new[key] for key in new if new[key] != old.get(key)} == {
        "seed": 7, "name": "mine", "evaluation.limit_extra": 80, "adaptation.epochs": 2,
        "corpus.evaluation.lengths": [2, 3], "corpus.evaluation.samples_per_length": 3,
        "evaluation.tensor_parallel": 3}
    assert not old.keys() - new.keys()
    assert comments(after)[1:] == comments(before)
    kept = set(after.splitlines())
    assert sum(line not in kept for line in before.splitlines()) <= 7


def test_every_key_can_be_changed_in_every_preset():
    """One key after another gets a new value, wherever it is or is missing, and the file then
    holds that value and all others as before. The small presets get five values, the others one."""
    several = ({"a": [1, "1e5"]}, "no", 1.0e-5, [], None)
    for path in PRESETS:
        text = path.read_text()
        before = yaml.load(text, yaml.CSafeLoader)
        for number, field in enumerate(fields.fields()):
            for value in several if path in SMALL else [several[number % len(several)]]:
                changed = yaml_files.replaced(text, {field.key: value})
                expected = copy.deepcopy(before)
                part = expected
                for name in field.key.split(".")[:-1]:
                    part = part.setdefault(name, {})
                part[field.key.split(".")[-1]] = value
                assert yaml.load(changed, yaml.CSafeLoader) == expected, (path, field.key, value)


def test_the_kits_own_files_are_never_overwritten(project):
    """A preset, or a file of a person's own, is refused; what the form has saved may change."""
    made = parameter_form.Form(ROOT / "params" / "smoke.yaml")
    with pytest.raises(params.ParamsError, match="nothing differs"):
        made.save()
    presets = {path: path.read_bytes() for path in (project / "params").glob("*.yaml")}
    made.set(corpus__workers="1")  # changes no result, so the name stays
    with pytest.raises(params.ParamsError, match=r"smoke\.yaml exists and was not made by"):
        made.save()
    made.set(name="laptop")
    with pytest.raises(params.ParamsError, match=r"laptop\.yaml exists and was not made by"):
        made.save()
    assert {path: path.read_bytes() for path in (project / "params").glob("*.yaml")} == presets
    made.set(name="mine", seed="1")
    first = made.save()
    made.set(seed="2")
    assert made.save() == first
    assert params.load(first).seed == 2


def test_without_a_name_the_file_is_named_as_a_notebook_would(project):
    """The name is that of the same change in a notebook, and the file runs as base there."""
    made = parameter_form.Form(ROOT / "params" / "smoke.yaml")
    made.set(seed="4")
    assert made.target == "params/smoke-seed4.yaml"
    assert params.from_notebook({"base": made.save()}) == params.from_notebook({"seed": 4})


def test_the_plan_follows_what_is_written():
    """Twice the steps are twice the trained tokens; the CPU time is that of the stored runs."""
    made = lab.form("laptop")
    made.wait()
    before = [list(line) for line in made.cost]
    made.set(pretraining__steps=str(2 * made.config.pretraining.steps))
    made.wait()
    assert made.status == ""
    expected = display.summary(plan.plan(made.config))
    assert made.cost == [list(line) for line in expected] != before
    assert {line[0] for line in before} >= {"GPU hours", "Fits", "CPU time", "Disk"}


def test_the_speed_of_a_cpu_is_that_of_the_stored_runs():
    """Operations of all trainings of the stored laptop run, over the seconds in its manifests."""
    manifests = [json.loads(path.read_text()) for path in
                 (ROOT / "outputs" / "reference" / "laptop").glob("*/**/manifest.json")]
    seconds = sum(one["seconds"] for one in manifests if "seconds" in one)
    stages = plan.plan(params.load(ROOT / "params" / "laptop.yaml")).stages
    trained = stages[stages.stage != "evaluation"]
    flops = trained.flops.sum() + trained.validation_flops.sum()
    assert len(trained) == sum("seconds" in one for one in manifests)
    assert flops / seconds / 1e9 == pytest.approx(display.CPU_GFLOPS, rel=0.05)


def test_the_twin_holds_the_form_without_script_or_style(monkeypatch):
    """Every key with its value and help, the plan's lines and the difference, as tables; stored
    headlessly it is all that there is."""
    monkeypatch.setenv("METARFFT_STATIC", "1")
    made = lab.form("smoke")
    made.set(seed="3")
    bundle = made._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    twin = bundle["text/html"]
    assert not re.search(r"<script|<style|style=|class=|onclick|https?://", twin)
    for field in fields.fields():
        assert f"<code>{field.key}</code>" in twin
    for line in made.cost:
        assert f"<td>{line[1]}</td>" in twin
    assert "<td>seed</td><td>0</td><td>3</td>" in twin
    assert bundle["text/plain"] == "Parameters from params/smoke.yaml, with another seed"
    assert len(twin) < 100_000


PAGE = """<!doctype html><html lang="en"><head><title>form</title><style>{css}
body {{ margin: 20px; max-width: 1080px; {theme} }}</style></head>
<body><main><h1 style="font: 600 18px system-ui">A parameter file</h1><div id="root"></div></main>
<script type="module">{script}
const state = JSON.parse(await python_state("{{}}"));
const watchers = {{}};
let sent = 0; // an answer that was asked for before the last sending is old
let heard = 0;
const model = {{
  changed: {{}},
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; model.changed[name] = value; }},
  save_changes: async () => {{
    const changed = model.changed;
    model.changed = {{}};
    sent += 1;
    await python_state(JSON.stringify(changed));
    heard += 1;
  }},
  on: (event, call) => (watchers[event] ??= []).push(call),
  off: () => {{}},
}};
form.render({{ model, el: document.getElementById("root") }});
setInterval(async () => {{
  const before = sent;
  const now = JSON.parse(await python_state("{{}}"));
  if (before !== sent || sent !== heard) return;
  for (const name of Object.keys(now)) {{
    if (JSON.stringify(now[name]) === JSON.stringify(state[name])) continue;
    state[name] = now[name];
    (watchers[`change:${{name}}`] ?? []).forEach((call) => call());
  }}
}}, 50);
</script></body></html>"""


def opened(browser, made, scheme="light"):
    """A plain page with the form, whose model is the Python object."""
    names = [name for name in made.trait_names(sync=True) if not name.startswith("_")]

    def python_state(changes):
        for name, value in json.loads(changes).items():
            setattr(made, name, value)
        return json.dumps({name: getattr(made, name) for name in names
                           if name not in ("layout", "comm", "tabbable", "tooltip")})

    page = browser.new_page(viewport={"width": 1120, "height": 900}, color_scheme=scheme)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.expose_function("python_state", python_state)
    script = (FILES / "form.js").read_text().replace("export default { render }",
                                                     "const form = { render }")
    theme = "background: #111; color: #eee" if scheme == "dark" else "background: #fff"
    page.set_content(PAGE.format(css=(FILES / "form.css").read_text(), script=script, theme=theme))
    page.wait_for_selector(".mrf-form")
    return page


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    if not CHROMIUM:
        pytest.skip("no chromium in the path")
    pytest.importorskip("playwright", reason="playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.mark.browser
def test_in_a_browser_a_wrong_value_is_told_and_a_right_one_saved(browser, project):
    """With the keyboard alone: a wrong seed has the schema's message, tied to its field; a right
    one is in the difference, with its cost; the button saves, and nothing is loaded from a
    network."""
    made = parameter_form.Form(ROOT / "params" / "smoke.yaml")
    page = opened(browser, made)
    seed = page.get_by_label("seed", exact=True)
    seed.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("one")
    message = page.locator('[data-key="seed"] .mrf-message')
    message.get_by_text("✕ input should be a valid integer, got 'one'").wait_for()
    assert seed.get_attribute("aria-invalid") == "true"
    assert message.get_attribute("id") in seed.get_attribute("aria-describedby")
    assert page.locator(".mrf-save").get_attribute("aria-disabled") == "true"
    page.keyboard.press("Control+A")
    page.keyboard.type("12")
    page.get_by_role("button", name="Save as params/smoke-seed12.yaml").wait_for()
    row = page.locator(".mrf-difference tbody tr")
    assert row.inner_text().split() == ["seed", "0", "12"]
    assert message.inner_text() == ""
    page.locator(".mrf-value").first.wait_for()
    page.wait_for_function("!document.querySelector('.mrf-status').textContent")
    assert page.locator(".mrf-value").first.inner_text() == made.cost[0][1]
    page.get_by_role("button", name="Save as").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Saved as").wait_for()
    assert params.load(project / "params" / "smoke-seed12.yaml").seed == 12
    page.get_by_role("button", name="Undo seed").click()
    page.get_by_text("Nothing differs from params/smoke.yaml.").wait_for()
    assert seed.input_value() == "0"
    assert page.asked == []
    page.close()


@pytest.mark.browser
def test_in_a_browser_boxes_and_lists_of_choices_are_values(browser):
    """A method is added to the list in the order of choosing, a choice and a switch are taken."""
    made = parameter_form.Form(ROOT / "params" / "smoke.yaml")
    page = opened(browser, made)
    page.locator("summary", has_text=re.compile("^adaptation")).click()
    page.locator('[data-key="adaptation.methods"]').get_by_label("direct").uncheck()
    page.locator('[data-key="adaptation.scheduler"] select').select_option("linear")
    page.get_by_label("smoke", exact=True).uncheck()
    page.wait_for_function("document.querySelectorAll('.mrf-difference tbody tr').length === 3")
    assert made.config.adaptation.methods == ["scratchpad", "vanilla_rfft", "meta_rfft"]
    assert made.config.adaptation.scheduler == "linear"
    assert made.config.smoke is False
    page.close()


@pytest.mark.browser
def test_in_a_browser_no_control_lets_the_notebooks_shortcuts_in(browser):
    """JupyterLab runs `d d` where the focused element itself matches: so each element that takes
    the focus carries the attribute that stops it, not the root alone."""
    page = opened(browser, parameter_form.Form(ROOT / "params" / "smoke.yaml"))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator("summary").first.focus()
    seen = set()
    while (now := page.evaluate("document.activeElement.outerHTML.slice(0, 200)")) not in seen:
        seen.add(now)
        inside, bare = page.evaluate("""[!!document.activeElement.closest('.mrf-form'),
            !document.activeElement.hasAttribute('data-lm-suppress-shortcuts')]""")
        assert not (inside and bare), now
        page.keyboard.press("Tab")
    assert len(seen) > 80
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_axe_finds_nothing_serious(browser, scheme):
    """With all sections open, a wrong and a changed value, in the light and the dark theme."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    made = parameter_form.Form(ROOT / "params" / "smoke.yaml")
    made.set(seed="one", evaluation__batch_size="16")
    page = opened(browser, made, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = [one for one in axe.Axe().run(page).response["violations"]
             if one["impact"] in ("serious", "critical")]
    assert not found, json.dumps(found, indent=1)[:4000]
    page.close()


if __name__ == "__main__":  # pictures to look at: python tests/test_form.py FOLDER
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for scheme in ("light", "dark"):
            made = lab.form("smoke")
            made.set(seed="1", pretraining__steps="0" if scheme == "dark" else "24")
            made.wait()
            page = opened(chromium, made, scheme)
            page.locator("summary", has_text=re.compile("^adaptation")).click()
            page.wait_for_timeout(500)
            page.screenshot(path=f"{sys.argv[1]}/form_{scheme}.png", full_page=True)
