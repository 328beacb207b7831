"""From a batch of questions to rows with the wordings that are kept of each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from self_ensemble.identity.checksum import sha256_of
from self_ensemble.models.identity import identity_of, versions
from self_ensemble.models.load import LoadedModel
from self_ensemble.prompts.tokens import PROMPT_TOKENS
from self_ensemble.questions.schema import Question
from self_ensemble.results.manifest import IDENTITY
from self_ensemble.running.batches import BatchProgress, default_batch_size
from self_ensemble.running.making import About, BatchRows, FileRows, Order
from self_ensemble.wordings.pool import Pool
from self_ensemble.wordings.rows import PARAPHRASE_SCHEMA, paraphrase_row
from self_ensemble.wordings.styles import STYLES

# The one file that rows are made for.
WORDINGS = "wordings"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordingMaker:
    """A maker of wordings.

    Attributes:
        pools: Gives the candidates of some questions.
        num: Wordings to keep; None keeps all that passed.
        draws: Whether they are drawn from the model, and not the data set's own.
        model: The model that rewords or checks, if any does.
        backend: The attention backend that it runs with.
        check_prompt: The prompt in which the model checks, by content.
        nli: What the entailment model is, if one checks.
    """

    pools: Callable[[Sequence[Question]], list[Pool]]
    num: int | None
    draws: bool
    model: LoadedModel | None
    backend: str | None
    check_prompt: str | None
    nli: Mapping[str, object] | None

    @property
    def about(self) -> About:
        """What it is made of."""
        batch_size = 16
        if self.draws and self.model is not None:
            # Twice: most of a round's samples end early, and the few that go on fill no batch.
            batch_size = 2 * default_batch_size(self.model)
        return About(self._made_with(), self.backend or "", batch_size)

    @property
    def counters(self) -> Mapping[str, int]:
        """Nothing is counted."""
        return {}

    def make(self, batch: Sequence[Question], order: Order) -> BatchRows:
        """Choose wordings of some questions."""
        started = time.perf_counter()
        pools = self.pools(batch)
        num_errors = sum(pool.error is not None for pool in pools)
        return self._rows(
            pools, BatchProgress(len(batch), num_errors, time.perf_counter() - started)
        )

    def give_up(self, question: Question, reason: str, order: Order) -> BatchRows:
        """The error row of a question that is not reworded any more."""
        return self._rows([Pool(question, error=reason)], BatchProgress(1, 1, 0.0))

    def _made_with(self) -> dict[str, object]:
        model = self.model
        return {
            "kind": "paraphrases",
            "model": None if model is None else model.name,
            "model_revision": None if model is None else model.revision,
            IDENTITY: {
                "rewording": None if model is None else identity_of(model),
                "entailment": self.nli,
            },
            "dtype": None if model is None else str(model.dtype).removeprefix("torch."),
            "device": None if model is None else model.device.type,
            "attention": self.backend,
            "engine": None if model is None or model.engine == "torch" else model.engine,
            "prompt_tokens": None if model is None else PROMPT_TOKENS,
            "styles_sha256": sha256_of([asdict(style) for style in STYLES])
            if self.draws
            else None,
            "check_prompt_sha256": self.check_prompt,
            "versions": versions(model),
        }

    def _rows(self, pools: Sequence[Pool], done: BatchProgress) -> BatchRows:
        rows = [paraphrase_row(pool, self.num) for pool in pools]
        not_finite = {
            pool.question.uuid: pool.error
            for pool in pools
            if pool.not_finite and pool.error is not None
        }
        return BatchRows({WORDINGS: FileRows.of(rows, PARAPHRASE_SCHEMA, not_finite)}, done)
