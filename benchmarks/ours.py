"""This engine as a rival."""

from collections.abc import Iterator, Sequence

from benchmarks.rival import Rival, Walks, tokens_through
from benchmarks.roofline import Needed, packed_passes, prefix_pass
from benchmarks.work import FUSED, PRIOR, Walk, Work
from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Request, Unanswered
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.packed_linear import pack_linears, unpack_linears
from self_ensemble.passes.prefill import encode_prefix


def ours(
    work: Work, name: str, methods: Sequence[Method], attention: str | None = None
) -> Rival:  # fmt: skip
    """This engine with one or several methods."""
    # One for full answers and one for first tokens: the length of an answer is a setting.
    ensembles = {
        num_tokens: work.ensemble(methods, num_tokens, attention)
        for num_tokens in {1, work.max_new_tokens}
    }
    full = ensembles[work.max_new_tokens]

    def answer(num_tokens: int) -> Iterator[dict[str, list[Answer]]]:
        for batch in work.batches():
            yield answered(ensembles[num_tokens], work.requests(batch))

    def needed(walks: Walks) -> Needed:
        prefills, decode = [], []
        for batch in work.batches():
            prefill, steps = packed_passes(work.parts[batch], walks[batch])
            prefills.append(prefill)
            decode += steps
        return Needed(prefix_pass(len(work.frame.prefix)), tuple(prefills), tuple(decode))

    def prepare() -> None:
        make_ready(work, full)
        for ensemble in ensembles.values():
            ensemble.prefix()

    def encode_again() -> None:
        # The ensembles have their own by now; this is the work that every new run has.
        encode_prefix(full.engine, work.frame.prefix)

    return Rival(
        name=name,
        is_ours=True,
        num_questions=len(work.parts),
        num_batches=len(list(work.batches())),
        prepare=prepare,
        encode_prefix=encode_again,
        answer=answer,
        walks=lambda answers: answer_walks(methods, answers, work.num_wordings),
        needed=needed,
        num_tokens=lambda: tokens_through(full.counters),
    )


def answered(ensemble: Ensemble, requests: Sequence[Request]) -> dict[str, list[Answer]]:
    """The answers of one batch, all of them.

    Raises:
        UserError: One is not finite.
    """
    found: dict[str, list[Answer]] = {}
    for name, outcomes in ensemble.run(requests).items():
        for one in outcomes:
            # Of several wordings' answers each must be there.
            failed = [x for x in (one, *one.members) if isinstance(x, Unanswered)]
            if failed:
                raise UserError(f"No numbers without answers: {failed[0].error}", "SE-1101")
            if isinstance(one, Answer):
                found.setdefault(name, []).append(one)
    return found


def members_of(answer: Answer) -> tuple[Answer, ...]:
    """The answers of the wordings, which `answered` has found to be there."""
    return tuple(member for member in answer.members if isinstance(member, Answer))


def make_ready(work: Work, ensemble: Ensemble) -> None:
    """Give the model the attention function and the linear layers that ours runs on."""
    if work.ours_is_packed:
        pack_linears(ensemble.model.model)
    else:
        unpack_linears(ensemble.model.model)
    ensemble.engine.attach()


def answer_walks(
    methods: Sequence[Method], answers: dict[str, list[Answer]], num_wordings: int
) -> Walks:
    """Our answers of one batch as tokens of streams."""
    walks: list[list[Walk]] = [[] for _ in next(iter(answers.values()))]
    for method in methods:
        for found, answer in zip(walks, answers[method.name], strict=True):
            if method.kind == "fused":
                found.append(Walk(FUSED, answer.token_ids))
            elif method.kind == "tied":
                streams = [*range(num_wordings), *([PRIOR] if method.reads_prior else [])]
                found += [Walk(stream, answer.token_ids) for stream in streams]
            else:
                members = members_of(answer) or (answer,)
                found += [Walk(index, one.token_ids) for index, one in enumerate(members)]
    return [tuple(found) for found in walks]
