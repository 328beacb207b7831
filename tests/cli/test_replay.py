"""`generate --save-logprobs` and `replay`: fused again, as a run would have it."""

import json
import math
import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from pyarrow import feather

from self_ensemble.analysis.first_token import RULES as FIRST_TOKEN_RULES
from self_ensemble.cli.main import main
from self_ensemble.errors import UserError
from self_ensemble.jobs.replay import replay
from self_ensemble.replaying.rules import REPLAY_RULES
from self_ensemble.results import load
from self_ensemble.results.manifest import read_manifest
from self_ensemble.results.schema import PRIOR_INDEX
from tests.cli.commands import (
    arguments,
    interrupt,
    many_question_rows,
    question_rows,
    result,
    result_path,
    write_rows,
)

RULES = ",".join(REPLAY_RULES)
WEIGHTS = ["--weights", "0.2,0.5,0.3"]


def _weighted(path):
    """The questions with the weights that replay is given."""
    return write_rows(path, [row | {"trust": [0.2, 0.5, 0.3]} for row in question_rows()])


def _replayed(capsys, output, *more) -> list[dict[str, object]]:
    capsys.readouterr()
    command = ["replay", "--dataset", "bridges", "--model", "tiny", "--output-dir", str(output)]
    assert main([*command, "--rows", *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _refused(capsys, command) -> str:
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    return error


def _agrees(rows, output, stem) -> int:
    """How many rows say that they are exact; each has the first token of the run."""
    exact = 0
    for rule in REPLAY_RULES:
        made = result(output, f"{stem[0]}ensemble_{rule}-{stem[1]}")
        first = {uuid: ids[0] for uuid, ids in zip(made["uuid"], made["token_ids"], strict=True)}
        mine = {row["uuid"]: row for row in rows if row["rule"] == rule}
        assert mine.keys() == first.keys()
        for uuid, row in mine.items():
            if row["status"] == "exact":
                assert row["token_id"] == first[uuid], (rule, uuid)
                exact += 1
    return exact


@pytest.mark.parametrize("top_k", ["2", "64"])
def test_replay_takes_the_runs_first_token_wherever_it_says_exact(
    tmp_path, tiny_folder, capsys, top_k
) -> None:
    path = _weighted(tmp_path / "bridges.jsonl")
    options = ["--method", RULES, "--weights", "trust"]
    command = arguments("generate", path, tiny_folder, tmp_path / "out", *options)
    assert main([*command, "--save-logprobs", top_k]) == 0
    rows = _replayed(capsys, tmp_path / "out", "--rule", RULES, *WEIGHTS)
    exact = _agrees(rows, tmp_path / "out", ("", 3))
    assert exact > 0 if top_k == "2" else exact > 0.9 * len(rows)

    # The curve ends where all wordings are fused, and is shown beside the others.
    loaded = load(tmp_path / "out" / "bridges" / "tiny")
    curve = loaded.first_token_curve()
    for rule in FIRST_TOKEN_RULES:
        table = replay("bridges", "tiny", output_dir=tmp_path / "out", rules=[rule])
        point = curve.series(rule)[-1]
        asked = table.num_replayed(rule)
        assert (point.num_wordings, point.num_subsets, point.right.n) == (3, 1, asked)
        assert point.right.value == table.num_right(rule) / asked
        assert point.exact == table.counts(rule)["exact"] / asked
    analyze = ["analyze", "--dataset", "bridges", "--model", "tiny", "--show", "curve"]
    assert main([*analyze, "--output-dir", str(tmp_path / "out")]) == 0
    assert "first token by number of wordings" in capsys.readouterr().out
    with pytest.raises(UserError, match="Unknown file of log-probabilities 'logprobs-2'"):
        loaded.first_token_curve(file="logprobs-2")
    with pytest.raises(UserError, match="Unknown fusion rule without weights 'weighted_avg'"):
        loaded.first_token_curve(["weighted_avg"])

    # Other wordings in another order are a run of their own.
    more = ["--indices", "2,0", "--weights", "0.3,0.2"]
    rows = _replayed(capsys, tmp_path / "out", "--rule", RULES, *more)
    again = arguments("generate", path, tiny_folder, tmp_path / "two", *options)
    assert main([*again, "--indices", "2,0"]) == 0
    exact = _agrees(rows, tmp_path / "two", ("diversity/", "2,0"))
    assert exact > 0 if top_k == "2" else exact > 0.9 * len(rows)


def test_every_step_has_the_wordings_own_tokens(questions, tiny_folder, tmp_path) -> None:
    options = ["--method", "per_prompt", "--save-logprobs", "5"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 0
    alone = result(tmp_path, "per_prompt").set_index(["uuid", "paraphrase_index"])
    kept = result(tmp_path, "logprobs-3").set_index(["uuid", "paraphrase_index"])
    assert len(kept) == len(alone) * 4 / 3
    for key, row in alone.iterrows():
        mine = kept.loc[key]
        assert list(mine["token_ids"]) == list(row["token_ids"])
        assert [ids[0] for ids in mine["step_ids"]] == list(row["token_ids"])
        best = [logprobs[0] for logprobs in mine["step_logprobs"]]
        assert np.mean(best) == pytest.approx(row["mean_logprob"], abs=1e-4)
        for logprobs, rest in zip(mine["step_logprobs"], mine["step_rest"], strict=True):
            assert np.exp(logprobs).sum() + np.exp(rest) == pytest.approx(1, abs=1e-4)
    prior = kept.xs(PRIOR_INDEX, level="paraphrase_index")
    assert not prior["token_ids"].map(len).any()
    assert prior["first_logprobs"].map(len).equals(prior["first_ids"].map(len))


def test_a_run_without_it_is_as_before_and_one_with_it_has_the_same_answers(
    questions, tiny_folder, tmp_path
) -> None:
    command = arguments("generate", questions, tiny_folder, tmp_path / "a", "--method", "all")
    assert main(command) == 0
    other = arguments("generate", questions, tiny_folder, tmp_path / "b", "--method", "all")
    assert main([*other, "--save-logprobs", "8"]) == 0
    # What is finished is left alone, and only the log-probabilities are made.
    assert main([*command, "--save-logprobs", "8"]) == 0
    for name in ("flex_attention-3", "ensemble_avg-3", "per_prompt", "logprobs-3"):
        mine, others = (
            feather.read_table(result_path(tmp_path / one, name)) for one in ("a", "b")
        )
        if name != "logprobs-3":
            mine, others = mine.drop_columns("seconds"), others.drop_columns("seconds")
            assert "save_logprobs" not in read_manifest(result_path(tmp_path / "b", name)).fields
        assert mine.equals(others)
    analyze = ["analyze", "--dataset", "bridges", "--model", "tiny"]
    assert main([*analyze, "--output-dir", str(tmp_path / "a")]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on_and_another_k_is_refused(
    tmp_path, tiny_folder, capsys, number
) -> None:
    path = write_rows(tmp_path / "bridges.jsonl", many_question_rows(4))
    options = ["--method", "avg", "--batch-size", "1", "--save-logprobs", "4"]
    command = arguments("generate", path, tiny_folder, tmp_path / "a", *options)
    interrupt(command, tmp_path / "a", number)
    changed = [*command[:-1], "5"]
    assert "save_logprobs was 4, now 5" in _refused(capsys, changed)
    assert main(command) == 0
    assert main(arguments("generate", path, tiny_folder, tmp_path / "b", *options)) == 0
    tables = [feather.read_table(result_path(tmp_path / one, "logprobs-3")) for one in "ab"]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray")
def test_workers_keep_the_same(questions, tiny_folder, tmp_path) -> None:
    options = ["--method", "avg", "--save-logprobs", "4"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path / "a", *options)) == 0
    shared = arguments("generate", questions, tiny_folder, tmp_path / "b", *options)
    assert main([*shared, "--workers", "1"]) == 0
    tables = [feather.read_table(result_path(tmp_path / one, "logprobs-3")) for one in "ab"]
    assert tables[0].equals(tables[1])


def test_a_question_that_cannot_be_asked_is_an_error_row_and_counted(
    tmp_path, tiny_folder, capsys
) -> None:
    rows = question_rows()
    rows[4]["paraphrases"] = rows[4]["paraphrases"][:1]
    path = write_rows(tmp_path / "bridges.jsonl", rows)
    options = ["--method", "avg", "--save-logprobs", "4", "--num-shots", "0"]
    assert main(arguments("generate", path, tiny_folder, tmp_path, *options)) == 3
    found = _replayed(capsys, tmp_path, "--rule", "avg")
    (bad,) = [row for row in found if row["status"] == "error"]
    assert bad["uuid"] == "q4"
    assert "3 wordings are asked for" in bad["error"]
    command = ["replay", "--dataset", "bridges", "--model", "tiny", "--output-dir", str(tmp_path)]
    assert main([*command, "--json", "--rule", "avg"]) == 0
    counts = json.loads(capsys.readouterr().out)["rules"]["avg"]
    assert (counts["questions"], counts["error"]) == (9, 1)
    assert counts["exact"] + counts["rest"] + counts["close"] == 9
    assert main(command) == 0
    assert "first token right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rule", "avgg"], "Unknown fusion rule 'avgg'. Did you mean 'avg'"),
        (["--rule", "weighted_avg"], "needs weights, and none were given"),
        (["--rule", "avg", "--weights", "1,1,1"], "is for weighted_avg and weighted_max"),
        (["--rule", "weighted_avg", "--weights", "1,1"], "Got 2 weights for 3 wordings"),
        (["--indices", "0,7"], "has nothing of wording 7, only of 0, 1, 2"),
        (["--contrast-strength", "-1"], "Got --contrast-strength -1"),
        (["--file", "logprobs-9"], "Unknown file 'logprobs-9'"),
        (["--rule", ","], "No --rule given"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_a_line(
    questions, tiny_folder, tmp_path, capsys, more, message
) -> None:
    command = ["replay", "--dataset", "bridges", "--model", "tiny", "--output-dir", str(tmp_path)]
    plain = arguments("generate", questions, tiny_folder, tmp_path, "--method", "avg")
    assert main(plain) == 0
    assert "no finished log-probabilities" in _refused(capsys, command)
    assert "--save-logprobs" in _refused(capsys, [*plain, "--save-logprobs", "0"])
    assert main([*plain, "--save-logprobs", "3"]) == 0
    assert message in _refused(capsys, [*command, *more])


def test_wordings_and_weights_that_fuse_nothing_are_refused_from_python(
    questions, tiny_folder, tmp_path
) -> None:
    plain = arguments("generate", questions, tiny_folder, tmp_path, "--method", "avg")
    assert main([*plain, "--save-logprobs", "3"]) == 0

    def fuse(**options: object) -> None:
        replay("bridges", "tiny", output_dir=tmp_path, rules=["weighted_avg"], **options)

    for weights in ([0, 0, 0], [1, -1, 1], [1, math.nan, 1], [1, math.inf, 1]):
        with pytest.raises(UserError, match="finite numbers from 0"):
            fuse(weights=weights)
    with pytest.raises(UserError, match="no wordings to fuse"):
        fuse(weights=[], indices=[])
    fuse(weights=[1, 0, 1])


def test_damage_and_a_file_under_its_name_are_refused(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    options = ["--method", "avg", "--save-logprobs", "3"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *options)) == 0
    command = ["replay", "--dataset", "bridges", "--model", "tiny", "--output-dir", str(tmp_path)]
    path = result_path(tmp_path, "logprobs-3")
    sound = path.read_bytes()
    path.write_bytes(sound[:500] + bytes([sound[500] ^ 1]) + sound[501:])
    assert "logprobs-3.feather" in _refused(capsys, command)
    path.write_bytes(result_path(tmp_path, "ensemble_avg-3").read_bytes())
    assert "holds the answers of avg" in _refused(capsys, command)


def test_replay_imports_no_torch(tmp_path) -> None:
    code = (
        "import sys; from self_ensemble.cli.main import main; "
        f"main(['replay', '--dataset', 'd', '--model', 'm', '--output-dir', {str(tmp_path)!r}]); "
        "import self_ensemble.report.replay; "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.model
def test_replay_takes_the_packaged_models_first_tokens(tmp_path, capsys) -> None:
    command = [
        "generate", "--dataset", "demo", "--model", "smollm2_135m_it", "--max-new-tokens", "2",
        "--output-dir", str(tmp_path), "--max-samples", "24", "--save-logprobs", "64",
    ]  # fmt: skip
    rules = [rule for rule in REPLAY_RULES if not rule.startswith("weighted")]
    assert main([*command, "--method", ",".join(rules)]) == 0
    capsys.readouterr()
    replay = ["replay", "--dataset", "demo", "--model", "smollm2_135m_it"]
    assert main([*replay, "--output-dir", str(tmp_path), "--rows"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    exact = [row for row in rows if row["status"] == "exact"]
    assert len(exact) > 0.9 * len(rows)
    for rule in rules:
        path = tmp_path / "demo" / "smollm2_135m_it" / f"ensemble_{rule}-5.feather"
        made = feather.read_table(path).to_pylist()
        first = {row["uuid"]: row["token_ids"][0] for row in made}
        assert all(r["token_id"] == first[r["uuid"]] for r in exact if r["rule"] == rule)
