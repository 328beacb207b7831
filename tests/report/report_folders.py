"""Folders of small results for the tests of reports."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import record, write_file

from self_ensemble import results
from self_ensemble.report.results_page.whole import report_page

WORDINGS = ("What is city {}?", "City {} is which?", "Name city {}.")
Change = Callable[[dict[str, object]], Mapping[str, object]]


def _same(row: dict[str, object]) -> Mapping[str, object]:
    return row


def fused_rows(marks: str, change: Change = _same) -> list[Mapping[str, object]]:
    """Rows of a method; "1" is right, "0" wrong, "_" empty, "x" an error."""
    texts = {"1": "It is Rome.", "0": "Oslo", "2": "Bonn", "_": "", "x": None}
    return [
        change(
            record(
                f"q{i}",
                texts[mark],
                paraphrases=[text.format(i) for text in WORDINGS],
                mean_logprob=-0.1 * (1 + i % 7),
                num_tokens=2 + i % 3,
            )
        )
        for i, mark in enumerate(marks)
    ]


def wording_rows(marks: Sequence[str], change: Change = _same) -> list[Mapping[str, object]]:
    """Rows of `per_prompt`, one a wording; the marks are those of each wording."""
    return [
        change(dict(row) | {"paraphrase": WORDINGS[j].format(i), "paraphrase_index": j})
        for j, line in enumerate(marks)
        for i, row in enumerate(fused_rows(line))
    ]


def city_folder(folder: Path, change: Change = _same) -> Path:
    """Forty questions: origin, two methods, three wordings alone."""
    files = {"origin": "01010011", "vote-3": "01110011", "avg-3": "111100x_"}
    for name, marks in files.items():
        write_file(folder / f"{name}.feather", fused_rows(marks * 5, change))
    alone = wording_rows(("01010011" * 5, "00110021" * 5, "0101_01x" * 5), change)
    write_file(folder / "per_prompt.feather", alone)
    return folder


def page_of(folder: Path) -> str:
    return report_page([results.load(folder)])
