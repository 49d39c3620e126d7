"""Progress without a terminal."""

import io

from rich.console import Console

from selfmocap.cli.progress import PlainProgress, show_progress


def test_plain_lines_at_start_finish_and_every_ten_seconds() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = PlainProgress(stream, lambda: now[0])
    for frame in range(26):
        progress.report("track", frame, 25)
        now[0] += 1.0
    progress.report("download", 1, 0)
    progress.report("download", 2, 0)
    progress.close()
    assert stream.getvalue().splitlines() == [
        "track: 0/25", "track: 10/25", "track: 20/25", "track: 25/25", "download: 1", "download: 2",
    ]  # fmt: skip


def test_a_stage_can_start_again() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream, lambda: 0.0)
    for _ in range(2):
        for step in (1, 2, 3):
            progress.report("refine", step, 3)
    progress.close()
    assert stream.getvalue().splitlines() == ["refine: 1/3", "refine: 3/3"] * 2


def test_progress_is_plain_without_a_terminal_and_bars_on_one() -> None:
    stream = io.StringIO()
    with show_progress(Console(file=stream, force_terminal=False)) as progress:
        progress("observe", 1, 2)
    assert stream.getvalue() == "observe: 1/2\n"
