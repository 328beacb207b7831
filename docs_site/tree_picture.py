"""The tree of continuations of one bundled question, as the packaged model answers it."""

from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from docs_site.pictures import Drawing
from self_ensemble import DataOptions, GenerateOptions, generate, load_model

ROW, STEP = 40, 84
COLOURS = {
    "flex_attention": "#7a4fb5", "avg": "#2e7d5b", "max": "#b23a48",
    "wording 1": "#2f6fb7", "wording 2": "#c2622d", "wording 3": "#8a6d1b",
}  # fmt: skip


def answers() -> dict[str, list[str]]:
    """Tokens of each method's answer and of each wording's own, as texts."""
    model = load_model("smollm2_135m_it")
    methods = ["flex_attention", "avg", "max", "per_prompt"]
    with TemporaryDirectory() as folder:
        results = generate(
            DataOptions("demo", max_samples=4),
            model=model,
            methods=methods,
            output_dir=folder,
            options=GenerateOptions(num_paraphrases=3),
        )
        rows = {
            name if name != "per_prompt" else f"wording {row['paraphrase_index'] + 1}": row
            for name in methods
            for row in results.rows(name)
            if row["uuid"] == "demo-003"
        }
    found = {}
    for name in COLOURS:
        texts = [model.tokenizer.decode([token]) for token in rows[name]["token_ids"]]
        found[name] = [text for text in texts if text.strip()]
    return found


def tree() -> Drawing:
    """Draw what `answers` gives."""
    return drawn(answers())


def drawn(answers: Mapping[str, Sequence[str]]) -> Drawing:
    """A node for each distinct beginning, a coloured dot for each walker that has come there."""
    leaves = sorted({tuple(tokens) for tokens in answers.values()})
    depth = max(map(len, leaves))
    drawing = Drawing(
        160 + depth * STEP + 190,
        20 + len(leaves) * ROW,
        "Answers as a tree: equal beginnings are one node",
    )
    place: dict[tuple[str, ...], tuple[float, float]] = {}
    beginnings = sorted({leaf[:n] for leaf in leaves for n in range(len(leaf) + 1)}, key=len)
    for beginning in reversed(beginnings):
        rows = [i for i, leaf in enumerate(leaves) if leaf[: len(beginning)] == beginning]
        place[beginning] = (90 + len(beginning) * STEP, 24 + sum(rows) / len(rows) * ROW)
    for beginning in beginnings:
        x, y = place[beginning]
        if beginning:
            a, b = place[beginning[:-1]]
            drawing.line(f"M{a + 26:g} {b:g} C{a + 50:g} {b:g} {x - 50:g} {y:g} {x - 26:g} {y:g}")
    for beginning in beginnings:
        x, y = place[beginning]
        walkers = [
            n for n, tokens in answers.items() if tuple(tokens[: len(beginning)]) == beginning
        ]
        drawing.box(x - 26, y - 14, 52, 19, "#eef0f2")
        text = beginning[-1].strip() if beginning else "A:"
        drawing.text(x, y, text, 'text-anchor="middle"')
        for number, name in enumerate(walkers):
            drawing.box(x - 25 + 9 * number, y + 6, 7, 7, COLOURS[name])
    for name, tokens in answers.items():
        x, y = place[tuple(tokens)]
        same = [other for other, others in answers.items() if list(others) == list(tokens)]
        line = same.index(name) - (len(same) - 1) / 2
        drawing.text(x + 36, y + 2 + 14 * line, name, "", COLOURS[name])
    return drawing
