"""The preview of what is trained on: against the samples' own texts."""

import html
import re

import pytest
from tiny_model import tiny_run, write_tiny

from metarfft_core import corpus, models, params, training
from metarfft_core.params import Cell
from metarfft_core.training import batches, preview


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tiny_run(write_tiny(tmp_path_factory.mktemp("tiny") / "model"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARFFT_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        corpus.build(run)
        yield run


@pytest.mark.parametrize("cell", [None, Cell("direct", "lc_2544", 0),
                                  Cell("vanilla_rfft", "lc_2544", 0)])
def test_the_completion_is_marked_and_nothing_else(run, cell):
    """The marked part of a sample is its completion and the end token, the other its prompt."""
    job = training.Job(run, "adapt" if cell else "pretrain", cell)
    split = job.splits[0]
    data = corpus.read(run, split, job.format, job.task)
    rows = batches.sample_order([len(data)], [1.0], 3, run.seed)
    for number, row in enumerate(rows):
        given, trained = preview.pieces(job, number)
        assert (given.trained, trained.trained) == (False, True)
        assert trained.text == data[row]["completion"] + "<|im_end|>"
        assert data[row]["prompt"] in given.text
        count = models.token_counter(run.model.name)
        assert given.tokens + trained.tokens == count(data[row]["prompt"], data[row]["completion"])


def test_text_and_html_hold_the_sample_whole(run):
    """Without colours the terminal's text, and without tags the notebook's, is the sample."""
    parts = preview.pieces(training.Job(run, "adapt", Cell("vanilla_rfft", "lc_2544", run.seed)))
    sample = "".join(part.text for part in parts)
    text = re.sub("\033\\[[0-9]+m", "", preview.as_text(parts))
    page = html.unescape(re.sub("<[^>|]+>", "", preview.as_html(parts)))
    counts = f"The loss is taken on {parts[1].tokens} of {sum(part.tokens for part in parts)}"
    assert text.startswith(sample + "\n" + counts)
    assert page.startswith(sample + counts)


def test_in_a_notebook_trained_text_is_told_without_colour():
    """It is marked and bold; what is given is plain, whatever signs it holds."""
    parts = [preview.Piece(False, "a < b", 3), preview.Piece(True, "So the answer is 1", 6)]
    page = preview.as_html(parts)
    assert ">a &lt; b<mark><b>So the answer is 1</b></mark></pre>" in page
    assert "color" not in page


@pytest.mark.parametrize("number", [-1, 28, 10**30])
def test_a_sample_that_is_not_trained_on_is_refused(run, number):
    """Outside the training's samples, before the first or after the last, the number is named
    with what is allowed."""
    with pytest.raises(params.ParamsError, match=f"takes 28 samples, numbered from 0 to 27; got "
                                                 f"{number}"):
        preview.pieces(training.Job(run, "adapt", Cell("direct", "lc_2544", run.seed)), number)
