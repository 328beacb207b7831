"""What the playground shows: texts are escaped, whoever wrote them."""

from html.parser import HTMLParser

import pytest
from test_playground_board import full_board

from self_ensemble.playground import views
from self_ensemble.playground.board import Gate, Lengths, Refusal, Said
from self_ensemble.report.page.page import external

EVIL = "<img src=x onerror=alert(1)>\"'`</p><script>alert(2)</script>\u202e"


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def evil_views() -> list[str]:
    board = full_board()
    board = board.change(
        asked=board.asked.model_copy(update={"wordings": [EVIL, EVIL], "methods": [EVIL]}),
        fused={EVIL: Said(text=EVIL, is_whole=True)},
        members=[Said(text=EVIL), Said(text=EVIL, logprob=-1.0, is_whole=True)],
        strips=[
            board.strips[0].model_copy(update={"kind": EVIL, "method": EVIL, "tokens": [EVIL]})
        ],
    )
    gate = Gate(original="o", kept=[EVIL], refused=[Refusal(text=EVIL, reason=EVIL)])
    return [
        views.answers(board), views.gate(gate), views.strips(board), views.note(EVIL),
        views.refusal(EVIL), views.heading(EVIL),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(6))
def test_markup_in_any_text_is_text(number):
    html = evil_views()[number]
    tags = Tags(html)
    assert not {"script", "img"} & set(tags.found)
    assert "<img src=x onerror=alert(1)>" in "".join(tags.texts)
    assert "\u202e" not in html
    assert external(html) == []


def test_answers_stand_beside_their_wordings():
    html = views.answers(full_board())
    assert html.count('class="se-card se-member"') == 2
    assert html.index("who wrote hamlet?") < html.index("hamlet is by")
    assert "mean log-probability -0.50" in html
    assert "(no text)" in html  # the second wording said nothing, to the end


def test_the_mask_is_that_of_the_lengths_in_a_frame_that_may_do_nothing_else():
    html = views.mask(Lengths(prefix=1, segments=[2, 3], cue=1, generated=1))
    (attributes,) = [dict(attrs) for tag, attrs in _all(html) if tag == "iframe"]
    assert attributes["sandbox"] == "allow-scripts"
    # prefix 1; segments read it and themselves (2+1, 3+...); the tail reads all before.
    pairs = 1 + (2 + 3) + (2 + 3 + 4) + 7 + 8
    assert f"8 tokens, {pairs} pairs" in attributes["srcdoc"]
    assert external(attributes["srcdoc"]) == []


def test_a_mask_that_is_too_large_is_not_drawn():
    assert "Not drawn: 8,194 tokens" in views.mask(
        Lengths(prefix=8192, segments=[1], cue=1, generated=0)
    )


def _all(html):
    found = []

    class All(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, attrs))

    All().feed(html)
    return found
