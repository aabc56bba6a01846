import base64
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from made_results import made_result, made_run

import gancolor.compare
from gancolor.compare.comparison import Comparison
from gancolor.compare.page import page, write_page
from gancolor.metrics.bootstrap import Mean

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Tree(HTMLParser):
    """Every element with its attributes, the text of each, and that they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.ids = [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if "id" in element:
            assert element["id"] not in self.ids
            self.ids.add(element["id"])
        if tag not in ("meta", "img", "input", "wbr"):
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        found = [element for element in self.elements if element["tag"] == tag]
        return [e for e in found if all(e.get(name) == value for name, value in wanted.items())]


def compare(systems, metric="psnr", **how):
    return Comparison({"results.json": made_result(systems, **how)}, metric)


def rows(text, number=0):
    """The cells of a table, a list a row."""
    table = re.findall("<table.*?</table>", text, re.DOTALL)[number]
    cells = [re.findall("<t[hd].*?</t[hd]>", row, re.DOTALL) for row in re.findall("<tr>.*?</tr>", table, re.DOTALL)]
    return [[" ".join(re.sub("<.*?>", " ", cell).split()) for cell in row] for row in cells]


@pytest.fixture(scope="module")
def two():
    return compare({"first": made_run("first"), "second": made_run("second", 2)}, classes=("sea", "wood"))


@pytest.fixture(scope="module")
def text(two):
    return page([two], ["b.json cannot be compared with a.json: size 64 against 256"], "gancolor compare a.json b.json")


def test_parts_stand_in_order(text):
    assert re.findall("<h2>(.*?)</h2>", text) == ["Table", "Charts", "By class", "Photographs"]
    assert [link["href"] for link in Tree(text).all("a")] == ["#table-1", "#charts-1", "#by-class-1", "#photographs-1"]
    assert "b.json cannot be compared with a.json: size 64 against 256" in text.split("<main>")[0]


def test_says_what_has_to_be_the_same_for_figures_to_compare(text, two):
    words = [found["text"] for found in Tree(text).all("dd")]
    assert words[:5] == [
        "native, 16 × 16 pixels", f"12 (all) of photographs/val; digest {two.files[:12]}", "centre square", "8 bits",
        "PSNR [dB]",
    ]  # fmt: skip
    assert "torch 2.15.0" in text and "evaluate.py runs/a" in text and "gancolor compare a.json b.json" in text


def test_table_is_ranked_between_grey_and_truth_with_intervals_differences_and_costs(text, two):
    heading, grey, first, second, truth = rows(text)
    assert [row[1] for row in (grey, first, second, truth)] == ["grey", "first", "second", "truth"]
    assert [row[0] for row in (grey, first, second, truth)] == ["", "1", "2", ""]
    assert heading[2:5] == ["PSNR [dB] ↑", "behind the first", "gain [dB] ↑"]
    mean, gap = two.entries[1].means["psnr"], two.behind["second"]
    assert second[2] == f"{mean.mean:.2f} ± {mean.half_width:.2f}"
    assert second[3].startswith(f"{gap.mean:.2f} [{gap.low:.2f}, {gap.high:.2f}]".replace("-", "−"))
    assert dict(zip(heading, second, strict=True))["MACs at 256"] == "6.00 G"
    assert "(best)" in first[2] and "(best)" not in second[2] + grey[2]


def test_a_system_that_is_not_certainly_worse_is_level_with_the_first(text):
    result = made_result({"a": {}, "b": {}, "c": {}}, photographs=50)
    result.systems["b"].scores["psnr"] = result.systems["a"].scores["psnr"] + 0.1 * (-1) ** torch.arange(50)
    shown = page([Comparison({"r": result})], [], "")
    levels = {row[1]: "level with 1" in row[3] for row in rows(shown)[2:5]}
    assert sum(levels.values()) == 1 and not levels["c"]
    assert re.search(r"Level with it, the difference not being certain: <strong>[ab]</strong>", shown)


def test_seeds_are_one_row_with_their_deviation():
    runs = {f"{arch} {seed}": made_run(arch, place, seed) for place, arch in enumerate("ab") for seed in range(3)}
    comparison = compare(runs)
    found = rows(page([comparison], [], ""))
    assert [row[1] for row in found[2:4]] == ["a 3 seeds", "b 3 seeds"]
    assert f"s {comparison.entries[0].seeds['psnr'][1]:.2f}" in found[2][2]


def test_figures_under_pictures_are_of_the_run_that_they_are_from():
    comparison = compare({f"run {seed}": made_run("a", 0, seed) for seed in range(2)}, pictured=1)
    member, place = comparison.entries[0].members[0], comparison.names.index(comparison.sampled[0])
    figures = [found["text"] for found in Tree(page([comparison], [], "")).all("span", class_="figure")]
    assert figures[1] == f"{member.scores['psnr'][place]:.2f}" != f"{comparison.entries[0].scores['psnr'][place]:.2f}"


def test_gains_by_class_are_coloured_by_their_sign_and_paler_if_it_is_uncertain():
    comparison = compare({name: {} for name in "abcdefghi"}, classes=("sea", "wood"))
    text = page([comparison], [], "")
    assert "Blue is above grey, orange below; pale where the interval includes zero." in text
    gains = comparison.by_class("gain")
    extent = max(abs(value.mean) for row in gains.values() for value in row.values())
    values = [row[entry.name] for entry in comparison.entries for row in gains.values()]
    assert len({(value.mean > 0, value.is_significant) for value in values}) == 4
    expected = []
    for value in values:
        share = abs(value.mean) / extent * (1 if value.is_significant else 0.25)
        expected.append((f"{value.mean:.2f}", "heat " + ("above" if value.mean > 0 else "below"), f"{share:.2f}"))
    cells = [cell for cell in Tree(text).all("td") if (cell.get("class") or "").startswith("heat")]
    shown = [(c["text"].split("±")[0].replace("−", "-"), c["class"], c["style"].split()[1]) for c in cells]
    assert shown == expected


def test_less_is_better_where_it_is():
    whole = {"a": {"fid": 12.3}, "b": {"fid": 8.1}}
    found = rows(page([compare({"a": {"pictures": "x"}, "b": {"pictures": "y"}}, "fid", whole=whole)], [], ""))
    at = found[0].index("FID ↓")
    assert [row[1] for row in found[2:4]] == ["b", "a"]
    assert found[2][at] == "8.10 (best)" and found[3][at] == "12.30"
    assert "behind the first" not in found[0]  # a figure of the whole set has no difference photograph by photograph


def test_gain_by_the_number_of_hints_is_drawn_beside_the_papers():
    result = made_result({"one": made_run(), "two": made_run(place=1)})
    assert "Gain by the number of hints" not in page([Comparison({"r.json": result})], [], "")
    gained = {0: 0.0, 1: 0.7, 100: 5.6}
    result.systems["one"].hints = {n: {"over_automatic": Mean(g, g - 0.1, g + 0.1)} for n, g in gained.items()}
    text = page([Comparison({"r.json": result})], [], "")
    chart = text[text.index("Gain by the number of hints") :]
    chart = chart[: chart.index("</figure>")]
    for value in ("hints 100", "hints 0", "]: 0.7<", "]: 5.6<", "Zhang 2017", "]: 6.7<", "]: 0.94<"):
        assert value in chart, value
    assert chart.count('<path class="line"') == 2  # the system without hints has no line


def test_systems_without_costs_or_curves_have_the_other_parts():
    shown = page([compare({"a": {"pictures": "x"}, "b": {"pictures": "y"}})], [], "")
    assert "PSNR against colourfulness" in shown
    assert "parameters" not in shown and "during training" not in shown and "importance" not in shown


def test_sweep_has_the_importance_of_its_options():
    runs = {f"{n}": made_run("a", n, **{"optim.lr": 10.0**-n, "loss.l1": n % 2}) for n in range(6)}
    shown = page([compare(runs)], [], "")
    assert "How much the options matter" in shown and "out-of-bag R²" in shown and ">optim.lr</text>" in shown


def test_single_photograph_has_no_intervals():
    shown = page([compare({"a": made_run("a"), "b": made_run("b", 1)}, photographs=1)], [], "")
    assert "nan" not in re.sub(r"base64,[^\"]*|<script.*?</script>", "", shown, flags=re.DOTALL)
    assert "1 photograph<" in shown and "level with" not in shown


def test_without_pictures_there_is_no_gallery(two):
    assert "<h2>Photographs" not in page([compare({"a": {}}, pictured=0)], [], "")


def test_comparisons_are_a_section_each(two):
    tree = Tree(page([two, compare({"a": {}})], [], ""))
    assert [heading["text"] for heading in tree.all("h1")] == [
        "2 systems on 12 photographs",
        "1 system on 12 photographs",
    ]


def test_a_picture_is_in_the_page_once(text, two):
    addresses = [found["src"] for found in Tree(text).all("img") if "src" in found]
    assert len(addresses) == 3 * 4 and len(set(addresses)) == len(addresses)
    data = {base64.b64decode(address.removeprefix("data:image/webp;base64,")) for address in addresses}
    assert data == {entry.samples[n] for entry in (two.grey, *two.entries, two.truth) for n in two.sampled}
    assert all(found.get("decoding") == "async" for found in Tree(text).all("img") if "src" in found)


def test_scores_of_the_pictures_are_in_the_page(text, two):
    found = json.loads(Tree(text).all("script", type="application/json")[0]["text"])
    name = two.sampled[1]
    kinds = [kind["name"] for kind in found["metrics"]]
    second = found["scores"][name][2]
    assert second[kinds.index("psnr")] == pytest.approx(
        two.entries[1].scores["psnr"][two.names.index(name)].item(), 1e-5
    )
    assert found["scores"][name][3][kinds.index("psnr")] is None  # the truth


def test_values_that_are_not_numbers_have_a_dash():
    result = made_result({"a": {}, "b": {}}, pictured=2)
    result.systems["a"].scores["psnr"][0] = math.nan
    result.systems["b"].scores["ssim"] = torch.full((12,), math.nan)
    shown = page([Comparison({"r": result}, "gain")], [], "")
    json.loads(Tree(shown).all("script", type="application/json")[0]["text"], parse_constant=pytest.fail)
    assert not re.search(r"nan\b", re.sub(r"base64,[^\"]*|<script>.*?</script>", "", shown, flags=re.DOTALL))


def test_names_are_text_whatever_they_are():
    result = made_result({HOSTILE: made_run("a"), "b": made_run(HOSTILE, 1)}, classes=(HOSTILE,), pictured=2)
    result.source = result.made["command"] = result.protocol["resizing"] = HOSTILE
    shown = page([Comparison({HOSTILE: result})], [HOSTILE], HOSTILE)
    tree = Tree(shown)
    assert len(tree.all("script")) == 2  # the scores and the page's own
    assert all(found["src"].startswith("data:image/webp;base64,") for found in tree.all("img") if "src" in found)
    assert not [name for element in tree.elements for name in element if name.startswith("on")]
    assert any(HOSTILE in found["text"] for found in tree.all("h4"))
    assert HOSTILE in tree.all("code")[-1]["text"]


def test_style_and_script_are_what_their_files_are(text):
    """None of their characters mean anything to a template."""
    for name in ("page.css", "page.js"):
        own = (Path(gancolor.compare.__file__).parent / "templates" / name).read_text(encoding="utf-8")
        assert own in text


def test_nothing_is_fetched(text):
    (policy,) = [found["content"] for found in Tree(text).all("meta", **{"http-equiv": "Content-Security-Policy"})]
    assert "default-src 'none'" in policy and "http" not in policy
    assert outside(text) == []


@pytest.mark.parametrize(
    "part",
    ['<img src="https://example.org/a.png">', '<link href="//example.org/a.css">', "<style>a{b:url(http://e.org)}</style>",
     '<style>@import "https://e.org/a.css";</style>', "<script>fetch('https://e.org')</script>"],
)  # fmt: skip
def test_what_is_fetched_would_be_found(text, part):
    assert outside(text.replace("</head>", part + "</head>"))


def outside(text):
    """Addresses that lead out of the page."""
    return re.findall(r"""(?:src|href)=["']?(?:\w+:)?//|url\((?!["']?data:)|@import|https?://""", text)


def test_file_is_whole_or_not_there(tmp_path, two, monkeypatch):
    file = tmp_path / "report.html"
    write_page(file, [two], [], "gancolor compare")
    before = file.read_text(encoding="utf-8")
    assert before.startswith("<!doctype html>") and before.endswith("</html>\n")
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_page(file, [two], [], "gancolor compare")
    monkeypatch.undo()
    assert file.read_text(encoding="utf-8") == before and list(tmp_path.iterdir()) == [file]


def test_names_that_utf8_has_no_way_to_write(tmp_path):
    write_page(tmp_path / "r.html", [compare({"caf\udce9": {}, "b": {}})], [], "")
    assert r"caf\udce9" in (tmp_path / "r.html").read_text(encoding="utf-8")
