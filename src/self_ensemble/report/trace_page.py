"""A trace as one page: a time line to click through, and all that was said at each step.

The page's script draws steps and prompts from JSON, because written out as HTML they would be
several times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from self_ensemble.errors import UserError
from self_ensemble.report.attribution_strip import strip_of
from self_ensemble.report.page.page import render_page
from self_ensemble.report.trace_texts import (
    agreement_text,
    answer_text,
    beginning_text,
    entropy_text,
    facts,
    group_name,
    margin_text,
    part_name,
    positions_text,
    title_text,
    token_text,
    verdict_text,
    weight_text,
    wording_name,
)
from self_ensemble.tracing.trace import (
    Distribution,
    Step,
    Token,
    Trace,
    TracedAnswer,
)

FRAME_HEIGHT = 760  # pixels, in a notebook


def trace_page(trace: Trace) -> str:
    """The page of a trace, complete HTML that fetches nothing.

    Where all that was kept would be too much for a page, it shows fewer of the likeliest tokens,
    and says so.

    Raises:
        UserError: Even with one of them it would be too large.
    """
    kept = max((len(one.top) for step in trace.steps for one in _all(step)), default=1)
    num_top = kept
    while True:
        try:
            return _rendered(trace, num_top, is_cut=num_top < kept)
        except UserError:
            if num_top == 1:
                raise
            num_top //= 2


def notebook_frame(trace: Trace) -> str:
    """The page in a frame of its own, whose script reaches nothing of what is around it."""
    page = escape(trace_page(trace), quote=True)
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{page}" '
        f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
    )


def _rendered(trace: Trace, num_top: int, *, is_cut: bool) -> str:
    payload = _Payload(trace, num_top)
    return render_page(
        "trace.html.j2",
        title=title_text(trace),
        style="trace.css",
        script="trace.js",
        facts=facts(trace),
        trace=trace,
        answers=[_answer(answer) for answer in (*trace.methods, *trace.alone)],
        groups=[
            (group.number, group_name(group), group.num_tokens, positions_text(group),
             weight_text(group))
            for group in trace.groups
        ],
        strips=[strip_of(found) for found in trace.attributions],
        cut_to=num_top if is_cut else None,
        data=payload.data(),
    )  # fmt: skip


def _answer(answer: TracedAnswer) -> dict[str, object]:
    return {
        "name": answer.method if answer.wording is None else wording_name(answer.wording),
        "wording": answer.wording,
        "text": answer_text(answer),
        "verdict": verdict_text(answer),
        "tokens": len(answer.tokens),
        "stop_reason": answer.stop_reason,
    }


@dataclass(slots=True)
class _Payload:
    """What the script reads; a token is a place in a list of all that occur."""

    trace: Trace
    num_top: int
    _places: dict[Token, int] = field(default_factory=dict)

    def data(self) -> dict[str, object]:
        trace = self.trace
        found: dict[str, object] = {
            "ahead": trace.num_ahead,
            "paths": self._paths(),
            "steps": [self._step(step) for step in trace.steps],
            "parts": [
                {
                    "name": part_name(part),
                    "wording": part.wording,
                    "tokens": [self._place(token) for token in part.tokens],
                }
                for part in trace.parts
            ],
        }
        # Last, when all of them have been met.
        found["tokens"] = [
            [token.id, token_text(token) if token.text else "", int(token.is_special)]
            for token in self._places
        ]
        return found

    def _paths(self) -> list[dict[str, object]]:
        """The answers that have tokens, each once, with the methods that gave it."""
        named: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
        for answer in self.trace.methods:
            tokens = tuple(self._place(one.token) for one in answer.tokens)
            if answer.steps:
                named.setdefault((answer.steps, tokens), []).append(answer.method)
        return [
            {"names": names, "steps": steps, "tokens": tokens}
            for (steps, tokens), names in named.items()
        ]

    def _step(self, step: Step) -> dict[str, object]:
        rows: list[dict[str, object]] = [
            {
                "name": wording_name(n),
                "wording": n,
                "ahead": [self._place(token) for token in wording.ahead],
                **self._distribution(wording.distribution),
            }
            for n, wording in enumerate(step.wordings)
        ]
        if step.prior is not None:
            rows.append({"name": "no question", **self._distribution(step.prior)})
        rows += [
            {
                "name": method.method,
                "is_method": True,
                "why": method.why,
                **self._distribution(method.distribution),
            }
            for method in step.methods
        ]
        return {
            "behind": beginning_text(step),
            "agreement": agreement_text(step),
            "agree": step.agree,
            "rows": rows,
            "taken": [
                [one.method, self._place(one.token.token), _rounded(one.token.prob), one.why]
                for one in step.taken
            ],
        }

    def _distribution(self, distribution: Distribution) -> dict[str, object]:
        return {
            "top": [
                [self._place(one.token), _rounded(one.prob)]
                for one in distribution.top[: self.num_top]
            ],
            "entropy": entropy_text(distribution),
            "margin": margin_text(distribution),
        }

    def _place(self, token: Token) -> int:
        return self._places.setdefault(token, len(self._places))


def _all(step: Step) -> Iterator[Distribution]:
    yield from (one.distribution for one in step.wordings)
    yield from (one.distribution for one in step.methods)
    if step.prior is not None:
        yield step.prior


def _rounded(prob: float) -> float:
    return round(prob, 4)
