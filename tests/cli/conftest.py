import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

NUM_QUESTIONS = 10


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, tiny_model, tiny_tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model folder that `--model` takes."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def question_rows() -> list[dict[str, object]]:
    return [
        {
            "uuid": f"q{n}",
            "question": f"Who built bridge number {n}?",
            "paraphrases": [f"Bridge {n} was built by whom?", f"Name the builder of bridge {n}?"],
            "answers": ["Paris"],
            "trust": [0.5, 0.2 + n / 10, 0.1],
        }
        for n in range(NUM_QUESTIONS)
    ]


@pytest.fixture
def questions(tmp_path) -> Path:
    """A user's file: ten questions in three wordings with weights."""
    path = tmp_path / "bridges.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in question_rows()))
    return path
