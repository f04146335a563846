"""Settings that a training does not read, so that nobody believes in their effect."""

from typing import get_args

from segnet.choices import Added, Blended, Region
from segnet.config import TrainSettings

_ADDED, _BLENDED, _ALONE = (set(get_args(names)) for names in (Added, Blended, Region))


def unread_settings(settings: TrainSettings) -> list[str]:
    """Flags that were changed from their default, and change nothing beside the other settings."""
    unread = {name for names, is_read in _readers(settings) if not is_read for name in names}
    return [
        f"--{name.replace('_', '-')}"
        for name, field in type(settings).model_fields.items()
        if name in unread and getattr(settings, name) != field.default
    ]


def say_if_never_on(settings: TrainSettings) -> str | None:
    """Return a sentence on a training that ends before F̂ is switched on."""
    if not settings.alpha or settings.epochs > settings.alpha_warmup_epochs:
        return None
    return (
        f"--epochs {settings.epochs} ends within --alpha-warmup-epochs "
        f"{settings.alpha_warmup_epochs}: F̂ is never switched on; train longer, or warm up less"
    )


def _readers(settings: TrainSettings) -> list[tuple[set[str], bool]]:
    """Settings that belong together, and whether the training reads them."""
    loss, alpha = settings.loss, settings.alpha > 0
    region = loss if loss in _ALONE else settings.region
    weighs_classes = region == "generalised_dice" or loss == "surface"
    penalises = region == "distance_ce"
    return [
        ({"estimator", "alpha_warmup_epochs", "alpha_ramp_epochs"}, alpha),
        ({"guided_gradient", "trust_gate"}, alpha),
        ({"trusted_gap"}, alpha and settings.trust_gate),
        ({"region"}, loss not in _ALONE),
        ({"loss_weight", "loss_warmup_epochs"}, loss in _ADDED),
        (
            {"region_schedule", "region_constant", "region_step_epochs", "region_floor"},
            loss in _BLENDED,
        ),
        ({"difference"}, loss.startswith("fog")),
        ({"sog_sign"}, loss.startswith("sog")),
        ({"class_weights", "class_weight_exponent"}, weighs_classes),
        ({"penalty_scale"}, penalises),
        ({"distance_cache"}, penalises or loss in _BLENDED),
        ({"real_share"}, settings.synthetic is not None),
        ({"recorded_patches"}, settings.record_predictions),
    ]
