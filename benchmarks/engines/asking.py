"""What every engine is asked, and who asks: one file for both sides of the pipe.

An engine's prefix cache must not have seen a measured question, however often it is asked. So each
time it is asked, the few-shot examples before it stand in another order, which is as long: behind
another prefix nothing of it is in a cache. The prefix itself is warm before the clock starts, with
a question that is not measured: a run has it warm too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Protocol

from self_ensemble.errors import UserError
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import Framing, Shot

# What is timed: wordings each by itself, or fused. An engine of others has no fused columns.
ALONE = ("one", "five")
FUSED = ("flex_attention", "avg", "all")
COLUMNS = (*ALONE, *FUSED)
NUM_WORDINGS = 5
NUM_SHOTS = 5
WARM_UP = -1
# Of the 60 pairs of orders, the last one is the warm-up's; that before it warms up at full size.
MOST_QUESTIONS, MOST_TURNS = 49, 58

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Questions behind one prefix, as text and as token ids.

    Attributes:
        column: Of `COLUMNS`.
        instruction, shots, framing: What the prefix is made from.
        wordings: Each question's wordings; only the original one for "one".
        prefix: Token ids of the prefix.
        prompts: Token ids of each full prompt, question by question and wording by wording.
        other: A question that is not measured, for warming the prefix.
        other_prompt: Its original wording's full prompt.
        new_tokens: Tokens of every answer.
    """

    column: str
    instruction: str
    shots: tuple[Shot, ...]
    framing: Framing
    wordings: tuple[tuple[str, ...], ...]
    prefix: Tokens
    prompts: tuple[Tokens, ...]
    other: tuple[str, ...]
    other_prompt: Tokens
    new_tokens: int

    def frame(self, tokenizer: Any) -> PromptFrame:
        """The prompt that wordings are put into."""
        return plain_frame(tokenizer, self.instruction, self.shots, self.framing)


class Engine(Protocol):
    """One engine with one model, ready to be asked."""

    def warm(self, ask: Ask) -> None:
        """Have the prefix ready, outside the clock, and nothing of the measured questions."""

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        """Answer: the new tokens of each prompt; of each question where they are fused."""


def turn(tokenizer: Any, number: int, *, num_questions: int, new_tokens: int) -> dict[str, Ask]:
    """What is asked in one turn, by column.

    Args:
        tokenizer: The model's.
        number: Which turn, from 0; `WARM_UP` asks questions that no turn asks.
        num_questions: Questions, the first bundled ones. All are one batch.
        new_tokens: Tokens of every answer.
    """
    demo = load_questions("demo", num_shots=NUM_SHOTS)
    orders = list(permutations(demo.shots))
    # One for "one", another for the five wordings, which include that one.
    shots = dict.fromkeys(COLUMNS, orders[2 * number]) | {"one": orders[2 * number + 1]}
    is_warm_up = number == WARM_UP
    chosen = demo.questions[-num_questions:] if is_warm_up else demo.questions[:num_questions]
    other = demo.questions[num_questions].wordings[:NUM_WORDINGS]
    found = {}
    for column in COLUMNS:
        count = 1 if column == "one" else NUM_WORDINGS
        frame = plain_frame(tokenizer, demo.instruction, shots[column], demo.framing)
        wordings = tuple(question.wordings[:count] for question in chosen)
        parts = map(frame.parts, wordings)
        found[column] = Ask(
            column=column,
            instruction=demo.instruction,
            shots=shots[column],
            framing=demo.framing,
            wordings=wordings,
            prefix=tuple(frame.prefix),
            prompts=tuple(tuple(one.alone(n)) for one in parts for n in range(count)),
            other=other,
            other_prompt=tuple(frame.parts(other).alone(0)),
            new_tokens=new_tokens,
        )
    return found


def check_size(num_questions: int, num_turns: int) -> None:
    """Refuse what the bundled questions and the orders of their examples are too few for.

    Raises:
        UserError: Too many or too few.
    """
    if not 1 <= num_questions <= MOST_QUESTIONS:
        raise UserError(
            f"Got --questions {num_questions}. Give 1 to {MOST_QUESTIONS}: the other bundled "
            "questions are for warming up.",
            "SE-1101",
        )
    if not 1 <= num_turns <= MOST_TURNS:
        raise UserError(
            f"Got --turns {num_turns}. Give 1 to {MOST_TURNS}: each has two orders of the five "
            "examples of its own.",
            "SE-1101",
        )
