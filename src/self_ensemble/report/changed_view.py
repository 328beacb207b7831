"""Questions that two methods answer otherwise, with all that was said, for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from self_ensemble.analysis.changed import ChangedAnswer
from self_ensemble.questions.patterns import is_pattern

_RIGHT, _WRONG = "+", "-"


def changed_view(kind: str, found: Sequence[ChangedAnswer]) -> RenderableType:
    """Each question with its accepted answers, both answers, and every wording's own.

    Args:
        kind: What they were chosen by.
        found: The questions, by file.
    """
    lines: list[Text] = []
    for one in found:
        accepted = ", ".join(answer for answer in one.answers if not is_pattern(answer))
        lines.append(Text(f"{one.question or '(question unknown)'}", style="bold"))
        lines.append(Text(f"  {one.uuid}; accepted: {accepted or '(a pattern)'}", style="dim"))
        lines.append(_said(one.right, one.file, one.prediction))
        lines.append(_said(one.baseline_right, "baseline", one.baseline))
        lines += [_said(other.right, other.wording, other.prediction) for other in one.alone]
        lines.append(Text())
    files = {one.file for one in found}
    lines.append(
        Text(
            f"{kind}: {len(found)} answers of {len(files)} result files. "
            f"{_RIGHT} right, {_WRONG} wrong; below, each wording asked alone."
            if found
            else f"{kind}: there is no such answer."
        )
    )
    return Group(*lines)


def _said(right: bool, who: str, prediction: str | None) -> Text:
    said = "(error)" if prediction is None else prediction or "(nothing)"
    return Text(f"  {_RIGHT if right else _WRONG} {said}  ").append(f"[{who}]", style="dim")
