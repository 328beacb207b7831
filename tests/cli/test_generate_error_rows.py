"""Questions of `generate` that cannot be asked or scored: error rows among the others."""

from self_ensemble.cli.main import main
from tests.cli.commands import arguments, question_rows, result, write_rows


def test_bad_rows_become_error_rows_and_the_others_go_on(tiny_folder, tmp_path, capsys) -> None:
    rows = question_rows()
    clean = tmp_path / "clean" / "bridges.jsonl"
    mixed = tmp_path / "mixed" / "bridges.jsonl"
    bad = [
        {**rows[5], "uuid": "long", "question": "word " * 2000},
        {**rows[6], "uuid": "empty", "paraphrases": ["", "Who?"]},
        {**rows[7], "uuid": "few", "paraphrases": []},
    ]
    for path, content in ((clean, rows), (mixed, rows[:4] + bad + rows[4:])):
        write_rows(path, content)
        # No shots: the rows set aside would not be the same in both files.
        options = ["--num-shots", "0", "--method", "flex_attention,per_prompt"]
        code = main(arguments("generate", path, tiny_folder, path.parent, *options))
        assert code == (0 if path is clean else 3)
    assert "3 questions could not be asked or answered" in capsys.readouterr().err
    good, table = (result(p.parent, "flex_attention-3").set_index("uuid") for p in (clean, mixed))
    errors = table["error"].dropna()
    assert set(errors.index) == {"long", "empty", "few"}
    assert "positions" in errors["long"]
    assert "empty" in errors["empty"]
    assert "3 wordings are asked for" in errors["few"]
    kept = table.loc[good.index]
    assert list(kept["generation"]) == list(good["generation"])


def test_origin_answers_what_it_answers_alone_beside_methods_that_cannot(
    tiny_folder, tmp_path
) -> None:
    rows = question_rows()
    rows[2]["paraphrases"] = []
    rows[4]["paraphrases"] = ["", "Who?"]
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    together, alone = (
        arguments("generate", path, tiny_folder, tmp_path / name, "--num-shots", "0", "--method",
                  methods)
        for name, methods in (("together", "origin,avg,per_prompt"), ("alone", "origin"))
    )  # fmt: skip
    assert main(together) == 3
    assert main(alone) == 0
    ours, other = (result(tmp_path / name, "origin") for name in ("together", "alone"))
    assert ours.drop(columns=["seconds", "mean_logprob"]).equals(
        other.drop(columns=["seconds", "mean_logprob"])
    )
    per_prompt = result(tmp_path / "together", "per_prompt")
    indices = per_prompt.groupby("uuid")["paraphrase_index"].agg(list)
    assert all(found == [0, 1, 2] for found in indices)
    # The original does not depend on N, so another N finds it finished.
    assert main([*alone, "--num-paraphrases", "2"]) == 0


def test_a_question_without_accepted_answers_is_an_error_row_and_does_not_stop_the_scores(
    tiny_folder, tmp_path, capsys
) -> None:
    rows = question_rows()
    rows[3]["answers"] = []
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    assert main(arguments("generate", path, tiny_folder, tmp_path, "--num-shots", "0")) == 3
    assert main(["analyze", "--dataset", str(path), "--model", str(tiny_folder), "--output-dir",
                 str(tmp_path), "--json"]) == 0  # fmt: skip
    assert '"errors": 1' in capsys.readouterr().out
