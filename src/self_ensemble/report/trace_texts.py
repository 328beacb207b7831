"""The words in which a trace is shown, in a terminal and on a page alike."""

from collections.abc import Sequence

from self_ensemble.report.page.page import shown
from self_ensemble.tracing.trace import Distribution, Group, Part, Step, Token, Trace, TracedAnswer

SPACE, LINE_BREAK, TAB = "\u2423", "\u21b5", "\u21e5"
NOTHING = "(nothing)"
MISSING = "-"
LONGEST_TITLE = 100  # characters


def token_text(token: Token) -> str:
    """A token so that all of it can be seen: spaces at its ends, line breaks, control characters.

    Special tokens stand in angle quotes, because their text may stand in a question as well.
    """
    if token.is_special:
        return f"\u00ab{shown(token.text)}\u00bb"
    return visible(token.text) or f"#{token.id}"


def visible(text: str) -> str:
    """A text with spaces at its ends, line breaks and what cannot be seen made visible."""
    inner = text.strip(" ")
    left = len(text) - len(text.lstrip(" "))
    right = len(text) - len(inner) - left
    text = SPACE * left + inner + SPACE * right
    return shown(text.replace("\n", LINE_BREAK).replace("\t", TAB).replace("\r", "\u240d"))


def joined(tokens: Sequence[Token]) -> str:
    """Tokens as one text."""
    text = ""
    for token in tokens:
        text += f"\u00ab{shown(token.text)}\u00bb" if token.is_special else shown(token.text)
    return visible(text)


def wording_name(wording: int) -> str:
    """What a wording is called: from 1."""
    return f"wording {wording + 1}"


def wording_names(wordings: Sequence[int]) -> str:
    """What some wordings are called."""
    if len(wordings) == 1:
        return wording_name(wordings[0])
    return f"wordings {', '.join(str(n + 1) for n in wordings)}"


def part_name(part: Part) -> str:
    """What a part of the prompts is called."""
    if part.wording is not None:
        return wording_name(part.wording)
    return "no question" if part.kind == "prior" else part.kind


def group_name(group: Group) -> str:
    """What a group of the packed sequence is called."""
    match group.kind:
        case "segment":
            return wording_names(group.wordings)
        case "fused":
            return "fused tail"
        case "alone":
            return f"tail of {wording_name(group.wordings[0])} alone"
        case "prior":
            return "tail without a question"
    return group.kind


def positions_text(group: Group) -> str:
    """Position ids of a group's tokens."""
    first, last = group.first_position, group.first_position + group.num_tokens - 1
    if not group.num_tokens:
        return f"from {first}"
    return f"{first}" if first == last else f"{first}-{last}"


def weight_text(group: Group) -> str:
    """What the fused tail's attention on a group is multiplied by."""
    return MISSING if group.weight is None else f"{group.weight:.3g}"


def entropy_text(distribution: Distribution) -> str:
    """Entropy in nats."""
    return f"{distribution.entropy:.2f}" if distribution.is_finite else MISSING


def margin_text(distribution: Distribution) -> str:
    """Probability of the best token less that of the second."""
    return f"{distribution.margin:.2f}" if distribution.is_finite else MISSING


def beginning_text(step: Step) -> str:
    """The answer so far."""
    return joined(step.answer) if step.answer else NOTHING


def agreement_text(step: Step) -> str:
    """Whether the wordings would take the same token, and which take which."""
    parties = step.parties
    if not parties:
        return "No wording has a finite distribution."
    if step.agree:
        who = "All wordings" if len(step.wordings) > 1 else "The wording"
        return f"{who} would take {token_text(parties[0][0])}"
    each = "; ".join(
        f"{token_text(token)} by {wording_names(wordings)}" for token, wordings in parties
    )
    return f"Wordings disagree: {each}"


def verdict_text(answer: TracedAnswer) -> str:
    """Whether an answer is right."""
    if answer.error is not None:
        return "no answer"
    return {True: "right", False: "wrong", None: ""}[answer.is_right]


def answer_text(answer: TracedAnswer) -> str:
    """An answer's text, or why there is none."""
    return visible(answer.text) or NOTHING if answer.error is None else answer.error


def title_text(trace: Trace) -> str:
    """What was asked; of a long text its first and last characters."""
    text = visible(trace.wordings[0])
    half = LONGEST_TITLE // 2
    return text if len(text) <= LONGEST_TITLE else f"{text[:half]} \u2026 {text[-half:]}"


def facts(trace: Trace) -> list[tuple[str, str]]:
    """How it was asked: names and values."""
    found = [
        ("question", visible(trace.key)),
        ("model", visible(trace.model)),
        ("attention backend", trace.backend),
        ("wordings", str(len(trace.wordings))),
        ("positions", trace.positions),
        ("fusion point", trace.fusion_point),
    ]
    if trace.temperature:
        found.append(("temperature", f"{trace.temperature:g}"))
    if trace.accepted:
        found.append(("accepted answers", ", ".join(map(visible, trace.accepted))))
    return found
