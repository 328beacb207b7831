"""Files under another's name are refused, and those that cannot be checked are named."""

import pyarrow as pa
import pyarrow.feather
import pytest
from result_rows import changed, write_result

from self_ensemble.errors import UserError
from self_ensemble.results.disk import read_table
from self_ensemble.results.manifest import MANIFEST_KEY, Manifest
from self_ensemble.results.paths import check_name
from self_ensemble.results.standing import note_on


def test_two_results_that_were_exchanged_are_refused(path):
    other = path.with_name("ensemble_avg-5.feather")
    write_result(path, ["a"])
    write_result(other, ["a"], changed(method="avg"))
    assert note_on(path) is None
    assert note_on(other) is None
    held = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(held)
    with pytest.raises(UserError, match="holds the answers of avg: it has been renamed"):
        note_on(path)
    with pytest.raises(UserError, match="holds the answers of vote"):
        note_on(other)


@pytest.mark.parametrize(
    ("stem", "fields", "fits"),
    [
        ("confidence", {"estimator": "sampling"}, True),
        ("confidence-margin", {"estimator": "margin"}, True),
        ("confidence-margin", {"estimator": "sampling"}, False),
        ("confidence", {"estimator": "margin"}, False),
        ("vote-5", {"estimator": "margin"}, False),
        ("ensemble_weighted_avg-5-logprob", {"method": "weighted_avg"}, True),
        ("ensemble_weighted_avg-5-logprob", {"method": "avg"}, False),
        ("ensemble_my.rule-5", {"method": "my:rule"}, True),
        ("vote-5", {"method": "my:rule"}, False),
        ("my own name", {"method": "vote"}, True),
        ("vote-3-second run", {"method": "vote"}, True),
        ("webqa", {"kind": "paraphrases"}, True),
    ],
)
def test_a_name_says_what_is_in_it(tmp_path, stem, fields, fits):
    path = tmp_path / f"{stem}.feather"
    if fits:
        check_name(path, fields)
    else:
        with pytest.raises(UserError, match="renamed or exchanged"):
            check_name(path, fields)


def test_a_result_of_before_there_were_checksums_is_named(path):
    write_result(path, ["a"])
    manifest = Manifest({}).to_json().encode()
    old = read_table(path).replace_schema_metadata({MANIFEST_KEY: manifest})
    pa.feather.write_feather(old, path)
    assert "before files had checksums" in note_on(path)
    # As published notebooks write it.
    pa.feather.write_feather(old.replace_schema_metadata(None), path)
    assert note_on(path) is None
