"""The command `metarfft`: tasks, sample, gallery, check, build, run."""

import argparse
import sys

from metarfft_core import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 where a run failed, 2 for a user's error."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except BrokenPipeError:  # the reader of a long listing has closed it
        sys.stderr.close()
    except (ValueError, KeyError) as error:
        return _fail(error.args[0] if isinstance(error, KeyError) else error, 2)
    except RuntimeError as error:
        return _fail(error, 1)
    return 0


def _fail(error: object, status: int) -> int:
    print(f"metarfft: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metarfft", description="Meta Rule-Following Fine-Tuning, reproducibly.")
    parser.add_argument("--version", action="version", version=f"metarfft {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, function, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    listing = add("tasks", _tasks, "list the tasks with source, split and lengths")
    listing.add_argument("--split", help="pretrain or downstream")
    listing.add_argument("--source", help="leetcode, nupa, bbh or symbolic")
    sample = add("sample", _sample, "print the prompt and the completion of one sample")
    sample.add_argument("task", help="a task's id, such as nupa_add")
    sample.add_argument("--length", type=int, default=3,
                        help="in the units of the task (%(default)s)")
    sample.add_argument("--format", default="rfft", help="direct, scratchpad or rfft (%(default)s)")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--index", type=int, default=0, help="which sample of that length")
    add("gallery", _gallery, "write docs/tasks.md, the page that shows every task")
    check = add("check", _check, "check the tasks that a file of yours declares, or all tasks")
    check.add_argument("file", nargs="?", metavar="FILE.py", help="it is run to be read; without "
                       "it the kit's own tasks are checked")
    check.add_argument("--lengths", type=int, nargs="+", metavar="N",
                       help="in the units of the tasks (a few from 1 to 30)")
    check.add_argument("--samples", type=int, default=5, help="for each length (%(default)s)")
    for name, function, text in (
            ("build", _build, "write the corpus of a run"),
            ("run", _run, "run the numbered notebooks in order, into outputs/<name>")):
        command = add(name, function, text)
        command.add_argument("--params", required=True, metavar="FILE", help="a parameter file")
    return parser


def _tasks(options: argparse.Namespace) -> None:
    from metarfft_core import tasks

    for task in tasks.select(split=options.split, source=options.source):
        lengths = f"{task.lengths[0]}-{task.lengths[-1]}"
        print(f"{task.id:20} {task.source:9} {task.split:11} {lengths:5} {task.name}: "
              f"{task.length_definition}")


def _sample(options: argparse.Namespace) -> None:
    from metarfft_core import formats, tasks

    task = tasks.get(options.task)
    instance = task.sample(length=options.length, seed=options.seed, index=options.index)
    example = formats.render(task, instance, options.format)
    print(f"--- prompt\n{example.prompt}\n--- completion\n{example.completion}")


def _gallery(options: argparse.Namespace) -> None:
    from metarfft_core import gallery

    print(gallery.write())


def _check(options: argparse.Namespace) -> None:
    from metarfft_core import checks, tasks

    for task in checks.load(options.file) if options.file else tasks.select():
        print(checks.check(task, options.lengths, options.samples), end="\n\n", flush=True)


def _build(options: argparse.Namespace) -> None:
    from metarfft_core import corpus, params

    print(corpus.build(params.load(options.params)))


def _run(options: argparse.Namespace) -> None:
    from metarfft_core import corpus, params

    run = params.load(options.params)
    corpus.check_context(run)
    params.open_folder(run)
    # These take seconds to import; a wrong parameter is named before.
    from metarfft_core import runner, verify

    figures = runner.run(run)
    problems = verify.verify(run)
    if problems:
        raise RuntimeError("the check after the run failed: " + "; ".join(problems))
    print("\nChecked: every held-out loss fell, all weights changed, and every accuracy follows "
          "from the stored texts.")
    print(f"The results stand in {figures.parent}:")
    for path in sorted(figures.glob("*")):
        print(f"  {path}")
