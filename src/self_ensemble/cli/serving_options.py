"""What `serve` and `playground` have in common: options, and a process that serves one model."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from self_ensemble.cli import option_values
from self_ensemble.errors import UserError

if TYPE_CHECKING:  # they import torch or packages of an extra
    from fastapi import FastAPI

    from self_ensemble.ensemble import Ensemble
    from self_ensemble.serving.keys import Keys
    from self_ensemble.serving.limits import Limits

SERVER, LIMITS = "Server", "Limits"


def option(
    text: str, panel: str, callback: Callable[..., Any] | None = None
) -> typer.models.OptionInfo:
    """An option with its help, on a panel of the help page."""
    found: typer.models.OptionInfo = typer.Option(
        help=text, rich_help_panel=panel, callback=callback
    )
    return found


Host = Annotated[str, option("Address; others than 127.0.0.1 need a key.", SERVER)]
Port = Annotated[int, option("Port.", SERVER)]
ApiKeys = Annotated[
    Path | None, option("File of keys, one a line; or SELF_ENSEMBLE_API_KEYS.", SERVER)
]
MaxWordings = Annotated[int, option("Most wordings of a question.", LIMITS)]


def check_installed(extra: str, packages: tuple[str, ...]) -> None:
    """Refuse to serve without what it is served with.

    Raises:
        UserError: A package is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'Not installed: {", ".join(missing)}. Run: pip install "self-ensemble[{extra}]".',
            "SE-0015",
        )


def keys_for(host: str, file: Path | None) -> "Keys":
    """The keys that clients must have, of a file and the environment.

    Raises:
        UserError: They cannot be used, or there are none and others could come to the address.
    """
    from self_ensemble.serving.keys import ENVIRONMENT, Keys, check_address

    keys = Keys.read(file, os.environ.get(ENVIRONMENT))
    check_address(host, keys)
    return keys


def run_server(
    model: Mapping[str, Any],
    method: list[str],
    address: tuple[str, int],
    limits: "Limits",
    make_app: Callable[["Ensemble"], "FastAPI"],
    *,
    greeting: Callable[[str], str],
    only_failures: bool = False,
) -> None:
    """Load the model and serve it until a signal.

    Args:
        model: Fields of `ModelOptions`.
        method: Names of methods, some with commas between.
        address: Host and port.
        limits: How much is taken at once.
        make_app: Makes the application.
        greeting: Says where it is, by the name of the model.
        only_failures: Whether requests that were answered are left out of the log.

    Raises:
        UserError: The address cannot be had, or there is no such model or method.
    """
    from self_ensemble.serving.listening import make_server, open_socket

    option_values.check_model(model["model"], model["aliases"])
    # Before the model is loaded, so that a taken port is told at once.
    with open_socket(*address) as listening:
        # Here, not above: torch would make every `--help` wait.
        from self_ensemble.asking.methods import resolve_methods
        from self_ensemble.cli.console import ConsoleProgress
        from self_ensemble.ensemble import Ensemble
        from self_ensemble.jobs.inputs import ModelOptions
        from self_ensemble.serving.logs import log_to_stderr

        methods = resolve_methods(option_values.parse_names(method), has_weights=True)
        progress = ConsoleProgress()
        loaded = ModelOptions(**model).load(progress)
        app = make_app(Ensemble(loaded, methods))
        log_to_stderr(only_failures=only_failures)
        progress.say(f"{greeting(loaded.name)} (Ctrl-C ends it).")
        make_server(app, limits).run(sockets=[listening])
