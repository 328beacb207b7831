"""The lenient rung: what is unified, and what must stay apart."""

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_ensemble.scoring.dates import with_plain_dates
from self_ensemble.scoring.lemmas import simplemma_lemmatiser
from self_ensemble.scoring.lenient import lenient_match, spellings
from self_ensemble.scoring.numerals import with_plain_numbers
from self_ensemble.scoring.scores import is_right

LEMMATISER = simplemma_lemmatiser()


def is_lenient(prediction: str, *answers: str) -> bool:
    return lenient_match(prediction, answers, LEMMATISER)


@given(st.text(max_size=20), st.lists(st.text(max_size=8), min_size=1, max_size=2))
def test_a_partial_match_is_a_lenient_match(prediction, answers):
    if is_right(prediction, answers, LEMMATISER):
        assert is_lenient(prediction, *answers)


@given(st.text(max_size=30))
def test_any_text_can_be_spelled(text):
    assert len(spellings(text)) == 3


def test_a_long_run_of_digits_is_spelled_at_once():
    # Ten seconds where every digit may begin a number.
    began = time.monotonic()
    assert spellings("9" * 5_000)[0] == "9" * 5_000
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Beyonce", "Beyonc\u00e9"),
        ("Kobenhavn", "K\u00f8benhavn"),
        ("Strasse", "Stra\u00dfe"),
        ("\u0645\u0640\u064f\u062d\u064e\u0645\u064e\u0651\u062f", "\u0645\u062d\u0645\u062f"),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("istanbul", "\u0130STANBUL"),
        ("H2O", "H\u2082O"),
        ("10^2", "10\u00b2"),
        ("1/2", "\u00bd"),
        ("1971", "\u0661\u0669\u0667\u0661"),
        ("Saint Louis", "St. Louis"),
        ("Main Street", "Main St."),
        ("JRR Tolkien", "J R R Tolkien"),
        ("the 1st", "first"),
        ("World War Two", "World War II"),
        ("the First World War", "World War I"),
        ("World War I was long", "World War 1"),
        ("Henry the Eighth", "Henry VIII"),
        ("OBrien", "O'Brien"),
        ("email", "e-mail"),
        ("1 000 000", "1,000,000"),
        ("1.234,5", "1234.5"),
        ("1.50", "1,5"),
        ("twelve", "12"),
        ("zw\u00f6lf", "12"),
        ("twenty-first", "21st"),
        ("1.5 million", "1,500,000"),
        ("5 per cent", "5%"),
        ("5 kilometres", "5km"),
        ("$5", "5 dollars"),
        ("September 18, 1971", "9/18/1971"),
        ("the 18th of September, 1971", "1971-09-18"),
        ("18.9.1971", "9/18/1971"),
        ("18 de septiembre de 1971", "18 septembre 1971"),
        ("1971\u5e749\u670818\u65e5", "Sept. 18, 1971"),
        ("4 July", "July 4th"),
        ("the first of May 1990", "May the 1st, 1990"),
        ("eighteenth of September 1971", "9/18/1971"),
        ("second", "2nd"),
        ("21 pilots", "Twenty One Pilots"),
        ("rock-n-roll", "rock and roll"),
        ("WWII", "World War 2"),
        ("Mueller", "M\u00fcller"),
        ("10 m\u00b2", "10 square meters"),
        ("10,00,000", "1000000"),
        ("minus 40", "-40"),
        ("\uc11c\uc6b8", "\uc11c\uc6b8\uc785\ub2c8\ub2e4"),
    ],
)
def test_two_ways_of_writing_are_one(one, other):
    assert is_lenient(one, other) or is_lenient(other, one)


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("35", "3.5"),
        ("3.05", "3.5"),
        ("102", "10\u00b2"),
        ("1.5 billion", "1,500,000"),
        ("twenty", "21"),
        ("one of the best", "1"),
        ("seventeen", "seven"),
        ("Henry VII", "Henry VIII"),
        ("World War I", "World War II"),
        ("I was in Rome", "1"),
        ("5 miles", "5 km"),
        ("5 in 1990", "5 inches"),
        ("1971", "9/18/1971"),
        ("September 1971", "9/18/1971"),
        ("9/8/1971", "9/18/1971"),
        ("9/17/1971", "September 18, 1971"),
        ("3/4/1971", "3 April 1971"),
        ("44 AD", "44 BC"),
        ("March 3", "Mars"),
        ("It wasn't O'Brien", "OBrien"),
        ("IT WASN'T OBRIEN", "O'Brien"),
        ("Not Beyonce", "Beyonc\u00e9"),
        ("\u304b\u304d", "\u304b\u304e"),
        ("\u0926\u093f\u0932\u094d\u0932\u093e", "\u0926\u093f\u0932\u094d\u0932\u0940"),
    ],
)
def test_near_misses_stay_wrong(prediction, answer):
    assert not is_lenient(prediction, answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9/18/1971", "1971 month9 day18"),
        ("18/9/1971", "1971 month9 day18"),
        ("3/4/1971", "1971 month3 day4"),
        ("3.4.1971", "1971 month4 day3"),
        ("13/13/1971", "13/13/1971"),
        ("1971-13-01", "1971-13-01"),
        ("May 1990", "1990 month5"),
        ("3 mars 1990", "1990 month3 day3"),
        ("3 mars", "3 mars"),
        ("18 \u0441\u0435\u043d\u0442\u044f\u0431\u0440\u044f 1971", "1971 month9 day18"),
        ("pages 12-14", "pages 12-14"),
        ("192.168.10.12", "192.168.10.12"),
    ],
)
def test_dates_are_written_from_the_largest_part_to_the_smallest(text, expected):
    assert with_plain_dates(text).strip() == expected


@given(st.dates(min_value=datetime.date(1000, 1, 1)))
def test_every_date_has_one_form_however_it_is_written(date):
    wanted = f"{date.year} month{date.month} day{date.day}"
    for written in (
        date.isoformat(),
        f"{date.month}/{date.day}/{date.year}",
        f"{date.day}.{date.month}.{date.year}",
        f"{date:%B} {date.day}, {date.year}",
        f"{date.day} {date:%b} {date.year}",
        f"{date.year}\u5e74{date.month}\u6708{date.day}\u65e5",
    ):
        assert with_plain_dates(written).split() == wanted.split(), written


@given(st.integers(0, 10**9))
def test_every_number_has_one_form_however_it_is_grouped(number):
    for written in (
        f"{number:,}",
        f"{number:,}".replace(",", " "),
        f"{number:,}".replace(",", "'"),
    ):
        assert with_plain_numbers(written) == str(number)
