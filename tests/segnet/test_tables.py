from segnet.tables import (
    Cell,
    Sheet,
    aggregate_sheets,
    as_latex,
    as_markdown,
    cell_of,
    print_sheets,
    sheet_of,
)

MEANS = [
    {"method": "a_1", "rule": rule, "metric": metric, "cases": "3", "undefined": missing}
    | {"mean": mean, "std": "0.25"}
    for rule, metric, missing, mean in (
        ("overlap", "f1", "0", "0.5"),
        ("voxel-wise", "hd95_mm", "1", "12.345"),
        ("voxel-wise", "assd_mm", "4", ""),
    )
]


def test_rules_never_share_a_sheet():
    first, second = aggregate_sheets(MEANS)
    assert first.heads == ("method", "cases", "L-F1")
    assert first.rows == [(Cell("a_1"), Cell("3", "3"), Cell("0.500 ± 0.250", "0.5"))]
    assert second.rows[0][2:] == (Cell("12.3 ± 0.2 (of 3)", "12.345"), Cell("–"))
    assert [sheet.heads for sheet in aggregate_sheets(MEANS, ["f1", "hd95_mm"])] == [
        ("method", "cases"),
        ("method", "cases", "ASSD (mm)"),
    ]


def test_latex_escapes_what_it_would_read_as_commands():
    text = as_latex(aggregate_sheets(MEANS)[0])
    assert r"a\_1 & 3 & 0.500 $\pm$ 0.250 \\" in text
    assert text.count(r"\begin{tabular}{lrr}") == 1
    sheet = sheet_of("100 % & more", "x", [{"method": "a|b~c^d\\e", "estimated_f1": 1}], ["method"])
    assert r"\caption{100 \% \& more}" in as_latex(sheet)
    assert r"a\textbar{}b\textasciitilde{}c\textasciicircum{}d\textbackslash{}e" in as_latex(sheet)
    assert "$<$ 0.001" in as_latex(sheet_of("", "x", [{"method": "< 0.001"}], ["method"]))
    heads = sheet_of("", "x", [], ["estimated_f1"])
    assert r"$\hat{F}$" in as_latex(heads)


def test_markdown_keeps_its_columns_where_a_name_holds_a_bar():
    sheet = sheet_of("t", "x", [{"method": "a|b", "f1": "0.5"}], ["method", "f1"])
    assert as_markdown(sheet).splitlines()[2:] == [
        "| method | L-F1 |",
        "| --- | ---: |",
        "| a\\|b | 0.500 |",
    ]


def test_cells_show_three_decimals_and_keep_the_number_of_the_file():
    assert cell_of("0.123456", "f1") == Cell("0.123", "0.123456")
    assert cell_of("4", "truth_lesions") == Cell("4", "4")
    assert cell_of(12.345, "hd95_mm") == Cell("12.3", "12.345")
    assert cell_of("1e-05", "p") == Cell("< 0.001", "1e-05")
    assert cell_of("007", "case") == Cell("007")
    assert cell_of("", "f1") == cell_of(None, "f1") == Cell("–")
    assert cell_of("f1", "metric") == Cell("L-F1")


def test_brackets_of_a_name_are_printed_as_they_are(capsys):
    row = (Cell("Dice [wide]"), Cell("0.5", "0.5"))
    print_sheets([Sheet("Against Dice [b]", ("method", "[x] L-F1"), [row])], 80)
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("Dice [wide]", "Against Dice [b]", "[x] L-F1"))
