"""The file of the playground: what is written is read back, and what is none is refused."""

import json

import pytest

pytest.importorskip("pydantic", reason="needs the extra playground")

from self_ensemble.errors import UserError
from self_ensemble.playground import board as boards
from self_ensemble.playground.board import Asked, Board, Gate, Lengths, Refusal, Said, Strip

WORDINGS = ["who wrote hamlet?", "hamlet is by </script><b>whom</b>? \U0001f914"]


def full_board() -> Board:
    return Board(
        model="tiny",
        asked=Asked(wordings=WORDINGS, methods=["avg", "vote"], style="plain", max_tokens=8),
        gate=Gate(
            original=WORDINGS[0], kept=[WORDINGS[1]],
            refused=[Refusal(text="", reason="empty")],
        ),
        members=[Said(text="a", logprob=-0.5, is_whole=True), Said(is_whole=True)],
        fused={"avg": Said(text="b\nc", logprob=-1.0, is_whole=True)},
        strips=[Strip(kind="leave_one_out", method="avg", tokens=["b"], values=[[0.5, -0.5]],
                      total=[0.5, -0.5])],
        lengths=Lengths(prefix=0, segments=[3, 4], cue=2, generated=1),
    )  # fmt: skip


def changed(**values: object) -> str:
    found = json.loads(boards.write(full_board()))
    return json.dumps(found | values)


def test_what_is_written_is_read_back():
    assert boards.read(boards.write(full_board())) == full_board()


def test_a_board_without_answers_is_read_back():
    board = Board(model="tiny", asked=full_board().asked)
    assert boards.read(boards.write(board)) == board


def asked(**values: object) -> dict[str, object]:
    return full_board().asked.model_dump() | values


def strip(**values: object) -> list[dict[str, object]]:
    return [full_board().strips[0].model_dump() | values]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no \"format\""),
        ("{}", "no \"format\""),
        (changed(format="self-ensemble playground 2"), "no \"format\""),
        (" " * (boards.MAX_FILE + 1), "larger than 512 KiB"),
        (changed(more=1), "more: Extra inputs"),
        (changed(model=""), "model: String should have at least 1"),
        (changed(asked=asked(wordings=[])), "asked.wordings: List should have at least 1"),
        (changed(asked=asked(wordings=["a"] * 17)), "asked.wordings: List should have at most 16"),
        (changed(asked=asked(wordings=["a\nb", "c"])), "asked.wordings.0: a wording is one line"),
        (changed(asked=asked(max_tokens=10**9)), "asked.max_tokens: Input should be less"),
        (changed(asked=asked(max_tokens="8")), "asked.max_tokens: Input should be a valid int"),
        (changed(asked=asked(style="loud")), "asked.style: Input should be 'chat' or 'plain'"),
        (changed(members=[{}]), "1 members for 2 wordings"),
        (changed(fused={"max": {}}), "answers of methods that were not asked"),
        (changed(strips=strip(values=[])), "values are needed for each of the tokens"),
        (changed(strips=strip(values=[[1.0]])), "each token needs a value of each wording"),
        (changed(strips=strip(values=[[1.0]], total=[1.0])), "strips need values of 2 wordings"),
        (changed(strips=strip(total=[float("nan"), 1.0])), "finite number"),
        (changed(lengths={"prefix": 0, "segments": [1], "cue": 1, "generated": 0}),
         "lengths need 2 segments"),
        (changed(lengths={"prefix": 0, "segments": [1, 10**9], "cue": 1, "generated": 0}),
         "lengths.segments.1: Input should be less"),
    ],
)  # fmt: skip
def test_what_is_no_board_is_refused_in_one_line(text, said):
    with pytest.raises(UserError) as found:
        boards.read(text)
    assert said in str(found.value)
    assert len(str(found.value).splitlines()) == 1
    assert len(str(found.value)) < 300


def test_a_refusal_repeats_nothing_of_the_file_but_names_of_fields():
    with pytest.raises(UserError) as found:
        boards.read(changed(asked=asked(style="<b>secret</b>")))
    assert "secret" not in str(found.value)


def test_the_largest_answers_of_the_page_fit_into_a_file():
    number, tokens = boards.MAX_WORDINGS, boards.MAX_TOKENS
    methods = [f"method {n}" for n in range(3)]
    strips = [
        Strip(kind="leave_one_out", method=name, tokens=["\u00e4bcdef"] * tokens,
              values=[[-12.3456] * number] * tokens, total=[-12.3456] * number)
        for name in methods
    ]  # fmt: skip
    board = Board(
        model="tiny",
        asked=Asked(wordings=["w" * 100] * number, methods=methods, style="chat",
                    max_tokens=tokens),
        strips=strips,
    )  # fmt: skip
    assert boards.read(boards.write(board)) == board


def test_what_is_typed_is_asked_line_by_line():
    values = {"methods": ["avg"], "style": "plain", "max_tokens": 8}
    found = boards.asked_of(" a? ", "b?\n\n  c?\n", **values)
    assert found.wordings == ["a?", "b?", "c?"]
    with pytest.raises(UserError, match="no question"):
        boards.asked_of(" ", "b?", **values)
    with pytest.raises(UserError, match=r"wordings: List should have at most 16 items"):
        boards.asked_of("a?", "b?\n" * 16, **values)
    with pytest.raises(UserError, match=r"methods: List should have at least 1 item"):
        boards.asked_of("a?", "", **(values | {"methods": []}))


def test_wordings_that_were_made_of_another_question_are_left_out():
    board = full_board()
    assert boards.gate_of(board.asked, board.gate.model_dump_json()) == board.gate
    other = board.gate.model_copy(update={"original": "another?"})
    assert boards.gate_of(board.asked, other.model_dump_json()) is None
    assert boards.gate_of(board.asked, "") is None
    with pytest.raises(UserError, match="Not asked"):
        boards.gate_of(board.asked, "{")
