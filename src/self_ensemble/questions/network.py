"""The Hugging Face hub, from machines that may have no way to it.

The hub's clients try again for a minute before they say that there is no network. One request
tells at once; without an answer they are told to look into the local cache alone.
"""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # re-exported


@contextmanager
def hub_if_reachable(what: str) -> Iterator[None]:
    """Say what is looked for, and spare the block the hub where that does not answer.

    Args:
        what: A model or data set, for the line on standard error.
    """
    if constants.HF_HUB_OFFLINE:
        yield
        return
    sys.stderr.write(f"Looking for {what} on {constants.ENDPOINT} ...\n")
    sys.stderr.flush()
    if _answers(constants.ENDPOINT):
        yield
        return
    with _offline():
        yield


@functools.cache
def _answers(endpoint: str) -> bool:
    try:
        # The client's own session and limit, so that proxies and the user's settings count.
        get_session().head(f"{endpoint}/api/", timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HTTPError, OSError):
        return False
    return True


@contextmanager
def _offline() -> Iterator[None]:
    """What HF_HUB_OFFLINE=1 in the environment would have done when the clients were imported."""
    places: list[object] = [constants]
    if "datasets" in sys.modules:
        places.append(sys.modules["datasets"].config)
    for place in places:
        vars(place)["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        for place in places:
            vars(place)["HF_HUB_OFFLINE"] = False
