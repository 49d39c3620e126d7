"""Draw the rooms of the package, their layers and the imports between them: docs/architecture.png.

The layers come from the import contract in pyproject.toml, the arrows from the imports in the code. An import that a
chain of drawn ones implies is not drawn.

python scripts/architecture_picture.py docs/architecture.png
"""

import pathlib
import sys

import grimp
import networkx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "selfmocap"
SUBTITLES = {
    "cli": "commands, progress bars",
    "app": "the page in the browser",
    "evaluation": "scores, the papers' tables",
    "pipeline": "video to animation",
    "training": "frame and temporal networks",
    "adaptation": "test-time adaptation, fitting",
    "visualization": "overlay, report, viewer",
    "losses": "what is minimised and scored",
    "synthetic": "synthetic people, with truth",
    "models": "networks, checkpoints",
    "export": "BVH, GLB, USD, SMPL, tables",
    "datasets": "readers, retargeting",
    "tracking": "video to observations",
    "body_model": "SMPL's equation, Motion",
    "geometry": "camera, rotations, kernels",
    "io": "files, video",
}
COLOURS = ("#264653", "#2a6f77", "#2a9d8f", "#5aa883", "#8ab17d", "#c9b458", "#e9a34e", "#ec8a4f", "#e76f51")
WIDTH, HEIGHT = 2.5, 0.72
"""Of a box, in units of the drawing."""
COLUMN, ROW, GAP, LANE = 3.5, 1.25, 0.3, 0.2
"""Distances between the centres of neighbouring boxes, from a box to an arrow that passes it, and between arrows."""
LEFT, RIGHT = -6.6, 6.0
COLUMNS = {
    "cli": 0.0, "app": -0.6, "evaluation": 0.9, "pipeline": -0.6, "training": 1.1, "visualization": -1.2,
    "adaptation": 0.1, "losses": 0.1, "synthetic": 1.2, "export": -1.2, "models": 0.0, "datasets": 1.2, "tracking": 0.3,
    "body_model": -0.3, "geometry": -0.7, "io": 0.5,
}  # fmt: skip
"""Where rooms stand in their rows; a room that is not named here gets the usual place."""


def layers_of_contract() -> list[list[str]]:
    """Return the rooms of each layer of the import contract, the highest layer first."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def imports_between(rooms: set[str]) -> dict[tuple[str, str], int]:
    """Return how many modules of a room import from another room, for each pair of rooms with such imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    pairs = {
        (module, imported.split(".")[1])
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if "." in module and "." in imported
    }
    counts: dict[tuple[str, str], int] = {}
    for module, target in pairs:
        source = module.split(".")[1]
        if source != target and {source, target} <= rooms:
            counts[source, target] = counts.get((source, target), 0) + 1
    return counts


def sizes_of(rooms: set[str]) -> dict[str, tuple[int, int]]:
    """Return the numbers of modules and of lines of each room."""
    sizes = {}
    for room in rooms:
        files = [path for path in (ROOT / "src" / PACKAGE / room).rglob("*.py") if path.name != "__init__.py"]
        sizes[room] = len(files), sum(len(path.read_text().splitlines()) for path in files)
    return sizes


def positions_of(layers: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Return the centre of each room's box."""
    at = {}
    for row, layer in enumerate(layers):
        for number, room in enumerate(layer):
            column = COLUMNS.get(room, number - (len(layer) - 1) / 2)
            at[room] = column * COLUMN, -row * ROW
    return at


def route(
    source: str, target: str, at: dict[str, tuple[float, float]], taken: set[tuple[int, float]]
) -> list[tuple[float, float]]:
    """Return the corners of an arrow between two boxes. It passes the rows between in gaps between their boxes, beside
    the arrows in `taken`, to which it is added."""
    (x0, y0), (x1, y1) = at[source], at[target]
    lean = 0.3 * WIDTH * max(-1.0, min(1.0, (x1 - x0) / COLUMN))
    start, end = (x0 + lean, y0 - HEIGHT / 2), (x1 - lean, y1 + HEIGHT / 2)
    points = [start]
    for row in range(round(-y0 / ROW) + 1, round(-y1 / ROW)):
        y, side = -row * ROW, 1
        x = start[0] + (end[0] - start[0]) * (start[1] - y) / (start[1] - end[1])
        for bx in sorted(bx for bx, by in at.values() if round(-by / ROW) == row):
            if abs(x - bx) < WIDTH / 2 + GAP:
                side = 1 if x >= bx else -1
                x = bx + (WIDTH / 2 + GAP) * side
        while any(other == row and abs(x - taken_x) < LANE for other, taken_x in taken):
            x += LANE * side
        taken.add((row, x))
        points += [(x, y + HEIGHT / 2), (x, y - HEIGHT / 2)]
    return [*points, end]


def draw_arrow(axes: Axes, corners: list[tuple[float, float]]) -> None:
    """Draw a smooth arrow through `corners`: straight beside boxes, curved between rows."""
    vertices, codes = [corners[0]], [Path.MOVETO]
    for number, (x, y) in enumerate(corners[1:]):
        before_x, before_y = vertices[-1]
        if number % 2 == 0:
            middle = (before_y + y) / 2
            vertices += [(before_x, middle), (x, middle), (x, y)]
            codes += [Path.CURVE4] * 3
        else:
            vertices.append((x, y))
            codes.append(Path.LINETO)
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.4, "color": "#4b5b76", "zorder": 2}
    axes.add_patch(FancyArrowPatch(path=Path(vertices, codes), **style))


def draw_box(axes: Axes, room: str, at: tuple[float, float], colour: str, size: tuple[int, int]) -> None:
    """Draw a room as a box with its name, its purpose and its size."""
    (x, y), (modules, lines) = at, size
    corner = x - WIDTH / 2, y - HEIGHT / 2
    style = "round,pad=0,rounding_size=0.1"
    axes.add_patch(
        FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, facecolor=colour, edgecolor="none", zorder=3)
    )
    text = {"ha": "center", "va": "center", "color": "white", "zorder": 4}
    axes.text(x, y + 0.17, room, fontsize=12.5, fontweight="bold", **text)
    axes.text(x, y - 0.05, SUBTITLES[room], fontsize=8, **text)
    axes.text(x, y - 0.23, f"{modules} modules, {lines:,} lines", fontsize=6.5, **text)


def draw(path: pathlib.Path) -> None:
    """Write the picture to `path`."""
    layers = layers_of_contract()
    rooms = {room for layer in layers for room in layer}
    edges = imports_between(rooms)
    shown = sorted(networkx.transitive_reduction(networkx.DiGraph(sorted(edges))).edges)
    at, sizes = positions_of(layers), sizes_of(rooms)
    figure = Figure(figsize=(9.6, 8.7), layout="constrained", facecolor="white")
    axes = figure.subplots()
    taken: set[tuple[int, float]] = set()
    for source, target in shown:
        draw_arrow(axes, route(source, target, at, taken))
    for row, layer in enumerate(layers):
        y = -row * ROW
        axes.axhspan(y - HEIGHT / 2 - 0.1, y + HEIGHT / 2 + 0.1, color="#f3f4f6", zorder=0)
        axes.text(
            LEFT + 0.3, y, str(len(layers) - row), fontsize=12, color="#9aa3af", va="center", ha="center"
        )
        for room in layer:
            draw_box(axes, room, at[room], COLOURS[row % len(COLOURS)], sizes[room])
    axes.set(xlim=(LEFT, RIGHT), ylim=(-(len(layers) - 1) * ROW - 0.6, 0.6), aspect="equal")
    axes.set_axis_off()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    print(f"{len(shown)} of {len(edges)} imports between rooms are drawn; chains of these imply the others")


if __name__ == "__main__":
    draw(pathlib.Path(sys.argv[1]))
