"""Tables for LaTeX: what LaTeX itself makes of them, and what can be seen without it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from self_ensemble.report.cells import number_table_latex
from tests.cli.analyzing import answers_file, run, wording_rows, write_file

# All that LaTeX reads as a command, in names of data set, model, file, group and column.
NASTY = "100%_&_#1 {x}~^$ \\cmd"
GROUPS = ("* <5 & more", "[optional] --x", 'a|b -3 \\\\ "q"')
DOCUMENT = (
    "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
    "\\begin{document}\n\\input{tables}\n\\end{document}\n"
)


@pytest.fixture
def tables(tmp_path) -> Path:
    """All tables of results whose names are as bad as a file system lets them be."""
    folder = tmp_path / "results" / NASTY / "my_model%v2&#"
    answers_file(folder / "origin.feather", "0101" * 5)
    answers_file(folder / "ensemble_my_rules.best_of#2%-3.feather", "0111" * 5)
    rows = [row | {"kind_&%": GROUPS[int(row["uuid"][1:]) % 3]} for row in wording_rows(20, 3)]
    write_file(folder / "per_prompt.feather", rows)
    answers_file(tmp_path / "results" / "other" / "m" / "origin.feather", "0101" * 5)
    written = tmp_path / "tables.tex"
    run("--compare-all", "--output-dir", tmp_path / "results", "--show", "all",
        "--by", "answer_type", "--latex", written)  # fmt: skip
    more = tmp_path / "more.tex"
    run("--dataset", NASTY, "--model", "my_model%v2&#", "--output-dir", tmp_path / "results",
        "--by", "kind_&%", "--latex", more)  # fmt: skip
    written.write_text(written.read_text() + more.read_text())
    return written


def test_every_special_letter_of_a_name_is_escaped(tables):
    lines = [line for line in tables.read_text().splitlines() if not line.startswith("%")]
    text = "\n".join(lines).replace("{!}{%", "{!}{")
    assert not re.search(r"(?<!\\)[%#_~^]", text)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") > 8
    plain = re.sub(r"\\.", "", text)
    assert plain.count("{") == plain.count("}")
    assert r"{*} $<$5 \& more" in text
    assert r"{[}optional{]} -{}-x" in text
    assert r"a\textbar{}b $-$3" in text


def test_every_row_has_a_cell_a_column():
    lines = number_table_latex("t", ["a", "b\nc"], [["x & y", "-"], ["-1", "a\nb"]])
    rows = [line for line in lines if line.endswith(r" \\")]
    assert [len(re.split(r"(?<!\\)&", row)) for row in rows] == [2, 2, 2]
    assert r"\shortstack[r]{b\\c}" in rows[0]
    assert rows[1].strip() == r"x \& y & -- \\"
    assert rows[2].strip() == r"$-$1 & a b \\"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_sets_every_table_within_the_page(tables):
    (tables.parent / "document.tex").write_text(DOCUMENT)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=tables.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tables.parent / "document.pdf").read_bytes().startswith(b"%PDF")
    assert "Overfull" not in done.stdout
