import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from self_ensemble.errors import UserError
from self_ensemble.models.packed_linear import (
    PackedLinear,
    can_pack,
    pack_linears,
    release_file,
    unpack_linears,
)


def linear(num_in, num_out, *, bias=True, dtype=torch.float32, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(num_in, num_out, bias=bias, dtype=dtype).requires_grad_(False)


@given(
    shape=st.lists(st.integers(0, 5), max_size=2).map(tuple),
    num_in=st.integers(1, 70),
    num_out=st.integers(1, 70),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_packed_layer_computes_what_the_plain_one_does(shape, num_in, num_out, bias, seed):
    plain = linear(num_in, num_out, bias=bias, seed=seed)
    inputs = torch.randn(*shape, 3, num_in, generator=torch.Generator().manual_seed(seed))
    expected = plain(inputs)
    packed = PackedLinear(plain, is_shared=False)
    torch.testing.assert_close(packed(inputs), expected, rtol=1e-5, atol=1e-5)


def test_a_packed_layer_reads_inputs_that_are_views():
    plain = linear(8, 6)
    inputs = torch.randn(2, 8, 5).transpose(1, 2)
    packed = PackedLinear(plain, is_shared=True)
    torch.testing.assert_close(packed(inputs), plain(inputs))


@pytest.mark.skipif(
    not can_pack(torch.device("cpu"), torch.bfloat16), reason="needs a CPU with bfloat16"
)
def test_a_packed_layer_of_bfloat16_is_as_good_as_the_plain_one():
    plain, inputs = linear(64, 48, dtype=torch.bfloat16), torch.randn(7, 64).bfloat16()
    exact = nn.functional.linear(inputs.float(), plain.weight.float(), plain.bias.float())
    packed = PackedLinear(plain, is_shared=False)(inputs)
    assert packed.dtype == torch.bfloat16
    torch.testing.assert_close(packed.float(), exact, rtol=2**-8, atol=2**-8)


def test_a_layer_comes_back_as_it_was_and_is_kept_once_meanwhile():
    plain = linear(9, 5)
    weight, before = plain.weight, plain.weight.clone()
    packed = PackedLinear(plain, is_shared=False)
    assert weight.numel() == 0
    assert torch.equal(packed.weight, before)
    assert [name for name, _ in packed.named_parameters()] == ["bias"]
    assert packed.plain() is plain
    assert plain.weight is weight
    assert torch.equal(weight, before)


def test_a_model_is_packed_and_unpacked_with_its_shared_weights(tiny_model):
    model, ids = tiny_model("llama"), torch.tensor([[3, 1, 4, 1, 5]])
    model.tie_weights()
    model.lm_head.weight = model.get_input_embeddings().weight
    before = model(input_ids=ids).logits
    names = [name for name, _ in model.named_parameters()]
    pack_linears(model)
    pack_linears(model)
    assert not any(type(module) is nn.Linear for module in model.modules())
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    unpack_linears(model)
    assert torch.equal(model(input_ids=ids).logits, before)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert [name for name, _ in model.named_parameters()] == names


def test_a_subclass_of_a_linear_layer_is_left_alone():
    class Doubled(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    model = nn.Sequential(Doubled(3, 3))
    pack_linears(model)
    assert type(model[0]) is Doubled


def test_a_layer_with_a_forward_of_its_own_or_a_hook_is_left_alone():
    model = nn.Sequential(linear(3, 3), linear(3, 3), linear(3, 3), linear(3, 3))
    model[0].forward = lambda inputs: inputs
    model[1].register_forward_hook(lambda module, inputs, output: None)
    model[2].register_forward_pre_hook(lambda module, inputs: None)
    pack_linears(model)
    assert [type(layer) for layer in model] == [nn.Linear] * 3 + [PackedLinear]


def test_a_quantised_layer_is_left_alone():
    class Quantised(torch.Tensor):
        pass

    layer = linear(3, 3)
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Quantised), requires_grad=False)
    model = nn.Sequential(layer, linear(3, 3))
    pack_linears(model)
    assert [type(layer) for layer in model] == [nn.Linear, PackedLinear]


def test_a_layer_of_a_type_that_cannot_be_packed_is_left_alone():
    model = nn.Sequential(linear(3, 3, dtype=torch.float16), linear(3, 3))
    pack_linears(model)
    assert [type(layer) for layer in model] == [nn.Linear, PackedLinear]


def test_a_layer_in_several_places_is_packed_once_and_stays_one():
    shared, inputs = linear(4, 4), torch.randn(2, 4)
    model = nn.ModuleDict({"one": nn.Sequential(shared, shared), "two": nn.Sequential(shared)})
    expected = model["one"](inputs)
    pack_linears(model)
    assert model["one"][0] is model["one"][1] is model["two"][0]
    torch.testing.assert_close(model["one"](inputs), expected)
    unpack_linears(model)
    assert model["one"][0] is model["one"][1] is model["two"][0] is shared
    assert torch.equal(model["one"](inputs), expected)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda model, folder: model.save_pretrained(folder), "saved"),
        (lambda model, folder: model.state_dict(), "saved"),
        (lambda model, folder: copy.deepcopy(model), "copied"),
        (lambda model, folder: model.bfloat16(), "moved to another device or type"),
        (lambda model, folder: model.to("meta"), "moved to another device or type"),
        (lambda model, folder: model.load_state_dict({}, strict=False), "given other weights"),
    ],
)
def test_what_would_lose_packed_weights_is_refused(tiny_model, tmp_path, act, what):
    model = tiny_model("llama")
    pack_linears(model)
    with pytest.raises(UserError, match=f"cannot be {what}. Load it anew, with packed=False"):
        act(model, tmp_path)


def test_a_packed_model_may_be_moved_to_where_it_is(tiny_model):
    model = tiny_model("llama")
    pack_linears(model)
    assert model.to("cpu", torch.float32) is model


def test_released_weights_keep_their_values_in_memory_of_their_own(tiny_model):
    model = tiny_model("llama")
    before = {name: parameter.data for name, parameter in model.named_parameters()}
    release_file(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.data_ptr() != before[name].data_ptr()


@pytest.mark.parametrize(
    ("device", "dtype"), [("cuda", torch.float32), ("cpu", torch.float16), ("mps", torch.float32)]
)
def test_what_cannot_be_packed(device, dtype):
    assert not can_pack(torch.device(device), dtype)
