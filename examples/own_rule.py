"""A fusion rule of your own: the median of what the wordings predict."""

from torch import Tensor

from self_ensemble import Ensemble, Request, load_model


def median(logits: Tensor, weights: Tensor) -> Tensor:
    """From logits (B, N, V) and weights (B, N) to scores (B, V)."""
    return logits.log_softmax(dim=-1).median(dim=1).values


if __name__ == "__main__":
    model = load_model("smollm2_135m_it")
    wordings = (
        "what is the capital of France?",
        "which city is the capital of France?",
        "France's capital is called what?",
    )
    ensemble = Ensemble(model, [median, "avg", "max", "origin"])
    for name, (answer,) in ensemble.run([Request("france", wordings)]).items():
        print(f"{name}: {answer}")

    # Two laws that every rule should keep: one wording is plain generation, and copies of one
    # wording answer as that wording.
    found = [ensemble.run([Request("law", wordings[:1] * number)]) for number in (1, 3)]
    tokens = {answers[name][0].token_ids for answers in found for name in answers}
    print("laws kept:", len(tokens) == 1)
