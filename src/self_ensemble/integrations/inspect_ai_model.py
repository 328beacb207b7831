"""A model provider of Inspect (inspect_ai): every question in several wordings.

    inspect eval TASK --model self-ensemble/smollm2_135m_it -M method=avg -M paraphrases=w.jsonl

Found by Inspect through an entry point, with `inspect_ai_solver.py`. Needs
`self-ensemble[inspect]`.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
from inspect_ai._util.error import PrerequisiteError  # it has no public name
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)  # fmt: skip
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.markup import escape

import self_ensemble as se

KEY = "self_ensemble"  # in metadata
READ = {"max_tokens", "temperature", "top_p", "seed", "stop_seqs", "logprobs", "system_message"}
# How requests are sent, which changes no answer.
SENDING = {
    "max_connections", "adaptive_connections", "max_retries", "timeout", "attempt_timeout",
    "cache", "batch", "stream_idle_timeout", "fail_on_refusal", "fallback_models",
}  # fmt: skip


class RefusedError(PrerequisiteError, se.UserError):
    """A `UserError` that Inspect prints without a traceback."""

    def __init__(self, error: se.UserError) -> None:
        se.UserError.__init__(self, str(error), error.code)
        self.message = escape(f"Error: {error} [{error.code}]")  # of what rich takes as markup


@contextmanager
def without_traceback() -> Iterator[None]:
    """Let Inspect print what is refused before a task runs."""
    try:
        yield
    except se.UserError as error:
        raise RefusedError(error) from error


@modelapi(name="self-ensemble")
class SelfEnsembleAPI(ModelAPI):
    """Answers the last user message in several wordings, behind the turns before it.

    `-M`: `method`, `paraphrases` (file of wordings by question, or "auto"), `num_paraphrases`,
    `fewer`, `attribution` (leave_one_out, ...), `batch_size`, and what `load_model` takes. Docs:
    docs/inspect-ai.md. What cannot be asked as told is a `UserError`, which ends its sample.
    """

    @without_traceback()
    def __init__(
        self, model_name: str, base_url: str | None = None, api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
        *, method: str = "flex_attention", paraphrases: str | None = None,
        num_paraphrases: int | None = None, fewer: str = "refuse", attribution: str | None = None,
        batch_size: int = 16, device: str = "auto", dtype: str = "auto", engine: str = "torch",
        **unknown: object,
    ) -> None:  # fmt: skip
        super().__init__(model_name, base_url, api_key, [], config)
        if unknown:
            raise se.UserError(
                f"Unknown -M {', '.join(unknown)}. See docs/inspect-ai.md.", "SE-0011"
            )
        if (method == "origin") == bool(paraphrases):
            raise se.UserError(
                f"Got method={method} {'with' if paraphrases else 'without'} paraphrases. origin "
                "asks the question as it is, and every other method asks wordings.",
                "SE-0012",
            )
        self.known = se.KnownWordings.given(paraphrases, num_paraphrases, fewer)
        loaded = se.load_model(model_name, device=device, dtype=dtype, engine=engine)
        if not loaded.has_chat_template:
            raise se.UserError(
                f"{model_name} has no chat template, and Inspect asks in conversations. Choose a "
                "model that was trained for them.",
                "SE-0502",
            )
        # Each wording's own answer is made from the same prefill.
        each = () if method in ("origin", "per_prompt") else ("per_prompt",)
        self.ensemble = se.Ensemble(loaded, [method, *each])
        self.auto, self.num = paraphrases == "auto", num_paraphrases
        self.kinds = attribution.split("+") if attribution else []
        self.batch_size, self.turn = batch_size, anyio.Lock()
        self.asked: Counter[str] = Counter()
        self.waiting: deque[tuple[se.Request, dict[str, Any]]] = deque()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:  # fmt: skip
        """Answer; requests that come while others are answered are answered together."""
        if tools:
            raise se.UserError(
                "Tools were given, which self-ensemble does not call. Leave them.", "SE-1201"
            )
        found: dict[str, Any] = {}
        # One at a time: two threads must not tell one tokenizer how to read special tokens.
        async with self.turn:
            request = await anyio.to_thread.run_sync(self._request, input, _settings(config))
        self.waiting.append((request, found))
        while not found:
            async with self.turn:
                if not found:
                    await anyio.to_thread.run_sync(self._answer)
        if isinstance(error := found.get("error"), Exception):
            raise error
        return self._output(request, found)

    def max_connections(self) -> int:
        """As many requests as are answered together."""
        return self.batch_size

    def _request(self, messages: list[ChatMessage], settings: "se.Settings") -> "se.Request":
        *before, last = messages
        if last.role != "user" or any(turn.role == "tool" for turn in before):
            raise se.UserError(
                "The last message is not the user's, or one is a tool's. Ask.", "SE-1201"
            )
        turns = [{"role": turn.role, "content": turn.text} for turn in before]
        frame = se.conversation_frame(self.ensemble.model.tokenizer, turns)
        wordings: tuple[str, ...] = (last.text,)
        if self.auto and last.text.strip() not in self.known.by_question:
            made, _ = se.reword([last.text], self.ensemble.model, (self.num or 0) - 1)
            by_question = {**self.known.by_question, **made}
            self.known = replace(self.known, by_question=by_question)
        if self.known.by_question:
            left, question, right = self.known.cut_text(last.text)
            wordings = tuple(left + one + right for one in self.known.wordings(question))
        # Epochs ask the same again: samples of their own.
        self.asked[last.text] += 1
        key = f"{last.text}/{self.asked[last.text]}"
        request = se.Request(key, wordings, frame=frame, settings=settings)
        self.ensemble.check(request)
        return request

    def _answer(self) -> None:
        """Answer what waits, a batch of it."""
        some = [self.waiting.popleft() for _ in range(min(self.batch_size, len(self.waiting)))]
        requests = [request for request, _ in some]
        try:
            outcomes = self.ensemble.run(requests)
        except Exception as error:  # noqa: BLE001, each who waits is told
            for _, found in some:
                found["error"] = error
            return
        for place, (request, found) in enumerate(some):
            each = {name: of_method[place] for name, of_method in outcomes.items()}
            try:
                found |= self._found(request, each)
            except se.UserError as error:
                found["error"] = error

    def _found(self, request: "se.Request", outcomes: dict[str, Any]) -> dict[str, Any]:
        method = self.ensemble.methods[0].name
        answer = outcomes[method]
        if not isinstance(answer, se.Answer):
            raise se.UserError(answer.error, "SE-0612")
        members = outcomes.get("per_prompt", answer).members or (answer,)
        said = [one.text if isinstance(one, se.Answer) else None for one in members]
        told: dict[str, Any] = {"method": method, "wordings": told_of(request.wordings, said)}
        if self.kinds:
            by_kind = self.ensemble.attribute(request, self.kinds, answer=answer)
            told["attribution"] = {kind: list(one.total) for kind, one in by_kind.items()}
        return {"answer": answer, "told": told}

    def _output(self, request: "se.Request", found: dict[str, Any]) -> ModelOutput:
        answer: se.Answer = found["answer"]
        transcript().info(_table(found["told"]), source="self-ensemble")
        decode = self.ensemble.model.tokenizer.decode
        kept = [
            Logprob(token=decode([token]), logprob=logprob)
            for token, logprob in zip(answer.token_ids, answer.logprobs, strict=True)
        ]
        choice = ChatCompletionChoice(
            message=ChatMessageAssistant(content=answer.generation, model=self.model_name),
            stop_reason="max_tokens" if answer.stop_reason == "length" else "stop",
            logprobs=Logprobs(content=kept),
        )
        assert request.frame is not None
        num_asked = request.frame.parts(request.wordings).num_tokens
        usage = ModelUsage(
            input_tokens=num_asked, output_tokens=len(kept), total_tokens=num_asked + len(kept)
        )
        return ModelOutput(
            model=self.model_name, choices=[choice], usage=usage, metadata={KEY: found["told"]}
        )


def told_of(wordings: Sequence[str], said: Sequence[str | None]) -> list[dict[str, str | None]]:
    """What each wording answered, for metadata."""
    return [{"wording": one, "answer": text} for one, text in zip(wordings, said, strict=True)]


def _table(told: dict[str, Any]) -> str:
    """The same as a table of Markdown, of which `inspect view` shows more rows than of JSON."""
    kinds = told.get("attribution", {})
    rows = [["wording", "answer", *kinds], ["---"] * (2 + len(kinds))]
    for place, one in enumerate(told["wordings"]):
        shares = (f"{shares[place]:.3f}" for shares in kinds.values())
        rows.append([_text(one["wording"]), _text(one["answer"] or ""), *shares])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _text(text: str) -> str:
    """A text in a cell, whose marks are text; those of HTML are so in the viewer anyway."""
    return re.sub(r"[\\`*_\[\]|~$]", r"\\\g<0>", " ".join(text.split()))


def _settings(config: GenerateConfig) -> "se.Settings":
    given = config.model_dump(exclude_none=True)
    unread = {name: value for name, value in given.items() if name not in READ | SENDING}
    if unread:
        raise se.UserError(
            f"Got {unread}, which self-ensemble does not have. Leave it out, or choose hf/...",
            "SE-1201",
        )
    sampling = se.Sampling(config.temperature or 0.0, config.top_p or 1.0, config.seed or 0)
    return se.Settings(
        max_new_tokens=config.max_tokens or 256, stop=tuple(config.stop_seqs or ()),
        sampling=sampling,
    )  # fmt: skip
