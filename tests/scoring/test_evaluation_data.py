"""Matching on the answers of real data sets, where they are at hand."""

import json
import os
from pathlib import Path

import pytest

from self_ensemble.scoring.lemmas import answer_lemmas, predict_lemma
from self_ensemble.scoring.match import exact_match, partial_match, token_f1
from self_ensemble.scoring.normalise import is_no_answer

DATA = Path(
    os.environ.get("SELF_ENSEMBLE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)


@pytest.mark.parametrize(
    ("file", "column"),
    [("myriadlama/facts.jsonl", "obj_aliases"), ("webquestions/test.jsonl", "answers")],
)
def test_every_accepted_answer_is_right_alone_and_inside_a_sentence(file, column):
    if not (DATA / file).is_file():
        pytest.skip(f"no {file} in {DATA}; set SELF_ENSEMBLE_DATA")
    for line in (DATA / file).read_text(encoding="utf-8").splitlines():
        answers = json.loads(line)[column]
        lemmas = answer_lemmas(answers)
        for answer in filter(lambda text: not is_no_answer(text), answers):
            assert exact_match(answer, answers)
            assert token_f1(answer, answers) == 1
            assert partial_match(answer, answers, predict_lemma(answer), lemmas)
            if sum(map(str.isalnum, answer)) > 5:
                sentence = f"I think that it is {answer}, but who knows?"
                assert partial_match(sentence, answers, predict_lemma(sentence), lemmas), answer
