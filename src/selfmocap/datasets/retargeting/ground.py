"""Contact of a moving body with the ground."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT

CONTACT_FRACTION = 0.05
"""Fraction of a recording's frames in which a part of the person touches the ground, or penetrates it by an error of
the recording."""
_SOLE = 0.012
"""Metres above the ground in the rest pose."""
_EVERY_VERTEX = 80


def contact_body(body: Body) -> Body:
    """Return the body with only the vertices that may touch the ground: the soles, and every 80th of the others."""
    height = body.v_template.unflatten(0, (3, -1))[1]
    feet = torch.isin(
        body.vertex_joint,
        torch.tensor([JOINT[f"{s}_{p}"] for s in ("left", "right") for p in ("ankle", "foot")]),
    )
    sole = torch.nonzero(feet & (height < height.min() + _SOLE)).flatten()
    return body.with_vertices(
        torch.unique(torch.cat([sole[::3], torch.arange(0, len(height), _EVERY_VERTEX)]))
    )


def lowest_height(body: Body, parameters: BodyParameters) -> Float[Tensor, " time"]:
    """Compute the height (y, metres) of the body's lowest point in each frame, to a centimetre."""
    points = contact_body(body)
    shaped = points.shape(parameters.betas)
    with torch.no_grad():
        return shaped.pose(parameters.R_parent_joint, parameters.p_world_root).vertices[..., 1].amin(-1)


def put_on_ground(parameters: BodyParameters, lowest: Float[Tensor, " time"]) -> BodyParameters:
    """Shift the whole motion vertically so that its lowest frames stand on y = 0."""
    floor = torch.quantile(lowest, CONTACT_FRACTION)
    up = torch.tensor([0.0, 1.0, 0.0]).to(parameters.p_world_root)
    return replace(parameters, p_world_root=parameters.p_world_root - floor * up)
