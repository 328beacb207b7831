"""A few faults of every kind; `make faults` injects many."""

import pytest

from tests.faults.all_campaigns import CAMPAIGNS
from tests.faults.campaign import Campaign, Verdict


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_every_fault_is_survived(campaign: Campaign, tmp_path):
    faults = list(campaign.run(0, tmp_path, campaign.few))

    assert faults
    assert [fault for fault in faults if fault.verdict != Verdict.SURVIVED] == []
