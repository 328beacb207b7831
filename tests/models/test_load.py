import json
import os
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model, load_without_weights
from self_ensemble.models.packed_linear import PackedLinear


@pytest.fixture(autouse=True)
def _no_configuration_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def folder(tiny_model, tiny_tokenizer, tmp_path):
    """A model folder as a user has it."""
    path = tmp_path / "my-llama"
    tiny_model("llama").save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return path


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_a_loaded_folder_computes_what_was_saved(tiny_model, tiny_tokenizer, tmp_path, family):
    saved = tiny_model(family)
    saved.save_pretrained(tmp_path / family)
    tiny_tokenizer.save_pretrained(tmp_path / family)
    loaded = load_model(str(tmp_path / family), device="cpu", packed=False)
    ids = tiny_tokenizer("What is the capital?", return_tensors="pt").input_ids
    assert loaded.tokenizer("What is the capital?").input_ids == ids[0].tolist()
    assert torch.equal(loaded.model(input_ids=ids).logits, saved(input_ids=ids).logits)
    assert loaded.attention == ("eager" if family == "gemma2" else "sdpa")
    assert loaded.context_length == 512
    assert loaded.has_chat_template
    assert loaded.name == family


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_packing_is_the_default_and_moves_logits_by_rounding_only(
    tiny_model, tiny_tokenizer, tmp_path, family
):
    saved = tiny_model(family)
    saved.save_pretrained(tmp_path / family)
    tiny_tokenizer.save_pretrained(tmp_path / family)
    loaded = load_model(str(tmp_path / family), device="cpu")
    assert any(isinstance(module, PackedLinear) for module in loaded.model.modules())
    ids = tiny_tokenizer("What is the capital?", return_tensors="pt").input_ids
    torch.testing.assert_close(
        loaded.model(input_ids=ids).logits, saved(input_ids=ids).logits, rtol=1e-5, atol=1e-5
    )


def test_packing_where_it_cannot_be_done_is_refused(folder):
    with pytest.raises(UserError, match="float16 cannot be packed on cpu"):
        load_model(str(folder), device="cpu", dtype="float16", packed=True)
    model = load_model(str(folder), device="cpu", dtype="float16").model
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


def test_a_bos_tokenizer_still_adds_its_bos_after_loading(folder, tiny_tokenizer_bos):
    tiny_tokenizer_bos.save_pretrained(folder)
    loaded = load_model(str(folder), device="cpu")
    assert loaded.tokenizer("a b").input_ids == tiny_tokenizer_bos("a b").input_ids


def test_a_loaded_model_does_not_train(folder):
    model = load_model(str(folder), device="cpu").model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_asked_dtype_is_the_dtype_of_the_weights(folder):
    loaded = load_model(str(folder), device="cpu", dtype="bfloat16")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.dtype == torch.bfloat16


def test_loading_prints_nothing(folder, capfd):
    load_model(str(folder), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_the_revision_of_a_folder_changes_with_its_weights_and_not_with_its_place(
    folder, tiny_model, tmp_path
):
    first = load_model(str(folder), device="cpu").revision
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_model(str(tmp_path / "elsewhere"), device="cpu").revision == first
    tiny_model("llama", seed=1).save_pretrained(folder)
    assert load_model(str(folder), device="cpu").revision != first


def test_a_folder_with_pickles_only_is_refused_by_their_name(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no .safetensors weights.*pytorch_model.bin, a pickle"):
        load_model(str(folder))


def test_pickles_beside_safetensors_are_not_read(folder, tiny_model, tiny_tokenizer):
    torch.save(tiny_model("llama", seed=1).state_dict(), folder / "pytorch_model.bin")
    ids = tiny_tokenizer("What is the capital?", return_tensors="pt").input_ids
    logits = load_model(str(folder), device="cpu").model(input_ids=ids).logits
    assert torch.equal(logits, tiny_model("llama")(input_ids=ids).logits)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"'my-llama' has no .safetensors weights in"):
        load_model(str(folder))


def test_configuration_and_tokenizer_are_there_without_weights(folder):
    whole = load_model(str(folder))
    (folder / "model.safetensors").unlink()
    found = load_without_weights(str(folder))
    assert found.name == whole.name
    assert found.config.to_dict() == whole.model.config.to_dict()
    assert found.tokenizer.get_vocab() == whole.tokenizer.get_vocab()
    assert found.has_chat_template == whole.has_chat_template


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_without_weights_what_is_left_must_be_there(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=folder.name):
        load_without_weights(str(folder))


def test_a_folder_without_tokenizer_is_refused(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match=r"no tokenizer in .*expected tokenizer.json"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("beside", "hint"),
    [
        ("notes.txt", "save_pretrained"),
        ("model.gguf", r"Give the file itself: .*model.gguf"),
        ("adapter_config.json", "Merge the adapter"),
    ],
)
def test_a_folder_without_config_is_refused_with_what_to_give(tmp_path, beside, hint):
    (tmp_path / beside).write_text("")
    with pytest.raises(UserError, match=rf"has no config.json in .*{hint}"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "JSONDecodeError: .* It must be a JSON object"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", '{"model_type": "nosuch"}', "Cannot read the configuration .*nosuch"),
        ("tokenizer.json", "{", "Cannot read the tokenizer of model 'my-llama'"),
        ("model.safetensors", "{", "The weights of model 'my-llama' have 1 bytes"),
        ("model.safetensors", "{" * 9999, "Cannot read the weights of model 'my-llama'"),
    ],
)
def test_a_damaged_file_gives_one_line(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 4}, {"intermediate_size": 95}])
def test_weights_that_do_not_fit_the_config_are_refused(folder, changes):
    change_config(folder, **changes)
    with pytest.raises(
        UserError, match="weights of model 'my-llama' do not fit its config"
    ) as error:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(error.value)


def test_an_unsupported_model_is_refused_before_its_weights_are_looked_for(folder):
    (folder / "model.safetensors").unlink()
    change_config(folder, model_type="mamba")
    with pytest.raises(UserError, match="'mamba' is not supported: it is recurrent"):
        load_model(str(folder))


def test_an_impossible_backend_is_refused_before_the_weights_are_looked_for(
    tiny_model, tiny_tokenizer, tmp_path
):
    tiny_model("gemma2").config.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="--attention eager or flex"):
        load_model(str(tmp_path), device="cpu", attention="sdpa")


REMOTE_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class MineConfig(LlamaConfig):
    model_type = "mine"

class MineForCausalLM(LlamaForCausalLM):
    config_class = MineConfig
"""


def add_remote_code(folder):
    (folder / "modeling_mine.py").write_text(REMOTE_CODE)
    auto_map = {
        "AutoConfig": "modeling_mine.MineConfig",
        "AutoModelForCausalLM": "modeling_mine.MineForCausalLM",
    }
    change_config(folder, model_type="mine", auto_map=auto_map)


def test_code_of_the_model_runs_only_when_trusted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    add_remote_code(folder)
    with pytest.raises(UserError, match=r"'my-llama' brings Python code.*--trust-remote-code"):
        load_model(str(folder), device="cpu")
    loaded = load_model(str(folder), device="cpu", trust_remote_code=True)
    assert type(loaded.model).__name__ == "MineForCausalLM"


def test_a_revision_of_a_local_model_is_refused(folder):
    with pytest.raises(UserError, match=r"Revision 'v1' .* local folder"):
        load_model(str(folder), revision="v1")


def test_a_file_that_only_ends_in_gguf_is_refused(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    with pytest.raises(UserError, match="Cannot read the configuration of model 'broken'"):
        load_model(str(tmp_path / "broken.gguf"), device="cpu")


@pytest.mark.model
def test_the_packaged_model_knows_the_capital_of_france(capfd):
    loaded = load_model(device="cpu")
    assert capfd.readouterr() == ("", "")
    ids = loaded.tokenizer("The capital of France is", return_tensors="pt").input_ids
    next_token = loaded.model(input_ids=ids).logits[0, -1].argmax()
    assert loaded.tokenizer.decode(next_token) == " Paris"
    assert loaded.source.kind == "packaged"
    assert loaded.has_chat_template
    # GQA 9:3 in full precision: nothing was left packed.
    assert loaded.model.config.num_attention_heads == 3 * loaded.model.config.num_key_value_heads
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_a_file_that_changes_while_a_model_loads_is_refused(folder):
    def write(done, total):
        path = folder / "model.safetensors"
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(UserError, match=r"model.safetensors changed while it was read"):
        load_model(str(folder), device="cpu", on_bytes=write)


def test_only_the_weights_that_are_read_count(folder):
    first = load_model(str(folder), device="cpu").files
    (folder / "consolidated.safetensors").write_bytes(b"the same weights in another layout")
    assert load_model(str(folder), device="cpu").files == first


def test_shards_and_their_index_count(folder, tiny_model):
    (folder / "model.safetensors").unlink()
    tiny_model("llama").save_pretrained(folder, max_shard_size="200KB")
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    found = load_model(str(folder), device="cpu").files
    assert len(shards) > 1
    assert sorted(found) == sorted([*shards, "model.safetensors.index.json"])


@pytest.mark.parametrize(
    "refusal", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_weights_that_the_host_has_no_memory_for_are_not_called_unreadable(
    folder, monkeypatch, refusal
):
    def refuse(*_: object, **__: object) -> None:
        raise refusal

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(UserError, match="does not fit into the memory of cpu"):
        load_model(str(folder), device="cpu")


def test_a_user_without_a_home_has_no_aliases_of_their_own(folder, monkeypatch):
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    # As for a number that no account has.
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert load_model(str(folder), device="cpu").name == "my-llama"
