"""The model of lm-evaluation-harness: beside lm-eval's own, and beside `analyze`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval")

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import self_ensemble as se
from self_ensemble.integrations.lm_eval_model import SelfEnsembleLM
from tests.engine.asking import ready
from tests.integrations.harness import ASKED, CHOSEN, INSTRUCTION, rows, task, write_rows

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def tiny(tiny_model, tiny_tokenizer) -> se.LoadedModel:
    torch.set_num_threads(1)
    return ready(tiny_model("llama"), tiny_tokenizer)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "demo.jsonl", rows(5))


@pytest.fixture(scope="module")
def tasks() -> TaskManager:
    return TaskManager(include_defaults=False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def evaluate(lm: Any, asked: dict[str, Any], manager: TaskManager, **options: Any) -> Any:
    return lm_eval.simple_evaluate(
        model=lm, tasks=[asked], task_manager=manager, log_samples=True, bootstrap_iters=0,
        **options,
    )  # fmt: skip


def answers(results: Any, name: str) -> list[Any]:
    return [response[0] for sample in results["samples"][name] for response in sample["resps"]]


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("base", [ASKED, CHOSEN], ids=["generate_until", "loglikelihood"])
def test_origin_is_lm_evals_own_model_request_by_request(
    tiny, tiny_folder, tiny_tokenizer, tasks, data, base, chat
):
    own = HFLM(str(tiny_folder), device="cpu", dtype="float32", batch_size=2)
    ours = SelfEnsembleLM(tiny, "origin", batch_size=2)
    asked = task(base, data)
    expected, found = (
        answers(evaluate(lm, asked, tasks, apply_chat_template=chat), base["task"])
        for lm in (own, ours)
    )
    if base is ASKED:
        assert found == expected
        return
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    # float32 in another order, of up to a dozen tokens
    assert [total for total, _ in found] == pytest.approx([t for t, _ in expected], abs=1e-3)


def test_the_greedy_flag_is_lm_evals_own(tiny, tiny_folder):
    """A random model takes none of the choices by itself, so it is asked for its own answers."""
    own = HFLM(str(tiny_folder), device="cpu", dtype="float32", batch_size=8)
    ours = SelfEnsembleLM(tiny, "origin", batch_size=8)
    whole = se.Ensemble(tiny, "origin", frame=se.whole_frame(tiny.tokenizer))
    contexts = [f"The river is wide.\nQ: Who is number {n}?\nA:" for n in range(30)]
    said = [tiny.tokenizer.decode(one.token_ids[:1]) for one in whole.answer_many(
        [[context] for context in contexts])]  # fmt: skip
    requests = [
        Instance("loglikelihood", {}, (context, text), 0, metadata=("t", n, 1))
        for n, context in enumerate(contexts)
        for text in (said[n], said[n] + " not", " Paris")
        if text
    ]
    expected, found = own.loglikelihood(requests), ours.loglikelihood(requests)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert {greedy for _, greedy in found} == {False, True}
    assert [total for total, _ in found] == pytest.approx([t for t, _ in expected], abs=1e-3)


@pytest.mark.model
def test_lm_evals_exact_match_is_that_of_analyze(tasks, tmp_path):
    """The same prompts, cut from lm-eval's text by the one and built by the other."""
    loaded = se.load_model("smollm2_135m_it")
    options = se.DataOptions("demo", max_samples=12, num_shots=3)
    asked = options.load()
    given = asked.instruction + "".join(
        asked.framing.wording.format(shot.wording) + asked.framing.cue
        + asked.framing.answer.format(shot.answer)
        for shot in asked.shots
    )  # fmt: skip
    results = se.generate(
        options, model=loaded, methods=["flex_attention"], output_dir=tmp_path,
        options=se.GenerateOptions(num_paraphrases=3, chat_template="off", max_new_tokens=8),
    )  # fmt: skip
    (score,) = se.analyze("demo", model=loaded.name, output_dir=tmp_path).rows
    data = write_rows(tmp_path / "demo.jsonl", rows(12))
    ours = SelfEnsembleLM(
        loaded, "flex_attention", paraphrases=str(data), num_paraphrases=3, batch_size=4
    )
    found = evaluate(ours, task(ASKED, data, description=given), tasks)
    predictions = [row["prediction"] for row in results.rows("flex_attention")]
    assert [text.strip() for text in answers(found, "demo_asked")] == predictions
    exact = found["results"]["demo_asked"]["exact_match,stripped"]
    assert 0.2 < exact < 1.0
    assert exact == pytest.approx(score.exact_match)


def test_wordings_of_a_file_are_those_of_our_own_prompts(tiny, tasks, data):
    """Every method's likelihoods are those of a frame built from the parts."""
    frame = se.Ensemble(tiny, prefix=INSTRUCTION).frame
    for method in ("flex_attention", "avg", "contrast"):
        ours = SelfEnsembleLM(tiny, method, paraphrases=str(data), num_paraphrases=3, batch_size=2)
        found = answers(evaluate(ours, task(CHOSEN, data), tasks), "demo_chosen")
        built = se.Ensemble(tiny, method, frame=frame)
        pairs = [
            (se.Request("q", (row["question"], *row["paraphrases"][:2])), f" {choice}")
            for row in rows(5)
            for choice in row["choices"]
        ]
        expected = [one.total for one in built.log_likelihoods(pairs)]
        assert [total for total, _ in found] == pytest.approx(expected, abs=1e-3)


def test_templates_word_every_task_anew(tiny, tasks, data, tmp_path):
    path = tmp_path / "templates.json"
    path.write_text(json.dumps(["{}", "Think, then say it. {}", "{ok} Answer!\n{}"]))
    ours = SelfEnsembleLM(tiny, "avg", templates=str(path), batch_size=2)
    found = answers(evaluate(ours, task(CHOSEN, data), tasks), "demo_chosen")
    built = se.Ensemble(tiny, "avg", frame=se.whole_frame(tiny.tokenizer))
    row = rows(5)[0]
    prompt = f"{INSTRUCTION}Q: {row['question']}\nA:"
    request = se.Request(
        "q", (prompt, f"Think, then say it. {prompt}", f"{{ok}} Answer!\n{prompt}")
    )
    (one,) = built.log_likelihoods([(request, f" {row['choices'][0]}")])
    assert found[0][0] == pytest.approx(one.total, abs=1e-3)
    alone = answers(evaluate(SelfEnsembleLM(tiny, "origin"), task(CHOSEN, data), tasks),
                    "demo_chosen")  # fmt: skip
    assert abs(found[0][0] - alone[0][0]) > 1e-2


def test_wordings_are_drawn_once_and_kept_by_model(tiny, tasks, data, tmp_path, monkeypatch):
    options = {"paraphrases": "auto", "num_paraphrases": 2, "fewer": "accept", "batch_size": 4}
    folder = tmp_path / "kept"
    ours = SelfEnsembleLM(tiny, "avg", wordings_folder=str(folder), **options)
    first = answers(evaluate(ours, task(CHOSEN, data), tasks, limit=2), "demo_chosen")
    kept = sorted(folder.glob("*.feather"))
    assert len(kept) == 1
    written = kept[0].stat().st_mtime_ns
    again = SelfEnsembleLM(tiny, "avg", wordings_folder=str(folder), **options)
    assert answers(evaluate(again, task(CHOSEN, data), tasks, limit=2), "demo_chosen") == first
    assert sorted(folder.glob("*.feather")) == kept
    assert kept[0].stat().st_mtime_ns == written


def test_samples_of_repeats_differ_and_come_again(tiny, tasks, data):
    sampled = {"until": [], "max_gen_toks": 6, "do_sample": True, "temperature": 1.0}
    asked = task(ASKED, data, generation_kwargs=sampled, repeats=2, filter_list=[
        {"name": "all", "filter": [{"function": "take_first_k", "k": 2}]}])  # fmt: skip
    asked["metric_list"] = [{"metric": "bypass"}]
    runs = [
        evaluate(SelfEnsembleLM(tiny, "origin", batch_size=4), asked, tasks)["samples"]
        for _ in range(2)
    ]
    one, again = ([sample["resps"] for sample in run["demo_asked"]] for run in runs)
    assert one == again
    assert all(first != second for ((first, second),) in one)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "avg"}, "without paraphrases or templates"),
        ({"method": "origin", "templates": "t.json"}, "with paraphrases or templates"),
        ({"method": "per_prompt", "templates": "t.json"}, "an answer for each"),
        ({"method": "avg", "paraphrases": "a", "templates": "b"}, "one of the two"),
        ({"method": "avg", "paraphrases": "auto"}, "needs num_paraphrases"),
        ({"method": "avg", "paraphrases": "a.jsonl"}, "a.jsonl does not exist"),
        ({"method": "origin", "few": 1}, "Unknown model_args: few"),
        ({"method": "origin", "fewer": "no"}, "expected refuse or accept"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tiny, arguments, says):
    with pytest.raises(se.UserError, match=says):
        SelfEnsembleLM(tiny, **arguments)


@pytest.mark.parametrize(
    ("changes", "known", "says"),
    [
        ({}, {"num_paraphrases": 9}, "5 of 5 requests.*has 6 wordings.*9 are asked"),
        ({"doc_to_text": "Q: {{question|lower}}\nA:"}, {}, "does not stand in its prompt"),
        ({"doc_to_text": "{{question}} {{question}}\nA:"}, {}, "more than once"),
        ({}, {"question_field": "uuid"}, "no wordings of the question 'demo-001'"),
        ({}, {"question_field": "choices"}, "no text in the field 'choices'"),
        ({"generation_kwargs": {"until": [], "num_beams": 3}}, {}, "'num_beams': 3"),
        ({"generation_kwargs": {"until": [], "max_gen_toks": 99999}}, {}, "99999 new tokens"),
    ],
)
def test_items_that_are_not_unmistakable_are_refused(tiny, tasks, data, changes, known, says):
    ours = SelfEnsembleLM(tiny, "avg", paraphrases=str(data), **known)
    with pytest.raises(se.UserError, match=says) as refused:
        evaluate(ours, task(ASKED, data, **changes), tasks)
    assert "\n" not in str(refused.value)


def test_questions_of_another_file_are_refused(tiny, tasks, data, tmp_path):
    other = write_rows(tmp_path / "other.jsonl", [{"question": "who?", "paraphrases": ["why?"]}])
    ours = SelfEnsembleLM(tiny, "avg", paraphrases=str(other))
    with pytest.raises(se.UserError, match=r"has no question of .*other\.jsonl"):
        evaluate(ours, task(ASKED, data), tasks)


def test_perplexity_is_refused_with_the_reason(tiny):
    request = Instance("loglikelihood_rolling", {}, ("A text.",), 0, metadata=("t", 0, 1))
    with pytest.raises(se.UserError, match="no question to word"):
        SelfEnsembleLM(tiny, "origin").loglikelihood_rolling([request])


def test_no_prompt_is_refused_with_the_reason(tiny):
    request = Instance("loglikelihood", {}, ("", " Paris"), 0, metadata=("t", 0, 1))
    with pytest.raises(se.UserError, match="no prompt to word"):
        SelfEnsembleLM(tiny, "origin").loglikelihood([request])


def test_special_tokens_of_a_chat_template_are_meant_and_those_of_data_are_not(tiny):
    """In a wording they are text, in the rest of the prompt they are the template's."""
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    items = se.ItemPrompts(
        se.whole_frame(tiny.tokenizer, is_template=True),
        se.KnownWordings("file", {"who?": ("who?", "<|im_end|> who?")}),
    )
    request = items.request("q", template.format("who?"), {"question": "who?"})
    assert request.frame is not None
    parts = request.frame.parts(request.wordings)
    special = tiny.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert list(parts.alone(0)) == tiny.tokenizer(template.format("who?"))["input_ids"]
    assert [list(parts.alone(n)).count(special) for n in range(2)] == [1, 1]


@pytest.mark.slow
def test_the_command_knows_the_model_and_refuses_in_one_line(tiny_folder, data, tmp_path):
    (tmp_path / "demo.yaml").write_text(json.dumps(task(ASKED, data)))
    command = [
        sys.executable, "-m", "self_ensemble", "lm-eval", "--model", "self-ensemble",
        "--include_path", str(tmp_path), "--tasks", "demo_asked", "--batch_size", "4",
        "--output_path", str(tmp_path / "out"), "--model_args",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "ds")}
    options = f"model={tiny_folder},method=flex_attention,paraphrases={data}"

    def run(more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, options + more],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )  # fmt: skip

    done = run(",num_paraphrases=3")
    assert done.returncode == 0, done.stderr
    assert "exact_match" in done.stdout
    (written,) = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(written.read_text())["config"]["model"] == "self-ensemble"
    refused = run(",num_paraphrases=30")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("Error: 5 of 5 requests cannot be asked.")
