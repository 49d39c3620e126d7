"""Two systems' results on one video, side by side: a video and a page."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.atomic import atomic_write
from selfmocap.io.video import Video
from selfmocap.io.video_writer import write_video
from selfmocap.visualization.overlay import overlay_images

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
video { width: 100%; background: #000 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 1rem 0.3rem 0; text-align: right }
th:first-child, td:first-child { text-align: left }
.names { display: flex } .names p { flex: 1; margin: 0; font-weight: 600 }
"""


def write_comparison_video(
    path: Path,
    video: Video,
    left: tuple[Sequence[Motion], Body],
    right: tuple[Sequence[Motion], Body],
    progress: Callable[[int, int], None],
) -> None:
    """Write an mp4 with the bodies of `left` and of `right` over the same frames beside each other, atomically."""
    sides = (overlay_images(video, *left, progress), overlay_images(video, *right))
    frames = ((a[0], np.concatenate([a[1], b[1]], axis=1)) for a, b in zip(*sides, strict=True))
    write_video(path, frames, video.fps)


def write_comparison_page(
    path: Path,
    names: tuple[str, str],
    rows: Mapping[str, Sequence[Any]],
    notes: Sequence[str],
    video: str,
) -> None:
    """Write a page with the table `rows` (a title, and the cells of both systems) over the file `video` beside it,
    atomically."""
    body = "".join(
        f"<tr><td>{escape(title)}</td>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"
        for title, cells in rows.items()
    )
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{" and ".join(map(escape, names))}</title>
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<style>{_STYLE}</style></head><body>
<h1>{" and ".join(map(escape, names))}</h1>
<div class="names">{"".join(f"<p>{escape(name)}</p>" for name in names)}</div>
<video src="{escape(video)}" controls muted loop playsinline></video>
<table><tr><th></th>{heads}</tr>{body}</table>
{"".join(f"<p>{escape(note)}</p>" for note in notes)}
</body></html>
"""
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
