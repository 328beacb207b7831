"""Further tables, files, figures and rows of `self-ensemble analyze`, and results that are odd."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.results import load
from tests.cli.analyzing import answers_file, record, run, wording_rows, write_file


def make_results(output_dir: Path, dataset: str, num_questions: int = 40) -> None:
    folder = output_dir / dataset / "tiny"
    for name, pattern in (("origin", "01010011"), ("vote-3", "01110011"), ("avg-3", "11110010")):
        answers_file(folder / f"{name}.feather", (pattern * num_questions)[:num_questions])
    for number, pattern in ((2, "0101"), (3, "0111")):
        path = folder / f"flex_attention-{number}.feather"
        answers_file(path, (pattern * num_questions)[:num_questions])
    write_file(folder / "per_prompt.feather", wording_rows(num_questions, 3))


@pytest.fixture
def results(tmp_path) -> Path:
    make_results(tmp_path / "results", "cities")
    return tmp_path / "results"


ONE = ("--dataset", "cities", "--model", "tiny", "--output-dir")


def section(document: dict, key: str) -> list[dict]:
    return next(found["rows"] for found in document["sections"] if found["key"] == key)


def test_all_tables_are_in_the_terminal_and_every_file(results, tmp_path):
    files = {"--csv": "t.csv", "--markdown": "t.md", "--latex": "t.tex"}
    options = [part for option, name in files.items() for part in (option, tmp_path / name)]
    shown = run(*ONE, results, "--show", "all", "--by", "answer_type", *options)
    document = json.loads(run(*ONE, results, "--show", "all", "--by", "answer_type", "--json"))
    keys = [found["key"] for found in document["sections"]]
    assert keys == ["comparison", "curve", "robustness", "correlations", "by_answer_type"]
    markdown, latex = ((tmp_path / name).read_text() for name in ("t.md", "t.tex"))
    for found in document["sections"]:
        assert found["title"] in shown
        assert f"**{found['title']}**" in markdown
        assert found["title"].replace("_", r"\_") in latex
        with (tmp_path / f"t.{found['key']}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows == [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in found["rows"]
        ]
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2 + len(keys)
    assert not re.search(r"(?<!\\)[&%_#].*\\caption", latex)


def test_comparison_has_the_tests_and_what_was_won(results):
    document = json.loads(run(*ONE, results, "--show", "comparison", "--json"))
    rows = {row["file"]: row for row in section(document, "comparison")}
    assert (rows["vote-3"]["gained"], rows["vote-3"]["lost"]) == (5, 0)
    assert rows["vote-3"]["mcnemar_p"] == pytest.approx(2 / 2**5)
    assert rows["vote-3"]["mcnemar_p_holm"] == pytest.approx(3 * 2 / 2**5)
    assert rows["per_prompt"]["mcnemar_p"] is None
    scores = {row["file"]: row for row in document["files"]}
    for name in ("mcnemar_p", "mcnemar_p_holm", "detectable_difference", "gained", "lost", "new"):
        assert scores["vote-3"][name] == rows["vote-3"][name]


def test_rows_are_printed_with_every_answer(results):
    shown = run(*ONE, results, "--rows", "gained", "--file", "vote-3")
    assert shown.count("accepted: Rome, Roma") == 5
    assert "+ It is Rome.  [vote-3]" in shown
    assert "- Oslo  [baseline]" in shown
    assert "[What is city 2 in wording 1?]" in shown
    document = json.loads(run(*ONE, results, "--rows", "gained", "--file", "vote-3", "--json"))
    assert [row["uuid"] for row in document["rows"]] == ["q2", "q10", "q18", "q26", "q34"]
    everywhere = json.loads(run(*ONE, results, "--rows", "lost", "--json"))["rows"]
    assert {row["file"] for row in everywhere} == {"avg-3", "flex_attention-2"}


def test_several_data_sets_are_shown_side_by_side_and_pooled(results, tmp_path):
    make_results(results, "rivers", 30)
    document = json.loads(run("--compare-all", "--output-dir", results, "--json"))
    assert [found["key"] for found in document["sections"]] == ["overview", "pooled"]
    row = next(row for row in section(document, "overview") if row["file"] == "vote-3")
    assert (row["cities / tiny"], row["rivers / tiny"]) == (0.625, 18 / 30)
    assert row["cities / tiny_low"] < 0.625 < row["cities / tiny_high"]
    pooled = {row["file"]: row for row in section(document, "pooled")}
    assert (pooled["vote-3"]["datasets"], pooled["vote-3"]["model"]) == (2, "tiny")
    assert pooled["vote-3"]["difference_low"] < 0.125 < pooled["vote-3"]["difference_high"]


def test_many_folders_are_side_by_side_in_several_tables(tmp_path):
    for number in range(5):
        answers_file(tmp_path / f"d{number}" / "tiny" / "origin.feather", "01")
    document = json.loads(run("--compare-all", "--output-dir", tmp_path, "--json"))
    tables = {found["key"]: found["rows"][0] for found in document["sections"]}
    assert "d3 / tiny" in tables["overview"]
    assert "d4 / tiny" in tables["overview_2"]
    assert "d4 / tiny" not in tables["overview"]


@pytest.mark.parametrize("several", [False, True])
def test_figures_are_png_and_svg(results, tmp_path, several):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    if several:
        make_results(results, "rivers", 8)
    kinds = ("--by", "answer_type,question_length")
    shown = run("--compare-all", "--output-dir", results, *kinds, "--plot", tmp_path / "figures")
    place = tmp_path / "figures" / ("rivers/tiny" if several else "")
    figures = ("accuracy", "difference", "curve", "cost", "by_answer_type", "by_question_length",
               "agreement")  # fmt: skip
    for name in figures:
        assert (place / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (place / f"{name}.svg").read_bytes()[:1000]
        assert str(place / f"{name}.png") in shown.replace("\n", "")


def test_a_figure_takes_names_as_they_are(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    folder = tmp_path / "figures"
    kinds = ("$_{", "a very long kind " * 9, "two\nlines")
    rows = [record(f"q{n}", "Rome", kind=kinds[n % 3]) for n in range(6)]
    write_file(tmp_path / "results" / "cities" / "$_{ $^" / "origin.feather", rows)
    write_file(tmp_path / "results" / "cities" / "$_{ $^" / "ensemble_$_{-3.feather", rows)
    run("--compare-all", "--output-dir", tmp_path / "results", "--by", "kind", "--plot", folder)
    assert (folder / "by_kind.png").read_bytes().startswith(b"\x89PNG")


def test_cost_is_drawn_in_tokens_where_they_are_known_and_agreement_of_two_files(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    folder = tmp_path / "results" / "cities" / "tiny"
    write_file(folder / "vote-3.feather", [record(f"q{n}", "Rome", tokens=30) for n in range(4)])
    answers_file(folder / "origin.feather", "0101")
    run(*ONE, tmp_path / "results", "--plot", tmp_path / "two")
    (folder / "vote-3.feather").unlink()
    run(*ONE, tmp_path / "results", "--plot", tmp_path / "one")
    two, one = ({p.stem for p in (tmp_path / name).glob("*.png")} for name in ("two", "one"))
    assert two - one == {"cost_tokens", "agreement", "difference"}


def test_agreement_is_drawn_as_it_is_counted(results):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    from self_ensemble.report.matrix_plots import agreement_figure

    found = load(results / "cities" / "tiny").agreement()
    (axes,) = agreement_figure("t", found).axes
    written = [text.get_text() for text in axes.texts]
    assert written == [f"{100 * one.value:.0f}" for row in found.shares for one in row]
    assert f"up to {100 * found.widest:.0f} points" in axes.get_xlabel()


@pytest.mark.parametrize("letter", ["x", "W"])
def test_cells_have_room_beside_names_of_any_length(letter, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    from self_ensemble.report.matrix_plots import agreement_figure

    for name in ("origin", f"{letter * 200}-2"):
        answers_file(tmp_path / f"{name}.feather", "0101")
    figure = agreement_figure("t", load(tmp_path).agreement())
    figure.savefig(tmp_path / "agreement.png")  # without a warning that there is no room
    (axes,) = figure.axes
    assert axes.get_position().height * figure.get_figheight() > 0.4  # two rows, in inches


def test_every_number_of_a_group_is_in_its_figure(results):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    from self_ensemble.report.matrix_plots import group_figure

    rows = load(results / "cities" / "tiny").groups("question_length")
    (axes,) = group_figure("t", "question_length", rows).axes
    written = [text.get_text() for text in axes.texts]
    assert written == [f"{100 * row.accuracy.value:.0f}" for row in rows]
    assert {text.get_text() for text in axes.get_xticklabels()} == {row.file for row in rows}


ODD = {
    "one method": {"avg-3": "0110"},
    "only origin": {"origin": "0110"},
    "all right": {"origin": "1111", "vote-3": "1111"},
    "all wrong": {"origin": "0000", "vote-3": "0000", "avg-3": "____"},
    "one question": {"origin": "0", "vote-3": "1"},
    "nothing but errors": {"origin": "xx", "vote-3": "xx"},
    "errors beside answers": {"origin": "01xx", "vote-3": "x10x"},
    "nothing in common": {"origin": "01xx", "vote-3": "xx01"},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("num_wordings", [0, 1, 3])
def test_odd_results_give_tables_without_nan(tmp_path, name, num_wordings):
    folder = tmp_path / "results" / "cities" / "tiny"
    for file, marks in ODD[name].items():
        answers_file(folder / f"{file}.feather", marks)
    if num_wordings:
        rows = [record(f"q{i}", None, paraphrase_index=j) for i in range(2) for j in range(3)]
        asked = rows if name == "nothing but errors" else wording_rows(4, num_wordings)
        write_file(folder / "per_prompt.feather", asked)
    options = ["--show", "all", "--by", "answer_type,answer_length,question_length"]
    written = [tmp_path / "t.md", tmp_path / "t.tex", tmp_path / "t.csv"]
    for option, path in zip(("--markdown", "--latex", "--csv"), written, strict=True):
        options += [option, path]
    if num_wordings == 3:
        options += ["--plot", tmp_path / "figures"]
    shown = [run(*ONE, tmp_path / "results", *options), *(path.read_text() for path in written)]
    shown += [path.read_text() for path in tmp_path.glob("t.*.csv")]
    assert not any(re.search(r"\bnan\b", text, re.IGNORECASE) for text in shown)
    json.loads(run(*ONE, tmp_path / "results", *options[:4], "--json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--show", "curves"), "Unknown table 'curves'. Did you mean 'curve'"),
        (("--by", "relation"), "have no column 'relation'"),
        (("--rows", "won"), "Unknown kind of rows 'won'"),
        (("--rows", "gained", "--file", "vote"), "Unknown result file 'vote'. Did you mean"),
        (("--file", "vote-3"), "--file says whose rows are printed. Add --rows"),
        (("--cluster", "rel_uri"), "have no column 'rel_uri'"),
        (("--plot", "a.png"), "--plot a.png: the figures are several, so name a folder"),
        (("--data", "/no/such"), "--data"),
        (("--latex", "/no/such/t.tex"), "Cannot write /no/such/t.tex"),
        (("--calibration", "--latex", "t.tex"), "--calibration writes no LaTeX. Drop --latex."),
        (("--calibration", "--show", "all"), "--calibration shows one table. Drop --show."),
        (("--calibration", "--cluster", "rel_uri"), "Drop --cluster."),
    ],
)
def test_bad_option_is_one_line_that_says_what_to_do(results, options, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        run(*ONE, results, *options)
    assert "\n" not in str(caught.value)


def test_clusters_are_read_from_the_questions(results, tmp_path):
    data = tmp_path / "cities.jsonl"
    data.write_text(
        "".join(
            json.dumps(
                {
                    "uuid": f"q{i}",
                    "question": f"City {i}?",
                    "answers": ["Rome"],
                    "country": "Italy" if i < 20 else f"C{i}",
                }
            )
            + "\n"
            for i in range(40)
        )
    )
    plain = json.loads(run(*ONE, results, "--json"))["files"][0]
    options = ("--dataset", data, "--model", "tiny", "--output-dir", results)
    clustered = json.loads(run(*options, "--cluster", "country", "--json"))["files"][0]
    assert clustered["accuracy"] == plain["accuracy"]
    assert clustered["accuracy_low"] != plain["accuracy_low"]
    assert "groups of equal country" in " ".join(run(*options, "--cluster", "country").split())
    by = json.loads(run(*options, "--by", "country", "--json"))
    assert section(by, "by_country")[0]["group"] == "Italy"


def test_questions_with_columns_of_other_names_are_read_by_them(results, tmp_path):
    data = tmp_path / "cities.csv"
    lines = [f"q{i},City {i}?;Town {i}?,Rome,{'Italy' if i < 20 else 'France'}" for i in range(40)]
    data.write_text("\n".join(["key,frage,antwort,country", *lines]) + "\n", "cp1252")
    options = ("--dataset", data, "--model", "tiny", "--output-dir", results, "--by", "country")
    with pytest.raises(UserError, match=r"neither 'question' nor 'paraphrases'.*--columns"):
        run(*options)
    names = ("--columns", "question=frage,answers=antwort,id=key", "--encoding", "cp1252")
    by = section(json.loads(run(*options, *names, "--json")), "by_country")
    assert {row["group"]: row["questions"] for row in by} == {"Italy": 20, "France": 20}
    with pytest.raises(UserError, match="needs --dataset: which ones"):
        run("--compare-all", "--output-dir", results, *names)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_ten_thousand_rows_take_ten_seconds_and_a_gigabyte(tmp_path):
    make_results(tmp_path / "results", "cities", 1_250)
    rows = 5 * 1_250 + 3 * 1_250
    assert rows == 10_000
    # Its own: the children of this process are those of other tests as well. Linux hands the peak
    # of a process on to what it starts, but for the one that /proc tells.
    code = (
        "import atexit, re, time\n"
        "from pathlib import Path\n"
        "from self_ensemble.cli.main import app\n"
        "def tell():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    print(time.process_time(), re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
        "atexit.register(tell)\n"
        "app(['analyze', '--dataset', 'cities', '--model', 'tiny', '--output-dir', "
        f"{str(tmp_path / 'results')!r}, '--show', 'all'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, kilobytes = done.stdout.splitlines()[-1].split()
    assert float(seconds) < 10
    assert int(kilobytes) < 1_000_000


def test_neither_torch_nor_pandas_is_needed(results):
    code = (
        "import sys; from self_ensemble.cli.main import app\n"
        f"app(['analyze', *{[*ONE, str(results)]!r}, '--show', 'all'], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("column", ["rel/uri", "../up", "x" * 300])
def test_files_of_a_kind_lie_beside_the_others_whatever_its_column_is_called(column, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    folder, there = tmp_path / "results" / "cities" / "tiny", tmp_path / "there"
    there.mkdir()
    rows = [record(f"q{n}", "Rome", **{column: "ab"[n % 2]}) for n in range(4)]
    write_file(folder / "origin.feather", rows)
    run(*ONE, tmp_path / "results", "--by", column, "--csv", there / "t.csv", "--plot", there)
    names = sorted(path.name for path in there.iterdir())
    kinds = [name.partition("by_")[2] for name in names if "by_" in name]
    assert len(kinds) == 3, names  # CSV, PNG and SVG
    assert {path.name for path in tmp_path.iterdir()} == {"results", "there"}


def test_columns_that_differ_in_signs_alone_have_files_of_their_own(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    columns = {"rel uri": "ab", "rel/uri": "abc"}
    rows = [
        record(f"q{n}", "Rome", **{name: of[n % len(of)] for name, of in columns.items()})
        for n in range(6)
    ]
    write_file(tmp_path / "results" / "cities" / "tiny" / "origin.feather", rows)
    there = tmp_path / "there"
    there.mkdir()
    run(*ONE, tmp_path / "results", "--by", ",".join(columns), "--csv", there / "t.csv", "--plot",
        there)  # fmt: skip
    kinds = {path.name for path in there.iterdir() if "by_" in path.name}
    assert kinds == {
        "t.by_rel_uri.csv", "by_rel_uri.png", "by_rel_uri.svg", "t.by_rel_uri-2.csv",
        "by_rel_uri-2.png", "by_rel_uri-2.svg",
    }  # fmt: skip
    assert "c" in (there / "t.by_rel_uri-2.csv").read_text()


def test_chinese_kinds_are_drawn_and_letters_without_a_font_are_told_once(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    from self_ensemble.analysis.score_table import score_table
    from self_ensemble.report import figure
    from self_ensemble.report.analysis_plots import write_plots

    folder = tmp_path / "results" / "\u57ce\u5e02" / "tiny"
    rows = [record(f"q{n}", "Rome", **{"\u5173\u7cfb": "\u9996\u90fd"}) for n in range(4)]
    write_file(folder / "origin.feather", rows)
    loaded, said = [load(folder)], []
    monkeypatch.setattr(figure, "_families", lambda: ["sans-serif"])
    paths = write_plots(
        tmp_path / "plots", loaded, score_table(loaded), ["\u5173\u7cfb"], say=said.append
    )
    assert tmp_path / "plots" / "by_\u5173\u7cfb.png" in paths
    assert said == [figure.BOXES]


def test_a_folder_for_figures_that_cannot_be_made_is_told_in_one_line(results, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file is not a folder\. Move it away or .* --plot\.$"):
        run("--compare-all", "--output-dir", results, "--plot", tmp_path / "file" / "plots")
