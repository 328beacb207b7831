"""Checksums: what is written is believed, and any change of it is seen."""

import hashlib
import json
import subprocess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from self_ensemble.errors import UserError
from self_ensemble.identity.checksum import (
    BLANK,
    DIGEST_LENGTH,
    MARK,
    DamagedError,
    check_sidecar,
    claims_checksum,
    from_sealed_json,
    problem,
    seal,
    sidecar,
    sidecar_content,
    to_sealed_json,
)

FIELDS = {"kind": "test", "text": "Zürich", "weights": [0.5, 0.25], "none": None}


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place():
    sealed = seal(b"head " + BLANK + b" middle " + BLANK + b" tail")
    digest = hashlib.sha256(b"head " + BLANK + b" middle " + BLANK + b" tail").hexdigest()
    assert sealed == b"".join(
        [b"head ", MARK, digest.encode(), b" middle ", MARK, digest.encode(), b" tail"]
    )
    assert problem(sealed) is None


@given(st.binary(), st.binary(), st.binary(), st.data())
def test_every_flipped_bit_cut_and_insertion_is_seen(head, middle, tail, data):
    # The first and the last mark are the writer's.
    assume(MARK not in head and MARK not in tail)
    sealed = seal(head + BLANK + middle + BLANK + tail)
    assert problem(sealed) is None
    place = data.draw(st.integers(0, len(sealed) - 1))
    flipped = bytearray(sealed)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    assert problem(bytes(flipped)) is not None
    assert problem(sealed[:place]) is not None
    assert problem(sealed[:place] + b"x" + sealed[place:]) is not None
    assert problem(sealed[:place] + sealed[place + 1 :]) is not None
    assert claims_checksum(flipped)


@given(st.integers(0, 3 * DIGEST_LENGTH), st.integers(1, 500))
def test_no_run_of_zeros_takes_the_checksum_away(start, length):
    sealed = seal(BLANK + b"x" * 100 + BLANK)
    zeroed = sealed[:start] + bytes(len(sealed[start : start + length])) + sealed[start + length :]
    assert (problem(zeroed) is None) == (zeroed == sealed)


def test_a_mark_in_the_data_is_data(tmp_path):
    sealed = seal(BLANK + b" data: " + BLANK + b" " + MARK + b" end " + BLANK)
    assert problem(sealed) is None
    assert sealed.count(BLANK) == 1
    fields = {"stop": [BLANK.decode()], MARK.decode(): BLANK.decode()}
    content = to_sealed_json(fields)
    assert content.count(MARK) == 1
    assert from_sealed_json(content, tmp_path, "") == fields


def test_a_json_object_reads_back_and_is_plain_json(tmp_path):
    content = to_sealed_json(FIELDS)
    assert from_sealed_json(content, tmp_path, "") == FIELDS
    document = json.loads(content)
    assert document.pop("checksum").startswith(MARK.decode())
    assert document == FIELDS


def test_no_bit_of_a_json_object_can_be_flipped(tmp_path):
    content = to_sealed_json({"kind": "test", "x": [1]})
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UserError):
            from_sealed_json(bytes(flipped), tmp_path, "", may_be_edited=True)


def test_a_change_by_hand_is_taken_where_it_is_said_to_be_one(tmp_path):
    document = json.loads(to_sealed_json(FIELDS)) | {"text": "Bern"}
    changed = json.dumps(document).encode()
    with pytest.raises(DamagedError, match="its checksum is another one"):
        from_sealed_json(changed, tmp_path, "", may_be_edited=True)
    said = json.dumps(document | {"checksum": "edited"}).encode()
    assert from_sealed_json(said, tmp_path, "", may_be_edited=True)["text"] == "Bern"
    with pytest.raises(DamagedError, match="it has no checksum"):
        from_sealed_json(said, tmp_path, "")
    del document["checksum"]
    with pytest.raises(DamagedError, match="it has no checksum"):
        from_sealed_json(json.dumps(document).encode(), tmp_path, "", may_be_edited=True)


def test_a_checksum_beside_a_file_is_what_sha256sum_checks(tmp_path):
    path = tmp_path / "rows.jsonl"
    check_sidecar(path, b"no checksum beside it")
    path.write_bytes(b'{"uuid": "a"}\n')
    sidecar(path).write_bytes(sidecar_content(path, path.read_bytes()))
    check_sidecar(path, path.read_bytes())
    subprocess.run(["sha256sum", "--check", sidecar(path).name], cwd=tmp_path, check=True)
    with pytest.raises(DamagedError, match=r"changed it yourself, delete rows\.jsonl\.sha256"):
        check_sidecar(path, b'{"uuid": "b"}\n')
    sidecar(path).write_bytes(b"")
    with pytest.raises(DamagedError):
        check_sidecar(path, path.read_bytes())
