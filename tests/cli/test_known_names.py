"""A wrong name is refused before torch is imported, in the words of what would have used it."""

import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig

from self_ensemble.asking.methods import resolve_methods
from self_ensemble.attribution.kinds import KINDS
from self_ensemble.captured.decode import check_decode
from self_ensemble.cli import known_names
from self_ensemble.errors import UserError
from self_ensemble.jobs.generate_options import GenerateOptions
from self_ensemble.models.devices import DTYPES, resolve_device, resolve_dtype
from self_ensemble.models.engines import ENGINES, check_engine
from self_ensemble.models.support import choose_backend
from self_ensemble.walking.sampling import Sampling

CPU = torch.device("cpu")
USED = {
    known_names.attention: lambda name: choose_backend(name, LlamaConfig(), CPU),
    known_names.decode: lambda name: check_decode(name, Sampling()),
    known_names.device: resolve_device,
    known_names.dtype: lambda name: resolve_dtype(name, CPU),
    known_names.methods: lambda names: resolve_methods(names, has_weights=True),
    known_names.engine: lambda name: check_engine(name, "auto", "auto", None, None),
    known_names.positions: lambda name: GenerateOptions(positions=name).check(),
    known_names.fusion_point: lambda name: GenerateOptions(fusion_point=name).check(),
    known_names.chat_template: lambda name: GenerateOptions(chat_template=name).check(),
    known_names.attribution: lambda name: GenerateOptions(attribution=(name,)).check(),
}


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (known_names.attention, "flx"), (known_names.decode, "graph"), (known_names.dtype, "fp16"),
        (known_names.device, "cuda:x"), (known_names.device, "cpu:0"), (known_names.device, "\n"),
        (known_names.methods, ["avg", "flex_atention"]), (known_names.positions, "align"),
        (known_names.fusion_point, "end"), (known_names.chat_template, "true"),
        (known_names.engine, "onnx"), (known_names.attribution, "mas"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_refused_in_the_same_words(check, value):
    messages = []
    for refuse in (check, USED[check]):
        with pytest.raises(UserError) as refused:
            refuse(value)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_what_works_is_taken():
    for name in known_names.ATTENTION:
        assert USED[known_names.attention](known_names.attention(name))
    of_generate = {
        "decode": known_names.DECODE, "positions": known_names.POSITIONS,
        "fusion_point": known_names.FUSION_POINT, "chat_template": known_names.CHAT_TEMPLATE,
        "attribution": known_names.ATTRIBUTION,
    }  # fmt: skip
    for option, names in of_generate.items():
        for name in names:
            check = getattr(known_names, option)
            USED[check](check(name))
    assert set(known_names.DTYPE) == {"auto", *DTYPES}
    assert set(known_names.ENGINE) == set(ENGINES)
    assert USED[known_names.device](known_names.device("cpu")).device == CPU
    assert known_names.device("cuda:1") == "cuda:1"
    assert known_names.methods(["avg,vote", "my:rule", "all"]) == ["avg,vote", "my:rule", "all"]
    assert known_names.dtype(None) is None
    assert set(known_names.ATTRIBUTION) == set(KINDS)
    assert known_names.attribution("mass, share,") == "mass, share,"


WRONG = (
    "generate --dataset demo --method flex_atention",
    "generate --dataset demo --batch-size x",
    "generate --dataset demo --temperature -1",
    "generate --dataset demo --attribution shapley,mas",
    "generate --dataset demo --method weighted_avg --weights nope",
    "generate --dataset demo --segment-weights unifrom",
    "generate --dataset demo --method weighted_avg --weights nowhere.csv",
    "inspect --dataset demo --row 0 --method weighted_max --weights nope",
    "inspect --dataset demo --row 0 --segment-weights nowhere.json",
    "confidence --dataset demo --top-p 2",
    "inspect --dataset demo --row 0 --temperature nan",
    "paraphrase --dataset demo --output w.jsonl --top-p 0",
    "paraphrase --dataset demo --output w.xyz",
    "paraphrase --output nowhere.jsonl --show 1",
    "confidence --dataset demo --dtype fp16",
    "learn-weights --dataset demo --attention flx",
    "paraphrase --dataset demo --output w.jsonl --device gpu",
    "inspect --dataset demo --row 0 --decode graph",
    "mask --text a --dtype fp16",
    "bench --method flex_atention",
    "serve --method flex_atention",
    "generate --dataset webq",
    "generate --dataset demo --model nope",
    "confidence --dataset nowhere.csv",
    "generate --dataset demo --max-samples 0",
    "inspect --dataset README.md --row 0",
    "learn-weights --dataset pyproject.toml --output w.json",
    "paraphrase --dataset nowhere/x --output w.jsonl",
    "mask --text a --model nope",
    "playground --model nope",
    "demo --model nope",
    "analyze --output-dir . --dataset nope --model m",
    "report --output-dir . --dataset nope --model m",
)


def test_a_wrong_option_is_refused_before_torch_is_imported():
    code = (
        "import sys; from self_ensemble.cli.main import main\n"
        f"assert [main(one.split()) for one in {WRONG}] == {[2] * len(WRONG)}\n"
        "sys.exit(len({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(WRONG)
