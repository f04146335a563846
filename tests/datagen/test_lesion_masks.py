"""What is taken for a mask of lesions, and what is not."""

import numpy as np
import pytest

from datagen.lesions import score_lesions


@pytest.fixture
def masks():
    """Two lesions of a truth, of which the prediction finds one."""
    truth = np.zeros((3, 3, 9), bool)
    truth[1, 1, :3] = truth[1, 1, 5:7] = True
    prediction = truth.copy()
    prediction[..., 5:] = False
    return truth, prediction


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_masks_of_0_and_1_are_masks(masks, dtype):
    score = score_lesions(*(mask.astype(dtype) for mask in masks))
    assert score == score_lesions(*masks)
    assert (score.truth_lesions, score.truth_hits) == (2, 1)


@pytest.mark.parametrize("value", [2, 256, 0.7, np.nan, -1])
def test_what_is_no_mask_is_refused(masks, value):
    truth, prediction = masks
    with pytest.raises(ValueError, match="a prediction of booleans, or of 0 and 1, is needed"):
        score_lesions(truth, np.where(prediction, value, 0))
    with pytest.raises(ValueError, match="a truth of booleans"):
        score_lesions(np.where(truth, value, 0), prediction)
