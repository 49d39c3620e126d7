import numpy as np
import pytest
import torch

from selfmocap.synthetic.image_scene import augment_images, half_size, jitter_crop_colours


def test_some_frames_have_no_crop_or_mask() -> None:
    crops, masks = augment_images(
        torch.Generator().manual_seed(0),
        torch.full((2000, 1, 8, 8, 3), 120, dtype=torch.uint8),
        torch.ones(2000, 1, 8, 8) > 0,
    )
    crop, mask = ((image != 0).flatten(1).any(-1) for image in (crops, masks))
    assert (~crop).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (~mask).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (~crop & ~mask).float().mean() == pytest.approx(0.15, abs=0.03)


def test_images_are_halved_and_their_colours_jittered() -> None:
    image = np.zeros((1, 1, 4, 4, 3), np.uint8)
    image[..., :2, :2, :], image[..., 0, 2, :] = 200, 100
    assert half_size(image)[0, 0, 0, :, 0].tolist() == [200, 25]
    mask = np.array([[[[True, True, False, False], [False, False, True, False], *[[False] * 4] * 2]]])
    assert half_size(mask)[0, 0].tolist() == [[True, False], [False, False]]
    crops = torch.randint(
        0, 255, (64, 1, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    again = jitter_crop_colours(torch.Generator().manual_seed(1), crops)
    assert again.dtype == torch.uint8 and again.shape == crops.shape
    assert torch.equal(again, jitter_crop_colours(torch.Generator().manual_seed(1), crops))
    alike = [
        np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(crops.numpy(), again.numpy(), strict=True)
    ]
    assert 0.5 < np.median(alike) < 1
