"""Camera motion: the background's shift, whatever people do, and scene cuts."""

import numpy as np

from selfmocap.tracking.camera_motion import background_shift, grey_thumbnail, show_different_scenes
from selfmocap.tracking.detectors.window import Window
from tests.helpers.stick_figures import HEIGHT, RED, WIDTH, blocks, filmed, landscape, scene


def test_the_shift_is_the_cameras_and_not_the_peoples() -> None:
    background = landscape()
    before = filmed(background, 100, {RED: (160.0, 100.0)})
    after = filmed(background, 109, {RED: (170.0, 100.0)})
    window = Window(160.0, 125.0, 120.0)
    shift = background_shift(grey_thumbnail(before), grey_thumbnail(after), WIDTH, [window])
    np.testing.assert_allclose(shift, (-9.0, 0.0), atol=0.3)
    assert not show_different_scenes(grey_thumbnail(before), grey_thumbnail(after))
    assert show_different_scenes(*(grey_thumbnail(blocks(seed)[:, :WIDTH]) for seed in (0, 1)))
    plain = grey_thumbnail(scene({RED: (100.0, 100.0)})), grey_thumbnail(scene({RED: (104.0, 100.0)}))
    assert background_shift(*plain, WIDTH, []) == (0.0, 0.0) and not show_different_scenes(*plain)
    everywhere = [Window(WIDTH / 2, HEIGHT / 2, 4.0 * WIDTH)]
    assert background_shift(grey_thumbnail(before), grey_thumbnail(after), WIDTH, everywhere) == (0.0, 0.0)
