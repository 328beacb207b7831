import json
from pathlib import Path

import pytest
import torch

from self_ensemble.identity.files import cache_folder
from self_ensemble.models import gguf
from self_ensemble.models.aliases import packaged_model
from self_ensemble.models.identity import identity_of
from self_ensemble.models.load import load_model


@pytest.mark.slow
@pytest.mark.model
def test_the_unpacked_copy_answers_as_the_file_does(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = packaged_model()
    assert file is not None
    unpacking = load_model(str(file))
    assert [folder.name for folder in cache_folder("gguf").iterdir()] == [
        gguf.unpacked_folder(file).name
    ]
    monkeypatch.setattr(gguf, "MAX_UNPACKED_FILE", 0)
    direct = load_model(str(file))
    text = "Q: What is the capital of France?\nA: <|im_end|> é"
    ids = direct.tokenizer(text)["input_ids"]
    assert unpacking.tokenizer(text)["input_ids"] == ids
    assert unpacking.tokenizer.chat_template == direct.tokenizer.chat_template
    assert unpacking.revision == direct.revision
    assert json.dumps(identity_of(unpacking)) == json.dumps(identity_of(direct))
    tokens = torch.tensor([ids])
    assert torch.equal(unpacking.model(tokens).logits, direct.model(tokens).logits)


@pytest.mark.parametrize("damage", ["flip", "missing", "list"])
def test_a_damaged_unpacked_copy_is_taken_away(tmp_path, damage) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / gguf.LIST_NAME).write_text(json.dumps(gguf._digests(folder)))
    assert gguf.is_whole(folder)
    if damage == "flip":
        (folder / "model.safetensors").write_bytes(b"wdights")
    elif damage == "missing":
        (folder / "model.safetensors").unlink()
    else:
        (folder / gguf.LIST_NAME).write_text("{")
    assert not gguf.is_whole(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path) -> None:
    file = packaged_model()
    assert file is not None
    (tmp_path / "in_the_way").write_text("")
    assert not gguf.unpack(file, tmp_path / "in_the_way" / "copy")


def test_a_large_file_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    assert gguf.unpacked_folder(file) is not None
    monkeypatch.setattr(gguf, "MAX_UNPACKED_FILE", 50)
    assert gguf.unpacked_folder(file) is None
