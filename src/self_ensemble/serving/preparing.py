"""From a body to questions that can be asked, or to a refusal."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.asking.request import Request, Settings
from self_ensemble.attribution.attribute import check_asked
from self_ensemble.attribution.kinds import check_engine_of, check_kinds
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.prompts.build import conversation_frame
from self_ensemble.prompts.frame import PromptFrame, whole_frame
from self_ensemble.serving.errors import ApiError
from self_ensemble.serving.limits import Limits
from self_ensemble.serving.schema import ChatAsked, CompletionAsked, Message
from self_ensemble.walking.sampling import Sampling

Body = ChatAsked | CompletionAsked
# Tokens of an answer where the request does not say: OpenAI's for completions.
CHAT_TOKENS, COMPLETION_TOKENS = 256, 16
NUM_FRAMES = 64  # conversations whose prompts are kept
LONGEST_REWORDED = 256  # tokens; wordings that are made have 40 at most
EACH = resolve_method("per_prompt")


@dataclass(frozen=True, slots=True)
class Work:
    """A request that can be asked.

    Attributes:
        requests: One for each answer.
        method: The method whose answers are given.
        methods: The same, and `per_prompt` where members are asked for.
        attribution: Kinds of attribution.
        num_prompt_tokens: Of all wordings, each prompt once.
        num_laid_out: Tokens that are encoded before the first of an answer.
    """

    requests: tuple[Request, ...]
    method: Method
    methods: tuple[Method, ...]
    attribution: tuple[str, ...]
    num_prompt_tokens: int
    num_laid_out: int


class Preparer:
    """Makes work of bodies. It has a tokenizer of its own: for one thread, beside others."""

    def __init__(self, ensemble: Ensemble, limits: Limits, name: str) -> None:
        """Prepare for one model.

        Args:
            ensemble: Its methods are those that may be asked for; the first is the default.
            limits: What is refused.
            name: What clients call the model.
        """
        self.limits = limits
        self.name = name
        self._ensemble = ensemble
        self._tokenizer = deepcopy(ensemble.model.tokenizer)
        self._methods = {method.name: method for method in ensemble.methods}
        self._frames: OrderedDict[tuple[tuple[str, str], ...], PromptFrame] = OrderedDict()

    def check_model(self, model: str) -> None:
        """Refuse another model.

        Raises:
            ApiError: It is not this one.
        """
        if model != self.name:
            message = f"Unknown model {model[:80]!r}. This server has {self.name!r}."
            raise ApiError(404, message, "model_not_found", "model")

    def original(self, body: Body) -> str:
        """The text whose wordings are asked."""
        return body.messages[-1].text if isinstance(body, ChatAsked) else body.prompts[0]

    def work(self, body: Body, made: Sequence[str] | None = None) -> Work:
        """What is to be asked.

        Args:
            body: The request.
            made: Its further wordings, where they were made.

        Raises:
            ApiError: More than a limit allows, or something that does not fit.
            UserError: A question that cannot be asked.
        """
        method = self._method(body)
        further = tuple(body.wordings or ()) if made is None else tuple(made)
        is_to_be_made = body.paraphrase is not None and made is None
        settings = self._settings(body)
        self._check_sizes(body, 1 + ((body.paraphrase or 0) if is_to_be_made else len(further)))
        if isinstance(body, ChatAsked):
            frame, prompts = self._conversation(body.messages[:-1]), [self.original(body)]
        else:
            frame, prompts = whole_frame(self._tokenizer), body.prompts
        if is_to_be_made:
            # The original stands for each of them, so that what cannot be asked with as many is
            # refused before they are made.
            _check_rewordable(frame, self.original(body))
            further = (self.original(body),) * (body.paraphrase or 0)
        asked = [(prompt, *further) for prompt in prompts]
        members = body.members and len(asked[0]) > 1 and method.kind in ("fused", "tied")
        methods = (method, EACH) if members else (method,)
        if body.weights is not None and method.kind != "fused" and not method.may_read_weights:
            message = f"Method {method.name!r} reads no weights."
            raise ApiError(422, message, "SE-0012", "weights")
        if body.attribution:
            check_kinds(body.attribution, method)
            check_engine_of(body.attribution, self._ensemble.model.engine)
        requests: list[Request] = []
        num_tokens = laid_out = 0
        for wordings in asked:
            weights = None if body.weights is None else tuple(body.weights)
            one = Request("choice 0", wordings, weights, weights, frame=frame, settings=settings)
            self._ensemble.check(one, methods)
            if body.attribution:
                check_asked(self._ensemble.prefiller, one, method, body.attribution)
            parts = frame.parts(wordings)
            num_tokens += parts.num_tokens
            # Every wording that is continued alone has a cue of its own.
            laid_out += (body.n or 1) * (parts.num_tokens + len(parts.cue) * len(wordings))
            # Answers to one prompt differ by their number alone.
            requests += [replace(one, key=f"choice {n}") for n in range(body.n or 1)]
        if laid_out > self.limits.max_prompt_tokens and not is_to_be_made:
            got = f"The prompts of all wordings and answers have {laid_out} tokens"
            raise _too_much(got, self.limits.max_prompt_tokens)
        kinds = tuple(dict.fromkeys(body.attribution or ()))
        return Work(tuple(requests), method, methods, kinds, num_tokens, laid_out)

    def _method(self, body: Body) -> Method:
        if body.method is None:
            return next(iter(self._methods.values()))
        if body.method not in self._methods:
            raise ApiError(
                422,
                f"Unknown method {body.method[:80]!r}. Choose from: {', '.join(self._methods)}.",
                "SE-0011",
                "method",
            )
        return self._methods[body.method]

    def _settings(self, body: Body) -> Settings:
        chat = isinstance(body, ChatAsked)
        asked = body.max_tokens
        if isinstance(body, ChatAsked):
            asked = body.max_completion_tokens or asked
            num_top = (body.top_logprobs or 0) if body.logprobs else 0
        else:
            num_top = body.logprobs or 0
        most = self.limits.max_tokens
        if asked is not None and asked > most:
            raise _too_much(f"Got max_tokens {asked}", most, "max_tokens")
        sampling = Sampling(
            body.temperature or 0.0,
            1.0 if body.top_p is None else body.top_p,
            secrets.randbits(62) if body.seed is None else body.seed,
        )
        return Settings(
            max_new_tokens=asked or min(most, CHAT_TOKENS if chat else COMPLETION_TOKENS),
            stop=body.stops,
            segment_weights="uniform" if body.weights is None else "given",
            sampling=sampling,
            num_top=num_top,
        )

    def _check_sizes(self, body: Body, num_wordings: int) -> None:
        limits = self.limits
        if num_wordings > limits.max_wordings:
            raise _too_much(f"Got {num_wordings} wordings", limits.max_wordings, "wordings")
        num_prompts = 1 if isinstance(body, ChatAsked) else len(body.prompts)
        if (body.n or 1) * num_prompts > limits.max_choices:
            got = f"Got {num_prompts} prompts with {body.n or 1} answers each"
            raise _too_much(got, limits.max_choices, "n")

    def _conversation(self, turns: Sequence[Message]) -> PromptFrame:
        said = tuple(
            ("system" if turn.role == "developer" else turn.role, turn.text) for turn in turns
        )
        if said not in self._frames:
            if len(self._frames) >= NUM_FRAMES:
                self._frames.popitem(last=False)
            dicts = [{"role": role, "content": text} for role, text in said]
            try:
                self._frames[said] = conversation_frame(self._tokenizer, dicts)
            except UserError as error:
                # What the command line would be told.
                message = str(error).replace(" Use --chat-template off.", "")
                message = f"{message} Send /v1/completions instead."
                raise ApiError(400, message, error.code, "messages") from error
        self._frames.move_to_end(said)
        # What it keeps of questions is read by other threads, and must not be emptied meanwhile.
        return self._frames[said].fresh()


def _check_rewordable(frame: PromptFrame, original: str) -> None:
    num_tokens = len(frame.parts((original,)).segments[0])
    if num_tokens > LONGEST_REWORDED:
        got = f"The text to be reworded has {num_tokens} tokens"
        raise _too_much(got, LONGEST_REWORDED, "paraphrase")


def _too_much(got: str, most: int, param: str | None = None) -> ApiError:
    return ApiError(422, f"{got}; this server takes {most} at most.", "limit_exceeded", param)
