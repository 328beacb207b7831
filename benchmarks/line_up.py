"""The rivals by name."""

from collections.abc import Callable, Sequence

from benchmarks.ours import ours
from benchmarks.plain import CAUSAL_CONCAT, all_together, each_alone, generate, published
from benchmarks.rival import Rival
from benchmarks.work import Work
from self_ensemble.asking.methods import KINDS, resolve_methods
from self_ensemble.errors import UserError, unknown_name

PLAIN = ("published", "generate_one", "generate_five", CAUSAL_CONCAT)
OURS = ("flex_attention", "avg", "per_prompt", "vote", "all")
RIVALS = (*PLAIN, *OURS)
ENGINES = ("openvino", "ctranslate2", "llama.cpp")


def check_names(names: Sequence[str]) -> None:
    """Refuse what is no rival.

    Raises:
        UserError: An unknown name, or that of an engine with a benchmark of its own.
    """
    for name in names:
        if name in ENGINES:
            raise UserError(
                f"{name} needs a process of its own. "
                f"Use: python -m benchmarks.engines --only {name}",
                "SE-1101",
            )
        if name not in RIVALS and name not in KINDS and ":" not in name:
            raise unknown_name("rival", name, {*RIVALS, *KINDS, "module:function"})


def make_rivals(
    work: Work,
    names: Sequence[str] = RIVALS,
    *,
    attention: str | None = None,
    published_questions: int = 1,
) -> list[Rival]:
    """Make rivals by name.

    Args:
        work: What they answer.
        names: `PLAIN` ones, or methods of ours; "all" is every method in one go.
        attention: Backend of ours; None for the model's.
        published_questions: Questions that the published loop answers; it takes far longer.

    Raises:
        UserError: An unknown name.
    """
    makers: dict[str, Callable[[], Rival]] = {
        "published": lambda: published(work, published_questions),
        "generate_one": lambda: generate(work, "generate_one", each_alone(work, 1)),
        "generate_five": lambda: generate(
            work, "generate_five", each_alone(work, work.num_wordings)
        ),
        CAUSAL_CONCAT: lambda: generate(work, CAUSAL_CONCAT, all_together(work)),
    }
    check_names(names)
    return [
        makers[name]()
        if name in makers
        else ours(work, name, resolve_methods([name], has_weights=False), attention)
        for name in names
    ]
