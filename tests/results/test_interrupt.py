import signal

import pytest

from self_ensemble.results.interrupt import finish_batch_on_signal


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_the_batch_finish(number, code):
    batches = []
    with finish_batch_on_signal() as interruption:
        for batch in range(5):
            if batch == 2:
                signal.raise_signal(number)
            batches.append(batch)
            if interruption.received is not None:
                break
    assert batches == [0, 1, 2]
    assert interruption.received == number
    assert interruption.exit_code == code


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_at_once(second):
    with finish_batch_on_signal() as interruption:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert interruption.exit_code == 143


def test_without_a_signal_nothing_is_reported():
    with finish_batch_on_signal() as interruption:
        pass
    assert interruption.received is None
    assert interruption.exit_code == 0


def fail_in_the_block():
    with finish_batch_on_signal():
        raise RuntimeError


def test_the_handlers_are_put_back_even_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError):
        fail_in_the_block()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
