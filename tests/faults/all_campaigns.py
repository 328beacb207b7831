"""The campaigns, in the order of the table."""

from tests.faults.campaign import Campaign
from tests.faults.changes import CHANGES_BETWEEN_HALVES
from tests.faults.damage import DAMAGE
from tests.faults.disk_errors import DISK_ERRORS
from tests.faults.hostile_models import HOSTILE_MODELS
from tests.faults.hostile_names import HOSTILE_NAMES
from tests.faults.kills import KILLS

CAMPAIGNS: tuple[Campaign, ...] = (
    KILLS,
    DISK_ERRORS,
    DAMAGE,
    CHANGES_BETWEEN_HALVES,
    HOSTILE_MODELS,
    HOSTILE_NAMES,
)
