"""A trace made by hand: two wordings, two methods that part, numbers that round alike anywhere."""

import math
from dataclasses import replace

from self_ensemble.tracing.trace import (
    Candidate,
    Distribution,
    Group,
    MethodStep,
    Part,
    Step,
    Taken,
    Token,
    Trace,
    TracedAnswer,
    WordingStep,
)

HOSTILE = (
    "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
)
_WORDS = ("Q:", " one", " two", "?", "A:", " yes", " no", "\n", "<end>", "\x00")
_TOKENS = {word: Token(n, word, word == "<end>") for n, word in enumerate(_WORDS)}


def tokens(*words: str) -> tuple[Token, ...]:
    return tuple(_TOKENS[word] for word in words)


def candidate(word: str, prob: float) -> Candidate:
    return Candidate(_TOKENS[word], math.log(prob))


def distribution(first: tuple[str, float], second: tuple[str, float]) -> Distribution:
    top = (candidate(*first), candidate(*second))
    return Distribution(top, 0.75, first[1] - second[1])


def small_trace() -> Trace:
    yes, no = (
        distribution((" yes", 0.75), (" no", 0.25)),
        distribution((" no", 0.5), (" yes", 0.25)),
    )
    end = distribution(("\n", 0.875), ("<end>", 0.125))
    first = Step(
        (), "",
        (WordingStep(yes, tokens(" yes", "\n")), WordingStep(no, tokens(" no", "\n"))),
        (MethodStep("flex_attention", yes, "reads every wording, with the weight 0.5 each", None),
         MethodStep("min_entropy", no, "wording 2 has the least entropy, 0.75 nats", 1)),
        None,
        (Taken("flex_attention", candidate(" yes", 0.75),
               "reads every wording, with the weight 0.5 each"),
         Taken("min_entropy", candidate(" no", 0.5),
               "wording 2 has the least entropy, 0.75 nats")),
    )  # fmt: skip

    def last(word: str, taken: Taken) -> Step:
        return Step(
            tokens(word), word,
            (WordingStep(end, tokens("\n")), WordingStep(end, tokens("\n"))),
            tuple(replace(one, distribution=end) for one in first.methods),
            None, (taken,),
        )  # fmt: skip

    newline = candidate("\n", 0.875)
    return Trace(
        key="row-1", model="tiny", backend="sdpa", wordings=("one?", "two?"), accepted=("yes",),
        positions="aligned", fusion_point="cue", temperature=0.0, num_ahead=2,
        parts=(
            Part("prefix", None, tokens("Q:", " one", "?", "\n") * 20),
            Part("wording", 0, tokens("Q:", " one", "?")),
            Part("wording", 1, tokens("Q:", " two", "\x00")),
            Part("cue", None, tokens("\n", "A:", "<end>")),
        ),
        groups=(
            Group(0, "prefix", (), 80, 0, 1.0),
            Group(1, "segment", (0, 1), 1, 80, 1.0),
            Group(2, "segment", (0,), 2, 81, 0.5),
            Group(3, "segment", (1,), 2, 81, 0.5),
            Group(4, "fused", (0, 1), 3, 83, None),
            Group(5, "alone", (0,), 3, 83, None),
            Group(6, "alone", (1,), 3, 83, None),
        ),
        steps=(
            first,
            last(" yes", Taken("flex_attention", newline, first.methods[0].why)),
            last(" no", Taken("min_entropy", newline, first.methods[1].why)),
        ),
        methods=(
            TracedAnswer("flex_attention", None, "yes", (candidate(" yes", 0.75), newline),
                         "stop", None, True, (0, 1)),
            TracedAnswer("min_entropy", None, "no", (candidate(" no", 0.5), newline),
                         "stop", None, False, (0, 2)),
        ),
        alone=(
            TracedAnswer("per_prompt", 0, "yes", (candidate(" yes", 0.75), newline), "stop",
                         None, True),
            TracedAnswer("per_prompt", 1, "no", (candidate(" no", 0.5), newline), "stop",
                         None, False),
        ),
    )  # fmt: skip
