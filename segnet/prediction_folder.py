"""A folder of predictions, all of which count as one method's."""

from collections.abc import Iterable

from datagen.config import CONFIG, format_recipe, read_recipe
from datagen.errors import InputError
from datagen.files import make_folder, require_writable, write_json, write_text
from metricnet.runs import INPUTS, read_inputs
from segnet.config import PredictSettings
from segnet.prediction_paths import PredictionPaths, masks_below

SECTION = "segnet.predict"
_OF_CASES = {"cohort", "split", "seed"}  # settings that say which cases, not how
_MODEL = "--model"


def require_one_origin(
    settings: PredictSettings, weights: str, of_cases: Iterable[PredictionPaths]
) -> None:
    """Refuse a folder whose other masks were made otherwise, or by networks of other weights."""
    config = settings.out / CONFIG
    if not (settings.cohort and config.is_file()):
        return
    earlier, now = read_recipe(str(config)).get(SECTION, {}), settings.recorded()
    changed = [
        f"--{key.replace('_', '-')}"
        for key in sorted(earlier.keys() | now.keys())
        if key not in _OF_CASES and earlier.get(key) != now.get(key)
    ]
    if read_inputs(settings.out).get(_MODEL, weights) != weights:
        changed.append(f"network in the place of {_MODEL}")
    others = set(masks_below(settings.out)) - {paths.mask for paths in of_cases}
    if changed and others:
        raise InputError(
            f"{min(others)} was made with another {changed[0]} and would stay beside these as if "
            f"of one method; choose another --out, or empty {settings.out}"
        )


def begin_folder(
    settings: PredictSettings, name: str, weights: str, of_cases: Iterable[PredictionPaths]
) -> None:
    """Write which model and operating point the masks will be of, and remove those of another."""
    old = [path for paths in of_cases for path in paths if path.exists()]
    for path in old:
        require_writable(path)
    for path in old:
        path.unlink()
    # a comment ends with its line
    made_by = f"# by {' '.join(name.split())}\n"
    write_text(make_folder(settings.out) / CONFIG, made_by + format_recipe(SECTION, settings))
    write_json(settings.out / INPUTS, {_MODEL: weights})
