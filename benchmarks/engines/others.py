"""The engines of others, each as a careful user would run it on a CPU.

Token ids go in and come out: nothing is tokenised inside their clocks. No token ends an answer, so
that all have the same number of new tokens. What is left unequal by this is unequal against us.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines.asking import Ask, Engine
from benchmarks.engines.files import (
    ctranslate2_folder,
    gguf_file,
    openvino_float32,
    requantised,
)
from self_ensemble.bench.check import check_rows
from self_ensemble.bench.library import left_padded, own_attention
from self_ensemble.models.load import LoadedModel, load_model, load_without_weights

# Rows that OpenVINO schedules together, tokens that it takes in one pass, and its cache.
MAX_ROWS, MAX_TOKENS, CACHE_GB = 256, 8192, 1
# Prompts of one batch of CTranslate2, which sorts them by length: it encodes together as many
# tokens as the shortest prompt has, and one at a time what is beyond.
CT2_ROWS = 16


class Transformers:
    """`generate` of transformers: left-padded, no prefix cache, float32."""

    def __init__(self, model: str, num_threads: int) -> None:
        import torch

        torch.set_num_threads(num_threads)
        self.loaded: LoadedModel = load_model(model, dtype="float32", device="cpu", packed=False)
        self.loaded.model.set_attn_implementation(own_attention(self.loaded))

    def warm(self, ask: Ask) -> None:
        """Nothing is kept between two calls."""

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        from transformers import GenerationConfig

        pad = self.loaded.tokenizer.pad_token_id or 0
        self.loaded.model.generation_config = GenerationConfig(do_sample=False, pad_token_id=pad)
        token_ids, mask = left_padded(ask.prompts, pad, self.loaded.device)
        output: Any = self.loaded.model.generate(
            token_ids, attention_mask=mask, max_new_tokens=ask.new_tokens
        )
        rows: list[list[int]] = output[:, token_ids.shape[1] :].tolist()
        return rows

    def ties(self, what: str, ask: Ask, rows: Sequence[Sequence[int]]) -> int:
        """How many tokens of some rows are as good as the oracle's, up to rounding.

        Raises:
            UserError: A token is not right.
        """
        return sum(check_rows(self.loaded, what, ask.prompts, rows))


class OpenVINO:
    """OpenVINO GenAI: continuous batching with a prefix cache, greedy."""

    # Nothing is rounded: neither products, nor activations, nor keys and values.
    EXACT = {  # noqa: RUF012
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }

    def __init__(self, model: str, num_threads: int, precision: str) -> None:
        import openvino_genai

        file = gguf_file(model)
        paths = {
            "4-bit": lambda: file,
            "int8": lambda: requantised(file, "Q8_0"),
            "bfloat16": lambda: requantised(file, "F16"),
            "float32": lambda: openvino_float32(file),
        }
        properties: dict[str, object] = {"INFERENCE_NUM_THREADS": num_threads}
        if precision == "float32":
            properties |= self.EXACT
        elif precision == "bfloat16":
            properties["INFERENCE_PRECISION_HINT"] = "bf16"
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.cache_size = CACHE_GB
        scheduler.max_num_seqs = MAX_ROWS
        scheduler.max_num_batched_tokens = MAX_TOKENS
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(paths[precision]()), scheduler, "CPU", properties
        )

    def warm(self, ask: Ask) -> None:
        self._generate([ask.other_prompt], ask.new_tokens)

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        return self._generate(ask.prompts, ask.new_tokens)

    def _generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int
    ) -> Sequence[Sequence[int]]:
        import openvino
        import openvino_genai

        settings = openvino_genai.GenerationConfig(
            max_new_tokens=new_tokens, ignore_eos=True, do_sample=False
        )
        tensors = [openvino.Tensor(np.array([prompt], np.int64)) for prompt in prompts]
        found = self.pipeline.generate(tensors, [settings] * len(tensors))
        return [one.m_generation_ids[0] for one in found]


class CTranslate2:
    """CTranslate2: the prefix as its static prompt, which it keeps; batches sorted by length."""

    def __init__(self, model: str, num_threads: int, precision: str) -> None:
        import ctranslate2

        folder = ctranslate2_folder(gguf_file(model), precision)
        self.generator = ctranslate2.Generator(
            str(folder), device="cpu", compute_type=precision, intra_threads=num_threads
        )
        self.tokenizer = load_without_weights(model).tokenizer

    def warm(self, ask: Ask) -> None:
        self._generate(ask, [ask.other_prompt])

    def answer(self, ask: Ask) -> Sequence[Sequence[int]]:
        return self._generate(ask, ask.prompts)

    def _generate(self, ask: Ask, prompts: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        # Its tokens are texts; this looks ids up and tokenises nothing.
        texts = self.tokenizer.convert_ids_to_tokens
        behind = [texts(list(prompt[len(ask.prefix) :])) for prompt in prompts]
        found = self.generator.generate_batch(
            behind,
            max_batch_size=CT2_ROWS,
            static_prompt=texts(list(ask.prefix)),
            cache_static_prompt=True,
            include_prompt_in_result=False,
            max_length=ask.new_tokens,
            # Some token must end an answer; no question has brought this one about.
            end_token=[len(self.tokenizer) - 1],
            sampling_topk=1,
        )
        return [one.sequences_ids[0] for one in found]


def make_other(engine: str, model: str, num_threads: int, precision: str) -> Engine:
    """An engine by name."""
    if engine == "generate":
        return Transformers(model, num_threads)
    if engine == "openvino":
        return OpenVINO(model, num_threads, precision)
    if engine == "ctranslate2":
        return CTranslate2(model, num_threads, precision)
    from benchmarks.engines.llama_cpp import LlamaCpp

    return LlamaCpp(Path(gguf_file(model)), num_threads, precision)
