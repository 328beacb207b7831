"""A few faults of every kind; `make faults` injects many."""

import random
from itertools import islice

import pytest

from self_ensemble.identity import checksum
from self_ensemble.questions import reading
from self_ensemble.scoring import files
from tests.faults.all_campaigns import CAMPAIGNS
from tests.faults.campaign import Campaign, Verdict
from tests.faults.damage import change_value, injections

# Those with workers take minutes; `make faults` alone injects them.
QUICK = [campaign for campaign in CAMPAIGNS if campaign.few]


@pytest.mark.parametrize("campaign", QUICK, ids=lambda campaign: campaign.name)
def test_every_fault_is_survived(campaign: Campaign, tmp_path):
    faults = list(campaign.run(0, tmp_path, campaign.few))

    assert faults
    assert [fault for fault in faults if fault.verdict != Verdict.SURVIVED] == []


def test_damage_that_no_checksum_tells_would_be_seen(tmp_path, monkeypatch):
    for module in (checksum, reading, files):
        monkeypatch.setattr(module, "problem", lambda content: None)

    faults = list(islice(injections(random.Random(0), tmp_path, [change_value]), 12))

    assert Verdict.CHANGED in {fault.verdict for fault in faults}
