"""The pairs of one part of a build: each score where it is due, edited pairs beside their base."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from datagen.balance import ONE, ZERO, Quota, draw_counts, due_scores, score_cell
from datagen.densities import lesion_densities
from datagen.edits import EDITS, edit_map, scale_lesions
from datagen.errors import InputError
from datagen.lesions import Matching, Rule, match_lesions, score_matching, score_under_rules
from datagen.perturb import NOTHING, draft_prediction
from datagen.scene import MOST_LESIONS, draw_scene
from datagen.store import Pair
from datagen.styles import Style, draw_style, quantise
from datagen.supply import Supply

RECORDED = "recorded"  # the style of what a network emitted
_DRAWS_PER_PAIR = 40
_MOST_DRAWS = 600
_EDITS_TRIED = 5  # on one base: a family has up to so many pairs more
_FAILURES = 0.5  # share of the exact scores of style "constant" that are whole-patch failures

Volume = UInt8[np.ndarray, "d h w"]


class Recipe(NamedTuple):
    """What decides about a part beside its number; see the settings of 'datagen build'."""

    seed: int
    patch: int
    spacing_mm: float
    rule: Rule
    styles: tuple[Style, ...]
    zero_share: float
    one_share: float
    empty_share: float
    contrast_share: float
    prediction_share: float


class Candidate(NamedTuple):
    """A pair that is drawn and matched, but perhaps not due."""

    truth: Volume
    stored: Volume
    matching: Matching
    f1: float
    case: str
    patient: str
    split: str
    parameters: dict[str, int | float]


def draw_part(start: int, stop: int, recipe: Recipe, supply: Supply) -> list[Pair]:
    """Draw the pairs from `start` to before `stop` of a build; they depend on nothing else.

    Raises InputError where the masks give no pair.
    """
    return _Part(start, stop, recipe, supply).draw()


class _Part:
    """Remembers what is due while one part is drawn."""

    def __init__(self, start: int, stop: int, recipe: Recipe, supply: Supply) -> None:
        self._recipe, self._supply, self._start = recipe, supply, start
        self._rng = np.random.default_rng([recipe.seed, start])
        recorded = (RECORDED, recipe.prediction_share) if supply.recordings else None
        atoms = (recipe.zero_share, recipe.one_share)
        self._quota = Quota(due_scores(start, stop, recipe.styles, atoms, recorded))
        self._pairs: list[Pair] = []
        self._edited = 0

    def draw(self) -> list[Pair]:
        while self._quota:
            style, base = self._draw_due()
            family = self._start + len(self._pairs)
            self._pairs.append(self._pair(base, style, family))
            if self._edited < self._recipe.contrast_share * len(self._pairs):
                self._add_family(base, style, family)
        return self._pairs

    def _draw_due(self) -> tuple[str, Candidate]:
        """Draw until a pair is due; after too many draws, one of another score takes its place."""
        for draw in range(_MOST_DRAWS):
            style, cell = self._quota.draw(self._rng)
            drawn = self._recorded(cell) if style == RECORDED else self._synthetic(style, cell)
            if drawn is None:
                continue
            if self._quota.take(style, score_cell(drawn.f1)):
                return style, drawn
            if draw >= _DRAWS_PER_PAIR and self._quota.take(style, cell):
                return style, drawn
        raise InputError(
            f"no pair can be drawn from these masks at patch {self._recipe.patch}; "
            "give masks with more lesions"
        )

    def _synthetic(self, style: str, cell: int) -> Candidate | None:
        recipe, bank, rng = self._recipe, self._supply.bank, self._rng
        is_exact = cell in (ZERO, ONE)
        lesions = 0 if is_exact and self._is_empty() else int(rng.integers(1, MOST_LESIONS + 1))
        if draw_counts(lesions, cell, rng) is None:
            return None
        scene = draw_scene(bank, lesions, recipe.patch, rng)
        counts = draw_counts(len(scene.lesions), cell, rng)
        if counts is None or (lesions and not scene.lesions):
            return None
        fails = style == "constant" and is_exact and rng.random() < _FAILURES
        draft = NOTHING if fails else draft_prediction(scene, counts, bank, rng)
        drawn = draw_style(style, scene, draft, rng)
        source = scene.source
        origin = source.case, source.patient, source.split
        truth = scene.truth.view(np.uint8)
        return self._matched(truth, quantise(drawn.probability), origin, drawn.parameters)

    def _is_empty(self) -> bool:
        """Draw whether a pair of an exact score has an empty truth."""
        recipe = self._recipe
        if recipe.rule == "msseg2":  # which has no score for it
            return False
        share = recipe.empty_share / max(recipe.zero_share + recipe.one_share, recipe.empty_share)
        return bool(self._rng.random() < share)

    def _recorded(self, cell: int) -> Candidate | None:
        """Draw what a network predicted, some of its lesions erased where its score is not due."""
        rng = self._rng
        recording, split = self._supply.recordings.draw(rng)
        origin = recording.case, recording.patient, split
        found = self._matched(
            recording.truth, recording.probability, origin, {"step": float(recording.step)}
        )
        if found is None or score_cell(found.f1) == cell:
            return found
        matching = found.matching
        false = np.flatnonzero(~matching.predicted_hit)
        hits = np.flatnonzero(matching.predicted_hit)
        counts = draw_counts(matching.truth_hit.size, cell, rng, (hits.size, false.size))
        if counts is None:
            return found
        erased = [
            *rng.permutation(false)[counts.false :].tolist(),
            *rng.permutation(hits)[counts.hits :].tolist(),
        ]
        lesions = [int(lesion) + 1 for lesion in erased]
        stored = scale_lesions(found.stored, matching, lesions, float(rng.uniform(0, 110)))
        parameters = {**found.parameters, "erased": float(len(lesions))}
        return self._matched(found.truth, stored, origin, parameters)

    def _add_family(self, base: Candidate, style: str, family: int) -> None:
        """Edit a pair in several ways, each by itself; keep what is new, and due as well."""
        maps = [base.stored]
        for _ in range(_EDITS_TRIED):
            edit = EDITS[int(self._rng.integers(len(EDITS)))]
            bank = self._supply.bank
            stored = edit_map(base.stored, base.matching, edit, bank, base.split, self._rng)
            if stored is None or any(np.array_equal(stored, other) for other in maps):
                continue
            origin = base.case, base.patient, base.split
            edited = self._matched(base.truth, stored, origin, base.parameters)
            if edited and self._quota.take(style, score_cell(edited.f1)):
                self._pairs.append(self._pair(edited, style, family, edit))
                self._edited += 1
                maps.append(stored)

    def _matched(
        self,
        truth: Volume,
        stored: Volume,
        origin: tuple[str, str, str],
        parameters: dict[str, int | float],
    ) -> Candidate | None:
        """Match a pair; None where its rule gives no score, or one beyond 1 as "geo" can."""
        rule, spacing_mm = self._recipe.rule, self._spacing_mm
        matching = match_lesions(truth > 0, stored >= 128, rule, spacing_mm)
        f1 = score_matching(matching, rule, spacing_mm).f1
        if f1 is None or f1 > 1:
            return None
        return Candidate(truth, stored, matching, f1, *origin, parameters)

    def _pair(self, drawn: Candidate, style: str, family: int, edit: str = "") -> Pair:
        rule, spacing_mm = self._recipe.rule, self._spacing_mm
        truth, predicted = drawn.truth > 0, drawn.stored >= 128
        scores = score_under_rules(truth, predicted, spacing_mm, {rule: drawn.matching})
        return Pair(
            drawn.truth,
            drawn.stored,
            lesion_densities(drawn.matching),
            scores[rule],
            {name: score.f1 for name, score in scores.items()},
            drawn.case,
            drawn.patient,
            drawn.split,
            style,
            drawn.parameters,
            family,
            edit,
        )

    @property
    def _spacing_mm(self) -> tuple[float, float, float]:
        return (self._recipe.spacing_mm,) * 3
