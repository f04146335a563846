"""The agreement report: everything that is known about an estimator, in tables and on one page."""

from importlib import metadata, resources
from typing import Any, NamedTuple

import jinja2
import numpy as np
from matplotlib.figure import Figure
from torch.utils.data import default_collate

from datagen.files import make_folder, write_json, write_table, write_text
from datagen.inspection import embed_figure, save_figure
from datagen.progress import track
from datagen.store import PairFile
from metricnet import pictures
from metricnet.agreement import ERRORS, Comparison, measure
from metricnet.attack import Attack, attack, joined
from metricnet.checkpoint import SavedEstimator, load_estimator, load_pretrained
from metricnet.config import EvaluateSettings
from metricnet.data import PairDataset, as_sample
from metricnet.devices import usual_device
from metricnet.edits import Changes, measure_edits, measure_slopes, slope_of
from metricnet.guidance import cut_into_pieces, guide
from metricnet.loss import LesionWiseLoss
from metricnet.trajectory import Trajectory, follow

_BATCH = 8
_SLOPED_PAIRS = 60  # whose every piece is flipped
_LOOKED_AT = 50  # pairs for the picture
_PAGE = "report.html"


class Findings(NamedTuple):
    """What was measured of an estimator."""

    compared: Comparison
    trajectories: list[Trajectory]
    edits: Changes
    slopes: dict[str, Changes]
    attacks: dict[str, Attack]

    def summary(self) -> dict[str, Any]:
        """All figures, as JSON values."""
        return {
            **self.compared.summary(),
            "edits": self.edits.exact.size,
            "right_edits": _rounded(self.edits.right),
            "right_slopes": {kind: _rounded(found.right) for kind, found in self.slopes.items()},
            "attacks": {name: found.summary() for name, found in self.attacks.items()},
            "recorded": [trajectory.summary() for trajectory in self.trajectories],
        }


def evaluate(settings: EvaluateSettings) -> Findings:
    """Measure an estimator; write `agreement.json`, tables, figures and `report.html`.

    The tables are `by_bin.csv`, by tenth of the exact score, `by_group.csv`, by style, and
    `recorded.csv`, by tenth of each recorded training. Raises InputError where the estimator's
    definitions are not those of the pair file or of the recordings; its structured form takes pairs
    of any size.
    """
    saved = load_estimator(settings.estimator) if settings.estimator else load_pretrained()
    with PairFile(settings.pairs) as file:
        agreement = file.agreement
    saved.require(agreement, _name(settings), f"pair file {settings.pairs}")
    saved.estimator.requires_grad_(False).to(usual_device())
    trajectories = [follow(saved, folder) for folder in settings.predictions]
    compared = measure(saved.estimator, settings.pairs, settings.split)
    make_folder(settings.out)  # refused before the measures that take minutes
    pairs, split, seed = settings.pairs, settings.split, settings.seed
    findings = Findings(
        compared,
        trajectories,
        measure_edits(saved.estimator, pairs, split, settings.edits, seed),
        measure_slopes(saved.estimator, pairs, split, _SLOPED_PAIRS, seed),
        _attack(saved, settings),
    )
    _write(findings, saved._replace(agreement=agreement), settings)
    return findings


def _name(settings: EvaluateSettings) -> str:
    return f"estimator {settings.estimator or 'of the package'}"


def _attack(saved: SavedEstimator, settings: EvaluateSettings) -> dict[str, Attack]:
    data = PairDataset(settings.pairs, settings.split)
    order = np.random.default_rng(settings.seed).permutation(len(data))[: settings.starts]
    batches = [order[start : start + _BATCH].tolist() for start in range(0, len(order), _BATCH)]
    found: dict[str, list[Attack]] = {"guided": [], "free": []}
    for chosen in track(batches, "ascents, 8 at a time", len(batches)):
        starts = default_collate([data[item] for item in chosen]).to(saved.estimator.device)
        for name, attacks in found.items():
            loss = LesionWiseLoss(saved.estimator, guided=name == "guided")
            maps = starts.probability, starts.truth
            attacks.append(attack(loss, saved.agreement, *maps, settings.attack_steps))
    return {name: joined(attacks) for name, attacks in found.items()}


def _write(findings: Findings, saved: SavedEstimator, settings: EvaluateSettings) -> None:
    out = settings.out
    figures = {
        "scatter": pictures.draw_scatter(findings.compared),
        "edits": pictures.draw_changes(findings.edits, findings.slopes),
        "attack": pictures.draw_attacks(findings.attacks),
        "slopes": _draw_slopes(saved, settings),
    }
    rows = [row for trajectory in findings.trajectories for row in trajectory.tenths()]
    if rows:
        figures["recorded"] = pictures.draw_trajectories(findings.trajectories)
        write_table(out / "recorded.csv", rows, rows[0])
    for name, figure in figures.items():
        save_figure(figure, out / f"{name}.png")
    write_table(out / "by_bin.csv", findings.compared.by_bin(), ("from", "to", *ERRORS))
    write_table(out / "by_group.csv", findings.compared.by_group(), ("group", *ERRORS))
    write_json(out / "agreement.json", findings.summary())
    write_text(out / _PAGE, _page(findings, saved, figures, settings))


def _draw_slopes(saved: SavedEstimator, settings: EvaluateSettings) -> Figure:
    """Draw the slopes of that held-out pair of those nearest to one half that shows most."""
    data = PairDataset(settings.pairs, settings.split)
    nearest = np.argsort(np.abs(data.scores() - 0.5), kind="stable")[:_LOOKED_AT]
    pair = max((data.read(int(item)) for item in nearest), key=pictures.most_of_all)
    sample = as_sample(pair)
    slope = slope_of(saved.estimator, pair)
    pieces = cut_into_pieces(sample.probability[None], sample.truth[None])
    guided = guide(slope[None, None], pieces)[0, 0]
    return pictures.draw_slopes(pair, slope.numpy(), guided.numpy())


def _page(
    findings: Findings,
    saved: SavedEstimator,
    figures: dict[str, Figure],
    settings: EvaluateSettings,
) -> str:
    text = (resources.files("metricnet") / "templates" / _PAGE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(text).render(
        title=_name(settings),
        version=metadata.version("lesionwise"),
        agreement=saved.agreement,
        form=saved.estimator.form,
        settings=settings,
        summary=findings.summary(),
        groups=findings.compared.by_group(),
        figures={name: embed_figure(figure) for name, figure in figures.items()},
    )


def _rounded(share: float) -> float | None:
    return None if np.isnan(share) else round(share, 4)
