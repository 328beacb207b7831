"""Every file, key and tensor of a model: a change is refused by name, or changes no answer."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.identity import identity_of
from self_ensemble.models.load import load_model
from self_ensemble.prompts.build import chat_frame, plain_frame
from self_ensemble.questions.schema import Framing, Shot
from self_ensemble.results.manifest import Manifest, differences

QUESTIONS = [
    ["What is the capital of France?", "France has which capital?"],
    ["Who wrote  the play ?", "The play was written by whom?"],
]
SHOTS = (Shot("Who built the bridge?", "Seven men"),)
# What a value of a key is changed to, where adding to it would not make another valid one.
OTHER_TEXTS = {"silu": "gelu", "default": "linear", "float32": "bfloat16"}
JSON_FILES = ("config.json", "generation_config.json", "tokenizer_config.json")
# Keys that the files of the tiny model do not have and others do.
MORE_KEYS: dict[str, dict[str, object]] = {
    "config.json": {
        "_attn_implementation": "eager",
        "_name_or_path": "elsewhere",
        "attn_logit_softcapping": 1.0,
        "id2label": {"0": "a"},
        "partial_rotary_factor": 0.5,
        "quantization_config": {"quant_method": "gptq", "bits": 4},
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0},
        "sliding_window": 4,
    },
    "generation_config.json": {
        "do_sample": True,
        "max_new_tokens": 2,
        "repetition_penalty": 3.0,
        "stop_strings": ["a"],
        "temperature": 0.1,
        "top_k": 1,
    },
    "tokenizer_config.json": {
        "add_bos_token": True,
        "add_prefix_space": True,
        "added_tokens_decoder": {"319": {"content": "the", "special": True}},
        "chat_template": "{{ 1 }}",
        "clean_up_tokenization_spaces": True,
        "legacy": True,
        "name_or_path": "elsewhere",
        "padding_side": "left",
        "split_special_tokens": True,
        "unk_token": "a",
    },
}
OTHER_FILES = {
    "README.md": "A model.",
    ".gitattributes": "*",
    "adapter_config.json": '{"base_model_name_or_path": "elsewhere"}',
    "added_tokens.json": '{"the": 319}',
    "chat_templates/other.jinja": "{{ 1 }}",
    "merges.txt": "#version: 0.2\na b\n",
    "model.safetensors.index.json": '{"weight_map": {}}',
    "other.safetensors": "",
    "preprocessor_config.json": "{}",
    "processor_config.json": "{}",
    "pytorch_model.bin": "",
    "quantize_config.json": '{"bits": 4}',
    "special_tokens_map.json": '{"eos_token": "a"}',
    "tokenizer.model": "",
    "training_args.bin": "",
    "vocab.json": '{"a": 0}',
}
# What is told apart in the manifest by another name than the file's.
NAMES = {
    "config.json": "config",
    "generation_config.json": "generation_config",
    "tokenizer_config.json": "tokenizer",
}


class Known:
    """A model of the kind that is on disk, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.model = load_model(str(folder), device="cpu", packed=False)
        self.identity = Manifest(identity_of(self.model))

    @cached_property
    def answers(self) -> list[object]:
        tokenizer = self.model.tokenizer
        frames = [plain_frame(tokenizer, "Answer.\n\n", SHOTS, Framing())]
        if self.model.has_chat_template:
            frames.append(chat_frame(tokenizer, "Answer.", SHOTS))
        methods, settings = ["flex_attention", "per_prompt"], Settings(max_new_tokens=4)
        asked = [Request(str(n), tuple(wordings)) for n, wordings in enumerate(QUESTIONS)]
        ensembles = [
            Ensemble(self.model, methods, frame=frame, settings=settings) for frame in frames
        ]
        return [ensemble.run(asked) for ensemble in ensembles]


@pytest.fixture(scope="module")
def original(tmp_path_factory, tiny_model, tiny_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("original") / "tiny"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def known(original) -> Known:
    return Known(original)


@pytest.fixture
def folder(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "tiny")


def require_known(known: Known, folder: Path) -> list[str]:
    """The names under which a change shows; none only if it changes no answer."""
    try:
        other = Known(folder)
    except UserError:
        return ["refused when it is read"]
    names = [one.field for one in differences(known.identity, other.identity)]
    if not names:
        assert other.answers == known.answers
    return names


def other_values(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value + 0.25
    elif isinstance(value, str):
        yield OTHER_TEXTS.get(value, value + "x")
    elif isinstance(value, list):
        yield value[:-1]
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (value | {name: other} for other in other_values(inner))
    else:
        yield 1


def keys() -> list[tuple[str, str]]:
    """Every key that the tiny model has in its files or in memory, and some that others have."""
    in_files = {
        "config.json": "architectures attention_bias attention_dropout bos_token_id dtype "
        "eos_token_id head_dim hidden_act hidden_size initializer_range intermediate_size "
        "max_position_embeddings mlp_bias model_type num_attention_heads num_hidden_layers "
        "num_key_value_heads pad_token_id pretraining_tp rms_norm_eps rope_parameters "
        "tie_word_embeddings transformers_version use_cache vocab_size output_hidden_states "
        "return_dict chunk_size_feed_forward is_encoder_decoder output_attentions",
        "generation_config.json": "_from_model_config bos_token_id eos_token_id output_attentions "
        "output_hidden_states pad_token_id transformers_version use_cache",
        "tokenizer_config.json": "backend bos_token eos_token extra_special_tokens "
        "model_max_length pad_token tokenizer_class",
    }
    return [
        (file, key) for file in JSON_FILES for key in [*in_files[file].split(), *MORE_KEYS[file]]
    ]


@pytest.mark.parametrize(("file", "key"), keys(), ids=lambda text: text)
def test_a_changed_key_is_named_or_changes_nothing(known, folder, file, key):
    path = folder / file
    content = json.loads(path.read_text())
    present = content.get(key)
    changes = [MORE_KEYS[file][key]] if key in MORE_KEYS[file] else other_values(present)
    for value in changes:
        path.write_text(json.dumps(content | {key: value}))
        names = require_known(known, folder)
        expected = (f"{NAMES[file]}.", "refused", "chat_template", "model_class")
        assert all(name.startswith(expected) for name in names), names


def test_every_key_of_the_files_is_among_those_that_are_changed(original):
    for file in JSON_FILES:
        there = set(json.loads((original / file).read_text()))
        assert there <= {key for name, key in keys() if name == file}


@pytest.mark.parametrize(
    ("file", "value", "name"),
    [
        ("config.json", {"rms_norm_eps": 0.01}, "config.rms_norm_eps"),
        ("config.json", {"hidden_act": "gelu"}, "config.hidden_act"),
        ("config.json", {"rope_theta": 5e5}, "config.rope_parameters.rope_theta"),
        ("generation_config.json", {"eos_token_id": 7}, "generation_config.eos_token_id"),
        ("tokenizer_config.json", {"eos_token": "a"}, "tokenizer.special_tokens.eos_token"),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True},
         "tokenizer.clean_up_tokenization_spaces"),
    ],
)  # fmt: skip
def test_a_key_that_changes_answers_has_a_name_of_its_own(known, folder, file, value, name):
    path = folder / file
    content = json.loads(path.read_text())
    if "rope_theta" in value:
        value = {"rope_parameters": content["rope_parameters"] | value}
    path.write_text(json.dumps(content | value))
    assert name in require_known(known, folder)


def test_one_element_of_any_tensor_shows(known, folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in tensors.items():
        place = torch.randint(tensor.numel(), (1,)).item()
        kept = tensor.view(-1)[place].item()
        tensor.view(-1)[place] += 0.5
        save_file(tensors, path, metadata={"format": "pt"})
        assert require_known(known, folder) == ["weights.model.safetensors"], name
        tensor.view(-1)[place] = kept


def change_vocabulary(state: dict) -> None:
    vocabulary = state["model"]["vocab"]
    a, b = list(vocabulary)[-2:]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def drop_merge(state: dict) -> None:
    state["model"]["merges"].pop()


def change_added(state: dict) -> None:
    state["added_tokens"][2]["lstrip"] = True


def drop_added(state: dict) -> None:
    state["added_tokens"].pop(2)


def normalise(state: dict) -> None:
    state["normalizer"] = {"type": "Lowercase"}


def change_decoder(state: dict) -> None:
    state["decoder"] = {"type": "Fuse"}


def change_pre_tokenizer(state: dict) -> None:
    state["pre_tokenizer"]["add_prefix_space"] = True


def process(state: dict) -> None:
    state["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True,
                               "trim_offsets": False, "use_regex": True}  # fmt: skip


def truncate(state: dict) -> None:
    state["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0,
                           "direction": "Right"}  # fmt: skip


def pad(state: dict) -> None:
    state["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<pad>", "pad_to_multiple_of": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (change_vocabulary, ["tokenizer.model"]),
        (drop_merge, ["tokenizer.model"]),
        (change_added, ["tokenizer.added_tokens"]),
        (drop_added, None),
        (normalise, ["tokenizer.normalizer"]),
        (change_decoder, ["tokenizer.decoder"]),
        (change_pre_tokenizer, ["tokenizer.pre_tokenizer"]),
        (process, ["tokenizer.post_processor"]),
        (truncate, None),
        (pad, None),
    ],
)
def test_every_part_of_the_tokenizer_is_named_or_changes_nothing(
    known, folder, change: Callable[[dict], None], names
):
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    found = require_known(known, folder)
    assert names is None or found == names


def test_the_chat_template_is_named(known, folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + " ")
    assert require_known(known, folder) == ["chat_template"]
    path.unlink()
    assert require_known(known, folder) == ["chat_template"]


@pytest.mark.parametrize("name", sorted(OTHER_FILES))
def test_another_file_beside_is_refused_named_or_changes_nothing(known, folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(OTHER_FILES[name])
    names = require_known(known, folder)
    assert name != "adapter_config.json" or names == ["refused when it is read"]
    if name in ("README.md", ".gitattributes", "pytorch_model.bin", "training_args.bin"):
        assert names == []


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json"])
def test_a_file_that_is_gone_is_named_or_changes_nothing(known, folder, name):
    (folder / name).unlink()
    require_known(known, folder)


def test_place_and_spelling_of_the_files_do_not_count(known, folder):
    for name in JSON_FILES:
        content = json.loads((folder / name).read_text())
        backwards = dict(reversed(list(content.items())))
        (folder / name).write_text(json.dumps(backwards, indent=7))
    moved = folder.rename(folder.with_name("elsewhere"))
    assert require_known(known, moved) == []
