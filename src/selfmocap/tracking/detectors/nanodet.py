"""NanoDet: find the boxes of people in an image, also small and crowded ones (RangiLyu 2020, NanoDet-m 416).

An anchor-free detector. Each cell of three grids gives a score per class, and a distribution over the distances from
its centre to the four sides of the box (Li et al. 2020, arXiv:2006.04388)."""

import numpy as np
from jaxtyping import Float, Float32

from selfmocap.tracking.detectors.litert import litert_model
from selfmocap.tracking.detectors.window import RgbImage, Window, box_overlap, crop_window

_INPUT_SIDE = 416
"""Side of the model's input, px."""
_STRIDES = (8, 16, 32)
"""Sides of a cell of the three grids, px of the input."""
_CLASSES, _PERSON = 80, 0
"""Classes of COCO; the index of people among them."""
_BINS = 11
"""Distances that a side of a box may have: 0 to 10 cells."""
_MAX_OVERLAP = 0.6
"""Intersection over union from which two boxes hold the same person."""
_MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)
_SCALE_BGR = np.array([57.375, 57.12, 58.395], np.float32)
"""Mean and standard deviation of the images that the model was trained on."""


class NanoDet:
    """NanoDet's detector of people."""

    def __init__(self) -> None:
        self._model = litert_model("nanodet")

    def detect_people(
        self, image: RgbImage, region: Window | None, min_score: float
    ) -> tuple[Float[np.ndarray, "people 4"], Float[np.ndarray, " people"]]:
        """Detect people in an upright square region of an image, or in the whole image if it is None.

        Returns boxes (left, top, right, bottom; px of the image) and scores (in [min_score, 1]), best first."""
        height, width = image.shape[:2]
        region = region or Window((width - 1) / 2, (height - 1) / 2, float(max(width, height)))
        assert region.angle == 0, "boxes are upright"
        crop = crop_window(image, region, _INPUT_SIDE)[:, :, ::-1]
        outputs = self._model(
            np.ascontiguousarray(((crop - _MEAN_BGR) / _SCALE_BGR).transpose(2, 0, 1)[None])
        )
        boxes, scores = _decode({output.shape[1:]: output[0] for output in outputs.values()}, min_score)
        kept = _best_of_overlapping(boxes, scores)
        return region.to_image(boxes[kept].reshape(-1, 2) / _INPUT_SIDE).reshape(-1, 4), scores[kept]


def _decode(
    outputs: dict[tuple[int, ...], Float32[np.ndarray, "cells values"]], min_score: float
) -> tuple[Float[np.ndarray, "boxes 4"], Float[np.ndarray, " boxes"]]:
    """Return boxes (px of the input) and scores of the cells that may hold people; outputs are given by shape."""
    boxes, scores = [], []
    for stride in _STRIDES:
        cells = _INPUT_SIDE // stride
        people = outputs[cells * cells, _CLASSES][:, _PERSON]
        chosen = np.flatnonzero(people >= min_score)
        logits = outputs[cells * cells, 4 * _BINS][chosen].reshape(-1, 4, _BINS)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        distances = stride * (weights @ np.arange(_BINS)) / weights.sum(axis=-1)
        centers = stride * (np.stack([chosen % cells, chosen // cells], axis=-1) + 0.5)
        boxes.append(np.concatenate([centers - distances[:, :2], centers + distances[:, 2:]], axis=-1))
        scores.append(people[chosen])
    return np.concatenate(boxes), np.concatenate(scores)


def _best_of_overlapping(
    boxes: Float[np.ndarray, "boxes 4"], scores: Float[np.ndarray, " boxes"]
) -> list[int]:
    """Return the indices of boxes that no better box overlaps, best first (greedy non-maximum suppression)."""
    kept: list[int] = []
    for candidate in np.argsort(-scores, kind="stable"):
        if (box_overlap(boxes[candidate], boxes[kept]) < _MAX_OVERLAP).all():
            kept.append(int(candidate))
    return kept
