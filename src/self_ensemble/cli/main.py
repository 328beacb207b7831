"""The command line: `self-ensemble COMMAND`. One file per command; this one only mounts them."""

import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from self_ensemble import __version__
from self_ensemble.cli.analyze import analyze
from self_ensemble.cli.bench import bench
from self_ensemble.cli.confidence import confidence
from self_ensemble.cli.demo import demo
from self_ensemble.cli.doctor import doctor
from self_ensemble.cli.generate import generate
from self_ensemble.cli.inspect import inspect
from self_ensemble.cli.learn_weights import learn_weights
from self_ensemble.cli.lm_eval import CONTEXT, lm_eval
from self_ensemble.cli.mask import mask
from self_ensemble.cli.paraphrase import paraphrase
from self_ensemble.cli.playground import playground
from self_ensemble.cli.replay import replay
from self_ensemble.cli.report import report
from self_ensemble.cli.serve import serve
from self_ensemble.errors import Stopped, UserError, is_out_of_memory

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
app.command("report")(report)
app.command("replay")(replay)
app.command("inspect")(inspect)
app.command("mask")(mask)
app.command("serve")(serve)
app.command("playground")(playground)
app.command("lm-eval", context_settings=CONTEXT)(lm_eval)
app.command("bench")(bench)
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; with every command.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str]) -> int:
    """Run one command line; returns the exit code.

    What a user can cause is one line and exit code 2, never a traceback; `--debug`, anywhere
    among the arguments, shows where it came from.
    """
    debug = "--debug" in arguments
    try:
        # Not app(), which swallows an interrupt and a closed pipe without a word.
        command = typer.main.get_command(app)
        given = [one for one in arguments if one != "--debug"]
        with command.make_context("self-ensemble", given) as context:
            code = command.invoke(context)
        # What is still buffered may meet a closed pipe or a full disk, too.
        sys.stdout.flush()
    except typer.Exit as error:
        return error.exit_code
    except Stopped as stopped:
        return stopped.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _refuse("Stopped.", 130)
    except BrokenPipeError:
        # The reader, such as `head`, has had enough. Nothing may be written to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (UserError, typer.TyperException, OSError, MemoryError, RuntimeError) as error:
        told = _message(error)
        if told is None:
            raise
        if debug:
            traceback.print_exception(error)
        message, code_of_trouble = told
        return _refuse(f"{message} [{code_of_trouble}]")
    return code if isinstance(code, int) else 0


def _message(error: Exception) -> tuple[str, str] | None:
    """What to tell the user of an error, with its code; None for a bug of ours."""
    match error:
        case UserError():
            return str(error), error.code
        case typer.TyperException():
            return str(getattr(error, "format_message", error.__str__)()), "SE-0001"
        case OSError():
            place = f" ({error.filename})" if error.filename is not None else ""
            reason = error.strerror or str(error) or type(error).__name__
            message = f"The system refused something{place}: {reason}. --debug shows where."
            return message, "SE-0002"
        case MemoryError():
            return "Out of memory. Give less at once, or a smaller model.", "SE-0003"
    if is_out_of_memory(error):
        return f"Out of memory. {error}", "SE-0003"
    return None


def _refuse(message: str, code: int = 2) -> int:
    line = " ".join(message.split())
    # A file name may hold what a terminal would obey.
    typer.echo(f"Error: {''.join(map(_visible, line))}", err=True)
    return code


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
