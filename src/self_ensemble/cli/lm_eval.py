"""`self-ensemble lm-eval`: lm-evaluation-harness's own command, which then knows our model."""

import importlib.util
import sys
from typing import Annotated

import typer

from self_ensemble.errors import UserError

# All that follows is lm-eval's, --help included.
CONTEXT = {"ignore_unknown_options": True, "help_option_names": []}


def lm_eval(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="What lm_eval takes.", metavar="...")
    ] = None,
) -> None:
    """Run lm_eval (lm-evaluation-harness) with --model self-ensemble among its models.

    Needs `pip install "self-ensemble[lm-eval]"`. docs/lm-eval.md has the --model_args.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(
            'Not installed: lm-eval. Run: pip install "self-ensemble[lm-eval]".', "SE-1201"
        )
    from lm_eval.__main__ import cli_evaluate

    import self_ensemble.integrations.lm_eval_model  # noqa: F401, puts the model into the table

    sys.argv = ["lm_eval", *(arguments or ["--help"])]
    cli_evaluate()
