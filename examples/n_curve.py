"""Accuracy over the number of wordings: every wording is asked once, all else is counted."""

import sys

import self_ensemble as se
from self_ensemble import results

if __name__ == "__main__":
    num_questions = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    made = se.generate(
        se.DataOptions("demo", max_samples=num_questions),
        methods=["per_prompt"],
        options=se.GenerateOptions(num_paraphrases=5),
        output_dir="results",
    )
    curve = results.load(made.folder).curve()
    print("N   vote   worst to best   any    all")
    for vote, some, every in zip(
        *(curve.series(name) for name in ("vote", "any-of-N", "all-of-N")), strict=True
    ):
        print(
            f"{vote.num_wordings}   {vote.accuracy.value:4.0%}   "
            f"{vote.lowest:4.0%} to {vote.highest:4.0%}    "
            f"{some.accuracy.value:4.0%}   {every.accuracy.value:4.0%}"
        )
