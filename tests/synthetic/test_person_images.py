"""Images of whole synthetic people."""

import numpy as np

from selfmocap.body_model.body import Body
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.synthetic.person_images import PersonImage, person_images

SIDE = 96


def people(body: Body) -> list[PersonImage]:
    cameras = CameraConfig(size=(SIDE, SIDE), distance=(4.0, 6.0))
    looks = AppearanceConfig(furniture=0.0)
    motions, backgrounds = procedural_motions(body), procedural_backgrounds()
    return list(person_images(3, cameras, looks, motions, backgrounds, body, "mediapipe-33", draws=8))


def test_people_lie_in_their_image(body: Body) -> None:
    drawn = people(body)
    assert 0 < len(drawn) <= 8
    for person in drawn:
        assert person.image.shape == (SIDE, SIDE, 3) and person.image.dtype == np.uint8
        assert ((person.keypoints > 0) & (person.keypoints < SIDE)).all()
        assert person.size == np.ptp(person.keypoints, axis=0).max()
        assert person.visible.sum() >= 8


def test_the_same_seed_gives_the_same_people(body: Body) -> None:
    for one, other in zip(people(body), people(body), strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.keypoints, other.keypoints)
