"""Words and lemmas."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.errors import UserError
from self_ensemble.scoring.lemmas import (
    answer_lemmas,
    lemmatiser_named,
    predict_lemma,
    simplemma_lemmatiser,
    spacy_lemmatiser,
)
from self_ensemble.scoring.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("U.S.", "us"),
        ("the U. S. of A", "the us of a"),
        ("J. R. R. Tolkien", "jrr tolkien"),
        ("J.R.R. Tolkien", "jrr tolkien"),
        ("will.i.am", "will i am"),
        ("George W. Bush", "george w bush"),
        ("in the U.S. a man", "in the us a man"),
        ("Ends here.Then", "ends here then"),
        ("Jean-Luc's", "jean luc s"),
        ("9/18/1971", "9 18 1971"),
        ("C++ and C#, A+ or A-", "c++ and c# a+ or a-"),
        ("at -40, 5-6, x-ray", "at -40 5 6 x ray"),
        ("-1,000.5", "-1000.5"),
        (
            "\u6771\u4eac\u30bf\u30ef\u30fc1971\u5e74",
            "\u6771 \u4eac \u30bf\u30ef\u30fc 1971 \u5e74",
        ),
        ("9.18.1971", "9 18 1971"),
        ("July 4,1776", "july 4 1776"),
        ("1,000,000 people", "1000000 people"),
        ("3.5kg", "3.5 kg"),
        ("pi is 3.14.", "pi is 3.14"),
        ("CAFE\u0301", "caf\u00e9"),
        ("\u0928\u0908 \u0926\u093f\u0932\u094d\u0932\u0940", None),
        ("\U0001f1e7\U0001f1ea", ""),
    ],
)
def test_text_is_split_into_words(text, expected):
    assert words(text) == (text if expected is None else expected).split()


@given(st.text())
def test_no_word_is_empty_or_holds_white_space(text):
    assert all(word and not any(char.isspace() for char in word) for word in words(text))


@given(st.lists(st.text(alphabet="abcdefghijkl", min_size=1, max_size=8)))
def test_plain_words_are_only_lower_cased(plain):
    assert words(", ".join(word.upper() for word in plain)) == plain


def test_inflected_words_share_their_lemma():
    assert predict_lemma("The CITIES, mice and kings") == predict_lemma("the city mouse and king")


def test_lemmas_are_lower_case_and_one_per_word():
    assert predict_lemma("I saw Paris, the U.S. and 1,000 men") == [
        *("i", "see", "paris", "the", "we", "and", "1000", "man")
    ]


def test_changing_returned_lemmas_does_not_change_the_next_ones():
    predict_lemma("two cities").clear()
    assert predict_lemma("two cities") == ["two", "city"]


def test_every_answer_keeps_its_own_lemmas():
    assert answer_lemmas(["Mice", "", "two men"]) == [["mouse"], [], ["two", "man"]]


def test_answer_lemmas_come_from_the_lemmatiser_that_is_passed():
    assert answer_lemmas(["ab", "c"], list) == [["a", "b"], ["c"]]


def test_missing_spacy_is_named_with_the_way_to_install_it(monkeypatch):
    spacy_lemmatiser.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(UserError, match=r"self-ensemble\[spacy\].*spacy download de_core_news_sm"):
        lemmatiser_named("spacy:de_core_news_sm")


def test_missing_spacy_model_is_named_with_the_way_to_install_it(monkeypatch):
    def load(model, exclude):
        raise OSError(f"[E050] Can't find model {model!r}")

    spacy_lemmatiser.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    with pytest.raises(UserError, match="python -m spacy download en_core_web_sm"):
        lemmatiser_named("spacy")


def test_spacy_model_without_lemmatiser_is_refused(monkeypatch):
    spacy_lemmatiser.cache_clear()
    blank = SimpleNamespace(pipe_names=["tagger"])
    spacy = SimpleNamespace(load=lambda model, exclude: blank)
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    with pytest.raises(UserError, match="'xx_blank' has no lemmatiser"):
        lemmatiser_named("spacy:xx_blank")


def test_unknown_lemmatiser_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="Did you mean 'simplemma'"):
        lemmatiser_named("simplema")


def test_the_same_lemmatiser_is_made_once():
    assert lemmatiser_named("simplemma") is simplemma_lemmatiser()


def test_scoring_does_not_import_torch():
    code = (
        "import sys, self_ensemble.scoring.scores, self_ensemble.scoring.vote;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
