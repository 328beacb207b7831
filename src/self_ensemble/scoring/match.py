"""Whether a prediction is right: exact match, lemma-level partial match and token F1."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from self_ensemble.questions.patterns import is_pattern, pattern_found
from self_ensemble.scoring.inflection import is_same_word
from self_ensemble.scoring.negation import is_denied
from self_ensemble.scoring.normalise import ARTICLES, normalise, with_articles
from self_ensemble.scoring.short_answers import is_short, short_answer_places
from self_ensemble.scoring.signs import readable, signs_differ, units_of
from self_ensemble.scoring.words import Borders, Word, words_in

Verdict = Literal["right", "denied", "wrong"]


def partial_match(
    prediction: str,
    answers: Sequence[str],
    prediction_lemmas: Sequence[str],
    answer_lemmas: Sequence[Sequence[str]],
) -> bool:
    """Whether the verdict of `partial_verdict` is "right"."""
    return partial_verdict(prediction, answers, prediction_lemmas, answer_lemmas) == "right"


def partial_verdict(
    prediction: str,
    answers: Sequence[str],
    prediction_lemmas: Sequence[str],
    answer_lemmas: Sequence[Sequence[str]],
    borders: Borders | None = None,
) -> Verdict:
    """Whether some answer's lemmas stand as a run of whole words in the prediction's lemmas.

    An answer's leading article need not be there. A name is not joined with another word by
    lemma alone ("Saw", "see"). An answer of one or two characters counts where its place and case
    say that it is the answer; see `short_answers`. Where it is denied everywhere ("not Mark
    Twain"), it does not count. An exact match is always a partial match.

    Args:
        prediction: The prediction's text.
        answers: Accepted answers, at least one.
        prediction_lemmas: Lemmas of the prediction.
        answer_lemmas: Lemmas of each answer, in the order of `answers`.
        borders: Where words of a text may begin and end in scripts without blanks; None means
            between any two characters.

    Raises:
        ValueError: There is not one list of lemmas for every answer.
    """
    if len(answers) != len(answer_lemmas):
        raise ValueError(
            f"Got {len(answer_lemmas)} lists of lemmas for {len(answers)} answers. "
            "Pass one list per answer."
        )
    if exact_match(prediction, answers):
        return "right"
    verdicts = {
        _verdict(prediction, answer, prediction_lemmas, lemmas, borders)
        for answer, lemmas in zip(answers, answer_lemmas, strict=True)
        if not is_pattern(answer)
    }
    return "right" if "right" in verdicts else "denied" if "denied" in verdicts else "wrong"


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the normalised prediction equals a normalised answer and is not empty.

    Signs of money, per cent and degrees may be missing, not differ. A pattern must be found.
    """
    return any(
        pattern_found(answer, prediction) if is_pattern(answer) else _is_same(prediction, answer)
        for answer in answers
    )


def lemmas_agree(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether one answer's lemmas stand as a run of whole words in the other's.

    Two answers agree where one says no more than the other; an empty one agrees with none.
    """
    found = (*_runs(ours, theirs), *_runs(theirs, ours))
    return bool(found)


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Overlap of normalised words with the nearest answer (SQuAD), between 0 and 1.

    A pattern that is found counts 1.
    """
    return max(
        (
            float(pattern_found(answer, prediction))
            if is_pattern(answer)
            else float(_is_same(prediction, answer)) or _f1(*_comparable(prediction, answer))
            for answer in answers
        ),
        default=0.0,
    )


def _is_same(prediction: str, answer: str) -> bool:
    ours, theirs = _comparable(prediction, answer)
    if not ours or ours == theirs:
        return bool(ours)
    # Only a letter A stays a capital.
    if "A" not in ours and "A" not in theirs:
        return False
    units = bool(units_of(prediction) and units_of(answer))
    return with_articles(prediction, units=units) == with_articles(answer, units=units)


def _comparable(prediction: str, answer: str) -> tuple[str, str]:
    units = bool(units_of(prediction) and units_of(answer))
    return normalise(prediction, units=units), normalise(answer, units=units)


def _f1(prediction: str, answer: str) -> float:
    predicted, wanted = Counter(prediction.split()), Counter(answer.split())
    num_common = (predicted & wanted).total()
    return 2 * num_common / (predicted.total() + wanted.total()) if num_common else 0.0


def _verdict(
    prediction: str,
    answer: str,
    prediction_lemmas: Sequence[str],
    answer_lemmas: Sequence[str],
    borders: Borders | None,
) -> Verdict:
    if signs_differ(prediction, answer):
        return "wrong"
    text, said = readable(prediction), words_in(prediction)
    wanted, short = _wanted(answer)
    if short:
        places = list(short_answer_places(text, said, wanted)) if wanted else []
        width = len(wanted)
    else:
        lemmas = answer_lemmas[_num_articles(answer_lemmas) :]
        width = len(lemmas)
        aligned = len(prediction_lemmas) == len(said) and width == len(wanted)
        if len(prediction_lemmas) != len(said):
            text, said = _laid_out(prediction_lemmas)
        places = [
            start
            for start in _runs(prediction_lemmas, lemmas)
            if (not aligned or _is_same_run(said[start : start + width], wanted))
            and (borders is None or _is_bordered(borders(text), said[start : start + width]))
        ]
    if not places:
        return "wrong"
    denied = all(is_denied(text, said, start, start + width) for start in places)
    return "denied" if denied else "right"


@lru_cache(maxsize=1 << 16)
def _wanted(answer: str) -> tuple[tuple[Word, ...], bool]:
    """The words of an answer without its article, and whether it is short."""
    wanted = words_in(answer)
    wanted = wanted[_num_articles([word.text for word in wanted]) :]
    return wanted, is_short(wanted)


def _laid_out(lemmas: Sequence[str]) -> tuple[str, tuple[Word, ...]]:
    """Lemmas that are not one per word (spaCy's tokens are other words) as words of a text."""
    found, start = [], 0
    for lemma in lemmas:
        found.append(Word(lemma, lemma, start, start + len(lemma)))
        start += len(lemma) + 1
    return " ".join(lemmas), tuple(found)


def _is_same_run(said: Sequence[Word], wanted: Sequence[Word]) -> bool:
    return all(is_same_word(ours, theirs) for ours, theirs in zip(said, wanted, strict=True))


def _is_bordered(borders: frozenset[int], run: Sequence[Word]) -> bool:
    starts = not run[0].is_unspaced or run[0].start in borders
    return starts and (not run[-1].is_unspaced or run[-1].end in borders)


def _num_articles(tokens: Sequence[str]) -> int:
    """How many tokens to skip: the article before other words; none of "The The"."""
    return int(len(tokens) > 1 and tokens[0] in ARTICLES and not ARTICLES.issuperset(tokens))


def _runs(tokens: Sequence[str], run: Sequence[str]) -> Iterator[int]:
    """Places where `run` begins in `tokens`; an empty run is nowhere."""
    wanted, width = list(run), len(run)
    if wanted:
        for start in range(len(tokens) - width + 1):
            if tokens[start] == wanted[0] and list(tokens[start : start + width]) == wanted:
                yield start
