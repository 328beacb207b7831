"""Ctrl-C and SIGTERM let the batch in work finish; the second one stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Interruption:
    """Whether the user asked to stop.

    Attributes:
        received: Number of the first signal, or None.
    """

    received: int | None = None

    @property
    def exit_code(self) -> int:
        """What the shell expects: 130 after SIGINT, 143 after SIGTERM, 0 after neither."""
        return 0 if self.received is None else 128 + self.received


@contextmanager
def finish_batch_on_signal() -> Iterator[Interruption]:
    """Watch for SIGINT and SIGTERM while the block runs; in another thread none comes.

    Yields:
        The place to look after each batch. `received` stays set after the block.

    Raises:
        KeyboardInterrupt: At the second signal, wherever the program is.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interruption.received is not None:
            raise KeyboardInterrupt
        interruption.received = number

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
