"""Something that is done again and again beside other work, and not after it."""

import threading

import pytest

from bench.runtime.repeated import repeated


def test_an_action_is_repeated_until_the_block_ends():
    calls: list[str] = []
    thrice = threading.Event()

    def act() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            thrice.set()

    with repeated(act, 0.001):
        assert thrice.wait(60)
    ended = len(calls)
    assert calls[0] == threading.current_thread().name  # at once
    assert all(thread.name != "repeated" for thread in threading.enumerate())
    assert len(calls) == ended


def test_an_error_of_the_block_ends_it():
    with pytest.raises(ValueError, match="of the block"), repeated(lambda: None, 3600):
        raise ValueError("of the block")
    assert all(thread.name != "repeated" for thread in threading.enumerate())
