"""Model folders and GGUF files in which one thing is not as it should be."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from tests.cli.commands import question_rows, write_rows
from tests.conftest import _tokenizer
from tests.faults.campaign import Campaign, Fault
from tests.faults.forked import judged, run_forked

ODD = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.5,
    "", "x", "../../x", "\0", "\ud800", "9" * 5000, [], [[]], {}, {"a": {}}, [None], ["x"] * 99999,
]  # fmt: skip
LONG = "{% for a in range(9**5) %}{% for b in range(9**5) %}{% endfor %}{% endfor %}"
TEMPLATES = ["{% for", "{{ 1/0 }}", "{{ messages + 1 }}", "{{ 'x' * 10**9 }}", "", LONG]


def injections(generator: random.Random, folder: Path) -> Iterator[Fault]:
    tiny, tiny_gguf = folder / "tiny", folder / "tiny.gguf"
    _write_models(tiny, tiny_gguf)
    questions = write_rows(folder / "bridges.jsonl", question_rows()[:3])
    for model in (tiny, tiny_gguf):
        # Whole ones answer, or all that follows would be refused for another reason.
        ended = run_forked(_command(questions, model, "--overwrite"), folder)
        assert ended.code == 0, ended.err
    number = 0
    while True:
        number += 1
        work = folder / f"{number}"
        work.mkdir()
        mend = generator.choice([_bytes, _json, _json, _json, _files, _template, _gguf, _gguf])
        what, model, *more = mend(generator, tiny, tiny_gguf, work)
        yield judged(what, run_forked(_command(questions, model, *more), work))
        shutil.rmtree(work)


def _command(questions: Path, model: Path, *more: str) -> list[str]:
    return [
        "generate", "--dataset", str(questions), "--model", str(model), "--num-shots", "0",
        "--num-paraphrases", "2", "--max-new-tokens", "2", "--output-dir", "out", *more,
    ]  # fmt: skip


def _copy(tiny: Path, work: Path) -> Path:
    return Path(shutil.copytree(tiny, work / "tiny"))


def _bytes(generator: random.Random, tiny: Path, tiny_gguf: Path, work: Path):
    model = _copy(tiny, work)
    path = generator.choice(sorted(model.iterdir()))
    content, what = _damaged(generator, path.read_bytes())
    path.write_bytes(content)
    return f"{path.name}: {what}", model


def _gguf(generator: random.Random, tiny: Path, tiny_gguf: Path, work: Path):
    content, what = _damaged(generator, tiny_gguf.read_bytes())
    path = work / "tiny.gguf"
    path.write_bytes(content)
    return f"gguf: {what}", path


def _damaged(generator: random.Random, content: bytes) -> tuple[bytes, str]:
    if generator.random() < 0.3:
        length = generator.randrange(len(content))
        return content[:length], f"cut to {length} bytes"
    # Lengths and types stand at the beginning.
    last = generator.choice([64, 1024, len(content)])
    place, bit = generator.randrange(min(last, len(content))), 1 << generator.randrange(8)
    return (
        content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :],
        f"byte {place} ^ {bit}",
    )


def _json(generator: random.Random, tiny: Path, tiny_gguf: Path, work: Path):
    model = _copy(tiny, work)
    names = ["config.json", "config.json", "tokenizer_config.json", "generation_config.json",
             "tokenizer.json", "model.safetensors.index.json"]  # fmt: skip
    path = model / generator.choice(names)
    content = json.loads(path.read_text())
    place, parent = [], content
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = generator.choice(keys[:40])
        place.append(str(key))
        if not isinstance(parent[key], dict | list) or not parent[key] or generator.random() < 0.3:
            break
        parent = parent[key]
    value = generator.choice(ODD)
    if generator.random() < 0.2:
        del parent[key]
        value = "deleted"
    else:
        parent[key] = value
    path.write_text(json.dumps(content))
    return f"{path.name}: {'.'.join(place)} = {str(value)[:40]!a}", model


def _files(generator: random.Random, tiny: Path, tiny_gguf: Path, work: Path):
    model = _copy(tiny, work)
    one, other = generator.sample(sorted(model.iterdir()), 2)
    kind = generator.choice(["missing", "swapped", "folder", "loop", "zero", "fifo", "empty"])
    content = one.read_bytes()
    one.unlink()
    if kind == "swapped":
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "folder":
        one.mkdir()
    elif kind == "loop":
        one.symlink_to(one.name)
    elif kind == "zero":
        one.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(one)
    elif kind == "empty":
        one.write_bytes(b"")
    return f"{one.name}: {kind}", model


def _template(generator: random.Random, tiny: Path, tiny_gguf: Path, work: Path):
    model = _copy(tiny, work)
    text = generator.choice(TEMPLATES)
    (model / "chat_template.jinja").write_text(text)
    return f"chat template {text!r}", model, "--chat-template", "on"


def _write_models(tiny: Path, tiny_gguf: Path) -> None:
    tokenizer = _tokenizer(adds_bos=False)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(tiny, max_shard_size="40KB")
    tokenizer.save_pretrained(tiny)
    _write_gguf(tiny_gguf, model, tokenizer)


def _write_gguf(path: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    config, writer = model.config, GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    for name, tensor in model.state_dict().items():
        writer.add_tensor(_gguf_name(name), tensor.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str) -> str:
    parts = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "model.layers": "blk", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj":
        "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm":
        "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for ours, theirs in parts.items():
        name = name.replace(ours, theirs)
    return name


HOSTILE_MODELS = Campaign("hostile models", injections, few=6, many=250)
