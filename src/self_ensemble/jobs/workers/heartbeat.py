"""Whether Ray is still there.

Ray waits a minute for its head, then ends the process that it is used from, with a message of its
own. So it is looked at before that.
"""

import socket
import time
from collections.abc import Callable, Sequence

from self_ensemble.errors import UserError

Address = tuple[str, int]
EVERY_S = 1.0
# Here nobody starts it again; on a cluster the head may come back.
PATIENCE_HERE_S = 2.0
PATIENCE_CLUSTER_S = 40.0


def heartbeat(addresses: Sequence[Address], patience_s: float) -> Callable[[], None]:
    """What raises a UserError once an address has taken no connection for a while.

    Args:
        addresses: Of Ray's head, and of the node that this process is on.
        patience_s: How long nothing may be there.
    """
    well = looked = time.monotonic()

    def look() -> None:
        nonlocal well, looked
        now = time.monotonic()
        if now - looked < EVERY_S:
            return
        looked = now
        gone = [address for address in addresses if not _listens(address)]
        if not gone:
            well = now
        elif now - well > patience_s:
            host, port = gone[0]
            raise UserError(
                f"Ray has ended: nothing answers at {host}:{port} any more. What was done is "
                "kept; run the same command again to go on."
            )

    return look


def _listens(address: Address) -> bool:
    try:
        socket.create_connection(address, timeout=EVERY_S).close()
    except OSError:
        return False
    return True
