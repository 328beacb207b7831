import io

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from self_ensemble.errors import UserError
from self_ensemble.models.devices import (
    Placement,
    device_table,
    layer_devices,
    resolve_device,
    resolve_dtype,
)

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == Placement(torch.device("cpu"))


@without_cuda
def test_auto_without_accelerator_is_the_cpu():
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    assert resolve_device("auto") == Placement(torch.device("cpu"))


@without_cuda
@pytest.mark.parametrize("asked", ["cuda", "cuda:0"])
def test_cuda_asked_for_and_absent_is_refused(asked):
    with pytest.raises(UserError, match=f"'{asked}' was asked for.* no CUDA.*Use --device cpu"):
        resolve_device(asked)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_mps_asked_for_and_absent_is_refused():
    with pytest.raises(UserError, match="'mps' was asked for"):
        resolve_device("mps")


@pytest.mark.parametrize("asked", ["cdua", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "gpu"])
def test_an_unknown_device_is_refused(asked):
    with pytest.raises(UserError, match="Unknown device"):
        resolve_device(asked)


@pytest.mark.gpu
def test_a_gpu_beyond_the_last_one_is_refused():
    with pytest.raises(UserError, match="the CUDA devices here are cuda:0 to"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.parametrize(
    ("asked", "device", "dtype"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "mps", torch.float32),
        ("auto", "cuda:1", torch.bfloat16),
        ("float32", "cuda", torch.float32),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float16", "cpu", torch.float16),
    ],
)
def test_auto_dtype_follows_the_device_and_a_named_one_does_not(asked, device, dtype):
    assert resolve_dtype(asked, torch.device(device)) == dtype


def test_an_unknown_dtype_names_the_nearest():
    with pytest.raises(UserError, match=r"Unknown dtype 'bfloat6'. Did you mean 'bfloat16'"):
        resolve_dtype("bfloat6", torch.device("cpu"))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_layer_of_a_plain_model_is_on_its_device(tiny_model, family):
    assert layer_devices(tiny_model(family)) == {"cpu": 3}


def test_a_model_placed_by_a_device_map_is_counted(tiny_model, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, device_map={"": "cpu"})
    assert layer_devices(model) == {"cpu": 3}


def test_layers_on_several_devices_are_counted_one_by_one(tiny_model):
    model = tiny_model("llama")
    model.model.layers[2].to("meta")
    assert layer_devices(model) == {"cpu": 2, "offloaded": 1}


def test_the_table_has_a_row_for_each_device():
    console = Console(file=io.StringIO(), width=60)
    console.print(device_table({"cuda:0": 17, "cuda:1": 15}))
    rows = [line.split() for line in console.file.getvalue().splitlines() if "cuda" in line]
    assert [(row[1], row[3]) for row in rows] == [("cuda:0", "17"), ("cuda:1", "15")]
