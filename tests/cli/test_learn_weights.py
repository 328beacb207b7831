"""`learn-weights`, and `generate` with what it wrote."""

import json
from pathlib import Path

import pytest

from self_ensemble.cli.main import main
from self_ensemble.ensemble import Ensemble
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import chat_frame
from self_ensemble.questions.load import load_questions
from self_ensemble.running.choice import WordingChoice
from self_ensemble.weighting.pooling import Likelihood
from tests.cli.commands import arguments, question_rows, result, write_rows
from tests.weighting.dev_sets import ask_dev_set

NUM_FACTS = 24
RELATIONS = {
    "P36": ["The capital of [X] is [Y].", "[X] has the capital [Y].", "Capital of [X]: [Y]."],
    "P17": ["[X] lies in [Y].", "The country of [X] is [Y].", "[Y] is where [X] lies."],
}


def learn(dataset: Path, model: Path, output: Path, *more: str) -> list[str]:
    return [
        "learn-weights", "--dataset", str(dataset), "--model", str(model), "--output-dir",
        str(output), "--num-shots", "2", "--num-paraphrases", "3", "--folds", "2", *more,
    ]  # fmt: skip


def learned_file(output: Path, dataset: str = "bridges") -> Path:
    return output / dataset / "tiny" / "learned_weights.json"


def dev_file(questions: Path, num: int) -> list[str]:
    """The ids of the first questions that a command asks: those that are no few-shot examples."""
    return [q.uuid for q in load_questions(str(questions), num_shots=2).questions[:num]]


@pytest.fixture
def facts(tmp_path) -> Path:
    """A folder that `--dataset myriadlama --data` takes: facts of two relations."""
    folder = tmp_path / "towns"
    rows = [
        {"uuid": f"f{n}", "rel_uri": list(RELATIONS)[n % 2], "sub_ent": f"Town {n}",
         "obj_aliases": ["Paris" if n % 3 else "the river"]}
        for n in range(NUM_FACTS)
    ]  # fmt: skip
    templates = [
        {"rel_uri": relation, "template": template, "is_manual": True}
        for relation, texts in RELATIONS.items()
        for template in texts
    ]
    for name, content in (("facts", rows), ("templates", templates)):
        write_rows(folder / f"{name}.jsonl", content)
    return folder


def test_weights_are_written_with_their_provenance(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    assert main(learn(questions, tiny_folder, tmp_path, "--max-samples", "5")) == 0
    document = json.loads(learned_file(tmp_path).read_text())
    assert document["kind"] == "learned weights"
    assert document["by"] == "index"
    assert sum(document["weights"]["all"]) == pytest.approx(1.0)
    assert document["indices"] == [0, 1, 2]
    assert document["dev_uuids"] == dev_file(questions, 5)
    assert document["cross_validation"]["questions"] == 5
    assert document["cross_validation"]["folds"] == 2
    assert document["nll"] <= document["nll_uniform"] + 1e-6
    for name in ("model_revision", "dtype", "prompt_sha256", "questions_sha256", "versions",
                 "date", "seed", "top_k", "num_shots"):  # fmt: skip
        assert name in document
    shown = capsys.readouterr().out
    assert f"{document['weights']['all'][0]:.3f}" in shown
    assert "held out, 2 folds" in shown


def test_json_is_one_line(questions, tiny_folder, tmp_path, capsys) -> None:
    command = learn(questions, tiny_folder, tmp_path, "--json", "--output",
                    str(tmp_path / "mine.json"))  # fmt: skip
    assert main(command) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert captured.err == ""
    summary = json.loads(line)
    assert summary["file"] == str(tmp_path / "mine.json")
    assert summary["questions"] == 8
    assert not learned_file(tmp_path).exists()


def test_the_same_command_gives_the_same_weights(questions, tiny_folder, tmp_path) -> None:
    documents = []
    for size in ("1", "8"):
        assert main(learn(questions, tiny_folder, tmp_path / size, "--batch-size", size)) == 0
        documents.append(json.loads(learned_file(tmp_path / size).read_text()))
    one, many = (document["weights"]["all"] for document in documents)
    assert one == pytest.approx(many, abs=1e-3)


def test_a_file_is_kept_unless_told_otherwise(questions, tiny_folder, tmp_path, capsys) -> None:
    command = learn(questions, tiny_folder, tmp_path)
    assert main(command) == 0
    before = learned_file(tmp_path).read_bytes()
    assert main([*command, "--seed", "1"]) == 2
    assert "seed was 0, now 1" in capsys.readouterr().err
    assert learned_file(tmp_path).read_bytes() == before
    assert main([*command, "--seed", "1", "--overwrite"]) == 0
    assert json.loads(learned_file(tmp_path).read_text())["seed"] == 1


def test_the_same_command_again_tells_what_is_there(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    command = learn(questions, tiny_folder, tmp_path)
    told = []
    for more in ([], ["--json"]):
        for again in (["--overwrite"], []):
            assert main([*command, *more, *again]) == 0
            captured = capsys.readouterr()
            assert ("Finished already." in captured.err) == (not again and not more)
            told.append(captured.out)
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert [file.name for file in learned_file(tmp_path).parent.iterdir()] == [
        "learned_weights.json"
    ]


def test_a_damaged_file_is_refused_and_repaired(questions, tiny_folder, tmp_path, capsys) -> None:
    command = learn(questions, tiny_folder, tmp_path, "--max-samples", "4")
    assert main(command) == 0
    path = learned_file(tmp_path)
    before = json.loads(path.read_text())
    damaged = path.read_bytes().replace(b"0.", b"0,", 1)
    path.write_bytes(damaged)
    asked = arguments("generate", questions, tiny_folder, tmp_path, "--offset", "4",
                      "--method", "weighted_avg", "--weights", "learned")  # fmt: skip
    capsys.readouterr()
    assert main(command) == 2
    assert "its checksum is another one. Use --repair" in capsys.readouterr().err
    assert main(asked) == 2
    assert "learn-weights --repair" in capsys.readouterr().err
    assert main([*command, "--repair"]) == 0
    assert "learned_weights.json.damaged-1" in capsys.readouterr().err
    assert json.loads(path.read_text())["weights"] == before["weights"]
    assert path.with_name("learned_weights.json.damaged-1").read_bytes() == damaged
    assert main(asked) == 0


@pytest.mark.parametrize("option", ["--output-dir", "--output"])
def test_a_place_that_cannot_be_written_is_told_with_the_option_that_chose_it(
    questions, tiny_folder, tmp_path, capsys, option
) -> None:
    (tmp_path / "out").write_text("a file in the way")
    place = tmp_path / "out" / ("mine.json" if option == "--output" else "")
    assert main(learn(questions, tiny_folder, tmp_path, option, str(place))) == 2
    assert f"out is not a folder. Move it away or choose another {option}. [SE-0701]\n" in (
        capsys.readouterr().err
    )


def test_generate_refuses_the_questions_learned_from(
    questions, tiny_folder, tmp_path, capsys
) -> None:
    assert main(learn(questions, tiny_folder, tmp_path, "--max-samples", "4")) == 0
    command = arguments("generate", questions, tiny_folder, tmp_path, "--method", "weighted_avg",
                        "--weights", "learned")  # fmt: skip
    capsys.readouterr()
    assert main(command) == 2
    first = dev_file(questions, 1)[0]
    message = capsys.readouterr().err
    assert f"was fitted on row '{first}', which is to be answered" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("source", ["learned", "file"])
def test_generate_answers_other_questions_with_learned_weights(
    questions, tiny_folder, tmp_path, source
) -> None:
    assert main(learn(questions, tiny_folder, tmp_path, "--max-samples", "4")) == 0
    path = learned_file(tmp_path)
    weights = json.loads(path.read_text())["weights"]["all"]
    rows = [row | {"trust": weights} for row in question_rows()]
    with_column = write_rows(tmp_path / "column" / "bridges.jsonl", rows)
    named = "learned" if source == "learned" else str(path)
    both = ["--method", "weighted_avg,flex_attention", "--offset", "4"]
    ours = [*both, "--weights", named, "--segment-weights", named]
    column = [*both, "--weights", "trust", "--segment-weights", "trust"]
    assert main(arguments("generate", questions, tiny_folder, tmp_path, *ours)) == 0
    assert main(arguments("generate", with_column, tiny_folder, tmp_path / "column", *column)) == 0
    suffix = "-learned" if source == "learned" else ""
    for name in ("ensemble_weighted_avg-3", "flex_attention-3"):
        found = result(tmp_path, f"{name}{suffix}")
        expected = result(tmp_path / "column", name)
        assert list(found["generation"]) == list(expected["generation"])


def test_weights_by_template_serve_known_relations(facts, tiny_folder, tmp_path, capsys) -> None:
    data = ["--data", str(facts), "--num-manual", "3"]
    command = learn(Path("myriadlama"), tiny_folder, tmp_path, *data, "--by", "template",
                    "--max-samples", "6")  # fmt: skip
    assert main(command) == 0
    document = json.loads(learned_file(tmp_path, "towns").read_text())
    assert set(document["weights"]) == set(RELATIONS)
    assert "weights of 2 relations" in capsys.readouterr().out
    path = learned_file(tmp_path, "towns")
    # What was fitted on other rows, as far as the file tells.
    document["checksum"] = "edited"
    path.write_text(json.dumps(document | {"dev_uuids": ["elsewhere"]}))
    asked = arguments("generate", Path("myriadlama"), tiny_folder, tmp_path, *data, "--method",
                     "weighted_avg", "--weights", "learned")  # fmt: skip
    assert main(asked) == 0
    path.write_text(json.dumps(document | {
        "dev_uuids": ["elsewhere"], "weights": {"P36": document["weights"]["P36"]},
    }))  # fmt: skip
    capsys.readouterr()
    assert main([*asked, "--overwrite"]) == 2
    assert "no weights for the relation 'P17' of row" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--max-samples", "0"], "--max-samples"),
        (["--by", "templat"], "Did you mean 'template'?"),
        (["--by", "template"], "is not asked in a relation's manual templates"),
        (["--num-paraphrases", "1"], "Got 1 wording, which has all the weight"),
        (["--indices", "2"], "Got 1 wording, which has all the weight"),
        (["--num-paraphrases", "9"], "no question of bridges has more than 3"),
        (["--folds", "1"], "Got --folds 1 for 8 questions"),
        (["--folds", "9"], "Got --folds 9 for 8 questions"),
        (["--output", "weights.txt"], "Give a file that ends in .json"),
        (["--chat-template", "maybe"], "Unknown chat template setting"),
        (["--batch-size", "many"], "Give auto or a number"),
    ],
)
def test_a_mistake_is_one_line(questions, tiny_folder, tmp_path, capsys, more, message) -> None:
    assert main(learn(questions, tiny_folder, tmp_path, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not learned_file(tmp_path).exists()


@pytest.mark.parametrize("more", [["--folds", "9"], ["--by", "template"], ["--offset", "99"]])
def test_a_mistake_in_the_data_is_told_before_the_model_is_loaded(
    questions, tmp_path, capsys, more
) -> None:
    assert main(learn(questions, "no/such_model", tmp_path, *more)) == 2
    assert "such_model" not in capsys.readouterr().err


def test_chat_answers_are_turns_of_the_chat_template(questions, tiny_folder, tmp_path) -> None:
    assert main(learn(questions, tiny_folder, tmp_path, "--chat-template", "on")) == 0
    model = load_model(str(tiny_folder))
    asked = load_questions(str(questions), num_shots=2)
    ensemble = Ensemble(
        model, "avg", frame=chat_frame(model.tokenizer, asked.instruction, asked.shots)
    )
    answer = (*model.tokenizer("Paris").input_ids, model.tokenizer.eos_token_id)
    dev_set = ask_dev_set(
        ensemble, asked.questions, WordingChoice(3), lambda text: answer, batch_size=3
    )
    document = json.loads(learned_file(tmp_path).read_text())
    weights = document["weights"]["all"]
    expected = Likelihood(dev_set.candidates).each(weights).mean()
    assert document["nll"] == pytest.approx(expected, abs=1e-3)
