"""Models with numbers that are not finite: no answer may come of them, and none be lost."""

import math
import random
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from self_ensemble.asking.request import Answer, Unanswered
from self_ensemble.models.load import LoadedModel
from self_ensemble.oracle.reference import next_logits_alone
from tests.conftest import _config, _tokenizer
from tests.engine.asking import QUESTIONS, ensemble, ready, requests
from tests.faults.campaign import Campaign, Fault, Verdict

FAMILIES = ("llama", "qwen3", "gpt2", "phi3")
VALUES = (math.nan, math.inf, -math.inf, 3e38)
METHODS = ("per_prompt", "flex_attention", "avg", "vote")
NUM_TOKENS = 3


def injections(chance: random.Random, folder: Path) -> Iterator[Fault]:
    """Spoil some of the numbers of one parameter; ask; compare with the model's own logits."""
    del folder
    tokenizer = _tokenizer(adds_bos=False)
    while True:
        family, decode = chance.choice(FAMILIES), chance.choice(["tree", "captured"])
        config = _config(family, 4, 4 if family == "gpt2" else 2, None, tokenizer)
        torch.manual_seed(chance.randrange(1 << 30))
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        loaded = ready(model.requires_grad_(False), tokenizer)
        name, weight = chance.choice(list(model.named_parameters()))
        where, value = chance.choice(["one", "row", "all"]), chance.choice(VALUES)
        row = chance.randrange(len(weight))
        if where == "all":
            weight.fill_(value)
        elif where == "row" or weight.dim() == 1:
            weight[row] = value
        else:
            weight[row, chance.randrange(weight.shape[1])] = value
        what = f"{family}, {decode}: {value} in {where} of {name} ({row})"
        try:
            asked = ensemble(loaded, METHODS, decode=decode, max_new_tokens=NUM_TOKENS)
            found = asked.run(requests(weights=None))
            yield Fault(what, *_judged(found, loaded, asked.frame, tokenizer))
        except Exception:  # noqa: BLE001 - what a campaign counts
            yield Fault(what, Verdict.TRACEBACK, traceback.format_exc())


def _judged(found, loaded: LoadedModel, frame, tokenizer: PreTrainedTokenizerBase):
    for row, wordings in enumerate(QUESTIONS):
        members = found["per_prompt"][row].members
        parts = frame.parts(wordings)
        for place, outcome in enumerate(members):
            finite_for = _finite_for(loaded, parts.alone(place), tokenizer)
            at = f"question {row}, wording {place}"
            if isinstance(outcome, Unanswered) and finite_for == NUM_TOKENS:
                return Verdict.LOST, f"{at}: finite to the end, but {outcome.error}"
            if isinstance(outcome, Answer) and len(outcome.token_ids) > finite_for:
                return Verdict.CHANGED, f"{at}: {outcome.token_ids}, finite for {finite_for}"
        vote = found["vote"][row]
        if isinstance(vote, Answer) and any(isinstance(one, Unanswered) for one in members):
            return Verdict.CHANGED, f"question {row}: a vote without a wording"
        for name in METHODS:
            outcome = found[name][row]
            if isinstance(outcome, Answer) and not all(map(math.isfinite, outcome.logprobs)):
                return Verdict.CHANGED, f"question {row}, {name}: {outcome.logprobs}"
    return Verdict.SURVIVED, ""


def _finite_for(loaded: LoadedModel, prompt, tokenizer: PreTrainedTokenizerBase) -> int:
    """For how many tokens the model's own greedy answer has finite scores; all, where it ends."""
    ids = list(prompt)
    for done in range(NUM_TOKENS):
        logits = next_logits_alone(loaded, ids)
        if not (logits.amax().isfinite() and logits.logsumexp(dim=-1).isfinite()):
            return done
        ids.append(int(logits.argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            return NUM_TOKENS
    return NUM_TOKENS


NOT_A_NUMBER = Campaign("nan", injections, few=6, many=400)
