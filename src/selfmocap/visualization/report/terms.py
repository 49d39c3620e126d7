"""Terms of the report that are explained on hover and by keyboard focus."""

from html import escape

EXPLANATIONS = {
    "Held-out reprojection error": "Distance between the projected body and detected keypoints that the fit did not "
    "use, in pixels of a picture of the person that is 128 pixels wide. It shows whether the fit can be trusted.",
    "Keypoint residual": "Distance between the projected body and all detected keypoints, in pixels of a picture of "
    "the person that is 128 pixels wide.",
    "Mask overlap (IoU)": "Area in which the drawn body and the person's outline agree, over the area that either "
    "covers: 1 is a perfect match.",
    "Optical-flow residual": "Difference between how the body moves in the picture and how its pixels move.",
    "Jitter": "Mean third derivative of the joints' positions. Low is smooth.",
    "Foot slide": "How far feet move that should stand, per frame.",
    "Low-confidence frames": "Frames in which the detector was unsure, the body is far from the keypoints, or the "
    "motion is interpolated.",
    "Stature": "Height of the person, which sets the scale of the whole motion. Give it by --height.",
    "Focal length": "How strongly the camera magnifies. A wrong one moves people in depth. Give it by --focal.",
    "Camera": "Whether the camera stands still. Give --static-camera yes or no where this is wrong.",
    "Floor": "The level ground, y = 0, on which feet are put and held.",
}


def term(name: str) -> str:
    """Return a term as HTML, with its explanation if it has one."""
    text = EXPLANATIONS.get(name)
    if text is None:
        return escape(name)
    attributes = f'tabindex="0" data-explanation="{escape(text)}" aria-description="{escape(text)}"'
    return f'<span class="term" {attributes}>{escape(name)}</span>'
