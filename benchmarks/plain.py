"""The rivals that are not ours: transformers' `generate`, and the published loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.published import ATTENTION, published_answer
from benchmarks.rival import Rival, Walks, tokens_through
from benchmarks.roofline import Needed, published_passes, row_passes
from benchmarks.work import FUSED, Walk, Work, generation_config
from self_ensemble.models.packed_linear import unpack_linears
from self_ensemble.passes.engine import Counters
from self_ensemble.walking.stopping import StopRule


@dataclass(slots=True)
class _Rows:
    """Left-padded prompts `(rows, L)` of one batch, and how many tokens are real."""

    input_ids: Tensor
    attention_mask: Tensor
    lengths: list[int] = field(default_factory=list)


def generate(work: Work, name: str, num_wordings: int) -> Rival:
    """One call of `generate` a batch, on the first wordings of every question as its rows."""
    model = work.loaded.model
    config = generation_config(work)
    # As `load_model` does; the model may still have ours.
    backend = "sdpa" if model._supports_sdpa else "eager"
    rows = [_padded(work, batch, num_wordings, config.pad_token_id) for batch in work.batches()]
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
        for batch in rows:
            output: Tensor = model.generate(
                batch.input_ids, attention_mask=batch.attention_mask,
                max_new_tokens=num_tokens, **options,
            )  # fmt: skip
            generated = output[:, batch.input_ids.shape[1] :].cpu()
            counters.prompt_tokens += batch.input_ids.numel()
            counters.decode_tokens += len(generated) * (generated.shape[1] - 1)
            yield generated

    def walks(generated: Tensor) -> Walks:
        answers = [ended(rule, row) for row in generated.tolist()]
        return [
            tuple(Walk(index, tokens) for index, tokens in enumerate(question))
            for question in _groups(answers, num_wordings)
        ]

    def needed(found: Walks) -> Needed:
        prefills, decode = [], []
        for batch, each in zip(rows, work.batches(), strict=True):
            flat = [walk for question in found[each] for walk in question]
            prefill, steps = row_passes(batch.lengths, flat)
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


def ended(rule: StopRule, token_ids: Sequence[int]) -> tuple[int, ...]:
    """An answer up to the token that ends it, without what `generate` padded behind it."""
    for length in range(1, len(token_ids) + 1):
        if rule.reason(token_ids[:length]) is not None:
            return tuple(token_ids[:length])
    return tuple(token_ids)


def _padded(work: Work, batch: slice, num_wordings: int, pad: int) -> _Rows:
    prompts = [parts.alone(n) for parts in work.parts[batch] for n in range(num_wordings)]
    lengths = [len(prompt) for prompt in prompts]
    width = max(lengths)
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    device = work.loaded.device
    return _Rows(ids.to(device), mask.to(device), lengths)


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
