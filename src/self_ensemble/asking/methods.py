"""The methods by name: which streams each walks, and what ties them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from self_ensemble.errors import UserError
from self_ensemble.walking.fusion import (
    CONTRAST,
    READS_PRIOR,
    RULES,
    WEIGHTED,
    FusionRule,
    check_strength,
    contrast,
)
from self_ensemble.walking.user_rule import built_in, checked_rule, load_rule, rule_name

Kind = Literal["fused", "tied", "alone", "original", "vote"]

KINDS: dict[str, Kind] = {
    "flex_attention": "fused",
    **dict.fromkeys(RULES, "tied"),
    "vote": "vote",
    "origin": "original",
    "per_prompt": "alone",
}


@dataclass(frozen=True, slots=True)
class Method:
    """One way to answer a question asked in N wordings.

    Attributes:
        name: Name for options, files and tables.
        kind: `fused`: one stream reads every wording. `tied`: N streams take the token of a
            fusion rule. `alone`: every wording answers. `original`: the first wording answers.
            `vote`: the answers of the wordings vote.
        rule: The fusion rule of a tied method.
    """

    name: str
    kind: Kind
    rule: FusionRule | None = None

    @property
    def goes_alone(self) -> bool:
        """Whether wordings are continued alone, each to an answer of its own."""
        return self.kind in ("alone", "original", "vote")

    @property
    def needs_weights(self) -> bool:
        return built_in(self.rule) in WEIGHTED

    @property
    def reads_prior(self) -> bool:
        """Whether its rule gets the prompt without the question as one more row."""
        return built_in(self.rule) in READS_PRIOR

    @property
    def may_read_weights(self) -> bool:
        """Whether weights can make a difference: a weighted rule, or one of the user's own."""
        return self.needs_weights or (self.kind == "tied" and built_in(self.rule) is None)


# A name, `module:function`, or a fusion rule `(B, N, V), (B, N) -> (B, V)`.
AnyMethod = str | Method | Callable[..., object]


def resolve_method(method: AnyMethod) -> Method:
    """A method by name, as `module:function`, or from a fusion rule itself."""
    if isinstance(method, Method):
        return method
    if callable(method):
        # A partial of a built-in rule is that method with another setting.
        name = built_in(method) or rule_name(method)
        return Method(name, "tied", checked_rule(name, method))
    kind = KINDS.get(method, "tied")
    if kind != "tied":
        return Method(method, kind)
    rule = load_rule(method, list(KINDS))
    # A built-in rule by its full name is the built-in method.
    name = next((name for name, known in RULES.items() if known is rule), method)
    return Method(name, kind, rule)


def as_sequence(asked: AnyMethod | Sequence[AnyMethod]) -> Sequence[AnyMethod]:
    """One method, or several."""
    return [asked] if isinstance(asked, str | Method) or callable(asked) else asked


def resolve_methods(
    asked: AnyMethod | Sequence[AnyMethod],
    *,
    has_weights: bool,
    contrast_strength: float = CONTRAST,
) -> tuple[Method, ...]:
    """Several methods; "all" stands for every built-in one that can run.

    Args:
        asked: Names, `module:function`, "all", or fusion rules themselves.
        has_weights: Whether the run has weights. Without them "all" leaves out the weighted
            methods, and asking for one by name is an error.
        contrast_strength: How much of the prompt without the question `contrast` takes away.

    Raises:
        UserError: An unknown name, a weighted method without weights, or a strength that
            `contrast` does not take.
    """
    check_strength(contrast_strength)
    each: list[AnyMethod] = []
    for one in as_sequence(asked):
        every = [known for known in KINDS if has_weights or known not in WEIGHTED]
        each += every if one == "all" else [one]
    methods = tuple(
        Method(one, "tied", partial(contrast, strength=contrast_strength))
        if one == "contrast"
        else resolve_method(one)
        for one in dict.fromkeys(each)
    )
    if not methods:
        raise UserError(f"No method given. Choose from: {', '.join(KINDS)}, all.", "SE-0601")
    for method in methods:
        if method.needs_weights and not has_weights:
            raise UserError(
                f"Method {method.name!r} needs weights, and none were given. "
                "Pass --weights with a column or a file.",
                "SE-0602",
            )
    return methods
