"""Whether a prediction is right: lemma-level partial match, exact match and token F1."""

from collections import Counter
from collections.abc import Sequence

from self_ensemble.scoring.lemmas import words
from self_ensemble.scoring.normalise import normalise

# "no", "fr", "C": as one word among others they turn up by chance.
LONGEST_SHORT_ALIAS = 2

_ARTICLES = frozenset({"a", "an", "the"})


def partial_match(
    prediction: str,
    answers: Sequence[str],
    prediction_lemmas: Sequence[str],
    answer_lemmas: Sequence[Sequence[str]],
) -> bool:
    """Whether some answer's lemmas stand as a run of whole words in the prediction's lemmas.

    An answer's leading article need not be there. An answer of one or two letters or digits
    counts only if it is the whole prediction. An exact match is always a partial match.

    Args:
        prediction: The prediction's text.
        answers: Accepted answers, at least one.
        prediction_lemmas: Lemmas of the prediction.
        answer_lemmas: Lemmas of each answer, in the order of `answers`.

    Raises:
        ValueError: There is not one list of lemmas for every answer.
    """
    if len(answers) != len(answer_lemmas):
        raise ValueError(
            f"Got {len(answer_lemmas)} lists of lemmas for {len(answers)} answers. "
            "Pass one list per answer."
        )
    return exact_match(prediction, answers) or any(
        _contains_run(prediction_lemmas, _without_article(lemmas))
        for answer, lemmas in zip(answers, answer_lemmas, strict=True)
        if not _is_short(answer)
    )


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the normalised prediction equals a normalised answer and is not empty."""
    text = normalise(prediction)
    return bool(text) and any(text == normalise(answer) for answer in answers)


def lemmas_agree(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether one answer's lemmas stand as a run of whole words in the other's.

    Two answers agree where one says no more than the other; an empty one agrees with none.
    """
    return _contains_run(ours, theirs) or _contains_run(theirs, ours)


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Overlap of normalised words with the nearest answer (SQuAD), between 0 and 1."""
    predicted = Counter(normalise(prediction).split())
    return max(
        (_f1(predicted, Counter(normalise(answer).split())) for answer in answers), default=0
    )


def _f1(predicted: Counter[str], wanted: Counter[str]) -> float:
    num_common = (predicted & wanted).total()
    return 2 * num_common / (predicted.total() + wanted.total()) if num_common else 0.0


def _is_short(answer: str) -> bool:
    # Counted on words, not on lemmas, which may be longer or shorter than what was written.
    return len("".join(_without_article(words(answer)))) <= LONGEST_SHORT_ALIAS


def _without_article(tokens: Sequence[str]) -> Sequence[str]:
    return tokens[1:] if len(tokens) > 1 and tokens[0] in _ARTICLES else tokens


def _contains_run(tokens: Sequence[str], run: Sequence[str]) -> bool:
    wanted = list(run)
    if not wanted:
        return False
    width = len(wanted)
    return any(
        list(tokens[start : start + width]) == wanted for start in range(len(tokens) - width + 1)
    )
