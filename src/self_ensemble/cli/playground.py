"""`self-ensemble playground`: one question in the browser, beside the server of `serve`."""

import importlib.util
import os
from pathlib import Path
from typing import Annotated

from self_ensemble.cli import options
from self_ensemble.cli.options import METHOD
from self_ensemble.cli.serve import LIMITS, SERVER, _option
from self_ensemble.errors import UserError, at_least

NEEDED = ("gradio", "fastapi", "uvicorn", "prometheus_client")


def playground(
    model: options.Model = "smollm2_135m_it",
    method: Annotated[list[str], _option("Methods that may be chosen.", METHOD)] = ["all"],  # noqa: B006
    host: Annotated[str, _option("Address; others than 127.0.0.1 need a key.", SERVER)] = (
        "127.0.0.1"
    ),
    port: Annotated[int, _option("Port.", SERVER)] = 8000,
    api_keys: Annotated[
        Path | None, _option("File of keys, one a line; or SELF_ENSEMBLE_API_KEYS.", SERVER)
    ] = None,
    max_tokens: Annotated[int, _option("Longest answer; the page has 256 at most.", LIMITS)] = 256,
    max_wordings: Annotated[int, _option("Most wordings of a question.", LIMITS)] = 16,
    deadline: Annotated[float, _option("Seconds for a question.", LIMITS)] = 120.0,
    attention: options.Attention = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
) -> None:
    """Ask a question in a browser: wordings, methods and answers side by side.

    Needs `pip install "self-ensemble[playground]"`. docs/playground.md says what is on the page.
    """
    missing = [one for one in NEEDED if importlib.util.find_spec(one) is None]
    if missing:
        raise UserError(
            f'Not installed: {", ".join(missing)}. Run: pip install "self-ensemble[playground]".',
            "SE-0015",
        )
    at_least("--max-tokens", max_tokens, 1)
    at_least("--max-wordings", max_wordings, 2)
    from self_ensemble.serving.keys import ENVIRONMENT, Keys, check_address, is_loopback
    from self_ensemble.serving.limits import Limits
    from self_ensemble.serving.listening import make_server, open_socket

    keys = Keys.read(api_keys, os.environ.get(ENVIRONMENT))
    check_address(host, keys)
    limits = Limits(max_tokens=max_tokens, max_wordings=max_wordings, deadline_s=deadline)
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.asking.methods import resolve_methods
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.ensemble import Ensemble
    from self_ensemble.integrations.playground import add_playground
    from self_ensemble.integrations.serve import create_app
    from self_ensemble.jobs.inputs import ModelOptions
    from self_ensemble.serving.logs import log_to_stderr

    methods = resolve_methods(options.parse_names(method), has_weights=True)
    progress = ConsoleProgress()
    # Before the model is loaded, so that a taken port is told at once.
    with open_socket(host, port) as listening:
        loaded = ModelOptions(model, attention, device, dtype, trust_remote_code, aliases).load(
            progress
        )
        app = create_app(
            Ensemble(loaded, methods), keys=keys, limits=limits, only_local=is_loopback(host)
        )
        add_playground(app, url=f"http://{host}:{port}", with_key=keys.are_there)
        log_to_stderr(only_failures=True)
        progress.say(
            f"The playground of {loaded.name} is on http://{host}:{port}/ (Ctrl-C ends it)."
        )
        make_server(app, limits).run(sockets=[listening])
