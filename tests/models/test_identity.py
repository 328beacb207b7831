"""What a model is, by content: whatever changes an answer shows, and by name."""

import json
import math

import pytest
from tests.models.test_load import add_remote_code
from transformers import AddedToken, CTRLTokenizer

from self_ensemble.identity import sources
from self_ensemble.models.identity import identity_of, model_identity
from self_ensemble.models.load import load_model
from self_ensemble.results.manifest import Manifest, differences


@pytest.fixture
def folder(tiny_model, tiny_tokenizer, tmp_path):
    path = tmp_path / "my-llama"
    tiny_model("llama").save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return path


def loaded(folder, **options):
    return Manifest(identity_of(load_model(str(folder), device="cpu", packed=False, **options)))


def changed(old: Manifest, new: Manifest) -> list[str]:
    return [difference.field for difference in differences(old, new)]


def test_the_code_that_came_with_a_model_counts_and_its_place_does_not(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    add_remote_code(folder)
    before = loaded(folder, trust_remote_code=True)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    assert changed(before, loaded(elsewhere, trust_remote_code=True)) == []
    with (elsewhere / "modeling_mine.py").open("a") as file:
        file.write("# changed\n")
    after = loaded(elsewhere, trust_remote_code=True)
    assert changed(before, after) == ["code.modules.modeling_mine"]


def test_a_limit_that_is_infinity_can_be_written_down(folder):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    found = []
    for limit in ([0.0, math.inf], [0.0, math.inf], [0.0, 1.0], math.nan):
        path.write_text(json.dumps(content | {"time_step_limit": limit}))
        found.append(loaded(folder))
    assert changed(found[0], found[1]) == []
    assert changed(found[1], found[2]) == ["config.time_step_limit"]
    assert changed(found[2], found[3]) == ["config.time_step_limit"]


def test_all_of_a_tokenizer_written_in_python_counts(tmp_path, tiny_model):
    files = [tmp_path / name for name in ("vocab.json", "merges.txt")]
    files[0].write_text(json.dumps({"<unk>": 0, "a@@": 1, "a": 2, "b@@": 3, "b": 4, "ab": 5}))
    files[1].write_text("#version: 0.2\na b</w>\n")
    first = CTRLTokenizer(*files)
    files[1].write_text("#version: 0.2\n")
    second = CTRLTokenizer(*files)
    assert first("ab")["input_ids"] != second("ab")["input_ids"]
    assert first.get_vocab() == second.get_vocab()
    model = tiny_model("llama")
    old, new = (Manifest(model_identity(model, one)) for one in (first, second))
    assert changed(old, new) == ["tokenizer.files.merges.txt"]
    again = CTRLTokenizer(*files)
    for tokenizer, strips in ((second, True), (again, False)):
        tokenizer.add_tokens(AddedToken("a b", lstrip=strips))
    old, new = (Manifest(model_identity(model, one)) for one in (second, again))
    assert changed(old, new) == ["tokenizer.added_tokens"]


def test_a_model_made_in_memory_is_known_by_its_tensors(tiny_model, tiny_tokenizer):
    model = tiny_model("llama")
    before = Manifest(model_identity(model, tiny_tokenizer))
    assert changed(before, Manifest(model_identity(tiny_model("llama"), tiny_tokenizer))) == []
    for _, tensor in [*model.named_parameters(), *model.named_buffers()]:
        place = (0,) * tensor.dim()
        kept = tensor[place].clone()
        tensor[place] += 1
        after = Manifest(model_identity(model, tiny_tokenizer))
        assert changed(before, after) == ["weights.tensors"]
        tensor[place] = kept


def test_a_change_in_memory_shows_by_name(folder):
    model = load_model(str(folder), device="cpu")
    before = Manifest(identity_of(model))
    model.model.config.rms_norm_eps = 0.5
    model.model.generation_config.eos_token_id = [3, 7]
    model.tokenizer.chat_template += " "
    assert changed(before, Manifest(identity_of(model))) == [
        "chat_template",
        "config.rms_norm_eps",
        "generation_config.eos_token_id",
    ]


def test_versions_of_packages_are_looked_for_only_where_the_users_own_code_imports_them(
    monkeypatch, tiny_model, tiny_tokenizer
):
    # Reading what every installed package brings takes a third of a second of each start.
    monkeypatch.setattr(sources, "_distributions", lambda: pytest.fail("looked for"))
    assert model_identity(tiny_model("llama"), tiny_tokenizer)["code"] is None
