"""Accepted answers that are regular expressions, as TREC has them.

Answers are texts wherever they are stored, so a pattern is one as well, marked by a comment in the
syntax of regular expressions: it is the same pattern with the mark and without.
"""

from functools import lru_cache

import regex

from self_ensemble.errors import UserError

PATTERN_MARK = "(?#pattern)"
# A pattern may take exponential time on some text.
TIMEOUT_SECONDS = 1.0


def pattern_answer(expression: str) -> str:
    """Mark a regular expression, so that it is searched for and not compared.

    Raises:
        ValueError: It is no regular expression; the message says why.
    """
    try:
        regex.compile(expression, regex.IGNORECASE)
    except (regex.error, RecursionError) as error:
        raise ValueError(f"the pattern {_short(expression)} cannot be read: {error}") from error
    return PATTERN_MARK + expression


def is_pattern(answer: str) -> bool:
    """Whether an accepted answer is a pattern."""
    return answer.startswith(PATTERN_MARK)


@lru_cache(maxsize=1 << 16)
def pattern_found(pattern: str, text: str) -> bool:
    """Whether a pattern occurs in a text, in any case.

    Raises:
        UserError: It is no regular expression, or the search takes more than a second.
    """
    try:
        found = regex.compile(pattern, regex.IGNORECASE).search(text, timeout=TIMEOUT_SECONDS)
    except (regex.error, RecursionError) as error:
        raise UserError(
            f"The answer pattern {_short(pattern)} cannot be read: {error}.", "SE-0116"
        ) from error
    except TimeoutError as error:
        raise UserError(
            f"The answer pattern {_short(pattern)} takes over {TIMEOUT_SECONDS:g} s to look for "
            f"in {text[:60]!r}. Write it without nested repetitions.",
            "SE-0116",
        ) from error
    return found is not None


def _short(pattern: str) -> str:
    text = repr(pattern.removeprefix(PATTERN_MARK))
    return text if len(text) <= 80 else text[:80] + "..."
