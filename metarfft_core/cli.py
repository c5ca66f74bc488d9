"""The command `metarfft`: show tasks and samples, run the stages, use the results."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from metarfft_core import __version__
from metarfft_core.system import failures, places


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line without the program's name; that of the process if not given.

    Returns:
        The exit status. It is 0 for success, 1 if a run or the system failed (such as a full disk),
        2 for a user's error, and 130 if the command was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        places.settle()
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of a long listing has closed it
        sys.stderr.close()
    except Exception as error:
        given = [str(value) for name in ("params", "against", "file") for value in [
            getattr(options, name, None)] if value]
        return _fail(*failures.explain(error, ", ".join(given) or "metarfft"))
    return 0


def _fail(error: object, status: int) -> int:
    print(f"metarfft: {error}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """Reports a user's error in one line, as the commands do."""

    def error(self, message: str):
        self.exit(_fail(f"{message} (see {self.prog} --help)", 2))


def _whole(least: int) -> Callable[[str], int]:
    """Make a reader of an option that is a whole number of at least `least`."""
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
        return int(text)

    return read


def _place(find: Callable[[str], Path]) -> Callable[[str], Path]:
    """Make a reader of an option that is a path, absolute for processes in other folders."""
    def read(text: str) -> Path:
        try:
            return find(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


_path, _file, _folder = map(_place, (places.absolute, places.file, places.folder))


def _option(*names: str, **settings) -> tuple[tuple[str, ...], dict]:
    """An option of a command, as `add_argument` takes it."""
    return names, settings


def _command(text: str, *options: tuple[tuple[str, ...], dict]) -> Callable:
    """Declare a command, which has the name of its function, its help text and its options."""
    def declare(function: Callable) -> Callable:
        _COMMANDS[function.__name__.removeprefix("_").replace("_", "-")] = (function, text, options)
        return function

    return declare


_COMMANDS: dict[str, tuple[Callable, str, tuple]] = {}
"""The commands by name, in the order of the help."""

_PARAMS = _option("--params", required=True, metavar="FILE", help="a parameter file")
_TRAINING = (
    _option("--stage", required=True, help="pretrain or adapt; the command train also takes rl"),
    _option("--task", help="the name or id of the task of an adaptation, or of rl"),
    _option("--method", help="the method of an adaptation"),
    _option("--seed", type=_whole(0), help="the seed of an adaptation; the run's by default"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="metarfft", description="Meta Rule-Following Fine-Tuning, reproducibly.")
    parser.add_argument("--version", action="version", version=f"metarfft {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (function, text, options) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        for names, settings in options:
            command.add_argument(*names, **settings)
    return parser


@_command(
    "list the tasks: id, source, split, lengths, name",
    _option("--split", help="pretrain or downstream"),
    _option("--source", help="leetcode, nupa, bbh or symbolic"))
def _tasks(options: argparse.Namespace) -> None:
    from metarfft_core import tasks

    for task in tasks.select(split=options.split, source=options.source):
        lengths = f"{task.lengths[0]}-{task.lengths[-1]}"
        print(f"{task.id:20} {task.source:9} {task.split:11} {lengths:5} {task.name}: "
              f"{task.length_definition}")


@_command(
    "print the prompt and the completion of one sample",
    _option("task", help="a task's name or id, such as add_integer or nupa_add"),
    _option("--length", type=_whole(1), default=3, help="in the units of the task (%(default)s)"),
    _option("--format", default="rfft", help="direct, scratchpad, rfft or rfft_nl (%(default)s)"),
    _option("--seed", type=_whole(0), default=0),
    _option("--index", type=_whole(0), default=0, help="the number of the sample, from 0"))
def _sample(options: argparse.Namespace) -> None:
    from metarfft_core import formats, tasks

    task = tasks.get(options.task)
    instance = task.sample(length=options.length, seed=options.seed, index=options.index)
    example = formats.render(task, instance, options.format)
    print(f"--- prompt\n{example.prompt}\n--- completion\n{example.completion}")


@_command("write docs/tasks.md, the page that shows every task")
def _gallery(options: argparse.Namespace) -> None:
    from metarfft_core.authoring import gallery

    print(gallery.write())


@_command(
    "check the tasks in a file of your own, or all tasks",
    _option("file", nargs="?", type=_path, metavar="FILE.py",
            help="the file is executed; without it the kit's own tasks are checked"),
    _option("--lengths", type=_whole(1), nargs="+", metavar="N",
            help="in the units of the tasks (a few from 1 to 30)"),
    _option("--samples", type=_whole(1), default=5, help="samples for each length (%(default)s)"))
def _check(options: argparse.Namespace) -> None:
    from metarfft_core import tasks
    from metarfft_core.authoring import checks

    several = checks.load(options.file) if options.file else tasks.select()
    for report in checks.check_all(several, options.lengths, options.samples):
        print(report, end="\n\n", flush=True)


@_command("check a parameter file before papermill executes it", _PARAMS)
def _check_params(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core import training

    training.check_mix(config)
    print(f"{options.params}: the parameters of run {config.name}, digest {config.digest}")


@_command(
    "estimate what a run costs: tokens, steps, memory, GPU hours",
    _PARAMS,
    _option("--processes", type=_whole(1), help="the number of GPUs for RF-pretraining"),
    _option("--gpu-memory", type=float, default=80.0, metavar="GIB",
            help="the memory of each GPU (%(default)s)"),
    _option("--measured", action="store_true", help="compare the plan with what the run took; "
            "--params can then be the folder of a run"))
def _plan(options: argparse.Namespace) -> None:
    from metarfft_core.planning import display, measured, plan

    if options.measured:
        print(measured.report(options.params))
        return
    made = plan.plan(_config(options), options.processes, options.gpu_memory)
    print(display.show(made), flush=True)
    if problems := len(made.problems):
        raise RuntimeError(f"the plan names {problems} "
                           + ("problem" if problems == 1 else "problems")
                           + ": this run is not possible as planned")


@_command("download the model to this machine, for runs without a network", _PARAMS)
def _fetch(options: argparse.Namespace) -> None:
    from metarfft_core import models

    print(f"model: {models.resolve(_config(options).model.name)}")


@_command("read all large files with stored hashes again, and name those that changed unnoticed")
def _verify(options: argparse.Namespace) -> None:
    from metarfft_core.system import files

    read, wrong = files.verify_hashes()
    print(f"files read: {read}", flush=True)
    if wrong:
        raise RuntimeError("the bytes changed, but neither size nor times: " + ", ".join(wrong))


def _config(options: argparse.Namespace):
    """Return the parameters, read before a command imports what takes longer to load."""
    from metarfft_core import params

    return params.load(options.params)


@_command("write the corpus of a run", _PARAMS)
def _build(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core import corpus

    print(corpus.build(config))


@_command(
    "show which tokens of a sample are trained on",
    _PARAMS,
    _option("--number", type=_whole(0), default=0, help="its number, in training order"),
    *_TRAINING)
def _preview(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core import corpus
    from metarfft_core.training import preview

    job = _job(config, options)
    corpus.build(config)
    print(preview.as_text(preview.pieces(job, options.number)))


@_command(
    "run one training of a run; without --task all adaptations, or all of rl",
    _PARAMS,
    _option("--launch", type=_file, metavar="FILE", help="a configuration file of accelerate"),
    _option("--only-start", action="store_true", help="only make the PiSSA start, on one GPU"),
    *_TRAINING)
def _train(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core import corpus, training

    all_adaptations = options.stage == "adapt" and not (options.task or options.method)
    rl = training.chosen(config, options) if options.stage == "rl" else None
    job = None if all_adaptations or rl else _job(config, options)
    training.check_mix(config)
    if rl:
        training.check_engine(config)
    if options.launch:
        os.environ[training.launch_variable(options.stage)] = str(options.launch)
    corpus.build(config)
    if options.only_start:
        training.launch_starts([job] if job else [
            job for job in training.jobs(config) if job.stage == "adapt"])
    elif rl:
        training.launch_reinforcement(rl)
    elif job is None:
        training.launch_adaptations(config)
    else:
        print(training.launch(job))


def _job(config, options: argparse.Namespace):
    """Return the training that --stage, --task, --method and --seed name."""
    from metarfft_core import training

    return training.Job.named(config, options.stage, task=options.task, method=options.method,
                              seed=options.seed)


@_command(
    "generate and score the missing answers of a run",
    _PARAMS,
    _option("--general", action="store_true", help="instead score the base model, or the "
            "weights of --stage, on GSM8K and ARC with lm-eval"),
    _option("--limit", type=_whole(1), help="the number of questions of each benchmark, for a try"),
    _option("--prompts", type=_path, metavar="FILE", help="AlpacaEval's prompts; needs --judge"),
    _option("--judge", type=_path, metavar="FILE", help="a file that describes the judge"),
    _option("--stage", help="pretrain or adapt; with --general"), *_TRAINING[1:])
def _evaluate(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core import evaluation

    if not options.general:
        if options.stage or options.limit or options.prompts or options.judge:
            raise ValueError("--stage, --limit, --prompts and --judge need --general")
        print(evaluation.launch(config))
        return
    from metarfft_core.bridges import alpaca, general

    job = _job(config, options) if options.stage else None
    print(*general.evaluate(config, job, options.limit), sep="\n")
    if options.prompts or options.judge:
        print(alpaca.evaluate(config, job, options.prompts, options.judge, options.limit))


@_command(
    "run the numbered notebooks in order, into outputs/<name>",
    _PARAMS,
    _option("--pretrain-on", type=_file, metavar="FILE",
            help="a configuration file of accelerate for RF-pretraining"),
    _option("--adapt-on", type=_file, metavar="FILE", help="the same for the adaptations"))
def _run(options: argparse.Namespace) -> None:
    places.need_checkout("metarfft run works through the notebooks, and needs")
    config = _config(options)
    from metarfft_core import corpus, params, training

    for stage, path in (("pretrain", options.pretrain_on), ("adapt", options.adapt_on)):
        if path:
            os.environ[training.launch_variable(stage)] = str(path)
    training.check_mix(config)
    training.check_engine(config)
    corpus.check_context(config)
    params.open_folder(config)
    from metarfft_core import runner
    from metarfft_core.analysis import verify

    figures = runner.run(config)
    problems = verify.verify(config)
    if problems:
        raise RuntimeError("the check after the run failed: " + "; ".join(problems))
    print("\nChecked: every held-out loss fell, all weights changed that had something to learn, "
          "and every accuracy and reward follows from the stored texts.")
    print(f"The results are in {figures.parent}:")
    for path in sorted(figures.glob("*")):
        print(f"  {path}")


@_command(
    "draw the paper's figures and tables, and judge its numbers",
    _option("--params", required=True, nargs="+", metavar="FILE",
            help="the parameter files of the runs to draw"),
    _option("--to", type=_folder, metavar="DIR", help="where to write (paper, beside the runs)"))
def _figures(options: argparse.Namespace) -> None:
    from metarfft_core import evaluation, figures, params
    from metarfft_core.analysis import diagnoses
    from metarfft_core.claims import verdicts
    from metarfft_core.system import processes

    runs = [params.load(path) for path in options.params]
    folder = params.written(options.to or params.written(runs[0].folder).parent / "paper")
    for note in (make(config) for config in runs for make in (evaluation.note, diagnoses.note)):
        if note:
            print(note)
    with processes.alone(folder):
        for name, paths in figures.paper(runs, folder).items():
            print(f"{name}: {paths['png']}")
        print(f"claims: {verdicts.write(runs, folder)}")


@_command(
    "show how a run was made, or how two runs differ",
    _option("--params", required=True, metavar="RUN",
            help="a parameter file or the folder of a run"),
    _option("--against", metavar="RUN", help="the run to compare with"))
def _report(options: argparse.Namespace) -> None:
    from metarfft_core.analysis import compare, report

    if options.against is None:
        print(report.summary(options.params))
        return
    comparison = compare.compare(options.params, options.against)
    print(report.show(comparison))
    print(f"\nThe samples that flipped are listed beside {report.write(comparison)}")


@_command(
    "export a model, the evaluation's tasks or a run's results",
    _option("--params", required=True, metavar="FILE"),
    _option("--as", required=True, dest="kind", choices=("merged", "lm-eval", "hub", "results"),
            help="merged weights of an adaptation, a task folder for lm-eval, a data set for the "
                 "Hub, or the results that are small enough to keep"),
    _option("--to", type=_folder, required=True, metavar="DIR"),
    _option("--task", help="the task of the adaptation, or the only one for lm-eval"),
    _option("--method", help="the method of the adaptation, or the only one for lm-eval"),
    _option("--seed", type=_whole(0)))
def _export(options: argparse.Namespace) -> None:
    config = _config(options)
    from metarfft_core.bridges import export
    from metarfft_core.system import processes

    # Without a folder, the error of the export says what is missing.
    with processes.alone(config.folder) if config.folder.is_dir() else nullcontext():
        print(export.write(config, options.kind, options.to, task=options.task,
                           method=options.method, seed=options.seed))
