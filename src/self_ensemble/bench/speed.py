"""Ours beside transformers' `generate` on the bundled questions, one round after the other.

All answers have the same number of tokens, whatever the model says, so that nobody is fast because
its answers happen to be short. Inside the clock of ours is all that a run does, the prefix and the
text of answers included; of `generate` the call alone, on plain layers and a library's attention.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice

import torch
from transformers import GenerationConfig

from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.asking.request import Answer, Settings, Unanswered
from self_ensemble.bench.check import CHECKED, Check, check_answers, check_rows
from self_ensemble.bench.library import left_padded, own_attention
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import pack_linears, unpack_linears
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.together import together, whole
from self_ensemble.questions.load import load_questions
from self_ensemble.walking.stopping import StopRule

NUM_WORDINGS, NUM_SHOTS, NUM_TOKENS, NUM_ROUNDS, NUM_CHECKED = 5, 5, 20, 3, 2
Questions = Sequence[tuple[str, ...]]
# The prompts of a question: rows of the batch.
Prompts = Callable[[tuple[str, ...]], list[tuple[int, ...]]]
CAUSAL_CONCAT = "causal_concat"


def measure_speed(
    model: LoadedModel,
    methods: Sequence[Method],
    *,
    num_questions: int,
    batch_size: int,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Check, dict[str, list[float]]]:
    """Compare the answers of one batch, then measure `generate` and every method by itself.

    The bundled questions repeat where there are fewer than asked for. Linear layers are packed
    afterwards, as `load_model` leaves them.

    Returns:
        What was compared, and seconds per question in each round, by rival. `generate_one` is
        asked the original wording, `generate_five` all wordings as rows of one batch,
        `causal_concat` all of them in one prompt, one after the other.

    Raises:
        UserError: An answer is not right or not finite, so there are no numbers.
    """
    demo = load_questions("demo", num_shots=NUM_SHOTS)
    frame = plain_frame(model.tokenizer, demo.instruction, demo.shots, demo.framing)
    chosen = islice(cycle(demo.questions), num_questions)
    questions = [question.wordings[:NUM_WORDINGS] for question in chosen]
    race = _Race(model, frame, batch_size)
    rivals: dict[str, Callable[[Questions], tuple[object, float]]] = {
        "generate_one": partial(race.generate, race.alone(1)),
        "generate_five": partial(race.generate, race.alone(NUM_WORDINGS)),
        CAUSAL_CONCAT: partial(race.generate, race.together),
        **{method.name: partial(race.ours, method) for method in methods},
    }
    own, pad = model.model.generation_config, model.tokenizer.pad_token_id
    # No token ends an answer. transformers fills what a call leaves out from the model's settings.
    model.model.generation_config = GenerationConfig(pad_token_id=0 if pad is None else pad)
    try:
        report("comparing answers with the oracle")
        check = race.check(questions[:batch_size])
        for rival in rivals.values():
            rival(questions[:batch_size])
        seconds: dict[str, list[float]] = {name: [] for name in rivals}
        for number in range(NUM_ROUNDS):
            for name, rival in rivals.items():
                report(f"round {number + 1} of {NUM_ROUNDS}: {name}")
                seconds[name].append(rival(questions)[1] / num_questions)
    finally:
        model.model.generation_config = own
        pack_linears(model.model)
    return check, seconds


@dataclass(frozen=True, slots=True)
class _Race:
    """Answers to questions, and the seconds that they took."""

    model: LoadedModel
    frame: PromptFrame
    batch_size: int

    def check(self, questions: Questions) -> Check:
        found = {name: self.ours(resolve_method(name), questions)[0] for name in CHECKED}
        rows, _ = self.generate(self.alone(NUM_WORDINGS), questions)
        parts = [self.frame.parts(question) for question in questions]
        check = check_answers(self.model, parts, found, rows, NUM_CHECKED)
        few = questions[:NUM_CHECKED]
        rows, _ = self.generate(self.together, few)
        prompts = [prompt for question in few for prompt in self.together(question)]
        ties = check_rows(self.model, CAUSAL_CONCAT, prompts, rows)
        return Check(check.num_tokens + len(ties), check.num_rows, check.num_ties + sum(ties))

    def alone(self, num_wordings: int) -> Prompts:
        """Makes the full prompts of a question's first wordings."""

        def prompts(question: tuple[str, ...]) -> list[tuple[int, ...]]:
            parts = self.frame.parts(question)
            return [parts.alone(n) for n in range(num_wordings)]

        return prompts

    def together(self, question: tuple[str, ...]) -> list[tuple[int, ...]]:
        """One prompt that has all wordings of a question, one after the other."""
        return [whole(together(self.frame, question))]

    def ours(self, method: Method, questions: Questions) -> tuple[list[Answer], float]:
        if self.model.graph is None:
            pack_linears(self.model.model)
        start = self._now()
        settings = Settings(max_new_tokens=NUM_TOKENS, stop=())
        ensemble = Ensemble(self.model, method, frame=self.frame, settings=settings)
        ensemble.stop = StopRule(self.model.tokenizer, frozenset(), (), NUM_TOKENS)
        answers = ensemble.answer_many(questions, batch_size=self.batch_size)
        seconds = self._now() - start
        for one in (member for answer in answers for member in answer.members):
            if isinstance(one, Unanswered):
                raise UserError(f"No numbers without answers: {one.error}", "SE-0612")
        return answers, seconds

    def generate(self, of: Prompts, questions: Questions) -> tuple[list[list[int]], float]:
        unpack_linears(self.model.model)
        # Our own attention may still be there.
        self.model.model.set_attn_implementation(own_attention(self.model))
        prompts = [of(question) for question in questions]
        pad = self.model.model.generation_config.pad_token_id
        batches = [
            left_padded(list(chain(*prompts[n : n + self.batch_size])), pad, self.model.device)
            for n in range(0, len(prompts), self.batch_size)
        ]
        start = self._now()
        outputs = [
            self.model.model.generate(ids, attention_mask=mask, max_new_tokens=NUM_TOKENS)
            for ids, mask in batches
        ]
        seconds = self._now() - start
        return [row[-NUM_TOKENS:] for output in outputs for row in output.tolist()], seconds

    def _now(self) -> float:
        if self.model.device.type != "cpu":
            torch.accelerator.synchronize(self.model.device)
        return time.perf_counter()
