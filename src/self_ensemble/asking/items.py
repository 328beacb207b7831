"""From an item of another tool, whose prompt is there as text, to a request in several wordings.

paraphrases   prompt cut around its question: before | each wording | after
templates     the whole prompt, put into each of several texts
neither       the prompt as it is, one wording
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from self_ensemble.asking.request import Request, Settings
from self_ensemble.errors import UserError
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.questions.by_text import KnownWordings

NUM_KEPT = 1024


@dataclass(frozen=True, slots=True)
class ItemPrompts:
    """What is done with the prompts of items.

    Attributes:
        whole: The frame of whole prompts; see `prompts.frame.whole_frame`.
        known: Wordings of questions, if questions are to be reworded.
        templates: Texts with `{}` for the whole prompt, if prompts are.
        question_field: Field of an item that is its question; None: the one that has wordings.
    """

    whole: PromptFrame
    known: KnownWordings | None = None
    templates: tuple[str, ...] = ()
    question_field: str | None = None
    _frames: dict[tuple[str, str], PromptFrame] = field(default_factory=dict, repr=False)

    def request(
        self, key: str, prompt: str, item: Mapping[str, object], settings: Settings | None = None
    ) -> Request:
        """The request that asks an item; equal where prompt, item and the rest are.

        Raises:
            UserError: It is not clear what is to be reworded, or there are too few wordings.
        """
        if self.templates and self.whole.is_template:
            raise UserError(
                "Templates are put around whole prompts, and these begin with the model's chat "
                "template. Write the texts into the task's description, or give paraphrases.",
                "SE-0013",
            )
        frame: PromptFrame = self.whole
        wordings: tuple[str, ...] = (prompt,)
        if self.templates:
            # Not `format`: prompts and templates may have braces of their own.
            wordings = tuple(text.replace("{}", prompt) for text in self.templates)
        elif self.known is not None:
            before, question, after = self.known.cut(prompt, item, self.question_field)
            wordings = self.known.wordings(question)
            if after.strip():
                frame = self._around(before, after)
            else:  # nothing behind the question to be the cue
                wordings = tuple(before + wording + after for wording in wordings)
        return Request(key, wordings, frame=frame, settings=settings)

    def requests(
        self,
        items: Iterable[tuple[str, str, Mapping[str, object], Settings]],
        check: Callable[[Request], None],
    ) -> list[Request]:
        """The requests that ask many items, each as above and checked.

        Args:
            items: Key, prompt, the item and the settings of each.
            check: Refuses a request, as `Ensemble.check`.

        Raises:
            UserError: Some cannot be asked: how many, and why the first.
        """
        asked, problems, num_items = [], [], 0
        for key, prompt, item, settings in items:
            num_items += 1
            try:
                asked.append(self.request(key, prompt, item, settings))
                check(asked[-1])
            except UserError as error:
                problems.append(f"{key}: {error}")
        if problems:
            raise UserError(
                f"{len(problems)} of {num_items} requests cannot be asked. The first, "
                f"{problems[0]}",
                "SE-0013",
            )
        return asked

    def _around(self, before: str, after: str) -> PromptFrame:
        if (before, after) not in self._frames:
            if len(self._frames) >= NUM_KEPT:
                self._frames.clear()
            # In a chat template the end of the user's turn and the assistant's header are the cue.
            first, last = before.rfind("\n") + 1, after.rstrip().rfind("\n") + 1
            if self.whole.is_template:
                first, last = len(before), 0
            left, right = (_literal(text) for text in (before[first:], after[:last]))
            self._frames[before, after] = self.whole.around(
                before[:first], f"{left}{{}}{right}", after[last:]
            )
        return self._frames[before, after]


def _literal(text: str) -> str:
    """A text as part of a format."""
    return text.replace("{", "{{").replace("}", "}}")
