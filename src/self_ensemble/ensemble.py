"""The main path: wordings -> prompt parts -> layout -> prefill -> decode -> answers."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from self_ensemble.asking.beginning import Beginner
from self_ensemble.asking.exploring import Explored, Explorer
from self_ensemble.asking.isolation import Found, ask_apart
from self_ensemble.asking.likelihood import LogLikelihood, log_likelihoods
from self_ensemble.asking.methods import AnyMethod, Method, as_sequence, resolve_method
from self_ensemble.asking.outcomes import OutcomeMaker
from self_ensemble.asking.prefilling import Prefiller
from self_ensemble.asking.request import Answer, Outcome, Request, Settings, Unanswered
from self_ensemble.asking.streaming import Stream
from self_ensemble.asking.tracks import by_method, passes
from self_ensemble.attribution.attribute import OrderSampling, attribute
from self_ensemble.attribution.kinds import Attribution, check_engine_of, check_kinds, kinds_of
from self_ensemble.captured.decode import check_decode, check_model, decode_captured
from self_ensemble.captured.pool import StepPool
from self_ensemble.errors import UserError, at_least
from self_ensemble.models.engines import check_backend
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.sanity import check_prompt
from self_ensemble.models.support import choose_backend
from self_ensemble.passes.engine import Counters, Engine
from self_ensemble.passes.prefill import Prefix
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.schema import Framing
from self_ensemble.tracing.trace import Trace
from self_ensemble.tracing.tracer import Tracer
from self_ensemble.walking.loop import decode
from self_ensemble.walking.sampling import Sampling
from self_ensemble.walking.stopping import StopRule
from self_ensemble.walking.user_rule import RuleError


class Ensemble:
    """Asks one model a question in several wordings and fuses them into one answer.

    Example:
        >>> model = load_model("smollm2_135m_it")
        >>> ensemble = Ensemble(model, method="flex_attention")
        >>> print(ensemble.answer(["what is the capital of France?", "France's capital is?"]))
        Paris
    """

    def __init__(
        self,
        model: LoadedModel,
        method: AnyMethod | Sequence[AnyMethod] = "flex_attention",
        *,
        frame: PromptFrame | None = None,
        prefix: str = "",
        framing: Framing | None = None,
        settings: Settings | None = None,
        attention: str | None = None,
        decode: str = "tree",
    ) -> None:
        """Prepare an ensemble; the prefix is encoded when the first question comes.

        Args:
            model: A loaded model.
            method: A method's name, a fusion rule `(B, N, V), (B, N) -> (B, V)`, or several.
            frame: The prompt that questions are put into; None builds one from the next two.
            prefix: Text in front of every question: instruction and examples.
            framing: How a wording and the cue are written; "Q: ...", "A:" by default.
            settings: How answers are made.
            attention: Backend: sdpa, flex, eager or auto; None for the model's.
            decode: "tree": methods share what they have in common, and tokens of ended answers
                cost nothing. "captured": steps of fixed shape, which CUDA replays as graphs;
                greedy answers only. "compiled": the same, compiled first.

        Raises:
            UserError: An unknown method, backend or way to decode, or one that does not fit; or
                the model has not all tokens of the prompt.
        """
        self.methods = tuple(resolve_method(one) for one in as_sequence(method))
        names = [one.name for one in self.methods]
        if len(set(names)) < len(names):
            raise UserError(
                f"Two methods have one name: {', '.join(names)}. Name them apart.", "SE-0601"
            )
        self.frame = frame or plain_frame(model.tokenizer, prefix, (), framing or Framing())
        check_prompt(self.frame.prior, model.tokenizer, model.model)
        self.settings = settings or Settings()
        self.model = model
        backend = choose_backend(attention or model.attention, model.model.config, model.device)
        if model.graph is not None:
            check_backend(backend)
        check_decode(decode, self.settings.sampling, self.settings.num_top)
        check_model(decode, model)
        self.decode = decode
        self.engine = Engine(model, backend)
        self.steps = StepPool()
        self.stop = StopRule.of(model, self.settings.stop, self.settings.max_new_tokens)
        self.prefiller = Prefiller(self.engine, self.frame, self.settings)
        self.outcomes = OutcomeMaker(self._stop_of, self.prefiller.next_is_finite)
        self.beginner = Beginner(self.prefiller, self._stop_of)

    @property
    def counters(self) -> Counters:
        """Work done so far: tokens through the model, forwards, masks."""
        return self.engine.counters

    def answer(self, wordings: Sequence[str], weights: Sequence[float] | None = None) -> Answer:
        """Answer one question asked in several wordings, with the first method.

        Raises:
            UserError: The question cannot be asked (see `problem`), weights are given that
                nothing reads, or a score on the way to the answer is nan or infinite.
        """
        if isinstance(wordings, str):
            raise UserError(
                "Got one text. Give a list of wordings, with one entry or more.", "SE-0206"
            )
        return self.answer_many([wordings], None if weights is None else [weights])[0]

    def answer_many(
        self,
        questions: Sequence[Sequence[str]],
        weights: Sequence[Sequence[float]] | None = None,
        batch_size: int = 16,
    ) -> list[Answer]:
        """Answer many questions with the first method, in order.

        Raises:
            UserError: A question that cannot be asked (see `problem`), or one without an answer,
                because a score on the way to it is nan or infinite: the first of them. `run`
                gives the answers of the others as well.
        """
        if weights is not None and not self._reads_weights():
            raise UserError(
                f"Weights were given, but {self.methods[0].name!r} does not read them. Choose a "
                "weighted method, or Settings(segment_weights='given') for flex_attention.",
                "SE-0012",
            )
        requests = [
            Request(
                key=str(index),
                wordings=tuple(wordings),
                weights=None if weights is None else tuple(weights[index]),
                segment_weights=None if weights is None else tuple(weights[index]),
            )
            for index, wordings in enumerate(questions)
        ]
        answers: list[Answer] = []
        for start in range(0, len(requests), batch_size):
            for found in self.run(requests[start : start + batch_size])[self.methods[0].name]:
                if isinstance(found, Unanswered):
                    which = f"Question {len(answers) + 1}: " if len(requests) > 1 else ""
                    raise UserError(f"{which}{found.error}", "SE-0611")
                answers.append(found)
        return answers

    def run(
        self, requests: Sequence[Request], methods: Sequence[Method] | None = None
    ) -> dict[str, list[Outcome]]:
        """Answer one batch of questions with every method, from one prefill.

        Args:
            requests: The questions.
            methods: Some of the ensemble's methods; None for all of them.

        Returns:
            For each method one answer per request, in order; `Unanswered` where a score on the
            way to it is nan or infinite, which does not touch the others.

        Raises:
            UserError: A question that cannot be asked (see `problem`), or a rule of the user's
                that fails.
        """
        asked = self.methods if methods is None else tuple(methods)
        answers: dict[str, dict[int, Outcome]] = {method.name: {} for method in asked}
        for size in sorted({len(request.wordings) for request in requests}):
            places = [i for i, request in enumerate(requests) if len(request.wordings) == size]
            same = [requests[place] for place in places]
            for together in passes(asked, same, self.settings):
                decoded = ask_apart(self._decoded, self.prefiller.next_is_finite, together, same)
                for method in together:
                    found = map(partial(self.outcomes.of, method), same, decoded[method.name])
                    answers[method.name].update(zip(places, found, strict=True))
        return {
            name: [outcomes[place] for place in range(len(requests))]
            for name, outcomes in answers.items()
        }

    def stream(
        self, requests: Sequence[Request] = (), methods: Sequence[Method] | None = None
    ) -> Stream:
        """Answer questions step by step: tokens as they come, and others may join meanwhile.

        What comes out is what `run` gives, token for token, whatever else is in the stream; only
        a method whose scores are not finite is asked once more by itself, at the end. The tree is
        walked, whatever the ensemble's way to decode.

        Args:
            requests: The first questions.
            methods: Some of the ensemble's methods; None for all of them.

        Returns:
            What is to be iterated: at each step a list of what is new. See `Stream`.

        Raises:
            UserError: A question that cannot be asked (see `problem`).
        """
        asked = self.methods if methods is None else tuple(methods)
        stream = Stream(self.beginner, self.outcomes, self._ask_alone, asked, self.settings)
        stream.join(requests)
        return stream

    def explore(
        self,
        requests: Sequence[Request],
        num_samples: int,
        sampling: Sampling,
        *,
        greedy: bool = True,
    ) -> list[Explored]:
        """Continue prompts of one wording each in many ways; each prompt is encoded once.

        Samples that have taken the same tokens so far are one continuation, computed once, so
        this always walks the tree. What is drawn depends on the seed, the request's key and the
        number of the sample alone.

        Args:
            requests: Questions of one wording.
            num_samples: Sampled continuations of each, from 0.
            sampling: How they are sampled.
            greedy: Whether to add the greedy continuation.

        Raises:
            UserError: A question that cannot be asked; see `problem`.
        """
        explorer = Explorer(self.prefiller, self.outcomes)
        return explorer.explore(requests, num_samples, sampling, greedy=greedy)

    def log_likelihoods(
        self,
        asked: Sequence[tuple[Request, str | Sequence[int]]],
        method: AnyMethod | None = None,
    ) -> list[LogLikelihood]:
        """Tell how likely given continuations are, token by token (teacher forcing).

        Of `flex_attention` it is the fused stream's distribution, of a logit-level rule its
        normalised scores at each step, of `origin` the original wording's, of `per_prompt` each
        wording's. With one wording all of them are the model's own log-probability of the
        continuation. Several continuations of one request share its prefill, and what they begin
        with alike.

        Args:
            asked: A batch of questions, each with a continuation of its prompts: a text, which is
                read as behind the cue, or token ids.
            method: A method; None for the ensemble's first.

        Returns:
            One for each, in order.

        Raises:
            UserError: A question that cannot be asked (see `problem`), a continuation without a
                token or that cannot be read apart from the cue, a method without a distribution
                (`vote`), or scores that are nan or infinite.
        """
        chosen = self.methods[0] if method is None else resolve_method(method)
        with_ids = []
        for request, given in asked:
            if isinstance(given, str):
                first = request.wordings[0] if request.wordings else ""
                given = (request.frame or self.frame).behind(given, first) if given else ()
            with_ids.append((request, tuple(given)))
        return log_likelihoods(self.prefiller, chosen, with_ids)

    def trace(
        self,
        request: Request,
        methods: Sequence[Method] | None = None,
        *,
        accepted: Sequence[str] = (),
        num_top: int = 5,
        num_ahead: int = 8,
        attribution: Sequence[str] = (),
    ) -> Trace:
        """Look into one question: what every wording and method says at every step.

        The answers, their tokens and log-probabilities are those of `run` for this request alone.
        What is beside them is computed once more behind every beginning of an answer, and differs
        from the run's by rounding.

        Args:
            request: The question.
            methods: Some of the ensemble's methods; None for all of them.
            accepted: Accepted answers, for the verdicts.
            num_top: How many of the likeliest tokens are kept of each distribution.
            num_ahead: Most tokens that each wording goes on with alone from each step.
            attribution: Kinds of attribution as `attribute` takes them; each method has those
                that make sense for it.

        Raises:
            UserError: A question that cannot be asked (see `problem`), no method, a rule of the
                user's that fails, or a kind of attribution that is for none of the methods.
        """
        at_least("num_top", num_top, 1)
        at_least("num_ahead", num_ahead, 0)
        asked = self.methods if methods is None else tuple(methods)
        if not asked:
            raise UserError(
                "No method to look into. Give one, or None for all of the ensemble's.", "SE-0601"
            )
        if isinstance(accepted, str):
            raise UserError(
                "Got one text as accepted answers. Give a list, with one or more.", "SE-0206"
            )
        for kind in attribution:
            if not any(kind in kinds_of(method) for method in asked):
                check_kinds([kind], asked[0])
        check_engine_of(attribution, self.model.engine)
        own, request = self._own(request)
        tracer = Tracer(own.run, own.prefiller, own.stop, num_top, num_ahead, tuple(attribution))
        return tracer.trace(request, asked, accepted)

    def attribute(
        self,
        request: Request,
        kinds: Sequence[str],
        method: AnyMethod | None = None,
        answer: Answer | None = None,
        sampling: OrderSampling | None = None,
    ) -> dict[str, Attribution]:
        """Tell which wording decided which token of an answer.

        Args:
            request: The question.
            kinds: "mass" (flex_attention), "leave_one_out", "shapley" (both of all methods that
                fuse), "share" (logit-level rules); see `attribution.kinds`.
            method: The method that answers; None for the ensemble's first.
            answer: Its answer, if there is one already; None asks for it.
            sampling: How Shapley values of more than 6 wordings are sampled.

        Returns:
            What is attributed to each wording at each token, by kind.

        Raises:
            UserError: A kind that is not for the method, a question that cannot be asked, or a
                log-probability that is not finite.
        """
        asked = self.methods[0] if method is None else resolve_method(method)
        check_kinds(kinds, asked)
        check_engine_of(kinds, self.model.engine)
        if answer is None:
            found = self.run([request], [asked])[asked.name][0]
            if isinstance(found, Unanswered):
                raise UserError(found.error, "SE-0611")
            answer = found
        sampling = sampling or OrderSampling()
        own, request = self._own(request)
        return attribute(own.prefiller, request, asked, answer, kinds, sampling)

    def problem(self, request: Request, methods: Sequence[Method] | None = None) -> str | None:
        """Why a question cannot be asked, or None."""
        try:
            self.check(request, methods)
        except UserError as error:
            return str(error)
        return None

    def check(self, request: Request, methods: Sequence[Method] | None = None) -> None:
        """Refuse a question that cannot be asked with these methods (None: all of them).

        Raises:
            UserError: No wording or an empty one, weights that do not fit, or too long.
        """
        if request.settings is not None:
            check_decode(self.decode, request.settings.sampling, request.settings.num_top)
        self.prefiller.check(request, self.methods if methods is None else methods)

    def prefix(self) -> Prefix:
        """The encoded prefix; encoded on first use, once per run."""
        return self.prefiller.prefix()

    def _reads_weights(self) -> bool:
        method = self.methods[0]
        inside = method.kind == "fused" and self.settings.segment_weights == "given"
        return inside or method.may_read_weights

    def _own(self, request: Request) -> "tuple[Ensemble, Request]":
        """For a request with a prompt or settings of its own, an ensemble that has them."""
        if request.frame is None and request.settings is None:
            return self, request
        own = Ensemble(
            self.model,
            self.methods,
            frame=request.frame or self.frame,
            settings=request.settings or self.settings,
            attention=self.engine.backend,
            decode=self.decode,
        )
        return own, replace(request, frame=None, settings=None)

    def _stop_of(self, request: Request) -> StopRule:
        if request.settings is None:
            return self.stop
        return StopRule.of(self.model, request.settings.stop, request.settings.max_new_tokens)

    def _ask_alone(self, request: Request, method: Method) -> Outcome:
        return self.run([request], [method])[method.name][0]

    def _decoded(
        self, methods: Sequence[Method], requests: Sequence[Request], first_answer: int
    ) -> Found:
        """Ask questions with as many wordings each; wordings alone are numbered from the last."""
        begun = self.beginner.begin(methods, requests, first_answer)
        try:
            if self.decode == "tree":
                decoded = decode(*begun)
            else:
                decoded = decode_captured(
                    begun.batch, begun.frontier, begun.tracks, begun.weights_BN, begun.stops,
                    self.steps, compiled=self.decode == "compiled",
                )  # fmt: skip
        except RuleError as error:
            keys = begun.keys
            batch_of = f"{keys[0]} .. {keys[-1]}" if len(keys) > 1 else keys[0]
            raise UserError(
                f"{error} (batch of questions {batch_of}). What was done before is kept.",
                "SE-0605",
            ) from error
        return by_method(methods, begun.tracks, decoded)
