"""The rivals that are not ours: transformers' `generate`, and the published loop."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from benchmarks.published import ATTENTION, published_answer
from benchmarks.rival import Rival, Walks, tokens_through
from benchmarks.roofline import Needed, published_passes, row_passes
from benchmarks.work import FUSED, Walk, Work, generation_config
from self_ensemble.bench.library import ended, left_padded, own_attention
from self_ensemble.models.packed_linear import unpack_linears
from self_ensemble.passes.engine import Counters
from self_ensemble.prompts.together import together, whole
from self_ensemble.walking.stopping import StopRule

CAUSAL_CONCAT = "causal_concat"


def generate(work: Work, name: str, prompts: Sequence[Sequence[tuple[int, ...]]]) -> Rival:
    """One call of `generate` a batch, on the prompts of every question as its rows.

    Args:
        work: The questions.
        name: What the rival is called; `causal_concat`'s answers are fused, the others' a
            wording's.
        prompts: Those of each question, as many of all.
    """
    model = work.loaded.model
    config = generation_config(work)
    backend = own_attention(work.loaded)
    num_rows = len(prompts[0])
    flat = [[prompt for question in prompts[batch] for prompt in question]
            for batch in work.batches()]  # fmt: skip
    rows = [left_padded(batch, config.pad_token_id, work.loaded.device) for batch in flat]
    options: dict[str, object] = {}
    if work.stop:
        options = {"stop_strings": list(work.stop), "tokenizer": work.loaded.tokenizer}
    eos = config.eos_token_id
    eos_ids = frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos)
    rule = StopRule(work.loaded.tokenizer, eos_ids, work.stop, work.max_new_tokens)
    counters = Counters()

    def prepare() -> None:
        _make_ready(work, backend)
        model.generation_config = config

    def answer(num_tokens: int) -> Iterator[Tensor]:
        for token_ids, mask in rows:
            output: Tensor = model.generate(
                token_ids, attention_mask=mask, max_new_tokens=num_tokens, **options
            )
            generated = output[:, token_ids.shape[1] :].cpu()
            counters.prompt_tokens += token_ids.numel()
            counters.decode_tokens += len(generated) * (generated.shape[1] - 1)
            yield generated

    def walks(generated: Tensor) -> Walks:
        answers = [ended(rule, row) for row in generated.tolist()]
        return [
            tuple(
                Walk(FUSED if name == CAUSAL_CONCAT else index, tokens)
                for index, tokens in enumerate(question)
            )
            for question in _groups(answers, num_rows)
        ]

    def needed(found: Walks) -> Needed:
        prefills, decode = [], []
        for batch, each in zip(flat, work.batches(), strict=True):
            answers = [walk for question in found[each] for walk in question]
            prefill, steps = row_passes(list(map(len, batch)), answers)
            prefills.append(prefill)
            decode += steps
        return Needed((), tuple(prefills), tuple(decode))

    return Rival(
        name=name,
        is_ours=False,
        num_questions=len(work.parts),
        num_batches=len(rows),
        prepare=prepare,
        encode_prefix=None,
        answer=answer,
        walks=walks,
        needed=needed,
        num_tokens=lambda: tokens_through(counters),
    )


def each_alone(work: Work, num_wordings: int) -> list[list[tuple[int, ...]]]:
    """The full prompts of every question's first wordings, `num_wordings` a question."""
    return [[parts.alone(n) for n in range(num_wordings)] for parts in work.parts]


def all_together(work: Work) -> list[list[tuple[int, ...]]]:
    """One prompt a question: its wordings one after the other, as in standard attention."""
    return [[whole(together(work.frame, wordings))] for wordings in work.wordings]


def published(work: Work, num_questions: int) -> Rival:
    """The published loop on the first questions, one at a time."""
    questions = work.parts[:num_questions]
    prompts = [[parts.alone(n) for n in range(work.num_wordings)] for parts in questions]
    counters = Counters()

    def answer(num_tokens: int) -> Iterator[list[int]]:
        for question in prompts:
            yield published_answer(work.loaded, question, num_tokens)
            again = sum(range(num_tokens))
            counters.prompt_tokens += num_tokens * sum(map(len, question))
            counters.decode_tokens += again

    def needed(walks: Walks) -> Needed:
        first, later = [], []
        for question, (walk,) in zip(prompts, walks, strict=True):
            passes = published_passes(list(map(len, question)), len(walk.token_ids))
            first.append(passes[0])
            later += passes[1:]
        return Needed((), tuple(first), tuple(later))

    return Rival(
        name="published",
        is_ours=False,
        num_questions=len(questions),
        num_batches=len(questions),
        prepare=lambda: _make_ready(work, ATTENTION),
        encode_prefix=None,
        answer=answer,
        walks=lambda generated: [(Walk(FUSED, tuple(generated)),)],
        needed=needed,
        num_tokens=lambda: tokens_through(counters),
    )


def _make_ready(work: Work, attention: str) -> None:
    """Give the model an attention function, and the linear layers that it was loaded with."""
    unpack_linears(work.loaded.model)
    work.loaded.model.set_attn_implementation(attention)


def _groups(rows: Sequence[tuple[int, ...]], size: int) -> Iterator[Sequence[tuple[int, ...]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
