"""Making the next items while the last one is used: decoding leaves the interpreter free, so it costs no time then."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_ITEMS = 3
"""Made and not yet used, at most."""
_PATIENCE_S = 0.1
"""Between two looks at whether anybody still wants more."""


def prefetched(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items, made by a thread of their own up to three before they are asked for; what goes wrong there is
    raised here, in its place. The thread ends with the last item, or when the iterator is closed."""
    made: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(_ITEMS)
    unwanted = threading.Event()
    maker = threading.Thread(target=_make, args=(items, made, unwanted), daemon=True)
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
        unwanted.set()
        maker.join()


def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """What `function` makes of each item, in their order, by two threads."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _make(items: Iterable[T], made: queue.Queue, unwanted: threading.Event) -> None:
    end = None
    try:
        for item in items:
            if not _handed_over((True, item), made, unwanted):
                return
    except BaseException as error:  # noqa: BLE001 (it is raised again in the thread that asked)
        end = error
    _handed_over((False, end), made, unwanted)


def _handed_over(item: tuple[bool, object], made: queue.Queue, unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            made.put(item, timeout=_PATIENCE_S)
            return True
        except queue.Full:
            continue
    return False
