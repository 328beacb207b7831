"""`self-ensemble analyze` called as a command, and result files for it to read."""

import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from self_ensemble.cli.analyze import analyze

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file, record, write_file

__all__ = ["answers_file", "record", "run", "wording_rows", "write_file"]

app = typer.Typer()
app.command()(analyze)


def run(*arguments: object) -> str:
    """What the command prints.

    Raises:
        BaseException: Whatever the command raises.
    """
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def wording_rows(num_questions: int, num_wordings: int) -> list[dict[str, object]]:
    """Answers of wordings alone, some of them right."""
    return [
        record(
            f"q{i}",
            "Rome" if (i * 7 + j * 3) % 5 < 2 else f"Oslo {i % 4}",
            paraphrase_index=j,
            paraphrase=f"What is city {i} in wording {j}?",
            mean_logprob=-0.1 * (1 + (i + j) % 4),
        )
        for i in range(num_questions)
        for j in range(num_wordings)
    ]
