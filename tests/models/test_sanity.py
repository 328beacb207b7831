"""Model folders whose parts do not fit each other, or that reach out of their folder."""

import json
import os
import shutil

import pytest

from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import chat_frame


@pytest.fixture
def folder(tmp_path, tiny_model, tiny_tokenizer):
    made = tmp_path / "mine" / "tiny"
    # Three shards and their index.
    tiny_model("llama").save_pretrained(made, max_shard_size="200KB")
    tiny_tokenizer.save_pretrained(made)
    assert (made / "model.safetensors.index.json").is_file()
    return made


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**6}, "too few for its config.json"),
        ({"vocab_size": 10**12}, "too few for its config.json"),
        ({"intermediate_size": 10**12}, "too few for its config.json"),
        ({"num_hidden_layers": 4}, "do not fit its config.json: .* missing"),
        ({"hidden_size": 128}, "do not fit its config.json: .* of another shape"),
        ({"num_attention_heads": 0}, "Cannot read the"),
        ({"num_hidden_layers": -1}, "Expected a whole number"),
        ({"hidden_size": "many"}, "Cannot read the configuration"),
        ({"model_type": ["llama"]}, "Cannot read the configuration"),
        ({"layer_types": 5}, "Cannot read the configuration"),
        ({"rope_parameters": {"rope_type": "none such"}}, "Cannot read the"),
        ({"hidden_act": "none such"}, "Cannot read the weights"),
    ],
)
def test_a_configuration_that_the_weights_do_not_bear_is_refused(folder, values, message):
    change(folder / "config.json", **values)
    with pytest.raises(UserError, match=message) as error:
        load_model(str(folder))
    assert "\n" not in str(error.value)


def test_a_token_beyond_the_vocabulary_is_refused_by_its_id(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    far = {"id": 5000, "content": "<far>", "special": False}
    content["added_tokens"].append(content["added_tokens"][0] | far)
    content["model"]["vocab"]["<far>"] = 5000
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"token '<far>' with id 5000, .* is of size 320"):
        load_model(str(folder))


def test_a_special_token_beyond_the_vocabulary_is_refused_where_a_prompt_has_it(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 320, "content": "<turn>"})
    path.write_text(json.dumps(content))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_start|>", "<turn>"))
    model = load_model(str(folder))
    Ensemble(model)
    with pytest.raises(UserError, match=r"token '<turn>' with id 320, .* is of size 320"):
        Ensemble(model, frame=chat_frame(model.tokenizer, "", ()))


def test_a_shard_outside_of_the_folder_or_of_another_kind_is_refused(folder):
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    first, shard = next(iter(content["weight_map"].items()))
    shutil.copy(folder / shard, folder.parent / shard)
    shutil.copy(folder / shard, folder / "pytorch_model.bin")
    for name in (f"../{shard}", str(folder.parent / shard), "pytorch_model.bin", ""):
        content["weight_map"][first] = name
        index.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"Only .safetensors files in the same folder"):
            load_model(str(folder))
    content["weight_map"][first] = "none.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"none.safetensors, which is not there"):
        load_model(str(folder))


def test_a_link_out_of_the_folder_is_refused_and_the_hubs_own_is_not(folder, tmp_path):
    whole = load_model(str(folder), packed=False)
    cache = tmp_path / "models--owner--name"
    shutil.move(folder, cache / "snapshots" / "abc")
    (cache / "blobs").mkdir()
    for shard in (cache / "snapshots" / "abc").glob("*.safetensors"):
        shutil.move(shard, cache / "blobs" / shard.name)
        shard.symlink_to(os.path.join("..", "..", "blobs", shard.name))
    assert load_model(str(cache / "snapshots" / "abc"), packed=False).files == whole.files
    (cache / "blobs").rename(tmp_path / "elsewhere")
    for shard in (cache / "snapshots" / "abc").glob("*.safetensors"):
        shard.unlink()
        shard.symlink_to(tmp_path / "elsewhere" / shard.name)
    with pytest.raises(UserError, match="is a link out of the model's folder"):
        load_model(str(cache / "snapshots" / "abc"))
