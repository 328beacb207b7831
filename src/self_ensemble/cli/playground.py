"""`self-ensemble playground`: one question in the browser, beside the server of `serve`."""

from typing import TYPE_CHECKING, Annotated

from self_ensemble.cli import known_names, options
from self_ensemble.cli.options import METHOD
from self_ensemble.cli.serving_options import (
    LIMITS,
    ApiKeys,
    Host,
    MaxWordings,
    Port,
    check_installed,
    keys_for,
    option,
    run_server,
)
from self_ensemble.errors import at_least

if TYPE_CHECKING:  # they import torch or packages of the extra
    from fastapi import FastAPI

    from self_ensemble.ensemble import Ensemble

NEEDED = ("gradio", "fastapi", "uvicorn", "prometheus_client")


def playground(
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str], option("Methods that may be chosen.", METHOD, known_names.methods)
    ] = ["all"],  # noqa: B006
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_keys: ApiKeys = None,
    max_tokens: Annotated[int, option("Longest answer; the page has 256 at most.", LIMITS)] = 256,
    max_wordings: MaxWordings = 16,
    deadline: Annotated[float, option("Seconds for a question.", LIMITS)] = 120.0,
    attention: options.Attention = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    engine: options.Engine = "torch",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
) -> None:
    """Ask a question in a browser: wordings, methods and answers side by side.

    Needs `pip install "self-ensemble[playground]"`. docs/playground.md says what is on the page.
    """
    check_installed("playground", NEEDED)
    at_least("--max-tokens", max_tokens, 1)
    at_least("--max-wordings", max_wordings, 2)
    from self_ensemble.serving.keys import is_loopback
    from self_ensemble.serving.limits import Limits

    keys = keys_for(host, api_keys)
    limits = Limits(max_tokens=max_tokens, max_wordings=max_wordings, deadline_s=deadline)

    def app(ensemble: "Ensemble") -> "FastAPI":
        from self_ensemble.integrations.playground import add_playground
        from self_ensemble.integrations.serve import create_app

        served = create_app(ensemble, keys=keys, limits=limits, only_local=is_loopback(host))
        add_playground(served, url=f"http://{host}:{port}", with_key=keys.are_there)
        return served

    run_server(
        {"model": model, "attention": attention, "device": device, "dtype": dtype,
         "trust_remote_code": trust_remote_code, "aliases": aliases, "engine": engine},
        method, (host, port), limits, app,
        greeting=lambda loaded: f"The playground of {loaded} is on http://{host}:{port}/",
        only_failures=True,
    )  # fmt: skip
