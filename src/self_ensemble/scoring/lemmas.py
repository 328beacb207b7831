"""From a text to the lemmas of its words.

`Lemmatiser` is a function from a text to its lemmas, so a user's own needs no class.
"""

import functools
from collections.abc import Callable, Sequence

from self_ensemble.errors import UserError, unknown_name
from self_ensemble.questions.patterns import is_pattern
from self_ensemble.scoring.words import words

Lemmatiser = Callable[[str], list[str]]

SPACY_MODEL = "en_core_web_sm"


@functools.cache
def simplemma_lemmatiser(lang: str = "en") -> Lemmatiser:
    """Lemmatise word by word with simplemma's dictionary, which is read at the first text.

    Args:
        lang: Language code of simplemma.
    """
    from simplemma import lemmatize  # 50 ms, and the generation stage may never need it

    @functools.lru_cache(maxsize=1 << 16)
    def lemma_of(word: str) -> str:
        # Of -40 and C++ the dictionary would take the sign.
        return lemmatize(word, lang=lang).lower() if word.isalnum() else word

    @functools.lru_cache(maxsize=1 << 16)
    def lemmas_of(text: str) -> tuple[str, ...]:
        return tuple(map(lemma_of, words(text)))

    # A fresh list for every caller, so that nobody can change the cached lemmas.
    return lambda text: list(lemmas_of(text))


@functools.cache
def spacy_lemmatiser(model: str = SPACY_MODEL) -> Lemmatiser:
    """Lemmatise in context with a spaCy pipeline; words are spaCy's tokens.

    Args:
        model: Name of an installed spaCy pipeline that has a lemmatiser.

    Raises:
        UserError: spaCy or the pipeline is not installed, or the pipeline gives no lemmas.
    """
    try:
        import spacy
    except ImportError as error:
        raise UserError(
            "The spaCy lemmatiser was asked for but spaCy is not installed. "
            f'Run: pip install "self-ensemble[spacy]" && python -m spacy download {model}',
            "SE-0015",
        ) from error
    try:
        pipeline = spacy.load(model, exclude=["parser", "ner"])
    except OSError as error:
        raise UserError(
            f"spaCy cannot load the model {model!r}. Run: python -m spacy download {model}",
            "SE-0907",
        ) from error
    if not {"lemmatizer", "trainable_lemmatizer"} & set(pipeline.pipe_names):
        raise UserError(
            f"The spaCy model {model!r} has no lemmatiser. Use one that has, as {SPACY_MODEL}.",
            "SE-0907",
        )

    @functools.lru_cache(maxsize=1 << 16)
    def lemmas_of(text: str) -> tuple[str, ...]:
        return tuple(
            token.lemma_.lower()
            for token in pipeline(text)
            if not (token.is_punct or token.is_space)
        )

    return lambda text: list(lemmas_of(text))


def lemmatiser_named(name: str) -> Lemmatiser:
    """Make the lemmatiser that is called `simplemma`, `spacy` or `spacy:<model>`.

    Raises:
        UserError: There is no such lemmatiser, or it is not installed.
    """
    kind, _, model = name.partition(":")
    if kind == "spacy":
        return spacy_lemmatiser(model or SPACY_MODEL)
    if name == "simplemma":
        return simplemma_lemmatiser()
    raise unknown_name("lemmatiser", name, ("simplemma", "spacy", "spacy:<model>"))


def predict_lemma(prediction: str, lemmatiser: Lemmatiser | None = None) -> list[str]:
    """Lemmas of one prediction, as stored in a result file (default: simplemma, English)."""
    return (lemmatiser or simplemma_lemmatiser())(prediction)


def answer_lemmas(answers: Sequence[str], lemmatiser: Lemmatiser | None = None) -> list[list[str]]:
    """Lemmas of every accepted answer, as stored in a result file; a pattern has none."""
    return [[] if is_pattern(answer) else predict_lemma(answer, lemmatiser) for answer in answers]
