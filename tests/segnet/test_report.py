"""The page holds what the tables hold, and its viewer works in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datagen.files import read_table

# clicks each lesion's row, sorts a table and presses keys, and writes down what came of it
DRIVER = """
<script>
const seen = [];
const part = (name) => document.querySelector(`[data-part=${name}]`);
const painted = () => {
  const canvas = part("visit2");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let [truth, found, grey] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    if (r === 86 && g === 180 && b === 233) truth += 1;
    if (r === 230 && g === 159 && b === 0) found += 1;
    if (r === g && g === b && r > 40) grey += 1;
  }
  return { truth, found, grey };
};
const press = (key) => document.getElementById("viewer").dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true }));
const state = () => ({ level: part("slice").value, ...painted() });
setTimeout(() => {
  const result = { lesions: [], before: state() };
  for (const line of [...part("rows").rows]) {
    line.click();
    result.lesions.push({ name: line.cells[0].textContent, ...state() });
  }
  press("t"); press("f"); result.bare = painted(); press("t"); press("f");
  const level = Number(part("slice").value);
  press("ArrowUp"); result.up = Number(part("slice").value) - level;
  press("]"); result.next = part("case").value;
  const head = document.querySelector("table[data-csv=cases] th button");
  const table = head.closest("table");
  const column = (name) => table.dataset.columns.split(" ").indexOf(name);
  const dice = table.tHead.rows[0].cells[column("dice")].querySelector("button");
  const number = (row) => Number(row.cells[column("dice")].dataset.value);
  const values = () => [...table.tBodies[0].rows].map(number);
  dice.click(); result.ascending = values(); dice.click(); result.descending = values();
  result.wide = document.documentElement.scrollWidth > window.innerWidth;
  document.body.innerHTML = "<pre id=result>" + JSON.stringify(result) + "</pre>";
}, 1500);
</script>
"""
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


class TableParser(HTMLParser):
    """Collects, of each table that names a CSV file, its columns and cells with their values."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[str], list[list[tuple[str, str]]]]] = []
        self._value: str | None = None
        self._text = ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "table":
            source = given.get("data-csv", "")
            self.tables.append((source, given.get("data-columns", "").split(), []))
        elif tag == "tr":
            self.tables[-1][2].append([])
        elif tag == "td":
            self._value, self._text = given.get("data-value") or "", ""

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        if tag == "td":
            self.tables[-1][2][-1].append((self._text.strip(), self._value or ""))


@pytest.fixture(scope="module")
def scored(tiny_cohort, tiny_estimator, tmp_path_factory, run) -> Path:
    """Scores of two baselines under three rules, with F̂, and the page about them."""
    out = tmp_path_factory.mktemp("report")
    inputs = []
    for name in ("subtraction", "empty"):
        run("segnet", "predict", "--baseline", name, "--cohort", tiny_cohort, "--out", out / name)
        inputs += ["--prediction", out / name]
    inputs += ["--rule", "overlap", "--rule", "geo", "--rule", "msseg2", "--workers", "1"]
    inputs += ["--estimator", tiny_estimator, "--volume-hd95", "--out", out / "scores"]
    run("segnet", "evaluate", "--truth", tiny_cohort, *inputs)
    run("segnet", "report", "--scores", out / "scores")
    return out / "scores"


@pytest.fixture(scope="module")
def page(scored) -> str:
    return (scored / "report.html").read_text(encoding="utf-8")


def tables_of(page):
    parser = TableParser()
    parser.feed(page)
    return [table for table in parser.tables if table[0]]


def test_links_at_the_top_follow_the_order_of_the_page(page):
    links = re.findall(r'<a href="#(\w+)">', page)
    assert "cases" in links
    assert links == re.findall(r'<section id="(\w+)">', page)


def test_numbers_of_the_page_are_those_of_the_tables(page, scored):
    compared = 0
    for source, columns, lines in tables_of(page):
        rows = read_table(scored / f"{source}.csv")
        body = [line for line in lines if line]
        assert len(body) == len(rows), source
        for line, row in zip(body, rows, strict=True):
            for (text, value), column in zip(line, columns, strict=True):
                if value:
                    assert value == row[column]
                    compared += 1
                if re.fullmatch(r"-?\d+(\.\d+)?", text) and column != "case":
                    half = 0.5001 * 10.0 ** -len(text.partition(".")[2])
                    assert abs(float(text) - float(row[column])) <= half
                if text == "–":
                    assert row[column] == ""
    assert compared > 500


def test_every_table_is_shown(page, scored):
    shown = {source for source, _, _ in tables_of(page)}
    hidden = {"lesions", "sources", "sweep_cases", "froc", "estimated_patches"}
    written = {path.stem for path in scored.glob("*.csv") if len(read_table(path))}
    assert written - shown == hidden


def test_the_means_are_those_of_the_aggregate(page, scored):
    means = read_table(scored / "aggregate.csv")
    for rule in ("overlap", "geo", "msseg2"):
        _, _, after = page.partition(f"<h3>Cases with new lesions, rule {rule}</h3>")
        cells = re.findall(r'data-value="([^"]+)">([\d.]+) ± ([\d.]+)<', after.split("</table>")[0])
        expected = [row for row in means if row["rule"] == rule]
        assert [value for value, _, _ in cells] == [row["mean"] for row in expected]
        for (_, mean, std), row in zip(cells, expected, strict=True):
            assert float(mean) == pytest.approx(float(row["mean"]), abs=0.00051)
            assert float(std) == pytest.approx(float(row["std"]), abs=0.00051)


def test_the_viewer_knows_each_lesion_as_the_table_does(page, scored):
    lesions = read_table(scored / "lesions.csv")
    cases = re.findall(r'<script type="application/json" id="case-\d+">(.*?)</script>', page)
    listed = [
        (case["name"], method["name"], *(lesion[key] for key in ("rule", "side", "id")), lesion)
        for case in map(json.loads, cases)
        for method in case["methods"]
        for lesion in method["lesions"]
    ]
    rows = {
        tuple(row[key] for key in ("case", "method", "rule", "side", "id")): row for row in lesions
    }
    assert len(listed) == len(rows)
    for *key, lesion in listed:
        row = rows[tuple(key)]
        for name in ("outcome", "volume_mm3", "partners", "peak_probability", "mean_probability"):
            assert lesion[name] == row[name]


def test_nothing_of_the_page_comes_from_elsewhere(page):
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\(", re.sub(r'"data:[^"]*"', '""', page))


def test_names_that_look_like_markup_are_text(tmp_path, run, tiny_cohort):
    method = tmp_path / "<b>&amp;'\"<script>"
    run("segnet", "predict", "--baseline", "empty", "--cohort", tiny_cohort, "--out", method)
    inputs = ["--truth", tiny_cohort, "--prediction", method, "--workers", "1"]
    run("segnet", "evaluate", *inputs, "--out", tmp_path / "scores")
    run("segnet", "report", "--scores", tmp_path / "scores", "--most-cases", "2")
    page = (tmp_path / "scores/report.html").read_text(encoding="utf-8")
    assert html.escape("<b>&amp;'\"<script>", quote=False) in page.replace("&#39;", "'").replace(
        "&#34;", '"'
    )
    assert "<b>" not in page
    assert "The first 2 cases are shown, 2 more are in the tables alone." in page


def test_plain_masks_are_shown_without_scans(tmp_path, run, masks):
    inputs = ["--truth", masks["truth"], "--prediction", masks["prediction"], "--workers", "1"]
    run("segnet", "evaluate", *inputs, "--out", tmp_path / "scores")
    run("segnet", "report", "--scores", tmp_path / "scores")
    page = (tmp_path / "scores/report.html").read_text(encoding="utf-8")
    (case,) = re.findall(r'<script type="application/json" id="case-0">(.*?)</script>', page)
    case = json.loads(case)
    assert case["visits"] == [None, None]
    assert case["size"] == [10, 10, 10]
    # front comes first: row 9 - 1 of slice 1 begins with two voxels of the first lesion
    assert case["truth"]["1"] == [71, 2, 81, 2]
    assert case["methods"][0]["lesions"][0]["at"] == [1.5, 7.5, 2]


def test_a_scan_on_another_grid_than_the_truth_is_not_shown(tmp_path, run, masks):
    other = tmp_path / "other.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.int16), np.diag([2.0, 2, 2, 1])), other)
    listed, scan = tmp_path / "cohort.csv", shutil.copy(masks["truth"], tmp_path / "scan.nii.gz")
    listed.write_text(f"case,time1,time2,truth\na,{other},{scan},{masks['truth']}\n")
    inputs = ["--truth", listed, "--prediction", masks["prediction"], "--workers", "1"]
    run("segnet", "evaluate", *inputs, "--out", tmp_path / "scores")
    run("segnet", "report", "--scores", tmp_path / "scores")
    page = (tmp_path / "scores/report.html").read_text(encoding="utf-8")
    (case,) = re.findall(r'<script type="application/json" id="case-0">(.*?)</script>', page)
    assert [visit is None for visit in json.loads(case)["visits"]] == [True, False]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed to open the page with")
@pytest.mark.parametrize("width", [1280, 500])
def test_each_lesion_is_reached_by_a_click(width, page, scored, tmp_path):
    (tmp_path / "page.html").write_text(
        page.replace("</body>", DRIVER + "</body>"), encoding="utf-8"
    )
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --dump-dom "
    options += "--disable-background-networking --disable-component-update --disable-sync "
    options += (
        f"--virtual-time-budget=6000 --window-size={width},1000 --user-data-dir={tmp_path}/user"
    )
    address = (tmp_path / "page.html").as_uri()
    found = subprocess.run(
        [str(BROWSER), *options.split(), address], capture_output=True, text=True, timeout=120
    )
    (shown,) = re.findall(r"<pre id=\"result\">(.*?)</pre>", found.stdout)
    result = json.loads(html.unescape(shown))
    rows = [
        row
        for row in read_table(scored / "lesions.csv")
        if (row["case"], row["method"], row["rule"]) == ("case0", "subtraction", "overlap")
    ]
    assert len(result["lesions"]) == len(rows) > 4
    for seen, row in zip(result["lesions"], rows, strict=True):
        assert seen["name"] == {"truth": "T", "predicted": "P"}[row["side"]] + row["id"]
        assert seen["truth" if row["side"] == "truth" else "found"] > 0
        assert seen["grey"] > 1000  # the scan lies below
    assert len({seen["level"] for seen in result["lesions"]}) > 1
    assert (result["bare"]["truth"], result["bare"]["found"]) == (0, 0)
    assert result["up"] == 1
    assert result["next"] == "case1"
    assert result["ascending"] == sorted(result["ascending"])
    assert result["descending"] == sorted(result["ascending"], reverse=True)
    assert not result["wide"]
