"""Settings that a training does not read, so that nobody believes in their effect."""

from typing import get_args

from segnet.choices import Added, Blended, Overlap, Region
from segnet.config import TrainSettings
from segnet.learned import course_of

_ADDED, _BLENDED, _ALONE, _OVERLAP = (
    set(get_args(names)) for names in (Added, Blended, Region, Overlap)
)


def unread_settings(settings: TrainSettings) -> list[str]:
    """Flags that were changed from their default, and change nothing beside the other settings."""
    unread = {name for names, is_read in _readers(settings) if not is_read for name in names}
    return [
        f"--{name.replace('_', '-')}"
        for name, field in type(settings).model_fields.items()
        if name in unread and getattr(settings, name) != field.default
    ]


def say_if_never_on(settings: TrainSettings) -> str | None:
    """Return a sentence on a training in no epoch of which F̂ is switched on."""
    course = course_of(settings)
    if not settings.alpha or any(course.at(epoch) for epoch in range(settings.epochs)):
        return None
    return (
        f"--alpha-warmup-epochs {settings.alpha_warmup_epochs} and --alpha-finish-share "
        f"{settings.alpha_finish_share:g} leave F̂ none of --epochs {settings.epochs}: it is never "
        "switched on; train longer, or warm up less"
    )


def _readers(settings: TrainSettings) -> list[tuple[set[str], bool]]:
    """Settings that belong together, and whether the training reads them."""
    loss, alpha = settings.loss, settings.alpha > 0
    region = loss if loss in _ALONE else settings.region
    weighs_classes = region == "generalised_dice" or loss == "surface"
    penalises = region == "distance_ce"
    is_blended, schedule = loss in _BLENDED, settings.region_schedule
    has_forms = region in ("dice_ce", "generalised_dice")
    return [
        ({"estimator", "alpha_warmup_epochs", "alpha_ramp_epochs", "alpha_finish_share"}, alpha),
        ({"guided_gradient", "trust_gate"}, alpha),
        ({"false_weight", "lowest_cut", "highest_cut"}, alpha and settings.guided_gradient),
        ({"trusted_gap"}, alpha and settings.trust_gate),
        ({"region"}, loss not in _ALONE),
        ({"loss_weight", "loss_warmup_epochs", "loss_finish_share"}, loss in _ADDED),
        ({"region_schedule", "region_floor"}, is_blended),
        ({"region_constant"}, is_blended and schedule == "constant"),
        ({"region_step_epochs"}, is_blended and schedule == "step"),
        ({"loss_form"}, has_forms or (is_blended and schedule != "constant")),
        ({"include_background"}, is_blended or region in _OVERLAP),
        ({"difference"}, loss.startswith("fog")),
        ({"sog_sign"}, loss.startswith("sog")),
        ({"class_weights"}, weighs_classes),
        ({"class_weight_exponent"}, weighs_classes and settings.class_weights == "training_set"),
        ({"penalty_scale"}, penalises),
        ({"distance_cache"}, penalises or is_blended),
        ({"distractor_share"}, settings.lesion_share < 1),
        ({"real_share"}, settings.synthetic is not None),
        ({"recorded_patches"}, settings.record_predictions),
    ]
