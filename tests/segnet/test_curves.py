import io

import pytest

from segnet.curves import draw_froc, draw_thresholds

RULES = ("overlap", "msseg2")


def rows_of(methods: int) -> list[dict[str, object]]:
    scores = dict.fromkeys(("dice", "ltpr", "lppv", "f1"), 0.5)
    return [
        {"method": f"method {m}", "rule": r, "value": v, "false_lesions_per_patient": v, **scores}
        for m in range(methods)
        for r in RULES
        for v in (0.1, 0.5, 0.9)
    ]


@pytest.mark.parametrize("methods", [1, 2, 25])
@pytest.mark.parametrize("draw", [draw_thresholds, draw_froc])
def test_methods_are_named_once_and_told_apart_however_many_they_are(draw, methods):
    figure = draw(rows_of(methods))
    figure.savefig(io.BytesIO())  # panels without room are a warning
    (legend,) = figure.legends
    assert len(legend.get_texts()) == methods
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
    assert len(looks) == methods
    inside = figure.bbox.height
    assert legend.get_window_extent().height <= inside
    assert all(axes.get_window_extent().height > 0.15 * inside for axes in figure.axes)
