"""What a client is told when something cannot be done, in OpenAI's shape."""

from dataclasses import dataclass

from self_ensemble.asking.request import Unanswered
from self_ensemble.errors import UserError


@dataclass
class ApiError(Exception):
    """A refusal.

    Attributes:
        status: HTTP status.
        message: What was given, what was expected, what to do; no path, no traceback.
        code: For programs: one of the server's own, or that of a `UserError`; None for none.
        param: Which field of the body is meant.
        retry_after_s: When to try again; None where that would not help.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    retry_after_s: int | None = None

    @property
    def body(self) -> dict[str, object]:
        """As OpenAI's clients read it."""
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """Beside the body."""
        if self.retry_after_s is None:
            return {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return {"Retry-After": str(self.retry_after_s)}


def cannot(error: UserError, param: str | None = None) -> ApiError:
    """What a client has asked for cannot be done."""
    return ApiError(400, str(error), error.code, param)


def unanswered(outcome: Unanswered) -> ApiError:
    """A method has no answer. What a rule of the server's says is not for clients."""
    message = outcome.error
    if outcome.code == "SE-0605":
        message = f"Method {outcome.method!r} failed on this request; the server's log says where."
    return ApiError(500, message, outcome.code)


def too_long(seconds: float) -> ApiError:
    """A request that has met its deadline."""
    return ApiError(
        504,
        f"The answer took longer than {seconds:g} s and was given up. Ask for fewer tokens "
        "(max_tokens) or fewer wordings.",
        "deadline_exceeded",
    )


def internal() -> ApiError:
    """A bug, of which the server's log has more."""
    return ApiError(500, "The server failed on this request; its log says where.", "internal")


def shutting_down() -> ApiError:
    """Nothing is begun any more."""
    return ApiError(503, "The server is being stopped.", "shutting_down", retry_after_s=30)


def queue_full() -> ApiError:
    """Too many wait."""
    return ApiError(429, "Too many requests wait. Try again later.", "queue_full", retry_after_s=1)


def out_of_memory() -> ApiError:
    """What others ask may have ended in a while."""
    message = "The server has no memory left for this. Ask for less, or try again later."
    return ApiError(503, message, "out_of_memory", retry_after_s=10)
