"""Where a result lies."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demo" / "model" / "vote-5.feather"
