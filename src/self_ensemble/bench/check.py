"""No numbers without right answers: ours against the oracle, before anything is timed.

Every token of ours must be the one that the oracle would choose after the tokens before it, in
float32. Where the oracle's two best tokens are equal up to rounding either is right; how often
that happened is reported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from self_ensemble.asking import Answer
from self_ensemble.bench.ours import answer_walks, answered, make_ready, members_of
from self_ensemble.bench.plain import generate
from self_ensemble.bench.rival import Walks
from self_ensemble.bench.work import Work, model_as_it_was
from self_ensemble.decoding.reference import eager_attention, next_logits_alone, next_logits_fused
from self_ensemble.errors import UserError
from self_ensemble.methods import Method, resolve_method
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import unpack_linears
from self_ensemble.prompts.parts import PromptParts

# Measured on SmolLM2-135M: logits of two right computations differ by up to 4e-5.
TIE = 1e-3
CHECKED = ("flex_attention", "avg", "per_prompt", "origin")
NextLogits = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared.

    Attributes:
        num_questions: Questions compared with the oracle.
        num_tokens: Tokens that were the oracle's.
        num_rows: Rows compared with `generate`, the original wording's and all wordings'.
        num_ties: Tokens that were as good as the oracle's up to rounding.
        equal_tokens: Share of tokens of the timed type that are those of float32, in the first
            batch; 1 where the model is timed in float32.
    """

    num_questions: int
    num_tokens: int
    num_rows: int
    num_ties: int
    equal_tokens: float


def check_answers(
    work: Work,
    *,
    num_questions: int = 2,
    attention: str | None = None,
    methods: Mapping[str, Method] | None = None,
) -> Check:
    """Compare our answers of the first batch with the oracle and with `generate`.

    Args:
        work: The timed work.
        num_questions: Questions compared with the oracle, which is slow.
        attention: Backend of ours; None for the model's.
        methods: What answers under the names of `CHECKED`; None for the built-in methods.

    Returns:
        What was compared; all of it was right.

    Raises:
        UserError: An answer differs.
    """
    asked = {name: resolve_method(name) for name in CHECKED} if methods is None else methods
    first = next(work.batches())
    tally = _Tally()
    with model_as_it_was(work.loaded), in_float32(work.loaded) as loaded:
        exact = replace(work, loaded=loaded)
        answers = _answers(exact, asked, first, attention)
        for index, parts in enumerate(exact.parts[:num_questions]):
            for name in ("flex_attention", "avg"):
                tokens = answers[name][index].token_ids
                oracle = _oracle(loaded, parts, name, tokens)
                tally.compare(f"{name}, question {index}", tokens, oracle)
            for member, answer in enumerate(members_of(answers["per_prompt"][index])):
                tally.compare(
                    f"per_prompt, question {index}, wording {member}",
                    answer.token_ids,
                    _oracle_alone(loaded, parts, member, answer.token_ids),
                )
        num_tokens = tally.num_tokens
        for name, rival, width in (
            ("origin", "generate_one", 1),
            ("per_prompt", "generate_five", work.num_wordings),
        ):
            only_first = replace(exact, wordings=work.wordings[first], parts=work.parts[first])
            theirs = _generated(only_first, rival, width)
            walks = answer_walks([asked[name]], {name: answers[name]}, work.num_wordings)
            for index, (mine, other) in enumerate(zip(walks, theirs, strict=True)):
                for one, two in zip(mine, other, strict=True):
                    what = f"{name} against {rival}, question {index}, wording {one.stream}"
                    tally.compare_with_row(
                        what, loaded, work.parts[index].alone(one.stream),
                        one.token_ids, two.token_ids,
                    )  # fmt: skip
    return Check(
        num_questions=min(num_questions, len(work.parts[first])),
        num_tokens=num_tokens,
        num_rows=tally.num_rows,
        num_ties=tally.num_ties,
        equal_tokens=_equal_tokens(work, asked, first, attention, answers),
    )


@contextmanager
def in_float32(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """The model with its weights widened to float32 for a while."""
    before = [(weights, weights.data) for weights in loaded.model.parameters()]
    # Parameters only: buffers such as the rotary frequencies are float32 in every model.
    for weights, data in before:
        weights.data = data.float()
    try:
        yield replace(loaded, dtype=torch.float32)
    finally:
        for weights, data in before:
            weights.data = data


@dataclass(slots=True)
class _Tally:
    num_tokens: int = 0
    num_rows: int = 0
    num_ties: int = 0

    def compare(self, what: str, token_ids: Sequence[int], next_logits: NextLogits) -> None:
        """Each token must be the best one after those before it."""
        for place, token in enumerate(token_ids):
            self._accept(what, place, token, next_logits(token_ids[:place]))
            self.num_tokens += 1

    def compare_with_row(
        self,
        what: str,
        loaded: LoadedModel,
        prompt: Sequence[int],
        mine: Sequence[int],
        other: Sequence[int],
    ) -> None:
        """Two answers must be equal; up to rounding, where they part."""
        self.num_rows += 1
        if list(mine) == list(other):
            return
        place = next(
            (n for n, (one, two) in enumerate(zip(mine, other, strict=False)) if one != two),
            min(len(mine), len(other)),
        )
        if place == min(len(mine), len(other)):
            raise _refusal(what, place, "the answers have different lengths")
        logits = next_logits_alone(loaded, [*prompt, *mine[:place]])
        for token in (mine[place], other[place]):
            self._accept(what, place, token, logits)

    def _accept(self, what: str, place: int, token: int, logits: Tensor) -> None:
        best = int(logits.argmax())
        if not logits[best].isfinite():
            raise _refusal(what, place, "the oracle's logits are not finite")
        if token == best:
            return
        gap = float(logits[best] - logits[token])
        if not gap <= TIE:
            raise _refusal(
                what, place, f"got {token}, expected {best}, whose logit is {gap:.3g} higher"
            )
        self.num_ties += 1


def _refusal(what: str, place: int, reason: str) -> UserError:
    return UserError(
        f"Answers are not right ({what}, token {place}: {reason}), so no numbers are reported. "
        "Report this as a bug, with the command."
    )


def _oracle(
    loaded: LoadedModel, parts: PromptParts, name: str, answer: Sequence[int]
) -> NextLogits:
    num_wordings = len(parts.segments)
    if name == "flex_attention":
        uniform = [1.0 / num_wordings] * num_wordings
        return lambda tokens: next_logits_fused(loaded, parts, tokens, uniform)
    each = [_oracle_alone(loaded, parts, index, answer) for index in range(num_wordings)]
    return lambda tokens: torch.stack([one(tokens) for one in each]).mean(dim=0)


@torch.inference_mode()
def _oracle_alone(
    loaded: LoadedModel, parts: PromptParts, index: int, answer: Sequence[int]
) -> NextLogits:
    """Logits after the prompt of one wording and any of the answer's beginnings.

    One pass of an ordinary causal sequence through transformers' own eager attention has them
    all, and they are what `next_logits_alone` gives one after the other.
    """
    assert index >= 0, "a stream that is no wording has no prompt of its own"
    prompt = parts.alone(index)
    ids = torch.tensor([[*prompt, *answer]], device=loaded.device)
    with eager_attention(loaded):
        logits = loaded.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
    return lambda tokens: logits[len(tokens)]


def _answers(
    work: Work, methods: Mapping[str, Method], batch: slice, attention: str | None
) -> dict[str, list[Answer]]:
    ensemble = work.ensemble(list(methods.values()), work.max_new_tokens, attention)
    make_ready(work, ensemble)
    try:
        found = answered(ensemble, work.requests(batch))
    finally:
        # What it is compared with runs on plain layers, and `in_float32` knows no others.
        unpack_linears(work.loaded.model)
    return {name: found[method.name] for name, method in methods.items()}


def _generated(work: Work, name: str, num_wordings: int) -> Walks:
    rival = generate(work, name, num_wordings)
    rival.prepare()
    return [
        question for batch in rival.answer(work.max_new_tokens) for question in rival.walks(batch)
    ]


def _equal_tokens(
    work: Work,
    methods: Mapping[str, Method],
    batch: slice,
    attention: str | None,
    exact: dict[str, list[Answer]],
) -> float:
    if work.loaded.dtype == torch.float32:
        return 1.0
    with model_as_it_was(work.loaded):
        rough = _answers(work, methods, batch, attention)
    pairs = [
        one == two
        for name in methods
        for a, b in zip(exact[name], rough[name], strict=True)
        for one, two in zip(a.token_ids, b.token_ids, strict=False)
    ]
    return sum(pairs) / len(pairs)
