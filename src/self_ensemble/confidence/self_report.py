"""P(true): the model is shown its own answer and asked whether it is true.

Source: Kadavath et al. 2022, "Language Models (Mostly) Know What They Know", arXiv 2207.05221.
Their prompt lets the model choose between (A) True and (B) False; here it says the word, because
small models choose letters by habit.
"""

import math
from collections.abc import Sequence

import torch

from self_ensemble.asking.isolation import REMEDY
from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.schema import Framing, Shot
from self_ensemble.walking.sampling import Sampling

INSTRUCTION = "Say whether the proposed answer to each question is true or false.\n\n"
FRAMING = Framing(wording="{}\n", cue="The proposed answer is", answer=" {}.\n\n")
EXAMPLES = (
    ("At what temperature does water boil at sea level?", "100 degrees Celsius", "true"),
    ("Who painted the ceiling of the Sistine Chapel?", "Claude Monet", "false"),
    ("Which metal is liquid at room temperature?", "iron", "false"),
    ("How many legs does a spider have?", "eight", "true"),
)


TOO_LONG = "The question with its proposed answer is too long for the model to be asked about."
NOT_FINITE = (
    f"The model gives nan or infinity where it is asked whether its answer is true. {REMEDY}"
)


class TrueOrFalse:
    """Asks a model whether proposed answers are true."""

    def __init__(self, model: LoadedModel, attention: str | None = None) -> None:
        shots = [Shot(statement(question, answer), truth) for question, answer, truth in EXAMPLES]
        frame = plain_frame(model.tokenizer, INSTRUCTION, shots, FRAMING)
        self.ensemble = Ensemble(
            model, "origin", frame=frame, settings=Settings(max_new_tokens=1), attention=attention
        )
        self._words = [frame.behind(f" {word}")[0] for word in ("true", "false")]
        if self._words[0] == self._words[1]:
            raise UserError(
                f"In the vocabulary of {model.name} the words true and false begin with the same "
                "token, so p_true cannot be read off. Use another --estimator.",
                "SE-0613",
            )

    def probabilities(
        self, questions: Sequence[str], answers: Sequence[str], batch_size: int
    ) -> list[float | str]:
        """Probability of "true" against "false" for each proposed answer, or why there is none.

        This prompt is another than the data set's, so it may be too long for the model where
        that one is not.
        """
        found: list[float | str] = [TOO_LONG] * len(questions)
        requests = [
            (place, Request(key=str(place), wordings=(statement(question, answer),)))
            for place, (question, answer) in enumerate(zip(questions, answers, strict=True))
        ]
        requests = [one for one in requests if self.ensemble.problem(one[1]) is None]
        for start in range(0, len(requests), batch_size):
            places, batch = zip(*requests[start : start + batch_size], strict=True)
            seen = self.ensemble.explore(batch, 0, Sampling(), greedy=False)
            for place, explored in zip(places, seen, strict=True):
                both = explored.first_logits[torch.tensor(self._words)]
                p_true = float(both.softmax(dim=-1)[0])
                is_finite = math.isfinite(p_true) and bool(explored.first_logits.amax().isfinite())
                found[place] = p_true if is_finite else NOT_FINITE
        return found


def statement(question: str, answer: str) -> str:
    """The question with its proposed answer, as the model is shown them."""
    return f"Question: {question}\nProposed answer: {answer or '(no answer)'}"
