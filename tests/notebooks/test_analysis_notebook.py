"""The notebook runs from top to bottom, and says what `analyze` says."""

import json
import re
import sys
from pathlib import Path

import pytest

import self_ensemble as se
from self_ensemble.jobs.analyze import load_results

sys.path.append(str(Path(__file__).resolve().parents[1] / "scoring"))
from result_files import answers_file, record, write_file

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "analysis.ipynb"
WITH_MODEL = ("trace", "own")


def run(folder: Path, monkeypatch, *, without: tuple[str, ...] = ()) -> dict[str, list[dict]]:
    """The outputs of every cell that has code, by its id."""
    monkeypatch.setenv("SELF_ENSEMBLE_RESULTS", str(folder))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id not in without]
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    found = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    for name, outputs in found.items():
        noise = [one for one in outputs if one.get("name") == "stderr"]
        assert not noise, f"{name}: {noise}"
    return found


def printed(outputs: list[dict]) -> str:
    return "".join(one["text"] for one in outputs if one["output_type"] == "stream")


def shown(outputs: list[dict], kind: str) -> str:
    (found,) = [one["data"][kind] for one in outputs if one["output_type"] == "execute_result"]
    return found


def drawn(outputs: list[dict]) -> str:
    return "".join(one["data"].get("image/svg+xml", "") for one in outputs if "data" in one)


def table(outputs: list[dict]) -> dict[str, list[str]]:
    """The rows of a table with their name in front."""
    rows = re.findall(r"<tr>(.*?)</tr>", shown(outputs, "text/html"), flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return {name: values for name, *values in cells}


def test_nothing_that_a_run_leaves_is_in_the_notebook():
    notebook = json.loads(NOTEBOOK.read_text())
    nbformat.validate(notebook)
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(cell["metadata"] == {} for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}


@pytest.mark.slow
@pytest.mark.model
def test_it_says_what_analyze_says(tmp_path, monkeypatch):
    made = se.generate(
        se.DataOptions("demo", max_samples=12),
        methods=["origin", "avg", "flex_attention", "per_prompt"],
        output_dir=tmp_path,
        options=se.GenerateOptions(save_logprobs=16),
    )
    found = run(tmp_path, monkeypatch)

    expected = se.analyze("demo", "smollm2_135m_it", output_dir=tmp_path)
    rows = table(found["scores"])
    for row in expected.rows:
        accuracy, low, high, difference, p_value, tokens = rows[row.file]
        assert [accuracy, low, high] == [f"{value:.1%}" for value in row.accuracy[:3]]
        assert difference == ("-" if row.difference is None else f"{row.difference.value:+.1%}")
        assert p_value == ("-" if row.p_holm != row.p_holm else f"{row.p_holm:.3f}")
        assert tokens == f"{row.tokens:.0f}"
    (fused,) = [row.comparison for row in expected.rows if row.file == "flex_attention-5"]
    assert fused is not None
    compared = printed(found["compare"])
    assert f"only flex_attention-5 gets right: {len(fused.gained)}\n" in compared
    assert f"only origin gets right: {len(fused.lost)}\n" in compared
    assert f"p = {fused.p_value:.3f}\n" in compared

    (loaded,) = load_results("demo", "smollm2_135m_it", output_dir=tmp_path)
    robustness = loaded.robustness()
    assert robustness is not None
    assert f"answer alike: {robustness.consistency.value:.1%}" in printed(found["robustness"])
    for name in ("accuracy-figure", "curve", "cost", "first-token"):
        assert "<svg" in drawn(found[name])
    first_token = loaded.first_token_curve()
    assert first_token is not None
    assert f"together: {first_token.alike:.1%}" in printed(found["first-token"])
    changed = shown(found["errors"], "text/html")
    for uuid in (*fused.gained, *fused.lost):
        (answer,) = [row for row in made.rows("flex_attention") if row["uuid"] == uuid]
        assert answer["paraphrases"][0] in changed
    assert r"\toprule" in printed(found["latex"])

    asked = [*fused.gained, *fused.lost, made.rows("flex_attention")[0]["uuid"]][0]
    (answer,) = [row for row in made.rows("flex_attention") if row["uuid"] == asked]
    page = shown(found["trace"], "text/html")
    assert page.startswith("<iframe")
    assert answer["prediction"] in page
    assert answer["paraphrases"][1] in page.replace("&amp;#39;", "'")
    assert printed(found["own"]) == "flex_attention: Paris\navg: Paris\n"


ODD = {
    "all right": {"origin": "1111", "flex_attention-5": "1111"},
    "all wrong": {"origin": "0000", "flex_attention-5": "0000"},
    "errors": {"origin": "01x_", "flex_attention-5": "x101"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_it_runs_on_odd_results(tmp_path, monkeypatch, name):
    folder = tmp_path / "demo" / "smollm2_135m_it"
    for file, marks in ODD[name].items():
        answers_file(folder / f"{file}.feather", marks)
    if name == "errors":
        rows = [record(f"q{n}", None if n else "Rome", paraphrase_index=0) for n in range(2)]
        write_file(folder / "per_prompt.feather", rows)
    found = run(tmp_path, monkeypatch, without=WITH_MODEL)
    assert table(found["scores"])["origin"][-1] == "-"
