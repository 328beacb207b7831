from pathlib import Path

import pytest

from self_ensemble.asking.methods import KINDS
from self_ensemble.errors import UserError
from self_ensemble.results.paths import (
    ESTIMATORS,
    LOGIT_METHODS,
    METHODS,
    confidence_path,
    learned_weights_path,
    result_path,
)
from self_ensemble.walking.fusion import RULES


def name_of(method, indices=None):
    return str(result_path(Path("r"), "webqa", "m", method, 5, indices).relative_to("r/webqa/m"))


@pytest.mark.parametrize(
    ("method", "numbered", "chosen"),
    [
        ("flex_attention", "flex_attention-5", "flex_attention-0,2,4"),
        ("avg", "ensemble_avg-5", "ensemble_avg-0,2,4"),
        ("weighted_max", "ensemble_weighted_max-5", "ensemble_weighted_max-0,2,4"),
        ("my_module:rule", "ensemble_my_module.rule-5", "ensemble_my_module.rule-0,2,4"),
        ("a.b:rule", "ensemble_a.b.rule-5", "ensemble_a.b.rule-0,2,4"),
        ("vote", "vote-5", "vote-0,2,4"),
        ("origin", "origin", "origin-0,2,4"),
        ("per_prompt", "per_prompt", "per_prompt-0,2,4"),
    ],
)
def test_a_method_has_one_file_by_number_and_one_by_choice_of_wordings(method, numbered, chosen):
    assert name_of(method) == f"{numbered}.feather"
    assert name_of(method, (0, 2, 4)) == f"diversity/{chosen}.feather"


def test_every_method_has_a_file_of_its_own():
    assert set(RULES) == LOGIT_METHODS
    assert set(KINDS) == METHODS
    assert len({name_of(method) for method in METHODS}) == len(METHODS)


@pytest.mark.parametrize(
    ("method", "indices", "expected"),
    [
        ("weighted_avg", None, "ensemble_weighted_avg-5-logprob"),
        ("flex_attention", None, "flex_attention-5-logprob"),
        ("my_module:rule", None, "ensemble_my_module.rule-5-logprob"),
        ("weighted_max", (0, 2), "diversity/ensemble_weighted_max-0,2-logprob"),
    ],
)
def test_the_source_of_weights_ends_the_name(method, indices, expected):
    path = result_path(Path("r"), "webqa", "m", method, 5, indices, "logprob")
    assert path == Path("r/webqa/m", f"{expected}.feather")


def test_every_estimator_has_a_file_of_its_own_and_sampling_the_published_one():
    paths = [confidence_path(Path("r"), "webqa", "a/m", name) for name in ESTIMATORS]
    assert paths[0] == Path("r/webqa/a__m/confidence.feather")
    assert paths[1] == Path("r/webqa/a__m/confidence-logprob.feather")
    assert len(set(paths)) == len(ESTIMATORS)
    learned = learned_weights_path(Path("r"), "webqa", "a/m")
    assert learned == Path("r/webqa/a__m/learned_weights.json")


@pytest.mark.parametrize("method", ["../x:rule", "module:", ":rule", "a b:rule", "m:a:b"])
def test_a_rule_that_is_no_module_and_function_is_refused(method):
    with pytest.raises(UserError, match="not of the form module:function"):
        name_of(method)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"Unknown method 'weigthed_avg'.*'weighted_avg'"):
        name_of("weigthed_avg")


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("llama3.2_1b", "llama3.2_1b"),
        ("meta-llama/Llama-3.2-1B", "meta-llama__Llama-3.2-1B"),
        ("/data/models/my-llama", "my-llama"),
        ("/data/models/my-llama/", "my-llama"),
        ("./my-llama", "my-llama"),
        ("../x/my-llama", "my-llama"),
        ("~/my-llama", "my-llama"),
        ("data/models/my-llama", "my-llama"),
        ("models/tiny.Q8_0.gguf", "tiny.Q8_0.gguf"),
        (".hidden/model", ".hidden__model"),
    ],
)
def test_a_model_is_a_folder_by_its_name(model, folder):
    assert result_path(Path("r"), "webqa", model, "vote", 5, None) == Path(
        "r", "webqa", folder, "vote-5.feather"
    )


def test_a_name_that_is_there_on_the_disk_is_a_local_path(tmp_path, monkeypatch):
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "checkpoints")
    for model in (".", "../checkpoints"):
        assert "checkpoints" in result_path(Path("r"), "d", model, "vote", 5, None).parts
    monkeypatch.chdir(tmp_path)
    assert "best" in result_path(Path("r"), "d", "checkpoints/best", "vote", 5, None).parts


def test_a_model_path_without_a_name_is_refused():
    with pytest.raises(UserError, match="Model '/' has no name"):
        result_path(Path("r"), "d", "/", "vote", 5, None)
