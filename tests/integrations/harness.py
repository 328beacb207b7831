"""A local task of lm-evaluation-harness over the bundled questions; nothing is downloaded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from self_ensemble import load_questions

INSTRUCTION = "Answer the question.\n\n"
TASK = {
    "dataset_path": "json",
    "test_split": "test",
    "description": INSTRUCTION,
    "doc_to_text": "Q: {{question}}\nA:",
    "target_delimiter": " ",
}
ASKED = {
    **TASK,
    "task": "demo_asked",
    "output_type": "generate_until",
    "doc_to_target": "{{answers}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
    "filter_list": [
        {"name": "stripped", "filter": [{"function": "remove_whitespace"},
                                        {"function": "take_first"}]}
    ],
    "metric_list": [
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True,
         "ignore_case": True, "ignore_punctuation": True,
         "regexes_to_ignore": ["\\b(?:the |The |an |An |a |A )"]}
    ],
}  # fmt: skip
CHOSEN = {
    **TASK,
    "task": "demo_chosen",
    "output_type": "multiple_choice",
    "doc_to_target": "{{choices.index(answers[0])}}",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def rows(num: int) -> list[dict[str, Any]]:
    """Bundled questions with their wordings, and as choices the answers of their neighbours."""
    questions = load_questions("demo", max_samples=num).questions
    return [
        {
            "uuid": one.uuid,
            "question": one.wordings[0],
            "paraphrases": list(one.wordings[1:]),
            "answers": list(one.answers),
            "choices": sorted({questions[(n + more) % num].answers[0] for more in range(3)}),
        }
        for n, one in enumerate(questions)
    ]


def write_rows(path: Path, some: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def task(base: dict[str, Any], data: Path, **changes: Any) -> dict[str, Any]:
    """A task as `lm_eval.simple_evaluate` takes it."""
    return {**base, "dataset_kwargs": {"data_files": {"test": str(data)}}, **changes}
