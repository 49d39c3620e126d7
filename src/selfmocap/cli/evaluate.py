"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT
from selfmocap.cli.progress import show_progress


def evaluate_command(
    estimates: Annotated[Positional[Path], arg(metavar="ESTIMATES")],
    truth: Annotated[Positional[Path], arg(metavar="TRUTH")],
    json_out: Path | None = None,
    smpl_model: Path | None = None,
) -> None:
    """Score estimated motions against true ones, and print a table.

    Args:
        estimates: A motion.npz, AMASS .npz or 3DPW .pkl file, or a folder of them.
        truth: The same; a clip has the same path in both folders. Or Penn Action's folder, for PCK.
        json_out: JSON file for the scores.
        smpl_model: Your own SMPL file, or a folder with one per gender, for AMASS and 3DPW.
    """
    from selfmocap.evaluation.evaluate import score_table
    from selfmocap.evaluation.pck import evaluate_any
    from selfmocap.io.files import write_json

    with show_progress() as progress:
        scores = evaluate_any(estimates, truth, smpl_model, progress)
    if json_out is not None:
        write_json(json_out, scores, indent=1)
    OUTPUT.print(score_table(scores), soft_wrap=False)
