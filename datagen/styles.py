"""From a draft to a probability map as networks emit it: one function per style.

Each returns the map, in [0, 1], and the parameters that it drew.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from datagen.fields import blur, coarsen, smooth_noise
from datagen.perturb import Draft, hollow
from datagen.scene import Scene
from datagen.strokes import Stroke, capsule, logit, paint_logits, sigmoid

Style = Literal[
    "sharp",
    "blur",
    "distance",
    "coarse",
    "diffuse",
    "speckle",
    "ghosts",
    "faint",
    "confidence",
    "holes",
    "bridges",
    "constant",
]
STYLES: tuple[Style, ...] = get_args(Style)

_LEVEL = 5  # of 255: probabilities are stored in steps that the eye cannot tell apart
_MOST_GRAINS = 150
_MOST_BRIDGES = 4

Probability = Float32[np.ndarray, "d h w"]
Parameters = dict[str, int | float]


class Drawn(NamedTuple):
    """A probability map and the parameters behind it."""

    probability: Probability
    parameters: Parameters


def draw_style(style: str, scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Draw a draft in a style."""
    functions: dict[str, Callable[[Scene, Draft, np.random.Generator], Drawn]] = {
        "sharp": draw_sharp,
        "blur": draw_blurred,
        "distance": draw_distance,
        "coarse": draw_coarse,
        "diffuse": draw_diffuse,
        "speckle": draw_speckle,
        "ghosts": draw_ghosts,
        "faint": draw_faint,
        "confidence": draw_confidence,
        "holes": draw_holes,
        "bridges": draw_bridges,
        "constant": draw_constant,
    }
    return functions[style](scene, draft, rng)


def draw_sharp(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Hard edges, one even probability per lesion."""
    background = float(rng.uniform(0.0, 0.05)) if rng.random() < 0.3 else 0.0
    probability = sigmoid(paint_logits(draft.strokes, scene.shape))
    return Drawn(np.maximum(probability, np.float32(background)), {"background": background})


def draw_blurred(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """The published form: a Gaussian blur and small changes of intensity.

    Kamraoui et al. 2021, section 2.2; a deviation of 0.4 to 1.2 voxels, a gain of 0.9 to 1.1.
    """
    sigma, gain = float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.9, 1.1))
    # a found lesion that the blur would wipe out is not found: draw it thicker and surer
    thick = draft.at_least(1.3 * sigma)
    sure = [s._replace(peak=(1 + s.peak) / 2) for s in (*thick.false, *thick.found)]
    probability = blur(sigmoid(paint_logits([*draft.missed, *sure], scene.shape)), sigma)
    probability *= 1 + np.float32(0.05) * smooth_noise(scene.shape, 4, rng)
    probability *= np.float32(gain)
    return Drawn(np.clip(probability, 0, 1), {"sigma_voxels": sigma, "gain": gain})


def draw_distance(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Sigmoid of a scaled and shifted signed distance, with spatially correlated logit noise."""
    gain = float(rng.uniform(1.0, 6.0))
    shift, noise = float(rng.uniform(-0.3, 0.5)), float(rng.uniform(0.0, 0.8))
    strokes = [stroke._replace(growth=stroke.growth + shift) for stroke in draft.strokes]
    logits = paint_logits(strokes, scene.shape, gain, background=-6.0)
    logits += np.float32(noise) * smooth_noise(scene.shape, 4, rng)
    logits += np.float32(noise) * smooth_noise(scene.shape, 16, rng)
    return Drawn(sigmoid(logits), {"gain": gain, "shift_voxels": shift, "noise": noise})


def draw_coarse(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Logits of a coarse grid, interpolated linearly: what networks with a strided stem emit."""
    step, gain = int(rng.choice((2, 4), p=(0.7, 0.3))), float(rng.uniform(1.0, 4.0))
    # a coarse network draws a small lesion too large, or not at all
    solid = draft.at_least(0.8 * step)
    logits = coarsen(paint_logits(solid.strokes, scene.shape, gain, background=-5.0), step)
    logits += np.float32(0.3) * smooth_noise(scene.shape, 4 * step, rng)
    return Drawn(sigmoid(logits), {"step_voxels": step, "gain": gain})


def draw_diffuse(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """A half-confident background that swells and sinks, as in the first steps of a training."""
    level, swell = float(rng.uniform(-4.0, -0.9)), float(rng.uniform(0.2, 0.8))
    gain = float(rng.uniform(0.8, 4.0))
    logits = level + np.float32(swell) * smooth_noise(scene.shape, 16, rng)
    np.maximum(logits, paint_logits(draft.strokes, scene.shape, gain), out=logits)
    parameters = {"background": float(1 / (1 + np.exp(-level))), "swell": swell, "gain": gain}
    return Drawn(sigmoid(logits), parameters)


def draw_speckle(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Dust: false lesions are grains of one to three voxels, among many grains below one half."""
    gain, grains = float(rng.uniform(1.0, 8.0)), int(rng.integers(0, _MOST_GRAINS))
    solid = draft._replace(false=[])
    probability = sigmoid(paint_logits(solid.strokes, scene.shape, gain))
    peaks = np.concatenate(
        [rng.uniform(0.52, 1.0, len(draft.false)), rng.uniform(0.05, 0.45, grains)]
    )
    free = ~scene.truth
    for place, sides, peak in zip(*_grains(scene, peaks.size, rng), peaks, strict=True):
        grain = tuple(slice(at, at + side) for at, side in zip(place, sides, strict=True))
        here = probability[grain]
        np.maximum(here, np.float32(peak) * free[grain], out=here)
    return Drawn(probability, {"gain": gain, "faint_grains": grains, "grains": len(draft.false)})


def draw_ghosts(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Stable lesions shine through: some are taken for new ones, the others are seen faintly."""
    ghosts = [scene.stable[index] for index in rng.permutation(len(scene.stable))]
    # a ghost that touches the truth would be no false lesion
    ghosts = [ghost for ghost in ghosts if not _touches(ghost, scene)]
    mistaken = [
        ghost._replace(peak=false.peak) for ghost, false in zip(ghosts, draft.false, strict=False)
    ]
    faint = [
        ghost._replace(peak=float(rng.uniform(0.05, 0.35))) for ghost in ghosts[len(mistaken) :]
    ]
    haunted = Draft(draft.found, draft.missed + faint, mistaken + draft.false[len(mistaken) :])
    drawn = draw_distance(scene, haunted, rng)
    counts = {"ghosts": len(mistaken), "faint_ghosts": len(faint)}
    return Drawn(drawn.probability, {**drawn.parameters, **counts})


def draw_faint(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """All lesions within a tenth of the threshold, found ones above, missed ones below."""
    width = float(rng.uniform(0.02, 0.12))

    def near(strokes: list[Stroke], low: float) -> list[Stroke]:
        return [s._replace(peak=low + float(rng.uniform(0.004, width))) for s in strokes]

    faint = Draft(near(draft.found, 0.5), near(draft.missed, 0.5 - width), near(draft.false, 0.5))
    gain = float(rng.uniform(1.0, 8.0))
    probability = sigmoid(paint_logits(faint.strokes, scene.shape, gain))
    return Drawn(probability, {"width": width, "gain": gain})


def draw_confidence(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Over-confident maps of zeros and ones, or under-confident ones that stay near one half."""
    over = bool(rng.random() < 0.5)
    temperature = float(rng.uniform(0.1, 0.4) if over else rng.uniform(3.0, 10.0))
    gain = float(rng.uniform(1.5, 5.0))
    logits = paint_logits(draft.strokes, scene.shape, gain, background=-6.0)
    logits += np.float32(0.4) * smooth_noise(scene.shape, 8, rng)
    logits /= np.float32(temperature)
    return Drawn(sigmoid(logits), {"temperature": temperature, "gain": gain})


def draw_holes(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Lesions with holes, some of them torn apart."""
    share, gain = float(rng.uniform(0.3, 1.0)), float(rng.uniform(1.5, 8.0))

    def torn(strokes: list[Stroke]) -> list[Stroke]:
        return [hollow(stroke, rng) if rng.random() < share else stroke for stroke in strokes]

    holed = Draft(torn(draft.found), draft.missed, torn(draft.false))
    logits = paint_logits(holed.strokes, scene.shape, gain)
    return Drawn(sigmoid(logits), {"share": share, "gain": gain})


def draw_bridges(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Predicted lesions that are joined with their neighbours."""
    solid, gain = [*draft.found, *draft.false], float(rng.uniform(1.5, 8.0))
    wanted = min(int(rng.integers(1, _MOST_BRIDGES + 1)), max(len(solid) - 1, 0))
    bridges = [_bridge(solid, int(index), rng) for index in rng.permutation(len(solid))[:wanted]]
    logits = paint_logits([*draft.strokes, *bridges], scene.shape, gain)
    return Drawn(sigmoid(logits), {"bridges": len(bridges), "gain": gain})


def draw_constant(scene: Scene, draft: Draft, rng: np.random.Generator) -> Drawn:
    """Lesions on an even background; without any lesion, the background alone, up to 0.6.

    An empty draft is a whole-patch failure: nothing, everything, or one value everywhere.
    """
    if draft.strokes:
        background = float(rng.uniform(0.03, 0.45))
        strokes = [s._replace(peak=max(s.peak, background)) for s in draft.strokes]
        logits = paint_logits(strokes, scene.shape, background=logit(background))
        return Drawn(sigmoid(logits), {"background": background})
    background = float(rng.choice((0.0, 1.0, rng.uniform(0.1, 0.6)), p=(0.25, 0.25, 0.5)))
    return Drawn(np.full(scene.shape, background, np.float32), {"background": background})


def quantise(probability: Probability) -> UInt8[np.ndarray, "d h w"]:
    """Store probabilities in steps of 5/255; at least 128/255 counts as predicted (>= 0.5)."""
    steps = probability * np.float32(255 / _LEVEL)
    np.rint(steps, out=steps)
    stored: np.ndarray = steps.astype(np.uint8) * np.uint8(_LEVEL)
    return stored


def _grains(
    scene: Scene, count: int, rng: np.random.Generator
) -> tuple[list[list[int]], list[list[int]]]:
    """Draw corners anywhere in the patch, and edges of one or two voxels."""
    places: list[list[int]] = rng.integers(0, scene.truth.shape[0], (count, 3)).tolist()
    sides: list[list[int]] = rng.integers(1, 3, (count, 3)).tolist()
    return places, sides


def _touches(stroke: Stroke, scene: Scene) -> bool:
    box, field = stroke.within(scene.shape)
    return bool((scene.truth[box] & (field < 2)).any())


def _bridge(strokes: list[Stroke], index: int, rng: np.random.Generator) -> Stroke:
    """Join a stroke with the nearest other one."""
    middles = np.array(
        [np.array(s.corner) + (np.array(s.field.shape) - 1) / 2 for s in strokes], np.float32
    )
    distances = np.abs(middles - middles[index]).sum(axis=1)
    distances[index] = np.inf
    end = middles[int(np.argmin(distances))]
    rod = capsule(middles[index], end, float(rng.uniform(0.8, 1.8)))
    return rod._replace(peak=float(rng.uniform(0.55, 0.95)))
