"""Text-level fusion: every wording answers alone and the answers vote."""

from collections.abc import Sequence
from math import exp, isnan

from self_ensemble.scoring.normalise import normalise


def vote(predictions: Sequence[str], mean_logprobs: Sequence[float]) -> int:
    """Find the wording whose answer wins the vote.

    The majority of the normalised predictions wins, as in self-consistency (Wang et al. 2023,
    arXiv 2203.11171). A tie goes to the answer with the larger sum of probabilities, then to the
    one given first. Empty predictions vote only if all are empty.

    Args:
        predictions: One prediction per wording.
        mean_logprobs: Mean log-probability of each prediction's tokens, natural logarithm; nan
            (nothing was generated) counts as probability 0.

    Returns:
        Index of the most probable wording among those that gave the winning answer.

    Raises:
        ValueError: There is no prediction, or not one log-probability for every prediction.
    """
    if not predictions or len(predictions) != len(mean_logprobs):
        raise ValueError(
            f"Got {len(mean_logprobs)} log-probabilities for {len(predictions)} predictions. "
            "Pass one per prediction, and at least one prediction."
        )
    probs = [0.0 if isnan(logprob) else exp(logprob) for logprob in mean_logprobs]
    voters: dict[str, list[int]] = {}
    for index, prediction in enumerate(predictions):
        voters.setdefault(normalise(prediction), []).append(index)
    if len(voters) > 1:
        voters.pop("", None)
    # max() keeps the first of equals, and a dict keeps the order of the wordings.
    winners = max(voters.values(), key=lambda group: (len(group), sum(probs[i] for i in group)))
    return max(winners, key=lambda i: probs[i])
