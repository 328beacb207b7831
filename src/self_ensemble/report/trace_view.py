"""A trace in a terminal: prompt and layout, one table a step, the answers."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from self_ensemble.report.attribution_strip import attribution_strip
from self_ensemble.report.trace_texts import (
    agreement_text,
    answer_text,
    beginning_text,
    entropy_text,
    facts,
    group_name,
    joined,
    margin_text,
    part_name,
    positions_text,
    title_text,
    token_text,
    verdict_text,
    visible,
    weight_text,
    wording_name,
)
from self_ensemble.tracing.trace import (
    Candidate,
    Distribution,
    Part,
    Step,
    Token,
    Trace,
)

# Of a part of the prompt; a page and JSON have all of them.
FIRST_SHOWN, LAST_SHOWN = 40, 20
BAR_CELLS = 8
EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"
BORDER = "\u2502"
MARKS = "\u00ab \u00bb around special ones, # and an id for the rest of a character"
WIDE = 110  # columns from which runners-up have room
VERDICT_STYLES = {"right": "green", "wrong": "red", "no answer": "red"}


def trace_view(trace: Trace, width: int) -> Lines:
    """All of a trace, for a terminal of so many columns."""
    return Lines(*pages(trace, width))


def pages(trace: Trace, width: int) -> list[RenderableType]:
    """The same piece by piece: what was asked, every step, the answers, attributions."""
    steps = [step_view(trace, number, width) for number in range(len(trace.steps))]
    strips = [attribution_strip(found, width) for found in trace.attributions]
    return [asked_view(trace), *steps, answers_view(trace), *strips]


def asked_view(trace: Trace) -> RenderableType:
    """The question, the prompts as tokens, and the packed sequence."""
    named = ", ".join(f"{name}: {value}" for name, value in facts(trace))
    lines: list[RenderableType] = [
        Text(title_text(trace), style="bold"),
        Text(named),
        Text(""),
        Text(f"Prompt: {BORDER} between tokens, {MARKS}", style="bold"),
    ]
    for part in trace.parts:
        lines += _part(part)
    lines += [Text(""), _layout(trace)]
    if trace.note is not None:
        lines += [Text(""), Text(trace.note, style="red")]
    return Lines(*lines)


def step_view(trace: Trace, number: int, width: int) -> RenderableType:
    """What everything says behind one beginning of an answer."""
    step = trace.steps[number]
    title = Text(f"\nStep {number + 1} of {len(trace.steps)}, behind ", style="bold")
    title.append(beginning_text(step), style="bold cyan")
    table = _table()
    num_shown = 3 if width >= WIDE else 1
    table.add_column("", overflow="fold")
    for rank in range(num_shown):
        table.add_column("likeliest" if rank == 0 else "", no_wrap=True)
    table.add_column("entropy, nats", justify="right", max_width=8)
    table.add_column("margin", justify="right")
    table.add_column(f"goes on alone (up to {trace.num_ahead})", ratio=1, overflow="fold")
    for name, distribution, ahead, style in _readers(step):
        cells = _likeliest(distribution, num_shown)
        table.add_row(
            Text(name, style=style), *cells, entropy_text(distribution),
            margin_text(distribution), Text(joined(ahead)),
        )  # fmt: skip
    agreement = Text(agreement_text(step), style="" if step.agree else "yellow")
    return Lines(title, table, *_taken(step), agreement)


def answers_view(trace: Trace) -> RenderableType:
    """What each method answered, and each wording alone."""
    table = _table()
    table.add_column("", overflow="fold")
    table.add_column("answer", ratio=1, overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("ended by")
    if trace.accepted:
        table.add_column("")
    for answers in (trace.methods, trace.alone):
        for answer in answers:
            name = answer.method if answer.wording is None else wording_name(answer.wording)
            cells = [Text(name), Text(answer_text(answer)), Text(str(len(answer.tokens)))]
            cells.append(Text(answer.stop_reason))
            if trace.accepted:
                verdict = verdict_text(answer)
                cells.append(Text(verdict, style=VERDICT_STYLES.get(verdict, "")))
            table.add_row(*cells)
        table.add_section()
    title = Text("\nAnswers", style="bold")
    if trace.accepted:
        title.append(f"; accepted: {', '.join(map(visible, trace.accepted))}", style="not bold")
    return Lines(title, table)


def bar(prob: float) -> str:
    """A probability as a bar of `BAR_CELLS` cells."""
    eighths = round(prob * BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    return (EIGHTHS[-1] * full + (EIGHTHS[rest] if rest else "")).ljust(BAR_CELLS)


def _part(part: Part) -> list[RenderableType]:
    texts, ids = _cut([token_text(one) for one in part.tokens]), _cut(_ids(part))
    return [
        Text(f"{part_name(part)}: {len(part.tokens)} tokens", style="cyan"),
        Text(BORDER.join(texts)),
        Text(" ".join(ids), style="dim"),
    ]


def _ids(part: Part) -> list[str]:
    return [str(token.id) for token in part.tokens]


def _cut(texts: Sequence[str]) -> list[str]:
    """The first and the last of them, where they are many."""
    left = len(texts) - FIRST_SHOWN - LAST_SHOWN
    if left <= 0:
        return list(texts)
    return [*texts[:FIRST_SHOWN], f" \u2026 {left} more \u2026 ", *texts[-LAST_SHOWN:]]


def _layout(trace: Trace) -> Table:
    table = _table()
    table.title = Text("Layout of the packed sequence", style="bold")
    for name in ("group", "tokens", "positions", "weight"):
        table.add_column(name, justify="right")
    table.add_column("what")
    for group in trace.groups:
        table.add_row(
            str(group.number), str(group.num_tokens), positions_text(group), weight_text(group),
            Text(group_name(group)),
        )  # fmt: skip
    return table


def _readers(step: Step) -> Iterator[tuple[str, Distribution, Sequence[Token], str]]:
    """Whoever says something: name, distribution, how it goes on alone, style."""
    for n, wording in enumerate(step.wordings):
        yield wording_name(n), wording.distribution, wording.ahead, ""
    if step.prior is not None:
        yield "no question", step.prior, (), "dim"
    for method in step.methods:
        yield method.method, method.distribution, (), "bold"


def _likeliest(distribution: Distribution, number: int) -> list[Text]:
    if not distribution.is_finite:
        return [Text("not finite", style="red"), *[Text("")] * (number - 1)]
    cells = [
        _candidate(one, with_bar=rank == 0) for rank, one in enumerate(distribution.top[:number])
    ]
    return [*cells, *[Text("")] * (number - len(cells))]


def _candidate(candidate: Candidate, *, with_bar: bool) -> Text:
    text = Text()
    if with_bar:
        text.append(bar(candidate.prob), style="cyan")
    return text.append(f" {candidate.prob:.3f} ").append(token_text(candidate.token))


def _taken(step: Step) -> Iterator[Text]:
    """What the answers took and why, those with the same reason together."""
    found: dict[tuple[Candidate, str], list[str]] = {}
    for taken in step.taken:
        found.setdefault((taken.token, taken.why), []).append(taken.method)
    for (candidate, why), methods in found.items():
        line = Text(", ".join(methods), style="bold")
        line.append(" takes " if len(methods) == 1 else " take ", style="not bold")
        line.append(token_text(candidate.token), style="bold cyan")
        line.append(f" ({candidate.prob:.3f}): {why}", style="not bold")
        yield line


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), title_justify="left"
    )
