"""Whether a text denies what it names: "not Mark Twain", "anyone but Mark Twain".

A rule on the words before, in English and for the plain negations of some other languages. What
is denied only behind ("Paris is wrong") is not seen.
"""

from collections.abc import Sequence

import regex

from self_ensemble.scoring.words import Word

# So many words may stand between a negation and what it denies: "not written by the great X".
_REACH = 4
_NOT = frozenset(
    {"not", "never", "cannot", "neither", "nor"}
    | {"nicht", "kein", "keine", "keinen", "niet", "geen", "inte", "ikke", "n\u00e3o", "nao"}
    | {"\u043d\u0435"}  # ne, Russian
)
_NO = frozenset({"no", "non", "without"})
_NONE = frozenset({"no", "none", "nothing", "nobody", "nowhere", "never", "not"})
_EVERY = frozenset(
    {"all", "any", "anyone", "anybody", "anything", "anywhere", "every", "everyone"}
    | {"everybody", "everything", "everywhere"}
)
_ARTICLES = frozenset({"a", "an", "the", "for", "in", "by", "of"})
# Behind a negation these end it: "not only X", "not until X", "not known because X".
_ENDS = frozenset(
    {"only", "just", "merely", "simply", "solely", "until", "till", "before", "but", "because"}
    | {"although", "though", "since", "while", "whether", "sure", "certain", "far", "mention"}
    | {"sondern", "aber", "mais", "pero", "maar"}
)
_CLAUSE_END = regex.compile(r"[,;:.!?()\u2014\u3002\u3001\n]|\s-\s|--")
_UNSPACED_BEFORE = regex.compile(
    "(?:\u4e0d\u662f|\u5e76\u975e|\u4e26\u975e|\u4e0d\u5728|\u4e0d\u53eb|\u0e44\u0e21\u0e48\u0e43\u0e0a\u0e48)$"
)
_UNSPACED_AFTER = regex.compile(
    "(?:\u3067\u306f|\u3058\u3083)(?:\u306a\u3044|\u306a\u304f|\u306a\u304b\u3063|\u3042\u308a\u307e\u305b\u3093)"
)


def is_denied(text: str, found: Sequence[Word], start: int, end: int) -> bool:
    """Whether the words from `start` to before `end` are denied.

    Args:
        text: The readable text.
        found: All its words.
        start: Index of the first word in question.
        end: Index behind the last one.
    """
    first, last = found[start].start, found[end - 1].end
    if _UNSPACED_AFTER.match(text, last) or _UNSPACED_BEFORE.search(text[:first]):
        return True
    before = _clause_before(text, found, start)
    return any(
        _denies(before, i, is_number=found[start].text[0].isdigit()) for i in range(len(before))
    )


def _clause_before(text: str, found: Sequence[Word], start: int) -> list[str]:
    """The words before, nearest first, as far as their clause and the reach of a negation go."""
    before: list[str] = []
    right = found[start].start
    for word in reversed(found[:start]):
        # One more word, because "n't" is two.
        if len(before) > _REACH + 1 or _CLAUSE_END.search(text, word.end, right):
            break
        before.append(word.text)
        right = word.start
    return before


def _denies(before: Sequence[str], i: int, *, is_number: bool) -> bool:
    """Whether word i of `before` denies what stands behind all of them."""
    word, between, earlier = before[i], before[:i], before[i + 1 :]
    following = earlier[0] if earlier else ""
    if any(other in _ENDS for other in between):
        return False
    near = all(other in _ARTICLES for other in between)
    if word in _NOT or (word == "t" and following.endswith("n")):
        return i <= _REACH and following != "if"
    if word in {"pas", "jamais"}:
        return i <= _REACH and bool({"n", "ne"} & set(earlier[:3]))
    if word in _NO:
        is_no_longer = between[-1:] == ["longer"] and i <= 2
        is_spanish = word == "no" and between[-1:] in (["es"], ["era"], ["fue"], ["son"])
        return (near and not is_number) or is_no_longer or is_spanish
    if not near:
        return False
    if word == "but":
        return bool(set(earlier[:2]) & _EVERY)
    if word in {"except", "excluding"} or (word, following) == ("than", "other"):
        return not set(earlier[:3]) & _NONE
    return (word, following) in {("of", "instead"), ("than", "rather"), ("instead", "")}
