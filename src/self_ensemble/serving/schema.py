"""Bodies of requests: OpenAI's fields, and ours beside them.

What is not understood is refused, and so is what would be ignored: fields that only OpenAI's own
models know may stand there with the value that means nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from self_ensemble.serving.errors import ApiError

Nothing = Literal[None]
Text = Annotated[str, Field(max_length=1 << 20)]
Stops = Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=8)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(_Strict):
    """Of a streamed answer."""

    include_usage: bool = False


class Asked(_Strict):
    """What both kinds of requests have."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1)
    stop: Annotated[str, Field(min_length=1, max_length=128)] | Stops | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Taken and not looked at.")

    wordings: list[Text] | None = Field(
        None, description="Further wordings: of the last user message, or of the prompt."
    )
    paraphrase: int | None = Field(
        None, ge=1, description="So many further wordings, made by the model behind a gate."
    )
    method: str | None = Field(None, description="How wordings are fused; the server's first.")
    weights: list[Annotated[float, Field(ge=0)]] | None = Field(
        None, description="One for each wording, the original first."
    )
    attribution: list[str] | None = Field(
        None, description="mass, share, leave_one_out, shapley: which wording decided."
    )
    members: bool = Field(True, description="Whether every wording is answered alone as well.")

    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: dict[str, float] | None = Field(None, max_length=0)

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @model_validator(mode="after")
    def _fits(self) -> "Asked":
        if self.wordings is not None and self.paraphrase is not None:
            raise ValueError("Give wordings, or a number of paraphrases to be made, not both.")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options are for stream=true.")
        return self


class TextPart(_Strict):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: Text


class Message(_Strict):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1)]
    # Answers of OpenAI's carry them, and are sent back as they are.
    refusal: Nothing = None
    function_call: Nothing = None
    tool_calls: Nothing = None
    audio: Nothing = None
    annotations: Annotated[list[str], Field(max_length=0)] | None = None

    @property
    def text(self) -> str:
        """All of it."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatAsked(Asked):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=256)]
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    tools: Annotated[list[str], Field(max_length=0)] | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _is_asked(self) -> "ChatAsked":
        if self.messages[-1].role != "user":
            raise ValueError("The last message must be the user's: its wordings are asked.")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs are for logprobs=true.")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("Give max_completion_tokens or max_tokens, not both.")
        return self


class CompletionAsked(Asked):
    """POST /v1/completions."""

    prompt: Text | Annotated[list[Text], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Nothing = None

    @property
    def prompts(self) -> list[str]:
        """One or several."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @model_validator(mode="after")
    def _fits_one(self) -> "CompletionAsked":
        more = self.wordings is not None or self.paraphrase is not None
        if more and len(self.prompts) > 1:
            raise ValueError("Wordings are of one prompt. Send a request for each prompt.")
        return self


def not_understood(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What is wrong with a body, by what pydantic says of it, with its place in the body.

    What was given is not repeated: it may be anything, as long as it likes.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return ApiError(400, "The body is no JSON.", "invalid_json")
    # Where several types would do each has its own complaint: that of the type that was meant.
    of_field = [one for one in errors if one["loc"][:2] == first["loc"][:2]]
    one = max(of_field, key=lambda one: (not one["type"].endswith("_type"), len(one["loc"])))
    # Behind the word "body"; names of types are none of fields.
    parts = [str(part) for part in one["loc"][1:] if isinstance(part, int) or part.isidentifier()]
    place = ".".join(parts)[:200]
    text = f"{place}: {one['msg']}" if place else str(one["msg"])
    return ApiError(422, f"{text[:500].rstrip('.')}.", str(one["type"]), place or None)
