"""No numbers without right answers: ours against the oracle, before anything is timed.

What is compared and how is the library's (`self_ensemble.bench.check`); here it is done in
float32, whatever type is timed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from benchmarks.ours import answered, make_ready
from benchmarks.plain import CAUSAL_CONCAT, all_together, each_alone, generate
from benchmarks.rival import Rival
from benchmarks.work import Work, model_as_it_was
from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.asking.request import Answer
from self_ensemble.bench.check import CHECKED, check_answers, check_rows
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import unpack_linears


@dataclass(frozen=True, slots=True)
class Checked:
    """What was compared; all of it was right.

    Attributes:
        num_questions: Questions compared with the oracle.
        num_tokens: Tokens that were the oracle's.
        num_rows: Answers of `generate` that were ours.
        num_ties: Tokens that were as good as the oracle's up to rounding.
        equal_tokens: Share of tokens of the timed type that are those of float32, in the first
            batch; 1 where the model is timed in float32.
    """

    num_questions: int
    num_tokens: int
    num_rows: int
    num_ties: int
    equal_tokens: float


def check_work(
    work: Work,
    *,
    num_questions: int = 2,
    attention: str | None = None,
    methods: Mapping[str, Method] | None = None,
) -> Checked:
    """Compare our answers of the first batch with the oracle and with `generate`.

    Args:
        work: The timed work.
        num_questions: Questions compared with the oracle, which is slow.
        attention: Backend of ours; None for the model's.
        methods: What answers under the names of `CHECKED`; None for the built-in methods.

    Raises:
        UserError: An answer differs.
    """
    asked = {name: resolve_method(name) for name in CHECKED} if methods is None else methods
    first = next(work.batches())
    with model_as_it_was(work.loaded), in_float32(work.loaded) as loaded:
        exact = replace(work, loaded=loaded)
        answers = _answers(exact, asked, first, attention)
        parts = work.parts[first]
        rows = _generated(replace(exact, wordings=work.wordings[first], parts=parts))
        found = check_answers(loaded, parts, answers, rows, num_questions)
        few = slice(0, min(num_questions, len(parts)))
        ties = _ties_together(replace(exact, wordings=work.wordings[few], parts=work.parts[few]))
    return Checked(
        min(num_questions, len(parts)),
        found.num_tokens + len(ties),
        found.num_rows,
        found.num_ties + sum(ties),
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


def _generated(work: Work) -> list[tuple[int, ...]]:
    return _rows(work, generate(work, "generate_five", each_alone(work, work.num_wordings)))


def _ties_together(work: Work) -> list[bool]:
    """Compare answers to all wordings in one prompt with the oracle; of each token if it ties."""
    prompts = all_together(work)
    rows = _rows(work, generate(work, CAUSAL_CONCAT, prompts))
    return check_rows(work.loaded, CAUSAL_CONCAT, [one for (one,) in prompts], rows)


def _rows(work: Work, rival: Rival) -> list[tuple[int, ...]]:
    rival.prepare()
    return [
        walk.token_ids
        for batch in rival.answer(work.max_new_tokens)
        for question in rival.walks(batch)
        for walk in question
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
