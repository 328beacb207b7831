"""The command that makes result files again, from what their manifests say."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from self_ensemble.analysis.provenance import MadeWith

_SOURCE = re.compile(r"(?P<place>.*?) \(sha256 ")
_IN_MEMORY = re.compile(r"\d+ rows in memory")
_NAMED = ("webqa", "myriadlama", "demo")
# What the source of a set's own folder says, and no other.
_FOLDERS = {" (sha256 facts ": "myriadlama", " (sha256 train ": "webqa"}
# Options by the field of the manifest.
_OPTIONS = (
    "paraphrases", "max_samples", "num_shots", "num_manual", "num_auto", "num_paraphrases",
    "segment_weights", "contrast_strength", "positions", "fusion_point", "chat_template",
    "max_new_tokens", "temperature", "top_p", "seed", "decode", "attention", "device", "dtype",
    "engine",
)  # fmt: skip
_FLAGS = ("manual_read_each_other", "trust_remote_code")
_LISTS = ("indices", "attribution")
# What the data set's loading or the defaults say anyway.
_DEFAULTS: Mapping[str, object] = {
    "num_shots": 5, "num_auto": 0, "segment_weights": "uniform", "contrast_strength": 0.25,
    "positions": "aligned", "fusion_point": "cue", "chat_template": "off", "temperature": 0.0,
    "top_p": 1.0, "seed": 0, "decode": "tree",
}  # fmt: skip
_COMPARED = (
    *_OPTIONS, *_FLAGS, *_LISTS, "dataset", "data_source", "model", "stop", "weights_sha256",
    "questions_sha256",
)  # fmt: skip
# Null where a method does not read them: `origin` no number of wordings, only `flex_attention`
# its positions. Elsewhere null is a value: no --indices, no --max-samples.
_OF_SOME_METHODS = frozenset(
    {
        "num_paraphrases", "segment_weights", "positions", "fusion_point", "contrast_strength",
        "manual_read_each_other", "weights_sha256",
    }
)  # fmt: skip
_WEIGHTS = re.compile(r".*-(confidence|sampling|logprob|margin|entropy|agreement|p_true|learned)")


@dataclass(slots=True)
class _Run:
    """Files that one command makes."""

    fields: dict[str, object]
    methods: list[str] = field(default_factory=list)
    weights: str | None = None

    def takes(self, fields: Mapping[str, object], weights: str | None) -> bool:
        if None not in (self.weights, weights) and self.weights != weights:
            return False
        for name in _COMPARED:
            ours, theirs = self.fields.get(name), fields.get(name)
            if ours != theirs and not (name in _OF_SOME_METHODS and None in (ours, theirs)):
                return False
        return True


def repeat_commands(made: Sequence[MadeWith]) -> tuple[str, ...]:
    """The commands that make result files again, as few as there can be.

    Options that are not in a manifest are not in a command: which questions were left out in
    front (`--offset`), how the columns of a file were read, and weights of a file or column.

    Args:
        made: Files with their manifests; those that `generate` has not made are left out.
    """
    runs: list[_Run] = []
    for one in made:
        fields = one.fields or {}
        source = fields.get("data_source")
        if "method" not in fields or fields["method"] is None or not isinstance(source, str):
            continue
        if _IN_MEMORY.match(source):
            continue
        match = _WEIGHTS.fullmatch(one.file)
        # Those of flex_attention stand in the field for weights inside attention.
        is_weighted = match is not None and fields["method"] != "flex_attention"
        weights = match[1] if match is not None and is_weighted else None
        run = next((run for run in runs if run.takes(fields, weights)), None)
        if run is None:
            run = _Run({})
            runs.append(run)
        run.fields |= {name: value for name, value in fields.items() if value is not None}
        run.methods.append(str(fields["method"]))
        run.weights = run.weights or weights
    return tuple(map(_command, runs))


def _command(run: _Run) -> str:
    fields = run.fields
    words = ["self-ensemble", "generate", *_data(fields), "--model", str(fields.get("model"))]
    words += ["--method", ",".join(dict.fromkeys(run.methods))]
    for name in _OPTIONS:
        value = fields.get(name)
        if value is not None and value != _DEFAULTS.get(name):
            words += [_option(name), str(value)]
    if run.weights is not None:
        words += ["--weights", run.weights]
    for name in _LISTS:
        values = fields.get(name)
        if isinstance(values, list) and values:
            words += [_option(name), ",".join(map(str, values))]
    stop = fields.get("stop")
    if isinstance(stop, list):
        for text in stop or [""]:
            words += ["--stop", str(text).replace("\n", "\\n")]
    words += [_option(name) for name in _FLAGS if fields.get(name) is True]
    return shlex.join(words)


def _data(fields: Mapping[str, object]) -> list[str]:
    """The options that say which questions."""
    name, source = str(fields.get("dataset")), str(fields.get("data_source"))
    match = _SOURCE.match(source)
    place = name if match is None else match["place"]
    for of_folder, set_name in _FOLDERS.items():
        if of_folder in source:
            return ["--dataset", set_name, "--data", place]
    return ["--dataset", name if name in _NAMED else place]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
