"""A packed pass of a Llama as one OpenVINO graph, and its time beside ours: a study, no engine.

Matrix products see the tokens of all questions in one row, as ours do. Attention sees them laid
out in one row a question, with an additive mask, and keeps keys and values itself: they are a
state, which OpenVINO's CPU plugin grows in place inside of its attention kernel. Ours is timed
with all that is around its passes, the graph's passes alone.

    pip install openvino
    python -m benchmarks.openvino_pass bf16 origin flex_attention avg

T tokens, B questions, R most tokens of a question, S slots, E hidden size, Hq and Hkv heads, D
head dim, V vocabulary.
"""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset6, opset13
from rich.console import Console
from torch import Tensor, nn

from benchmarks.work import Work, demo_work
from self_ensemble.asking.methods import Method, resolve_method
from self_ensemble.errors import UserError
from self_ensemble.models.load import load_model

NUM_QUESTIONS, NUM_TOKENS, REPEATS = 16, 20, 3
# By how much of the largest logit one may be away from the model's own.
LIMITS = {"f32": 1e-4, "bf16": 5e-2}
# Added to a score: no share, and still a number.
HIDDEN = -1e30


def whole_graph(model: Any) -> ov.Model:
    """The graph: rows of embeddings in, logits `(M, V)` of M of them out.

    Inputs are hidden `(T, E)`, cos and sin `(T, 1, D)`, lanes `(B, R)` (the token of each place,
    any where there is none), back `(T,)` (the place of each token), mask `(B, 1, R, S)`, beam_idx
    `(B,)` (the state's row that each question goes on with) and at `(M,)`.
    """
    attention = model.model.layers[0].self_attn
    head_dim, num_heads = attention.head_dim, model.config.num_attention_heads
    num_kv_heads = model.config.num_key_value_heads
    hidden = _input("hidden", ov.Type.f32, -1, model.config.hidden_size)
    cos, sin = (_input(name, ov.Type.f32, -1, 1, head_dim) for name in ("cos", "sin"))
    lanes, back = _input("lanes", ov.Type.i32, -1, -1), _input("back", ov.Type.i32, -1)
    mask = _input("mask", ov.Type.f32, -1, 1, -1, -1)
    beam, at = _input("beam_idx", ov.Type.i32, -1), _input("at", ov.Type.i32, -1)
    first, by_head = opset13.constant(np.int64(0)), opset13.constant(np.array([0, 2, 1, 3]))
    num_rows = opset13.shape_of(beam, "i64")
    empty = opset13.broadcast(
        opset13.constant(np.float32(0)),
        opset13.concat([num_rows, opset13.constant(np.array([num_kv_heads, 0, head_dim]))], 0),
    )
    assigned = []

    def laid_out(tokens: Any) -> Any:
        return opset13.transpose(opset13.gather(tokens, lanes, first), by_head)

    def remembered(tokens: Any, name: str) -> Any:
        shape = ov.PartialShape([-1, num_kv_heads, -1, head_dim])
        past = opset13.gather(opset6.read_value(empty, name, ov.Type.f32, shape), beam, first)
        everything = opset13.concat([past, laid_out(tokens)], 2)
        assigned.append(opset6.assign(everything, name))
        # The plugin knows grouped heads by this.
        apart = opset13.unsqueeze(everything, opset13.constant(np.array([2])))
        times = np.array([1, 1, num_heads // num_kv_heads, 1, 1])
        apart = opset13.broadcast(apart, opset13.constant(times), broadcast_spec="BIDIRECTIONAL")
        return opset13.reshape(apart, np.array([0, num_heads, -1, head_dim]), True)

    x: Any = hidden
    for index, layer in enumerate(model.model.layers):
        inner, own = _normed(layer.input_layernorm, x), layer.self_attn
        query, key, value = (
            opset13.reshape(_linear(one, inner), np.array([0, -1, head_dim]), True)
            for one in (own.q_proj, own.k_proj, own.v_proj)
        )
        read = opset13.scaled_dot_product_attention(
            laid_out(_rotated(query, cos, sin)),
            remembered(_rotated(key, cos, sin), f"key{index}"),
            remembered(value, f"value{index}"),
            mask,
            opset13.constant(np.float32(own.scaling)),
            causal=False,
        )
        width = np.array([-1, num_heads * head_dim])
        read = opset13.reshape(opset13.transpose(read, by_head), width, False)
        x = opset13.add(x, _linear(own.o_proj, opset13.gather(read, back, first)))
        inner, mlp = _normed(layer.post_attention_layernorm, x), layer.mlp
        gate = opset13.swish(_linear(mlp.gate_proj, inner))
        inner = opset13.multiply(gate, _linear(mlp.up_proj, inner))
        x = opset13.add(x, _linear(mlp.down_proj, inner))
    logits = _linear(model.lm_head, _normed(model.model.norm, opset13.gather(x, at, first)))
    inputs = [hidden, cos, sin, lanes, back, mask, beam, at]
    return ov.Model([opset13.result(logits)], assigned, inputs, "pass")


class Passes:
    """Passes of the graph, one after the other; R tokens of every question are one pass."""

    def __init__(self, model: Any, precision: str) -> None:
        self.model, self.num_slots = model, 0
        options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        precisions = dict.fromkeys(("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION"), precision)
        compiled = ov.Core().compile_model(whole_graph(model), "CPU", {**options, **precisions})
        self._request = compiled.create_infer_request()

    def restart(self) -> None:
        """Forget keys and values."""
        self._request.reset_state()
        self.num_slots = 0

    @torch.inference_mode()
    def feed(self, token_ids: Tensor, num_real: int | None = None) -> tuple[Tensor, float]:
        """Logits after the last of tokens `(B, R)`, `(B, V)`, and CPU milliseconds.

        With `num_real` only so many places are tokens for the matrix products; then the logits
        mean nothing, and the time is that of questions of unequal length.
        """
        num_rows, width = token_ids.shape
        tokens = torch.arange(token_ids.numel() if num_real is None else num_real)
        positions = self.num_slots + tokens % width
        self.num_slots += width
        hidden = self.model.get_input_embeddings()(token_ids.flatten()[tokens])
        cos, sin = self.model.model.rotary_emb(hidden, positions[None])
        mask = torch.full((width, self.num_slots), HIDDEN).triu(self.num_slots - width + 1)
        last = torch.arange(width - 1, token_ids.numel(), width).clamp(max=len(tokens) - 1)
        inputs = {
            "hidden": hidden, "cos": cos[0, :, None], "sin": sin[0, :, None],
            "lanes": (torch.arange(token_ids.numel()) % len(tokens)).view(num_rows, width).int(),
            "back": tokens.int(), "mask": mask.expand(num_rows, 1, -1, -1),
            "beam_idx": torch.arange(num_rows).int(), "at": last.int(),
        }  # fmt: skip
        start = time.process_time()
        for name, tensor in inputs.items():
            self._request.set_tensor(name, ov.Tensor(tensor.contiguous().numpy()))
        self._request.infer()
        taken = 1e3 * (time.process_time() - start)
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy()), taken


def study(precision: str, methods: Sequence[str]) -> None:
    """Compare logits with the model's own, then time prefill and steps beside ours.

    Raises:
        UserError: An unknown method, or the graph's logits are not the model's.
    """
    asked = [resolve_method(name) for name in methods]
    torch.set_num_threads(1)
    console = Console(width=132, highlight=False)
    plain = load_model(packed=False)
    passes = Passes(plain.model, precision)
    ids = torch.randint(5, 1000, (2, 12), generator=torch.Generator().manual_seed(0))
    passes.feed(ids[:, :9])
    logits = passes.feed(ids[:, 9:])[0]
    expected = plain.model(input_ids=ids).logits[:, -1]
    away = ((logits - expected).abs().max() / expected.abs().max()).item()
    if not away < LIMITS[precision]:
        raise UserError(
            f"The graph's logits are not the model's ({away:.1e} of the largest).", "SE-1101"
        )
    console.print(f"logits differ from the model's by {away:.1e} of the largest")
    dtype = {"f32": "float32", "bf16": "bfloat16"}[precision]
    work = demo_work(load_model(dtype=dtype), num_questions=NUM_QUESTIONS)
    for method in asked:
        console.print(_beside(work, passes, method))


def _beside(work: Work, passes: Passes, method: Method) -> str:
    """What a method's passes take here and there, in one line."""
    prefix = len(work.frame.prefix)
    short, full = (work.ensemble([method], n) for n in (1, NUM_TOKENS))
    ours, theirs = [], []
    requests = work.requests(slice(0, NUM_QUESTIONS))
    for ensemble in (short, full):
        ensemble.run(requests)
    prompt = short.counters.prompt_tokens
    width = -(-prompt // NUM_QUESTIONS)
    each = max(1, full.counters.decode_tokens // (NUM_TOKENS - 1) // NUM_QUESTIONS)
    for _ in range(REPEATS):
        one, all_of_them = _cpu_ms(short, requests), _cpu_ms(full, requests)
        ours.append((one, (all_of_them - one) / (NUM_TOKENS - 1)))
        passes.restart()
        passes.feed(torch.full((NUM_QUESTIONS, prefix), 5), num_real=prefix)
        first = passes.feed(torch.full((NUM_QUESTIONS, width), 5), num_real=prompt)[1]
        place = torch.full((NUM_QUESTIONS, each), 5)
        theirs.append((first, median(passes.feed(place)[1] for _ in range(NUM_TOKENS - 1))))
    (a, b), (c, d) = (map(median, zip(*found, strict=True)) for found in (ours, theirs))
    return (
        f"{method.name}: prefill of {prompt} tokens {a:.0f} ms ours, {c:.0f} OpenVINO; a step of "
        f"{each * NUM_QUESTIONS} tokens {b:.0f} and {d:.0f}"
    )


def main(arguments: list[str]) -> int:
    """Run and print; returns the exit code."""
    parser = ArgumentParser(prog="python -m benchmarks.openvino_pass")
    parser.add_argument("precision", choices=LIMITS)
    parser.add_argument("methods", nargs="*", help="origin, flex_attention and avg by default")
    asked = parser.parse_args(arguments)
    try:
        study(asked.precision, asked.methods or ["origin", "flex_attention", "avg"])
    except UserError as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        return 2
    return 0


def _cpu_ms(ensemble: Any, requests: Any) -> float:
    start = time.process_time()
    ensemble.run(requests)
    return 1e3 * (time.process_time() - start)


def _input(name: str, kind: Any, *shape: int) -> Any:
    parameter = opset13.parameter(list(shape), kind, name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _linear(linear: nn.Linear, x: Any) -> Any:
    return opset13.matmul(x, opset13.constant(linear.weight.detach().numpy()), False, True)


def _normed(norm: Any, x: Any) -> Any:
    """Root mean square norm, in the form that the plugin has a kernel for."""
    square = opset13.power(x, opset13.constant(np.float32(2)))
    mean = opset13.reduce_mean(square, opset13.constant(np.array([-1])), True)
    root = opset13.sqrt(opset13.add(mean, opset13.constant(np.float32(norm.variance_epsilon))))
    normed = opset13.multiply(x, opset13.divide(opset13.constant(np.float32(1)), root))
    return opset13.multiply(normed, opset13.constant(norm.weight.detach().numpy()))


def _rotated(x: Any, cos: Any, sin: Any) -> Any:
    one, other = opset13.split(x, opset13.constant(np.int64(2)), 2).outputs()
    turned = opset13.concat([opset13.multiply(other, opset13.constant(np.float32(-1))), one], 2)
    return opset13.add(opset13.multiply(x, cos), opset13.multiply(turned, sin))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
