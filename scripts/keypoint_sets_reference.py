"""Write the tables of all keypoint sets, in Markdown, from `selfmocap.body_model.skeleton`.

MkDocs calls `on_page_markdown` at every build (see mkdocs.yml).

python scripts/keypoint_sets_reference.py
"""

from typing import Any

MARK = "<!-- keypoint-sets -->"
"""The place in a page where the tables go."""


def tables() -> str:
    """Return one table per keypoint set: index, name and body landmarks of each keypoint."""
    from selfmocap.body_model.skeleton import HAND_KEYPOINTS, KEYPOINT_SETS

    lines: list[str] = []
    for points in (*KEYPOINT_SETS.values(), HAND_KEYPOINTS):
        lines += [f"## {points.name}", "", f"{len(points.names)} keypoints.", ""]
        lines += ["| index | name | landmarks |", "|---|---|---|"]
        for index, (keypoint, landmarks) in enumerate(zip(points.names, points.landmarks, strict=True)):
            lines.append(
                f"| {index} | `{keypoint}` | {', '.join(f'`{landmark}`' for landmark in landmarks)} |"
            )
        lines.append("")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables in their place in a page of the documentation (an event of MkDocs)."""
    return markdown.replace(MARK, tables()) if MARK in markdown else markdown


if __name__ == "__main__":
    print(tables())
