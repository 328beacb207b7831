"""Weights are for the model, prompt and data that they were made with, by content."""

import re
from collections.abc import Mapping
from pathlib import Path

from self_ensemble.errors import UserError
from self_ensemble.results.manifest import IDENTITY, Manifest, described, differences

# What a confidence depends on beside its row, whose wording is compared one by one. Not where the
# model ran, nor in which type: those move confidences by rounding.
MADE_WITH = (IDENTITY, "prompt_tokens", "prompt_sha256")
DATA = "data_source"


def require_made_with(
    path: Path,
    theirs: Mapping[str, object],
    ours: Mapping[str, object],
    *,
    remedy: str,
    same_data: bool,
) -> None:
    """Refuse weights that come from another model, tokenizer, prompt or data.

    Args:
        path: The file of weights.
        theirs: Manifest fields of what it was made with.
        ours: Manifest fields of the run that is to use them.
        remedy: How to make it anew, a sentence.
        same_data: Whether it must come from the same files of questions.

    Raises:
        UserError: Naming all that differs.
    """
    if IDENTITY not in theirs:
        raise UserError(
            f"{path} does not say what its model was, by content: an earlier version made it. "
            f"{remedy}",
            "SE-0708",
        )
    changed = differences(_part(theirs, same_data), _part(ours, same_data))
    if changed:
        raise UserError(
            f"{described(changed)}: {path} was made with the former. {remedy}", "SE-0608"
        )


def _part(fields: Mapping[str, object], same_data: bool) -> Manifest:
    part = {name: fields.get(name) for name in MADE_WITH}
    return Manifest(part | ({"data": _contents(str(fields.get(DATA)))} if same_data else {}))


def _contents(source: str) -> list[str]:
    """Digests of the files that questions came from, wherever they lie.

    Not of a file of wordings, which stands behind them: the questions that weights are learned
    from have one of their own.
    """
    return re.findall(r"\b[0-9a-f]{64}\b", source.partition("); ")[0])
