"""The meaning check by entailment: original and wording must follow from each other."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from self_ensemble.errors import UserError, reading
from self_ensemble.models.identity import model_identity
from self_ensemble.questions.schema import Question
from self_ensemble.wordings.gate import Reason
from self_ensemble.wordings.pool import Verdict

LABEL = "entailment"
# Of a tokenizer: what padding and truncation depend on.
CUT = ("model_max_length", "padding_side", "truncation_side")
NOT_FINITE = "The entailment model gives nan or infinity for a wording. Give another --nli-model."


class EntailmentCheck:
    """Passes wordings that entail the original and are entailed by it."""

    reason: Reason = "check_nli"

    def __init__(self, model: Any, tokenizer: Any, label_id: int, threshold: float) -> None:
        """Check with a loaded classifier; see `load_entailment`."""
        self._model = model
        self._tokenizer = tokenizer
        self._label_id = label_id
        self._threshold = threshold

    def identity(self) -> dict[str, object]:
        """What its verdicts depend on, by content; how long texts are cut, too."""
        cut = {name: getattr(self._tokenizer, name) for name in CUT}
        return {
            **model_identity(self._model, self._tokenizer),
            "label": self._label_id,
            "cut": cut,
        }

    def __call__(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Judge wordings, each with its question."""
        found: list[Verdict] = []
        # One pass for each question: padding then never depends on other questions of the batch.
        for _, group in groupby(pairs, key=lambda pair: pair[0].uuid):
            texts = [(question.wordings[0], wording) for question, wording in group]
            there = self.probabilities(texts)
            back = self.probabilities([(wording, original) for original, wording in texts])
            found += [self._verdict(a, b) for a, b in zip(there, back, strict=True)]
        return found

    @torch.inference_mode()
    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """How likely each premise entails its hypothesis."""
        encoded = self._tokenizer(
            [premise for premise, _ in pairs],
            [hypothesis for _, hypothesis in pairs],
            padding=True,
            truncation=True,
            return_tensors="pt",
        ).to(self._model.device)
        probs = self._model(**encoded).logits.float().softmax(dim=-1)
        found: list[float] = probs[:, self._label_id].tolist()
        return found

    def _verdict(self, there: float, back: float) -> Verdict:
        if not math.isfinite(there + back):
            return Verdict(passed=False, note="", error=NOT_FINITE)
        return Verdict(min(there, back) >= self._threshold, f"nli: {there:.2f}, {back:.2f}")


def load_entailment(name: str, threshold: float, device: str) -> EntailmentCheck:
    """Load an entailment model.

    Args:
        name: Hub id or folder of a sequence classifier with a label "entailment".
        threshold: Least probability of entailment in both directions.
        device: Where it runs, as torch names it.

    Raises:
        UserError: There is no such model, or it is no entailment model.
    """
    remedy = "Give the hub id or the folder of a sequence classifier."
    with reading(f"the entailment model {name!r}", remedy):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name, output_loading_info=True
        )
    # A language model loads as a classifier too, with an untrained head.
    if info["missing_keys"]:
        raise UserError(
            f"{name!r} is no sequence classifier: it has no weights for "
            f"{', '.join(sorted(info['missing_keys']))}. Give an entailment model.",
            "SE-0205",
        )
    labels = {number: str(label) for number, label in model.config.id2label.items()}
    label_ids = [number for number, label in labels.items() if label.lower() == LABEL]
    if len(label_ids) != 1:
        raise UserError(
            f"{name!r} has the labels {', '.join(labels.values())}, and one must be {LABEL!r}. "
            "Give an entailment model.",
            "SE-0205",
        )
    if tokenizer.pad_token is None:
        raise UserError(
            f"The tokenizer of {name!r} has no padding token. Give another model.", "SE-0205"
        )
    return EntailmentCheck(model.eval().to(device), tokenizer, int(label_ids[0]), threshold)
