"""What a model is, by content: whatever changes an answer shows, and by name."""

import pytest
from tests.models.test_load import add_remote_code

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
