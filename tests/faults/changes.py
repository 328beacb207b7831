"""Something that answers depend on is changed between the two halves of a run.

A run is stopped after its first batch, one thing is changed (an element of a tensor, a key of a
configuration, a part of the tokenizer, the chat template, a byte of any file, the user's rule or
what it imports, data, wordings, weights, an option), and the command is given again. Either it
refuses in one line that names what changed, and every row is kept, or the files in the end are
those of an undisturbed run.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import compare, left_in
from tests.faults.half_runs import base, expected, run, write_rows

OPTIONS = (
    "--seed 1", "--num-shots 2", "--max-new-tokens 4", "--num-paraphrases 1", "--dtype bfloat16",
    "--attention eager", "--stop x", "--temperature 0.5", "--chat-template off",
    "--positions contiguous", "--segment-weights none", "--fusion-point last_segment",
    "--decode captured", "--max-samples 5", "--offset 1", "--batch-size 2",
)  # fmt: skip
# What a refusal names, beside the changed thing itself: a file that cannot be read any more.
UNREADABLE = ("Cannot read", "do not fit", "is not valid JSON", "chat template")

# What was done, arguments to add, and what a refusal may name.
Changed = tuple[str, tuple[str, ...], tuple[str, ...]]
# Changes something in a place.
Change = Callable[[random.Random, Path], Changed]


def change_tensor(rng: random.Random, place: Path) -> Changed:
    path = place / "tiny" / "model.safetensors"
    tensors, before = load_file(path), path.stat()
    name = rng.choice(sorted(tensors))
    element = rng.randrange(tensors[name].numel())
    tensors[name].view(-1)[element] += rng.choice([1e-6, 0.5, -3.0])
    save_file(tensors, path, metadata={"format": "pt"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"element {element} of {name}", (), ("identity.weights.model.safetensors",)


def change_byte(rng: random.Random, place: Path) -> Changed:
    path = rng.choice(sorted((place / "tiny").iterdir()))
    content = bytearray(path.read_bytes())
    number = rng.randrange(len(content))
    content[number] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"byte {number} of {path.name}", (), ("identity.", "tiny", *UNREADABLE)


def change_key(rng: random.Random, place: Path) -> Changed:
    name, part = rng.choice(
        [("config.json", "identity.config"), ("config.json", "identity.config"),
         ("generation_config.json", "identity.generation_config"),
         ("tokenizer_config.json", "identity.tokenizer")]
    )  # fmt: skip
    path = place / "tiny" / name
    content = json.loads(path.read_text())
    key = rng.choice(sorted(content))
    old = content[key]
    content[key] = other_value(rng, old)
    path.write_text(json.dumps(content))
    return f"{key} of {name}: {old!r} -> {content[key]!r}", (), (part, "tiny", *UNREADABLE)


def other_value(rng: random.Random, value: object) -> object:
    if isinstance(value, dict):
        key = rng.choice(sorted(value))
        return value | {key: other_value(rng, value[key])}
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice([value + 1, value * 2, type(value)(0)])
    return rng.choice([None, "gelu", "<pad>", "x", [1, 2]])


def change_tokenizer(rng: random.Random, place: Path) -> Changed:
    path = place / "tiny" / "tokenizer.json"
    state = json.loads(path.read_text())
    kind = rng.choice(["vocabulary", "merge", "normalizer", "prefix space", "template"])
    if kind == "vocabulary":
        words = state["model"]["vocab"]
        a, b = rng.sample(sorted(words), 2)
        words[a], words[b] = words[b], words[a]
    elif kind == "merge":
        state["model"]["merges"].pop(rng.randrange(len(state["model"]["merges"])))
    elif kind == "normalizer":
        state["normalizer"] = {"type": rng.choice(["Lowercase", "NFC", "NFKC"])}
    elif kind == "prefix space":
        state["pre_tokenizer"]["add_prefix_space"] = True
    else:
        template = place / "tiny" / "chat_template.jinja"
        template.write_text(template.read_text().replace("user", "user ", 1) + " ")
        return "the chat template", (), ("identity.chat_template",)
    path.write_text(json.dumps(state))
    return f"{kind} of tokenizer.json", (), ("identity.tokenizer.", "identity.config")


def change_rule(rng: random.Random, place: Path) -> Changed:
    name, old, new, named = rng.choice(
        [
            ("own_rule.py", "2.0", "3.0", "rule.modules.own_rule"),
            ("own_rule.py", ".mean(dim=-2)", ".amax(dim=-2)", "rule.modules.own_rule"),
            ("own_rule.py", "SHARPNESS = 2.0", "SHARPNESS = 2.0  # why", "rule.modules.own_rule"),
            ("own_helpers/scaling.py", "1.5", "0.5", "rule.modules.own_helpers.scaling"),
            ("own_helpers/scaling.py", "x * F", "x + F", "rule.modules.own_helpers.scaling"),
            ("own_helpers/__init__.py", "", "import own_tables\nown_tables.OFFSET[0] = 9.0\n",
             "rule.modules.own_helpers "),
            ("own_tables.py", "[0.0]", "[0.0]", ""),
            ("offset.json", "0.0", "4.0", "rule.values.constants.own_tables.OFFSET"),
        ]
    )  # fmt: skip
    path = place / "rules" / name
    content = path.read_text()
    path.write_text(content.replace(old, new) if old else content + new)
    return f"{name}: {old!r} -> {new!r}", (), (named,)


def change_data(rng: random.Random, place: Path) -> Changed:
    name = rng.choice(["bridges.jsonl", "wordings.jsonl", "trust.jsonl"])
    path = place / name
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    row = rng.choice(rows)
    key = rng.choice(sorted(row))
    if key == "weights":
        row[key] = [row[key][1], row[key][0] + 0.1]
    elif isinstance(row[key], list):
        row[key] = [f"{row[key][0]} or so", *row[key][1:]]
    else:
        row[key] = f"{row[key]} indeed"
    write_rows(path, rows)
    named = ("questions_sha256", "prompt_sha256", "weights_sha256", row["uuid"], name)
    return f"{key} of a row of {name}", (), named


def shuffle_data(rng: random.Random, place: Path) -> Changed:
    name = rng.choice(["bridges.jsonl", "wordings.jsonl", "trust.jsonl"])
    lines = (place / name).read_text().splitlines(keepends=True)
    rng.shuffle(lines)
    (place / name).write_text("".join(lines))
    return f"the order of {name}", (), ("questions_sha256", "prompt_sha256")


def change_option(rng: random.Random, place: Path) -> Changed:
    option = rng.choice(OPTIONS)
    name, value = option.split()
    field = name.removeprefix("--").replace("-", "_")
    return option, (name, value), (field, name, "questions_sha256", "prompt_sha256")


def change_nothing(rng: random.Random, place: Path) -> Changed:
    kind = rng.choice(["README", "time", "moved", "spelling"])
    if kind == "README":
        (place / "tiny" / "README.md").write_text("A model.")
    elif kind == "time":
        for path in place.rglob("*"):
            os.utime(path)
    elif kind == "moved":
        (place / "elsewhere").mkdir()
        (place / "tiny").rename(place / "elsewhere" / "tiny")
        (place / "tiny").symlink_to(place / "elsewhere" / "tiny")
    else:
        path = place / "tiny" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text())))
    return f"nothing that counts: {kind}", (), ("nothing may be refused",)


CHANGES: tuple[Change, ...] = (
    change_tensor, change_byte, change_key, change_tokenizer, change_rule, change_data,
    shuffle_data, change_option, change_nothing,
)  # fmt: skip


def injections(rng: random.Random, folder: Path) -> Iterator[Fault]:
    """Every kind of change in turn, two of three times between the halves of `generate`."""
    for number in count():
        command = "confidence" if number % 3 == 2 else "generate"
        kinds = [kind for kind in CHANGES if command == "generate" or kind is not change_rule]
        change = kinds[number % len(kinds)] if number % 2 else rng.choice(kinds)
        place = Path(shutil.copytree(base(command), folder / str(number)))
        what, more, named = change(rng, place)
        yield Fault(f"{command}: {what}", *outcome(place, command, more, named))
        shutil.rmtree(place)


def outcome(
    place: Path, command: str, more: tuple[str, ...], named: tuple[str, ...]
) -> tuple[Verdict, str]:
    kept = rows_in(place / "out")
    ended = run(place, command, *more)
    whole = expected(command)
    if ended.code == 0 and command == "generate" and "--num-paraphrases" in more:
        # That is another file, and done; the half is still there to go on with.
        others = left_in(place / "out").keys() - whole.keys()
        ended = run(place, command)
        left = left_in(place / "out")
        whole = whole | {name: left[name] for name in others if name.endswith("-1.feather")}
    if ended.code == 0:
        return compare(whole, left_in(place / "out"))
    if not ended.one_line:
        return Verdict.TRACEBACK, f"{ended}"
    if kept != rows_in(place / "out"):
        return Verdict.LOST, f"other rows than before: {ended.err}"
    if not any(name in ended.err for name in named):
        return Verdict.CHANGED, f"refused, but not by the name of what changed: {ended.err}"
    return Verdict.SURVIVED, ""


def rows_in(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*.feather")}


CHANGES_BETWEEN_HALVES = Campaign("changes between halves", injections, few=6, many=200)
