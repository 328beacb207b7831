"""How much one client may ask for, and all of them together."""

from dataclasses import dataclass, fields

from self_ensemble.errors import UserError


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused.

    Attributes:
        max_body_bytes: Of a request's body; more is 413.
        max_wordings: Of a question, the original included, given or made; more is 422.
        max_choices: Answers of one request: `n` times the number of prompts; more is 422.
        max_prompt_tokens: Of one request, all wordings together; more is 422.
        max_tokens: Longest answer, in tokens; more is 422.
        max_waiting: Requests that wait to be begun; beyond is 429.
        max_live: Answers being made at once. Others wait, which bounds memory.
        deadline_s: Longest time for a request, waiting included, in seconds; then 504.
        header_s: Longest time for a request's head, in seconds; then the connection is closed.
        body_s: Longest time for a request's body, in seconds; then 408. As long may a client read
            nothing of what is sent; then the connection is closed.
    """

    max_body_bytes: int = 1 << 20
    max_wordings: int = 16
    max_choices: int = 16
    max_prompt_tokens: int = 8192
    max_tokens: int = 1024
    max_waiting: int = 64
    max_live: int = 32
    deadline_s: float = 120.0
    header_s: float = 10.0
    body_s: float = 30.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not 0 < value < float("inf"):
                raise UserError(f"Got {one.name} {value}. Give a number above 0.", "SE-1004")
        if self.max_choices > self.max_live:
            raise UserError(
                f"Got max_choices {self.max_choices} and max_live {self.max_live}: such a request "
                "would wait for ever. Give no more choices than answers at once.",
                "SE-1004",
            )
