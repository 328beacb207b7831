"""This engine, as it is used: wordings go in as text, answers come out as text.

Inside its clock are tokenising, laying out, prefill, decoding and the answers' text; only the
prefix is warm before, as everybody's is.
"""

from collections.abc import Sequence

import torch

from benchmarks.engines.asking import Ask
from benchmarks.ours import answered, members_of
from benchmarks.work import Work
from self_ensemble.asking.methods import resolve_methods
from self_ensemble.asking.request import Request
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import LoadedModel, load_model

# What each column is asked with, and the method whose answers are looked at.
METHODS = {"one": "origin", "five": "vote"}


class Ours:
    """This engine.

    Args:
        model: Its name.
        num_threads: PyTorch's.
        options: How `load_model` loads it: its type, or another engine below it.
    """

    def __init__(self, model: str, num_threads: int, **options: str) -> None:
        torch.set_num_threads(num_threads)
        self.loaded: LoadedModel = load_model(model, device="cpu", **options)  # type: ignore[arg-type]
        self.ready: tuple[Ask, Work, Ensemble] | None = None

    def warm(self, ask: Ask) -> None:
        frame = ask.frame(self.loaded.tokenizer)
        work = Work(
            name=ask.column,
            loaded=self.loaded,
            frame=frame,
            wordings=ask.wordings,
            parts=tuple(map(frame.parts, ask.wordings)),
            max_new_tokens=ask.new_tokens,
            batch_size=len(ask.wordings),
        )
        ours = [part.alone(n) for part in work.parts for n in range(work.num_wordings)]
        assert list(ask.prompts) == ours, "everybody is asked the same tokens"
        methods = resolve_methods([METHODS.get(ask.column, ask.column)], has_weights=False)
        ensemble = work.ensemble(methods, ask.new_tokens)
        ensemble.prefix()
        self.ready = ask, work, ensemble

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        assert self.ready is not None
        assert self.ready[0] is ask, "another question was warmed up"
        _, _, ensemble = self.ready
        requests = [Request(str(n), texts) for n, texts in enumerate(ask.wordings)]
        found = answered(ensemble, requests)
        name = METHODS.get(ask.column, ask.column)
        answers = found.get(name) or next(iter(found.values()))
        if ask.column == "five":
            return [one.token_ids for answer in answers for one in members_of(answer)]
        return [answer.token_ids for answer in answers]
