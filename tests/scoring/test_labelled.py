"""Each rung on pairs that a person judged."""

from collections import Counter

import pytest
from labelled import DOCS, TABLE, labelled_pairs, quality, rungs, table


def test_pairs_are_many_of_many_kinds_and_about_half_wrong():
    pairs = labelled_pairs()
    assert len(pairs) >= 300
    assert len({(pair.prediction, *pair.answers) for pair in pairs}) == len(pairs)
    assert 0.35 < sum(pair.right for pair in pairs) / len(pairs) < 0.65
    assert len({pair.language for pair in pairs}) >= 15
    assert all(number >= 5 for number in Counter(pair.kind for pair in pairs).values())


def test_every_rung_is_more_precise_than_the_published_rule_and_the_ladder_climbs():
    pairs = labelled_pairs()
    found = {name: quality(judge, pairs) for name, judge in rungs().items() if "icu" not in name}
    published = found.pop("published rule")
    assert all(precision > published[0] + 0.1 for precision, _ in found.values())
    recalls = [found[name][1] for name in ("strict", "partial", "lenient")]
    assert recalls == sorted(set(recalls))
    assert recalls[-1] > published[1] + 0.2


def test_a_rung_accepts_whatever_the_rung_below_accepts():
    judges = rungs()
    for pair in labelled_pairs():
        strict, partial, lenient = (
            judges[name](pair.prediction, pair.answers)
            for name in ("strict", "partial", "lenient")
        )
        assert strict <= partial <= lenient, pair


def test_the_table_of_the_docs_is_what_is_measured():
    pytest.importorskip("icu4py", reason="the extra words is not installed")
    (written,) = TABLE.findall(DOCS.read_text(encoding="utf-8"))
    assert written == table(), "run: python tests/scoring/labelled.py"
