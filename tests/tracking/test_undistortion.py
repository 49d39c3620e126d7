import torch

from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.camera import CROP_SIZE, from_crop, to_crop
from selfmocap.geometry.lens import Lens
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.undistortion import undistort_observations

LENS = Lens((640, 360), (400.0, 400.0), (319.5, 179.5), (-0.3, 0.02))
POINTS = len(keypoint_set("coco-23").names)


def in_image(box: torch.Tensor) -> torch.Tensor:
    """The image's pixels of the crop's pixels."""
    side = torch.arange(float(CROP_SIZE))
    return from_crop(torch.cartesian_prod(side, side).flip(-1)[None], box)[0]


def pattern(pixels: torch.Tensor) -> torch.Tensor:
    """A smooth picture of the UNDISTORTED world, 0 to 255."""
    x, y = (pixels / 40).unbind(-1)
    return 127 + 60 * torch.sin(x) + 60 * torch.cos(1.3 * y)


def observed(shift: torch.Tensor) -> Observations:
    """What the lens shows of a world in which everything moves by `shift` (px, undistorted)."""
    frames = 3
    boxes = torch.tensor([[140.0, 110.0, 60.0], [320.0, 180.0, 80.0], [500.0, 250.0, 70.0]])
    world = (
        torch.rand(frames, POINTS, 2, generator=torch.Generator().manual_seed(0)) * 60
        + boxes[:, None, :2]
        - 30
    )
    crops, flow = [], []
    for box in boxes:
        bent = in_image(box[None])
        straight = LENS.undistort(bent)
        crops.append(pattern(straight).reshape(CROP_SIZE, CROP_SIZE, 1).expand(-1, -1, 3))
        moved = LENS.distort(straight + shift) - bent
        flow.append((moved * CROP_SIZE / (2 * box[2])).reshape(CROP_SIZE, CROP_SIZE, 2))
    images = torch.stack(crops).round().to(torch.uint8)
    return Observations(
        torch.arange(frames), torch.arange(frames).double() / 30, LENS.size, boxes, "coco-23", LENS.distort(world),
        torch.ones(frames, POINTS), crops=images, masks=images[..., 0] > 127,
        mask_certain=torch.ones(frames, CROP_SIZE, CROP_SIZE, dtype=torch.bool),
        flow=torch.stack(flow), flow_confidence=torch.ones(frames, CROP_SIZE, CROP_SIZE),
    )  # fmt: skip


def test_keypoints_images_and_flow_are_those_of_the_pinhole_camera() -> None:
    shift = torch.tensor([4.0, -3.0])
    before = observed(shift)
    after = undistort_observations(before, LENS)
    torch.testing.assert_close(LENS.distort(after.keypoints), before.keypoints, atol=0.01, rtol=0)
    assert (after.keypoints - before.keypoints).norm(dim=-1).max() > 5  # The lens bends.
    assert after.crops is not None and after.flow is not None and after.masks is not None
    inner = slice(16, CROP_SIZE - 16)  # Beyond the old window nothing is known.
    for row, box in enumerate(after.boxes):
        expected = pattern(in_image(box[None])).reshape(CROP_SIZE, CROP_SIZE)
        difference = (after.crops[row, ..., 0].float() - expected)[inner, inner].abs()
        assert difference.median() < 2 and difference.max() < 8
        px = after.flow[row] * 2 * box[2] / CROP_SIZE
        assert ((px - shift)[inner, inner].norm(dim=-1)).max() < 0.2
        agree = (after.masks[row] == (expected > 127))[inner, inner].float().mean()
        assert agree > 0.97


def test_a_pinhole_lens_changes_nothing() -> None:
    before = observed(torch.zeros(2))
    assert undistort_observations(before, Lens.pinhole(500.0, LENS.size)) is before


def test_keypoints_without_a_place_get_no_confidence() -> None:
    """The image reaches beyond the radius at which the distortion turns back."""
    lens = Lens((640, 360), (200.0, 200.0), (319.5, 179.5), (-0.3,))
    before = observed(torch.zeros(2))
    points = before.keypoints.clone()
    points[0, 0] = torch.tensor([639.0, 359.0])
    before.keypoints[0, 0] = points[0, 0]
    after = undistort_observations(before, lens)
    assert after.keypoint_confidence[0, 0] == 0 and after.keypoint_confidence[1].min() == 1
    assert after.keypoints.isfinite().all() and after.boxes.isfinite().all()
    window = to_crop(after.keypoints[1], after.boxes[1])
    assert ((window > 0) & (window < CROP_SIZE)).all()
