from pathlib import Path

import pytest

from self_ensemble.errors import UserError
from self_ensemble.results.manifest import ABSENT, IDENTITY, Manifest, differences, require_same

OLD = Manifest(
    {"num_paraphrases": 5, "stop": ("\n",), "versions": {"torch": "2.13.0", "python": "3.11"}}
)


def with_changes(**fields):
    return Manifest({**OLD.fields, **fields})


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "manifest.json"
    OLD.write(path)
    assert Manifest.read(path) == OLD
    assert differences(Manifest.read(path), OLD) == ()
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        Manifest({"path": Path("x")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        Manifest({"temperature": float("nan")})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"num_paraphrases": 3}, [("num_paraphrases", 5, 3)]),
        ({"num_paraphrases": True}, [("num_paraphrases", 5, True)]),
        ({"seed": 0}, [("seed", ABSENT, 0)]),
        ({"versions": {"torch": "2.13.0"}}, [("versions.python", "3.11", ABSENT)]),
        (
            {"versions": {"torch": "3", "python": "3.11"}, "stop": []},
            [("stop", ["\n"], []), ("versions.torch", "2.13.0", "3")],
        ),
    ],
)
def test_differences_are_listed_by_field(fields, expected):
    assert list(differences(OLD, with_changes(**fields))) == expected


@pytest.mark.parametrize("may_differ", [{"versions"}, {"versions.torch"}, {"versions.torch", "x"}])
def test_a_field_that_may_differ_covers_what_is_inside_it(may_differ):
    new = with_changes(versions={"torch": "3", "python": "3.11"})
    assert differences(OLD, new, may_differ) == ()
    assert len(differences(OLD, new, {"num_paraphrases"})) == 1


def test_a_field_that_is_not_there_is_null():
    assert differences(OLD, with_changes(contrast_strength=None)) == ()
    assert differences(with_changes(contrast_strength=None), OLD) == ()
    (difference,) = differences(OLD, with_changes(contrast_strength=0.1))
    assert difference == ("contrast_strength", ABSENT, 0.1)
    # Shards of a run from before the option was added still belong to it.
    assert with_changes(contrast_strength=None).digest() == OLD.digest()
    assert with_changes(contrast_strength=0.1).digest() != OLD.digest()


def test_the_refusal_names_every_changed_field_on_one_line():
    new = with_changes(num_paraphrases=3, stop=["\n", "Q:"], prompt="x\n" * 500)
    with pytest.raises(UserError) as refused:
        require_same(OLD, new, frozenset(), Path("results/vote-5.feather"))
    message = str(refused.value)
    assert message.startswith("num_paraphrases was 5, now 3; prompt was absent, now ")
    assert 'stop was ["\\n"], now ["\\n", "Q:"]: results/vote-5.feather was made' in message
    assert "use --overwrite to start anew, or another --output-dir." in message.lower()
    assert "\n" not in message
    assert len(message) < 400


def test_a_result_that_does_not_say_what_its_model_was_is_refused():
    new = with_changes(**{IDENTITY: {"weights": {"model.safetensors": "xxh3:0"}}})
    with pytest.raises(UserError, match=r"does not say what its model was.*Use --overwrite"):
        require_same(OLD, new, frozenset(), Path("results/vote-5.feather"))
    require_same(new, new, frozenset(), Path("results/vote-5.feather"))
