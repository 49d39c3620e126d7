"""Make the next items in a thread while one is used; decoding video releases the interpreter lock."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

_MAX_QUEUED = 3
"""Maximum number of items that are made and not yet used."""
_POLL_SECONDS = 0.1
"""Seconds between two checks whether the consumer has stopped."""


def prefetched(items: Iterable[_T]) -> Generator[_T, None, None]:
    """Yield items that a thread makes up to three ahead.

    An exception in the thread is raised here, at its position. The thread ends with the last item, or when the
    generator is closed."""
    made: queue.Queue[tuple[bool, _T | BaseException | None]] = queue.Queue(_MAX_QUEUED)
    cancelled = threading.Event()
    maker = threading.Thread(target=_make, args=(items, made, cancelled), daemon=True)
    maker.start()
    try:
        while True:
            more, item = made.get()
            if more:
                yield item  # pyright: ignore[reportReturnType] (an item, since there is more)
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        cancelled.set()
        maker.join()


def map_in_threads(function: Callable[[_T], _R], items: Iterable[_T]) -> Generator[_R, None, None]:
    """Yield `function` of each item, in order, computed by two threads."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[_R]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _make(items: Iterable[_T], made: queue.Queue, cancelled: threading.Event) -> None:
    end = None
    try:
        for item in items:
            if not _put((True, item), made, cancelled):
                return
    except BaseException as error:  # noqa: BLE001 (raised again in the consumer)
        end = error
    _put((False, end), made, cancelled)


def _put(item: tuple[bool, object], made: queue.Queue, cancelled: threading.Event) -> bool:
    while not cancelled.is_set():
        try:
            made.put(item, timeout=_POLL_SECONDS)
            return True
        except queue.Full:
            continue
    return False
