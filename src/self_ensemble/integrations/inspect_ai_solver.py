"""For Inspect (inspect_ai): a solver that votes over wordings, and a small task to try it on.

    inspect eval self_ensemble/demo --model openai/... --solver self_ensemble/ensemble -S num=3
    inspect eval self_ensemble/demo --model self-ensemble/smollm2_135m_it -M method=origin

The entry point names this module, which also registers the model provider. Needs
`self-ensemble[inspect]`.
"""

import math

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ModelOutput, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from inspect_ai.util import collect

import self_ensemble as se
from self_ensemble.integrations.inspect_ai_model import KEY, told_of, without_traceback


@solver
def record_wordings() -> Solver:
    """Put what the wordings answered into the sample's metadata, behind `generate()`."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.metadata |= state.output.metadata or {}
        return state

    return solve


@solver
def ensemble(paraphrases: str | None = None, num: int | None = None) -> Solver:
    """Ask any model N wordings and let the answers vote, where logits cannot be had.

    Args:
        paraphrases: File of wordings by question; None: the sample's metadata have `paraphrases`.
        num: The first so many wordings, the question included; None for all.
    """
    with without_traceback():
        by_question = se.load_wordings(paraphrases) if paraphrases else None

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        text = state.user_prompt.text
        own = {
            state.input_text.strip(): (state.input_text, *state.metadata.get("paraphrases", ()))
        }
        known = se.KnownWordings(paraphrases or "the sample's metadata", by_question or own, num)
        left, question, right = known.cut_text(text)
        wordings, place = known.wordings(question), state.messages.index(state.user_prompt)
        asked = [
            [
                *state.messages[:place],
                state.user_prompt.model_copy(update={"content": left + one + right}),
                *state.messages[place + 1 :],
            ]
            for one in wordings
        ]
        outputs = await collect(*(get_model().generate(messages) for messages in asked))
        said = [se.first_line(one.completion) for one in outputs]
        winner = se.vote(said, [_mean_logprob(one) for one in outputs])
        state.output = outputs[winner]
        state.messages.append(state.output.message)
        state.metadata[KEY] = {"method": "vote", "wordings": told_of(wordings, said)}
        return state

    return solve


def _mean_logprob(output: ModelOutput) -> float:
    found = output.choices[0].logprobs if output.choices else None
    each = [one.logprob for one in found.content] if found else []
    return sum(each) / len(each) if each else math.nan


@task
def demo(num: int = 20) -> Task:
    """Questions that come with self-ensemble, with their wordings."""
    samples = [
        Sample(
            input=one.wordings[0], target=list(one.answers), id=one.uuid,
            metadata={"paraphrases": list(one.wordings[1:])},
        )
        for one in se.load_questions("demo", max_samples=num).questions
    ]  # fmt: skip
    config = GenerateConfig(max_tokens=32)
    return Task(samples, solver=[generate(), record_wordings()], scorer=includes(), config=config)
