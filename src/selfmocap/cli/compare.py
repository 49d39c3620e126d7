"""The command `compare`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress


def compare_command(
    a: Annotated[Positional[Path], arg(metavar="A")],
    b: Annotated[Positional[Path], arg(metavar="B")],
    video: Path,
    out: Annotated[Path, arg(aliases=["-o"])],
    truth: Path | None = None,
    smpl_model: Path | None = None,
    focal: float | None = None,
) -> None:
    """Compare two systems' results on one video: a table, overlays beside each other, a page.

    Args:
        a: A capture's folder, or the result of another system (as for `refine`).
        b: The same of the other system.
        video: The video that both saw.
        out: Output folder.
        truth: True motion of the video: motion.npz, AMASS .npz, 3DPW .pkl, or a folder with one clip.
        smpl_model: Your own SMPL file, for the shapes of results.
        focal: Focal length of the video, px, for results without one.
    """
    from rich.table import Table

    from selfmocap.evaluation.compare import compare_results, comparison_rows

    with show_progress() as progress:
        result = compare_results(a, b, video, out, truth, smpl_model, focal, progress)
    table = Table("", *(system["name"] for system in result["systems"]))
    for title, cells in comparison_rows(result).items():
        table.add_row(title, *cells)
    OUTPUT.print(table)
    OUTPUT.print(f"{bold(out / 'compare.html')}")
