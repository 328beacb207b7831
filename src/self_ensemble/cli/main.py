"""The command line: `self-ensemble COMMAND`. One file per command; this one only mounts them."""

import os
import sys
from typing import Annotated

import typer

from self_ensemble import __version__
from self_ensemble.cli.analyze import analyze
from self_ensemble.cli.bench import bench
from self_ensemble.cli.confidence import confidence
from self_ensemble.cli.demo import demo
from self_ensemble.cli.doctor import doctor
from self_ensemble.cli.generate import generate
from self_ensemble.cli.learn_weights import learn_weights
from self_ensemble.cli.mask import mask
from self_ensemble.cli.paraphrase import paraphrase
from self_ensemble.errors import UserError

# Options of published scripts are written with underscores; both forms work.
app = typer.Typer(
    name="self-ensemble",
    help="Ask a language model the same question in N wordings and fuse them into one answer.",
    context_settings={
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "help_option_names": ["-h", "--help"],
    },
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of the work.
app.command("demo")(demo)
app.command("paraphrase")(paraphrase)
app.command("confidence")(confidence)
app.command("learn-weights")(learn_weights)
app.command("generate")(generate)
app.command("analyze")(analyze)
app.command("mask")(mask)
app.command("bench")(bench)
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def wait_briefly() -> None:
    """Let threads that wait for each other give the core up soon, unless the user set it.

    GNU OpenMP reads this when torch is imported. Its default spins so long that two runs on two
    cores took 2.5 s a question each instead of 0.4 s; a run by itself takes the same either way.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def run() -> None:
    """Entry point: a user's mistake is one line and exit code 2, never a traceback."""
    wait_briefly()
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except UserError as error:
        return _refuse(str(error))
    except typer.TyperException as error:
        return _refuse(str(getattr(error, "format_message", error.__str__)()))
    except RuntimeError as error:
        # By its name: importing torch for it would take seconds.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        return _refuse(f"Out of memory. {error}")
    except (typer.Abort, KeyboardInterrupt):
        return _refuse("Stopped.", 130)
    return code if isinstance(code, int) else 0


def _refuse(message: str, code: int = 2) -> int:
    typer.echo(f"Error: {' '.join(message.split())}", err=True)
    return code
