"""Fusion rules that go wrong at some batch: what was answered is kept, and the run goes on."""

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.campaign import Campaign, Fault, Verdict
from tests.faults.commands import Workplace

# What a rule does at its worst; `scores` is the mean of the logits.
WORST = (
    "raise KeyError('x')", "raise Exception", "raise SystemExit", "raise GeneratorExit",
    "sys.exit(0)", "sys.exit('bye')", "return 1 / 0", "return None", "return scores.tolist()",
    "return scores > 0", "return scores.long()", "return scores.to(torch.complex64)",
    "return scores.to('meta')", "return scores.to_sparse()", "return scores[:, 1:]",
    "return scores[None]", "return scores.sum()", "return scores[:0]", "return scores * math.nan",
    "return scores * 0 + math.inf", "return scores * 0 - math.inf", "return logits",
    "return (scores, scores)", "return lambda: scores", "return recursive(logits)",
    "assert False", "raise RuntimeError('first\\nsecond')", "raise UnicodeError('\\x1b[31m')",
    "logits.zero_(); return scores / 0", "return torch.nn.Parameter(scores)[None]",
    "return scores.numpy()", "import no_such_module", "exec('x = ')", "yield scores",
)  # fmt: skip
MODULE = """\
import math
import sys

import torch

CALLS = []


def recursive(logits):
    return recursive(logits)


def rule(logits, weights):
    scores = logits.mean(dim=-2)
    CALLS.append(None)
    if len(CALLS) > {good_calls}:
        {worst}
    return scores
"""
AT_IMPORT = (
    "raise ValueError",
    "import sys; sys.exit(0)",
    "1 / 0",
    "def",
    "import no_such_module",
)


def injections(chance: random.Random, folder: Path) -> Iterator[Fault]:
    """Run two methods beside a rule that fails; then without it, and compare what there is."""
    place = Workplace.make()
    number = 0
    while True:
        number += 1
        out, module = folder / str(number), f"bad_rule_{number}"
        worst, good_calls = chance.choice(WORST), chance.randrange(5)
        text = MODULE.format(worst=worst, good_calls=good_calls)
        if chance.random() < 0.1:
            worst = text = chance.choice(AT_IMPORT)
        (folder / f"{module}.py").write_text(text)
        methods = f"per_prompt,flex_attention,{module}:rule"
        ended = place.run(
            "generate", out, "--method", methods,
            before=lambda: sys.path.insert(0, str(folder)),
        )  # fmt: skip
        yield Fault(f"{worst} after {good_calls} calls", *_judged(place, out, ended, module))


def _judged(place: Workplace, out: Path, ended, module: str) -> tuple[Verdict, str]:
    # A rule whose scores are not finite leaves error rows beside good ones: exit code 3.
    named = module in ended.err and ended.one_line
    if "Traceback" in ended.err or not (named or ended.code == 3):
        return Verdict.TRACEBACK, str(ended)
    for path in out.rglob(f"*{module}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place.go_on("generate", out)


HOSTILE_RULES = Campaign("hostile rules", injections, few=4, many=200)
