"""`self-ensemble serve`: an OpenAI-compatible server for one model."""

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import options
from self_ensemble.cli.options import METHOD
from self_ensemble.errors import UserError, at_least

SERVER, LIMITS = "Server", "Limits"


def _option(text: str, panel: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=panel)
    return found


def serve(
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str], _option("Methods that may be asked for; the first is the default.", METHOD)
    ] = ["all"],  # noqa: B006
    host: Annotated[str, _option("Address; others than 127.0.0.1 need a key.", SERVER)] = (
        "127.0.0.1"
    ),
    port: Annotated[int, _option("Port.", SERVER)] = 8000,
    name: Annotated[str, _option("What clients call the model. Default: --model.", SERVER)] = "",
    api_keys: Annotated[
        Path | None, _option("File of keys, one a line; or SELF_ENSEMBLE_API_KEYS.", SERVER)
    ] = None,
    cors_origin: Annotated[
        list[str] | None, _option("Site whose pages may ask; may be repeated.", SERVER)
    ] = None,
    log_prompts: Annotated[bool, _option("Write questions into the log.", SERVER)] = False,
    max_tokens: Annotated[int, _option("Longest answer.", LIMITS)] = 1024,
    max_prompt_tokens: Annotated[int, _option("Longest prompt, all wordings.", LIMITS)] = 8192,
    max_wordings: Annotated[int, _option("Most wordings of a question.", LIMITS)] = 16,
    max_live: Annotated[int, _option("Answers being made at once.", LIMITS)] = 32,
    max_waiting: Annotated[int, _option("Requests that wait; beyond is 429.", LIMITS)] = 64,
    max_body: Annotated[int, _option("Largest body in bytes.", LIMITS)] = 1 << 20,
    deadline: Annotated[float, _option("Seconds for a request; then 504.", LIMITS)] = 120.0,
    attention: options.Attention = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
) -> None:
    """Serve a model to clients of OpenAI's API, with wordings and methods as extra fields.

    Needs `pip install "self-ensemble[serve]"`. docs/serve.md has clients, limits and keys.
    """
    missing = [
        one
        for one in ("fastapi", "uvicorn", "prometheus_client")
        if importlib.util.find_spec(one) is None
    ]
    if missing:
        raise UserError(
            f'Not installed: {", ".join(missing)}. Run: pip install "self-ensemble[serve]".',
            "SE-0015",
        )
    for option, value in (
        ("--max-tokens", max_tokens), ("--max-prompt-tokens", max_prompt_tokens),
        ("--max-wordings", max_wordings), ("--max-live", max_live), ("--max-waiting", max_waiting),
    ):  # fmt: skip
        at_least(option, value, 1)
    from self_ensemble.serving.keys import ENVIRONMENT, Keys, check_address, is_loopback
    from self_ensemble.serving.limits import Limits
    from self_ensemble.serving.listening import make_server, open_socket

    keys = Keys.read(api_keys, os.environ.get(ENVIRONMENT))
    check_address(host, keys)
    limits = Limits(
        max_tokens=max_tokens,
        max_prompt_tokens=max_prompt_tokens,
        max_wordings=max_wordings,
        max_choices=min(16, max_live),
        max_live=max_live,
        max_waiting=max_waiting,
        max_body_bytes=max_body,
        deadline_s=deadline,
    )
    # Here, not above: torch would make every `--help` wait.
    from self_ensemble.asking.methods import resolve_methods
    from self_ensemble.cli.console import ConsoleProgress
    from self_ensemble.ensemble import Ensemble
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
            Ensemble(loaded, methods),
            keys=keys,
            limits=limits,
            name=name,
            cors_origins=tuple(cors_origin or ()),
            log_prompts=log_prompts,
            only_local=is_loopback(host),
        )
        log_to_stderr()
        progress.say(f"Serving {name or loaded.name} on http://{host}:{port}/v1 (Ctrl-C ends it).")
        make_server(app, limits).run(sockets=[listening])
