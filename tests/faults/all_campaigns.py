"""The campaigns, in the order of the table."""

from tests.faults.campaign import Campaign
from tests.faults.changes import CHANGES_BETWEEN_HALVES
from tests.faults.damage import DAMAGE
from tests.faults.disk_errors import DISK_ERRORS
from tests.faults.hostile_files import HOSTILE_FILES
from tests.faults.hostile_models import HOSTILE_MODELS
from tests.faults.hostile_names import HOSTILE_NAMES
from tests.faults.hostile_rules import HOSTILE_RULES
from tests.faults.kills import KILLS
from tests.faults.not_a_number import NOT_A_NUMBER
from tests.faults.trouble import TROUBLE
from tests.faults.workers import WORKERS

CAMPAIGNS: tuple[Campaign, ...] = (
    KILLS,
    DISK_ERRORS,
    DAMAGE,
    CHANGES_BETWEEN_HALVES,
    NOT_A_NUMBER,
    HOSTILE_MODELS,
    HOSTILE_RULES,
    HOSTILE_NAMES,
    HOSTILE_FILES,
    WORKERS,
    TROUBLE,
)
