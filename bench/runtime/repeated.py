"""Something short that is done again and again beside other work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call an action at once, and every so many seconds until the block ends.

    Args:
        action: what is called, in a thread of its own after the first time; it must not raise.
        seconds: between two calls.
    """
    action()
    stop = threading.Event()

    def keep_calling() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=keep_calling, name="repeated", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
