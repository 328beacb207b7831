"""An OpenAI-compatible server: FastAPI over `serving/`. Needs `self-ensemble[serve]`.

/v1/models  /v1/completions  /v1/chat/completions  /metrics  /healthz
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from self_ensemble import __version__
from self_ensemble.ensemble import Ensemble
from self_ensemble.serving.errors import ApiError
from self_ensemble.serving.guard import Guard
from self_ensemble.serving.keys import Keys
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.metrics import CONTENT_TYPE, Metrics
from self_ensemble.serving.replies import Reply
from self_ensemble.serving.schema import ChatAsked, CompletionAsked, not_understood
from self_ensemble.serving.sending import EventsResponse, ends_of, events_of, while_there
from self_ensemble.serving.service import Service

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in {
        400: "Cannot be asked", 401: "No key", 404: "Unknown model", 408: "Body too slow",
        413: "Body too large", 415: "No JSON", 421: "Unknown host", 422: "Not understood",
        429: "Too many wait", 500: "A failure", 503: "Not now", 504: "Deadline",
    }.items()
}  # fmt: skip


def create_app(
    ensemble: Ensemble,
    *,
    keys: Keys | None = None,
    limits: Limits | None = None,
    name: str = "",
    cors_origins: tuple[str, ...] = (),
    log_prompts: bool = False,
    only_local: bool = True,
) -> FastAPI:
    """The application; its threads start with it and end with its lifespan.

    What is mounted into it (`app.mount`, a playground) is behind the same keys and limits, and
    finds the `Service` at `app.state.service`.

    Args:
        ensemble: The model, and the methods that may be asked for, the default first.
        keys: Who may ask; None lets everybody in.
        limits: What is refused.
        name: What clients call the model.
        cors_origins: Pages of which sites may ask, from a browser; none by default.
        log_prompts: Whether questions are logged.
        only_local: Whether a server without keys is to be called localhost or 127.0.0.1.
    """
    service = Service(ensemble, limits, name)
    metrics = Metrics(service.scheduler)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="self-ensemble", version=__version__, lifespan=lifespan, docs_url=None,
        redoc_url=None, responses=ERRORS,
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(
        Guard, keys=keys or Keys(()), limits=service.limits, observe=metrics.observe,
        only_local=only_local,
    )  # fmt: skip
    if cors_origins:
        # Around the guard: browsers ask whether they may send a key without sending it.
        app.add_middleware(
            CORSMiddleware, allow_origins=list(cors_origins), allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
    _add_errors(app)

    answer = _Answering(service, metrics, log_prompts)

    @app.post("/v1/chat/completions")
    async def chat(asked: Annotated[ChatAsked, Body()], request: Request) -> Response:
        return await answer.answer(asked, request)

    @app.post("/v1/completions")
    async def completions(asked: Annotated[CompletionAsked, Body()], request: Request) -> Response:
        return await answer.answer(asked, request)

    about = {"id": service.name, "object": "model", "created": 0, "owned_by": "self-ensemble",
             "methods": [method.name for method in ensemble.methods]}  # fmt: skip

    @app.get("/v1/models/", include_in_schema=False)
    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [about]}

    @app.get("/v1/models/{model:path}")
    async def one_model(model: str) -> dict[str, object]:
        service.check_model(model)
        return about

    @app.get("/metrics")
    async def numbers() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def health() -> Response:
        alive = service.scheduler.is_alive
        return JSONResponse({"status": "ok" if alive else "dead"}, 200 if alive else 503)

    return app


@dataclass(frozen=True, slots=True)
class _Answering:
    """What both routes do."""

    service: Service
    metrics: Metrics
    log_prompts: bool

    async def answer(self, asked: ChatAsked | CompletionAsked, request: Request) -> Response:
        """Answer a request, whole or as it comes."""
        service = self.service
        deadline = service.deadline()
        is_chat = isinstance(asked, ChatAsked)
        work = await while_there(request, service.prepare(asked, deadline))
        logprobs = bool(asked.logprobs) if is_chat else asked.logprobs is not None
        reply = Reply(service.name, work, service.ensemble.stop, is_chat, logprobs)
        request.state.log |= {
            "ensemble_method": work.method.name,
            "wordings": len(work.requests[0].wordings),
            "prompt_tokens": work.num_prompt_tokens,
        }
        if self.log_prompts:
            request.state.log["asked"] = [one.wordings for one in work.requests]
        if not asked.stream:
            return JSONResponse(
                reply.whole(await while_there(request, ends_of(service, work, deadline)))
            )
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = events_of(service, work, reply, deadline, usage, self.metrics.first_token)
        # The first one is waited for, so that a refusal has its status.
        return EventsResponse(await while_there(request, anext(events)), events)


def _add_errors(app: FastAPI) -> None:
    """Everything that is refused has OpenAI's shape."""

    def said(error: ApiError) -> Response:
        return JSONResponse(error.body, error.status, headers=error.headers)

    @app.exception_handler(ApiError)
    async def ours(_: Request, error: ApiError) -> Response:
        return said(error)

    @app.exception_handler(RequestValidationError)
    async def no_body(_: Request, error: RequestValidationError) -> Response:
        return said(not_understood(error.errors()))

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, error: HTTPException) -> Response:
        return said(ApiError(error.status_code, str(error.detail)))
