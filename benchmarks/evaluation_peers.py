"""Times on one pair whichever of lesionwise, panoptica and MetricsReloaded can be imported.

Called by evaluation.py, in an environment that has them; prints one line of JSON. Each times what
it shares with lesionwise, masks in memory, whole volumes: lesions matched by overlap, Dice, HD95
and average symmetric surface distance.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def main(truth_path: str, prediction_path: str, repeats: int) -> None:
    images = [nib.load(path) for path in (truth_path, prediction_path)]
    truth, prediction = (np.ascontiguousarray(np.asanyarray(i.dataobj) > 0) for i in images)
    spacing_mm = tuple(float(zoom) for zoom in images[0].header.get_zooms()[:3])
    timed: dict[str, Callable[[], str]] = {}
    if importlib.util.find_spec("segnet"):
        timed["lesionwise, as panoptica"] = lambda: _ours(truth, prediction, spacing_mm, True)
        timed["lesionwise, as MetricsReloaded"] = lambda: _ours(
            truth, prediction, spacing_mm, False
        )
    if importlib.util.find_spec("panoptica"):
        timed["panoptica"] = lambda: _panoptica(truth, prediction, spacing_mm)
    if importlib.util.find_spec("MetricsReloaded"):
        timed["MetricsReloaded"] = lambda: _metrics_reloaded(truth, prediction, spacing_mm)
    answers = {}
    for name, action in timed.items():
        values, taken = action(), []
        for _ in range(repeats):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
        answers[name] = {"seconds": sorted(taken)[repeats // 2], "values": values}
    print(json.dumps(answers))


def _ours(truth: Any, prediction: Any, spacing_mm: Any, with_lesions: bool) -> str:
    from datagen.boxes import foreground_box
    from datagen.lesions import match_lesions, score_lesions
    from datagen.volumes import Grid
    from segnet.evaluation.lesion_rows import list_lesions
    from segnet.evaluation.surfaces import score_surfaces
    from segnet.evaluation.voxelwise import score_voxels

    box = foreground_box(truth | prediction)
    pair = np.ascontiguousarray(truth[box]), np.ascontiguousarray(prediction[box])
    voxels, surfaces = score_voxels(*pair, 1.0), score_surfaces(*pair, spacing_mm)
    counts = ""
    if with_lesions:
        score = score_lesions(*pair, "overlap", spacing_mm)
        grid = Grid(pair[0].shape, np.diag([*spacing_mm, 1.0]))
        matching = match_lesions(*pair, "overlap", spacing_mm)
        rows = list_lesions("case", "method", "overlap", matching, grid, None)
        counts = f"{len(rows)} lesions, {score.truth_hits} hit, "
    return (
        f"{counts}Dice {voxels.dice:.4f}, HD95 {surfaces.hd95_mm:.3f}, ASSD {surfaces.assd_mm:.3f}"
    )


def _panoptica(truth: Any, prediction: Any, spacing_mm: Any) -> str:
    import panoptica as p

    p.disable_citation_reminder()
    metrics = [p.Metric.DSC, p.Metric.HD95, p.Metric.ASSD]
    evaluator = p.Panoptica_Evaluator(
        expected_input=p.InputType.SEMANTIC,
        instance_approximator=p.ConnectedComponentsInstanceApproximator(),
        instance_matcher=p.NaiveThresholdMatching(matching_threshold=1e-6),
        instance_metrics=[p.Metric.DSC],
        global_metrics=metrics,
    )
    result = evaluator.evaluate(
        prediction.astype(np.uint8), truth.astype(np.uint8), voxelspacing=spacing_mm
    )
    result = result["ungrouped"] if isinstance(result, dict) else result
    return (
        f"{result.n_ref_instances + result.n_pred_instances} lesions, {result.tp} matched, "
        f"Dice {result.global_bin_dsc:.4f}, HD95 {result.global_bin_hd95:.3f}, "
        f"ASSD {result.global_bin_assd:.3f}"
    )


def _metrics_reloaded(truth: Any, prediction: Any, spacing_mm: Any) -> str:
    from MetricsReloaded.metrics.pairwise_measures import BinaryPairwiseMeasures

    measures = BinaryPairwiseMeasures(
        prediction.astype(np.uint8),
        truth.astype(np.uint8),
        measures=["dsc", "hd_perc", "assd"],
        pixdim=list(spacing_mm),
        dict_args={"hd_perc": 95},
    )
    values = measures.to_dict_meas()
    return ", ".join(f"{name} {float(value):.4f}" for name, value in values.items())


if __name__ == "__main__":
    main(str(Path(sys.argv[1])), str(Path(sys.argv[2])), int(sys.argv[3]))
