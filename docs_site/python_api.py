"""The page of Python names, from what the package says is public."""

import self_ensemble

# In the order in which they are wanted; what stands in none of them ends up below "More".
SECTIONS = {
    "Ask": ("load_model", "LoadedModel", "Ensemble", "Request", "Settings", "Answer"),
    "Answers as they come": ("Stream", "Step"),
    "Look inside": ("Trace", "Attribution", "OrderSampling"),
    "Questions": ("load_questions", "questions_from_rows", "DataOptions"),
    "Whole data sets": (
        "generate", "GenerateOptions", "ModelOptions", "Results", "analyze", "replay",
        "paraphrase", "ParaphraseOptions", "estimate_confidence", "ConfidenceOptions",
        "learn_weights", "LearnOptions", "Workers", "Progress",
    ),
    "What may go wrong": ("UserError", "Stopped"),
}  # fmt: skip
RESULTS = """
## Finished results

`self_ensemble.results.load(folder)` gives one folder, loaded and judged; see
[What results can tell](analysis.md#in-python).

::: self_ensemble.analysis.loaded.Loaded
"""


def python_page() -> str:
    """Every public name with its docstring, for mkdocstrings to fill in."""
    sections = dict(SECTIONS)
    named = {name for names in sections.values() for name in names}
    rest = tuple(n for n in self_ensemble.__all__ if n not in named and not n.startswith("__"))
    if rest:
        sections["More"] = rest
    lines = ["# Python", "Everything here is a name of `self_ensemble`."]
    for title, names in sections.items():
        lines.append(f"## {title}")
        lines += [f"::: self_ensemble.{self_ensemble._WHERE[name]}.{name}" for name in names]
    return "\n\n".join(lines) + "\n" + RESULTS
