"""Attention in an OpenVINO graph, over what was read before and what a pass brings.

    tokens   a a a b b c               the row of a pass
    lanes    a a a | b b . | c . .     what attention sees; a dot is a place without a token

    keys     | prefix | read before: a a a a - - | a a a |     one row a question; the prefix is
                      | read before: b b - - - - | b b . |     one row for all; - is a free place

The prefix and what was read before come in and stay as they are: who runs the graph puts what a
pass brings behind it. So no pass copies what is long, and shapes stay from step to step; OpenVINO
sets up kernels for each shape. Its attention kernel for a state of the graph reads one key at a
time, and takes most of a step where a question has several queries; products over the three parts
do not.

B questions, R places of a question in a pass, P and C places of the first two parts, Hq and Hkv
heads, G query heads of a key head, D head dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import openvino as ov
from openvino import opset13

from self_ensemble.models.openvino_ops import (
    gathered,
    integers,
    named_input,
    reshaped,
    split,
    transposed,
)


@dataclass(frozen=True, slots=True)
class Heads:
    """How many heads there are, and how large."""

    queries: int
    keys: int
    size: int

    def parted(self, x: Any, axis: int) -> list[Any]:
        """Queries, keys and values of x, whose heads are side by side."""
        return split(x, axis, integers(self.queries, self.keys, self.keys))


class Attention:
    """The inputs of all layers, and what each makes of them.

    Inputs are lanes `(B, R)`, back `(T,)` (the place of each token, a number below B * R), sizes
    `(3,)` (P, C, R), a mask `(B, 1, R, P + C + R)` for each kind of layer, and of each layer
    prefix.N `(1, Hkv, P, D)` and kept.N `(B, Hkv, C, D)`, keys with even and values with odd
    numbers; the prefix's keys lie as products read them, `(1, Hkv, D, P)`.
    """

    def __init__(self, windows: Sequence[int | None], heads: Heads) -> None:
        self.heads, self.windows = heads, windows
        self.lanes = named_input("lanes", ov.Type.i32, -1, -1)
        self.back = named_input("back", ov.Type.i32, -1)
        self.sizes = named_input("sizes", ov.Type.i32, 3)
        self.masks = {
            window: named_input(f"mask.{window}", ov.Type.f32, -1, 1, -1, -1)
            for window in dict.fromkeys(windows)
        }
        groups = heads.queries // heads.keys
        # The queries of a key head are rows below each other.
        self.by_key_head = {
            window: opset13.concat([mask] * groups, 2) for window, mask in self.masks.items()
        }
        numbers, size = range(2 * len(windows)), heads.size
        self.prefix = [
            named_input(f"prefix.{number}", ov.Type.f32, 1, heads.keys, *places)
            for number in numbers
            for places in [(-1, size) if number % 2 else (size, -1)]
        ]
        self.kept = [
            named_input(f"kept.{number}", ov.Type.f32, -1, heads.keys, -1, size)
            for number in numbers
        ]
        self.brought: list[Any] = []

    @property
    def inputs(self) -> list[Any]:
        own = [self.lanes, self.back, self.sizes, *self.masks.values()]
        return [*own, *self.prefix, *self.kept]

    def read(self, tokens: Any, layer: int) -> Any:
        """What tokens read, `(T, Hq * D)`.

        Args:
            tokens: Queries, scaled, keys and values of each, `(T, Hq + 2 Hkv, D)`.
            layer: Number of the layer.
        """
        heads = self.heads
        laid = transposed(gathered(tokens, self.lanes), 0, 2, 1, 3)
        query, *brought = heads.parted(laid, 1)
        query = reshaped(query, 0, heads.keys, -1, heads.size)
        parts = []
        for number, one in zip((2 * layer, 2 * layer + 1), brought, strict=True):
            self.brought.append(one)
            parts.append((self.prefix[number], self.kept[number], one))
        keys, values = parts
        # The prefix's keys lie as the product reads them.
        scores = [opset13.matmul(query, key, False, key is not keys[0]) for key in keys]
        mask = self.by_key_head[self.windows[layer]]
        probs = opset13.softmax(opset13.add(opset13.concat(scores, 3), mask), 3)
        found = [
            opset13.matmul(share, value, False, False)
            for share, value in zip(split(probs, 3, self.sizes), values, strict=True)
        ]
        whole = opset13.add(opset13.add(found[0], found[1]), found[2])
        by_head = reshaped(whole, 0, heads.queries, -1, heads.size)
        by_place = opset13.reshape(
            transposed(by_head, 0, 2, 1, 3), integers(-1, heads.queries * heads.size), False
        )
        return gathered(by_place, self.back)
