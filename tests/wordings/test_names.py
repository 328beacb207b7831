"""Which words count as names, and when they survive."""

import pytest

from self_ensemble.wordings.names import content_words, name_words, occurs, word_forms


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("what form of government does australia use?", {"australia"}),
        ("where did james k polk live?", {"james", "polk"}),
        ("What kind of bicycle is an xtracycle?", {"xtracycle"}),
        ("What did Mark Brown paint?", {"mark", "brown"}),
        # The first word of a sentence has its capital from there.
        ("Rivers run deep. Bridges cross them.", set()),
        ("Schenectady is where?", {"schenectady"}),
        ("Which service aired This Is Your Life?", {"life"}),
        ("Where Did The Old Bridge Stand?", set()),
        ("who won in 1976?", set()),
    ],
)
def test_names_are_found_by_capitals_and_by_the_dictionary(text: str, names: set[str]) -> None:
    assert name_words(text) == names


def test_content_words_are_lemmas_without_function_words() -> None:
    assert content_words("What kinds of bridges were built by the Romans?") == (
        "bridge",
        "build",
        "roman",
    )


@pytest.mark.parametrize(
    ("word", "text", "is_there"),
    [
        ("russia", "Russian", True),
        ("helens", "Mount St. Helen", True),
        ("beyoncé", "Beyonce", True),
        ("china", "chinatown", False),
        ("iran", "iraq", False),
        ("polk", "Polka dots", True),  # the price of the rule on endings
        ("poe", "poet", False),
    ],
)
def test_a_word_survives_in_another_ending_but_not_in_another_word(
    word: str, text: str, is_there: bool
) -> None:
    assert occurs(word, word_forms(text)) is is_there
