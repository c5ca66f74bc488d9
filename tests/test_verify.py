"""The check after a run finds what is wrong in manifests, generations and tables."""

from metarfft_core.analysis import verify

GOOD = {"first_validation_loss": 2.0, "last_validation_loss": 0.5, "relative_change": 0.01}
ROWS = [{"method": "direct", "task": "t", "length": length, "text": f"So the answer is {answer}",
         "finish_reason": "stop", "gold_answer": "1"}
        for length, answer in [(1, 1), (1, 2), (2, 1), (2, 1)]]
TABLE = [{"method": "direct", "task": "t", "length": "1", "accuracy": "0.5"},
         {"method": "direct", "task": "t", "length": "2", "accuracy": "1.0"}]


def test_a_good_run_has_no_problems():
    """A loss that fell, weights that changed and accuracies that the texts give are fine."""
    assert verify.training_problems({"a": GOOD}) == []
    assert verify.accuracy_problems(ROWS, TABLE) == []


def test_a_training_that_learned_nothing_is_named():
    """A loss that stays and weights that stay are a problem each."""
    found = verify.training_problems({"a": GOOD, "b": GOOD | {"last_validation_loss": 2.0},
                                      "c": GOOD | {"relative_change": 0.0}})
    assert [line.partition(":")[0] for line in found] == ["b", "c"]


def test_an_accuracy_that_the_texts_do_not_give_is_named():
    """A changed text, a changed number, a missing and a superfluous cell are each found."""
    changed = [ROWS[0] | {"text": "So the answer is 3"}, *ROWS[1:]]
    assert "length 1" in verify.accuracy_problems(changed, TABLE)[0]
    assert len(verify.accuracy_problems(ROWS, [TABLE[0] | {"accuracy": "0.6"}, TABLE[1]])) == 1
    assert "not in the table" in verify.accuracy_problems(ROWS, TABLE[:1])[0]
    assert len(verify.accuracy_problems(ROWS[:2], TABLE)) == 1


def test_an_outcome_that_the_text_does_not_give_is_named():
    """A row that is stored as right, with a text of another answer, is found, and no other one."""
    rows = [row | {"index": place, "outcome": "right" if row["text"].endswith("1") else "wrong"}
            for place, row in enumerate(ROWS)]
    assert verify.outcome_problems(rows) == []
    rows[1]["outcome"] = "right"
    assert verify.outcome_problems(rows) == [
        "direct on t, length 1, sample 1: stored as right, the text is wrong"]


def test_kept_weights_of_another_step_or_without_change_are_named():
    """The weights after three steps have a log of three steps; a held-out loss is not asked for."""
    log = [{"step": 0, "validation_loss": 2.0}, {"step": 1, "loss": 1.0}, {"step": 2, "loss": 1.0},
           {"step": 3, "loss": 1.0}]
    made = {"relative_change": 0.1, "steps": 3}
    assert verify.kept_problems("a", 3, made, log) == []
    assert verify.kept_problems("a", 3, made, log[:-1]) == [
        "a: the weights are those of step 3, and the log has 2 steps"]
    assert len(verify.kept_problems("a", 2, made, log)) == 1
    assert verify.kept_problems("a", 3, made | {"relative_change": 0.0}, log) == [
        "a: the weights did not change"]
