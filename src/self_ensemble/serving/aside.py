"""What takes many passes of its own: wordings made by the model, and attribution.

A second thread, with a tokenizer of its own. Pass by pass it takes turns with the thread that
answers, so that a running answer waits for one pass of it and no more.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import deepcopy
from dataclasses import replace
from time import monotonic
from typing import TypeVar

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Request
from self_ensemble.attribution.kinds import Attribution
from self_ensemble.ensemble import Ensemble
from self_ensemble.jobs.paraphrase import ParaphraseOptions
from self_ensemble.passes.current_pass import while_wanted
from self_ensemble.questions.schema import Question
from self_ensemble.serving.errors import ApiError, queue_full, too_long
from self_ensemble.serving.limits import Limits
from self_ensemble.walking.sampling import Sampling
from self_ensemble.wordings.choice import choose
from self_ensemble.wordings.draw import Rewriter
from self_ensemble.wordings.pool import Candidate, Refused

Result = TypeVar("Result")
DRAWN = ParaphraseOptions()  # as `self-ensemble paraphrase` draws


class Aside:
    """Does such things, one at a time."""

    def __init__(self, ensemble: Ensemble, limits: Limits) -> None:
        """Start the thread."""
        self._model = replace(ensemble.model, tokenizer=deepcopy(ensemble.model.tokenizer))
        self._ensemble = Ensemble(
            self._model, ensemble.methods, prefix="", attention=ensemble.engine.backend
        )
        self._limits = limits
        # Each keeps the prompts of all styles encoded.
        self._rewriters: dict[int, Rewriter] = {}
        self._thread = ThreadPoolExecutor(1, "aside")
        self._num_waiting = 0

    async def wordings(self, original: str, num: int, seed: int, deadline: float) -> list[str]:
        """Further wordings of a text, the best first; they pass the gate of `wordings/`.

        Raises:
            ApiError: Fewer than asked for pass it, or the deadline is met.
        """
        found, _ = await self.drawn(original, num, seed, deadline)
        if len(found) < num:
            raise ApiError(
                422,
                f"Of the wordings that were made {len(found)} pass the gate, and {num} are asked "
                "for. Ask for fewer, or give wordings of your own.",
                "too_few_wordings",
                "paraphrase",
            )
        return [candidate.text for candidate in found]

    async def drawn(
        self, original: str, num: int, seed: int, deadline: float
    ) -> tuple[list[Candidate], list[Refused]]:
        """At most `num` further wordings, the best first, and those that the gate refused.

        Raises:
            ApiError: They cannot be made, or the deadline is met.
        """
        return await self._do(lambda: self._draw(original, num, seed), deadline)

    async def attribution(
        self, request: Request, method: Method, answer: Answer, kinds: Sequence[str],
        deadline: float,
    ) -> dict[str, list[float]]:  # fmt: skip
        """What each wording has done for an answer, `(N,)` for each kind; see `attribution.kinds`.

        Raises:
            UserError: It cannot be had.
            ApiError: The deadline is met.
        """
        found = await self.attributed(request, method, answer, kinds, deadline)
        return {kind: list(one.total) for kind, one in found.items()}

    async def attributed(
        self, request: Request, method: Method, answer: Answer, kinds: Sequence[str],
        deadline: float,
    ) -> dict[str, Attribution]:  # fmt: skip
        """The same for each token of the answer.

        Raises:
            UserError: It cannot be had.
            ApiError: The deadline is met.
        """
        return await self._do(
            lambda: self._ensemble.attribute(request, kinds, method, answer), deadline
        )

    def close(self) -> None:
        """Do nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _draw(self, original: str, num: int, seed: int) -> tuple[list[Candidate], list[Refused]]:
        sampling = Sampling(DRAWN.temperature, DRAWN.top_p, seed)
        if num not in self._rewriters:
            self._rewriters[num] = Rewriter(
                self._model, num=num, tries=DRAWN.tries, sampling=sampling
            )
        rewriter = self._rewriters[num]
        rewriter.sampling = sampling
        (pool,) = rewriter.draw([Question("asked", (original,), ())])
        if pool.error is not None:
            raise ApiError(422, pool.error, param="paraphrase")
        return choose(original, pool.passed, num), pool.refused

    async def _do(self, do: Callable[[], Result], deadline: float) -> Result:
        if self._num_waiting >= self._limits.max_waiting:
            raise queue_full()
        left = threading.Event()

        def work() -> Result:
            with while_wanted(lambda: not left.is_set()):
                return do()

        self._num_waiting += 1
        try:
            async with asyncio.timeout(deadline - monotonic()):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._thread, copy_context().run, work)
        except TimeoutError:
            raise too_long(self._limits.deadline_s) from None
        finally:
            # Before its next pass, if it still goes on.
            left.set()
            self._num_waiting -= 1
