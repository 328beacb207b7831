"""What is handed out, and what becomes of a batch whose worker has died."""

import pytest

from self_ensemble.jobs.workers.batch_queue import Batch, BatchQueue, after_death
from self_ensemble.questions.schema import Question

QUESTIONS = tuple(Question(f"q{n}", (f"Who built bridge {n}?",), ("x",)) for n in range(7))


def taken(queue: BatchQueue) -> list[str]:
    """Batches, as the digits of their questions, until there is none."""
    batches = iter(queue.take, None)
    return ["".join(q.uuid[1] for q in batch.questions) for batch in batches]


def test_a_queue_gives_every_question_once_in_order() -> None:
    queue = BatchQueue(QUESTIONS, 3)
    assert not queue.empty
    assert taken(queue) == ["012", "345", "6"]
    assert queue.empty


def test_what_comes_back_goes_first_and_is_cut_to_the_present_size() -> None:
    queue = BatchQueue(QUESTIONS, 4)
    first = queue.take()
    queue.put_back([first])
    assert not queue.empty
    queue.batch_size = 3
    assert taken(queue) == ["012", "3", "456"]


def test_what_came_back_last_goes_first_in_its_own_order() -> None:
    queue = BatchQueue((), 2)
    queue.put_back([Batch(QUESTIONS[:1])])
    queue.put_back([Batch(QUESTIONS[3:4]), Batch(QUESTIONS[2:3])])
    assert taken(queue) == ["3", "2", "0"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_splitting_leaves_the_one_question_that_kills_and_loses_none(size) -> None:
    questions = tuple(Question(f"q{n}", ("?",), ("x",)) for n in range(size))
    todo, answered, kills = [Batch(questions)], [], 0
    given_up = []
    while todo:
        batch = todo.pop(0)
        if batch.given_up is not None:
            given_up += [q.uuid for q in batch.questions]
        elif "q0" in {q.uuid for q in batch.questions}:
            kills += 1
            todo = after_death(batch, "killed") + todo
        else:
            answered += [q.uuid for q in batch.questions]
    assert given_up == ["q0"]
    assert sorted(answered) == sorted(q.uuid for q in questions[1:])
    # Two for the batch, one for each halving; the default of restarts is enough for one question.
    assert kills == 2 + (size - 1).bit_length()


def test_one_death_splits_nothing() -> None:
    (again,) = after_death(Batch(QUESTIONS), "killed")
    assert (again.questions, again.num_kills, again.given_up) == (QUESTIONS, 1, None)
