"""The campaigns, in the order of the table."""

from tests.faults.campaign import Campaign

CAMPAIGNS: tuple[Campaign, ...] = ()
