"""Whether Ray is still there.

Ray waits a minute for its head, then ends the process that it is used from, with a message of its
own; without the node that the process is on, it ends it without a word as soon as something is
fetched from the node's store. So both are looked at before that.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from self_ensemble.errors import UserError

Address = tuple[str, int]
EVERY_S = 1.0
# Here nobody starts it again; on a cluster the head may come back.
PATIENCE_HERE_S = 2.0
PATIENCE_CLUSTER_S = 40.0
# The head answers at once, unless its machine is very busy.
ANSWER_S = 30.0

T = TypeVar("T")


def heartbeat(head: Address, node: Address, patience_s: float) -> Callable[[], None]:
    """What raises a UserError once Ray has ended.

    Args:
        head: Of the cluster.
        node: Which this process is on, and which is nobody's once it has ended.
        patience_s: How long the head may take no connection.
    """
    looked = time.monotonic()
    gone_since: float | None = None

    def look() -> None:
        nonlocal looked, gone_since
        if _refuses(node):
            raise _ended(node)
        now = time.monotonic()
        if now - looked < EVERY_S:
            return
        looked = now
        if _listens(head):
            gone_since = None
        elif gone_since is None:
            # Not before: the driver may have looked long ago.
            gone_since = now
        elif now - gone_since >= patience_s:
            raise _ended(head)

    return look


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Ask Ray's head something, which would wait for ever for one that has ended.

    Raises:
        UserError: It does not answer in time.
        Exception: As `ask`.
    """
    answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def wait() -> None:
        try:
            answers.put(ask())
        except BaseException as error:  # noqa: BLE001 - raised below, in the other thread
            answers.put(error)

    threading.Thread(target=wait, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise UserError(
            f"Ray has ended: its head has not answered for {seconds:g} s. What was done is kept; "
            "run the same command again to go on.",
            "SE-0804",
        ) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _refuses(address: Address) -> bool:
    """Whether nobody listens: a process that is slow is not refused, the kernel answers for it."""
    try:
        socket.create_connection(address, timeout=EVERY_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _listens(address: Address) -> bool:
    try:
        socket.create_connection(address, timeout=EVERY_S).close()
    except OSError:
        return False
    return True


def _ended(address: Address) -> UserError:
    host, port = address
    return UserError(
        f"Ray has ended: nothing answers at {host}:{port} any more. What was done is kept; run "
        "the same command again to go on.",
        "SE-0804",
    )
