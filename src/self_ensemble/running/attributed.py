"""Attribution as columns of a row: which wording decided which token of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from self_ensemble.asking.methods import Method
from self_ensemble.asking.request import Answer, Outcome, Request
from self_ensemble.attribution.attribute import OrderSampling, attribute_possible
from self_ensemble.attribution.kinds import Attribution, kinds_among
from self_ensemble.ensemble import Ensemble
from self_ensemble.results.schema import ATTRIBUTION, ATTRIBUTION_ERROR, attribution_column


@dataclass(frozen=True, slots=True)
class Attributed:
    """What is attributed in a run.

    Attributes:
        kinds: Kinds of attribution; each method has those that make sense for it.
        seed: Of the orders of many wordings that Shapley values sample.
    """

    kinds: tuple[str, ...] = ()
    seed: int = 0

    def columns(
        self,
        ensemble: Ensemble,
        method: Method,
        request: Request | None,
        answer: Outcome | None,
    ) -> dict[str, object]:
        """The columns of a question's row; none where nothing is asked for.

        Raises:
            UserError: A rule of the user's fails, or cannot be asked with fewer wordings.
        """
        kinds = kinds_among(self.kinds, method)
        if not kinds:
            return {}
        columns: dict[str, object] = {attribution_column(kind): None for kind in kinds}
        columns[ATTRIBUTION_ERROR] = None
        if request is None or not isinstance(answer, Answer):
            return columns
        sampling = OrderSampling(seed=self.seed)
        found, missing = attribute_possible(
            ensemble.prefiller, request, method, answer, kinds, sampling
        )
        columns |= {attribution_column(kind): _value(one) for kind, one in found.items()}
        return columns | {ATTRIBUTION_ERROR: missing}


NOTHING = Attributed()


def fewer_wordings(kinds: Sequence[str]) -> bool:
    """Whether some kind asks without some of the wordings."""
    return bool({"leave_one_out", "shapley"} & set(kinds))


def _value(found: Attribution) -> dict[str, object]:
    return {field.name: getattr(found, field.name) for field in ATTRIBUTION[found.kind]}
