"""The command `body`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT, bold


def body_command(
    out: Annotated[Path, arg(aliases=["-o"])],
    pose: str = "t",
    betas: tuple[float, ...] = (),
    model: Path | None = None,
    yaw: float = 20.0,
) -> None:
    """Pose the body and write an image or a mesh.

    Args:
        out: File to write: .png, .glb, .ply, .obj or .stl.
        pose: Name of a pose, a motion.npz (its first frame), or a .json file {joint: [x, y, z]} of rotation vectors in
            degrees.
        betas: Shape coefficients.
        model: Your own SMPL, SMPL-H or SMPL-X file (.npz, .pkl); None uses the default body.
        yaw: Rotation of the body about the vertical to its left, degrees, for an image.
    """
    from selfmocap.visualization.body_picture import write_posed_body

    write_posed_body(out, pose, betas, model, yaw)
    OUTPUT.print(f"wrote {bold(out)}")
