"""`self-ensemble serve`: an OpenAI-compatible server for one model."""

from typing import TYPE_CHECKING, Annotated

from self_ensemble.cli import known_names, options
from self_ensemble.cli.options import METHOD
from self_ensemble.cli.serving_options import (
    LIMITS,
    SERVER,
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


def serve(
    model: options.Model = "smollm2_135m_it",
    method: Annotated[
        list[str],
        option(
            "Methods that may be asked for; the first is the default.",
            METHOD,
            known_names.methods,
        ),
    ] = ["all"],  # noqa: B006
    host: Host = "127.0.0.1",
    port: Port = 8000,
    name: Annotated[str, option("What clients call the model. Default: --model.", SERVER)] = "",
    api_keys: ApiKeys = None,
    cors_origin: Annotated[
        list[str] | None, option("Site whose pages may ask; may be repeated.", SERVER)
    ] = None,
    log_prompts: Annotated[bool, option("Write questions into the log.", SERVER)] = False,
    max_tokens: Annotated[int, option("Longest answer.", LIMITS)] = 1024,
    max_prompt_tokens: Annotated[int, option("Longest prompt, all wordings.", LIMITS)] = 8192,
    max_wordings: MaxWordings = 16,
    max_live: Annotated[int, option("Answers being made at once.", LIMITS)] = 32,
    max_waiting: Annotated[int, option("Requests that wait; beyond is 429.", LIMITS)] = 64,
    max_body: Annotated[int, option("Largest body in bytes.", LIMITS)] = 1 << 20,
    deadline: Annotated[float, option("Seconds for a request; then 504.", LIMITS)] = 120.0,
    attention: options.Attention = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    engine: options.Engine = "torch",
    trust_remote_code: options.TrustRemoteCode = False,
    aliases: options.Aliases = None,
) -> None:
    """Serve a model to clients of OpenAI's API, with wordings and methods as extra fields.

    Needs `pip install "self-ensemble[serve]"`. docs/serve.md has clients, limits and keys.
    """
    check_installed("serve", ("fastapi", "uvicorn", "prometheus_client"))
    for name_of_option, value in (
        ("--max-tokens", max_tokens), ("--max-prompt-tokens", max_prompt_tokens),
        ("--max-wordings", max_wordings), ("--max-live", max_live), ("--max-waiting", max_waiting),
    ):  # fmt: skip
        at_least(name_of_option, value, 1)
    from self_ensemble.serving.keys import is_loopback
    from self_ensemble.serving.limits import Limits

    keys = keys_for(host, api_keys)
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

    def app(ensemble: "Ensemble") -> "FastAPI":
        from self_ensemble.integrations.serve import create_app

        return create_app(
            ensemble,
            keys=keys,
            limits=limits,
            name=name,
            cors_origins=tuple(cors_origin or ()),
            log_prompts=log_prompts,
            only_local=is_loopback(host),
        )

    run_server(
        {"model": model, "attention": attention, "device": device, "dtype": dtype,
         "trust_remote_code": trust_remote_code, "aliases": aliases, "engine": engine},
        method, (host, port), limits, app,
        greeting=lambda loaded: f"Serving {name or loaded} on http://{host}:{port}/v1",
    )  # fmt: skip
