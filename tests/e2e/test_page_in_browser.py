"""The report of gancolor compare, opened in a real browser."""

import pytest
from browser import NAMES, find_browser
from made_results import made_result, made_run

from gancolor.compare.comparison import Comparison
from gancolor.compare.page import page, write_page

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"needs a browser: none of {', '.join(NAMES)} is on PATH"
)
ORDER = "[...document.querySelectorAll('.photographs li')].map(each => each.dataset.photograph)"
RANKS = "[...document.querySelectorAll('tbody.ranked')[0].rows].map(row => row.cells[1].textContent)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
READY = "performance.getEntriesByType('navigation')[0].loadEventEnd"


@pytest.fixture(scope="module")
def comparison():
    runs = {f"arch_{n}": made_run(f"arch_{n}", n / 3) for n in range(12)}
    return Comparison({"r.json": made_result(runs, photographs=30, pictured=5, classes=("sea", "wood"))})


@pytest.fixture(scope="module")
def file(tmp_path_factory, comparison):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_page(path, [comparison], ["a note"], "gancolor compare r.json")
    return path


@pytest.fixture
def opened(browser, file):
    browser.size(1280)
    browser.open(file)
    return browser


def complaints(browser):
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event for event in browser.events if event.get("method") in kinds]


def test_page_makes_no_requests_and_has_no_errors(opened, file):
    opened.js("document.querySelector('.tiles button').click()")
    opened.js("new Promise(done => setTimeout(done, 200))")
    assert opened.requests() == [file.as_uri()]
    assert complaints(opened) == []


@pytest.mark.parametrize(
    "part", ['<img src="http://127.0.0.1:9/a.png">', "<script>fetch('http://127.0.0.1:9')</script>"]
)
def test_a_request_of_the_page_would_be_detected_and_blocked(browser, comparison, tmp_path, part):
    """The page's content security policy blocks it."""
    path = tmp_path / "report.html"
    text = page([comparison], [], "")
    path.write_text(text.replace("</main>", part + "</main>"))
    browser.open(path)
    browser.js("new Promise(done => setTimeout(done, 200))")
    assert "Content Security Policy" in repr(complaints(browser))
    start, rest = text.replace("</main>", part + "</main>").split('<meta http-equiv="Content-Security-Policy"', 1)
    path.write_text(start + rest.split(">", 1)[1])
    browser.open(path)
    browser.js("new Promise(done => setTimeout(done, 200))")
    assert any(address.startswith("http://127.0.0.1:9") for address in browser.requests())


def test_headings_sort_by_click_and_key(opened, comparison):
    ranked = [entry.name for entry in comparison.entries]
    assert opened.js(RANKS) == ranked
    head = "document.querySelector('thead').rows[0].cells[{}]"
    opened.js(head.format(2) + ".querySelector('button').click()")
    assert opened.js(RANKS) == ranked[::-1]  # PSNR, ascending
    assert opened.js(head.format(2) + ".getAttribute('aria-sort')") == "ascending"
    opened.js(head.format(2) + ".querySelector('button').focus()")
    opened.key("Enter", 13)
    opened("Input.dispatchKeyEvent", type="char", text="\r")
    assert opened.js(RANKS) == ranked
    assert opened.js(head.format(2) + ".getAttribute('aria-sort')") == "descending"
    assert opened.js("document.querySelectorAll('.sortable')[0].querySelectorAll('[aria-sort]').length") == 1
    opened.js(head.format(1) + ".querySelector('button').click()")
    assert opened.js(RANKS) == [f"arch_{n}" for n in range(12)]
    first_and_last = (
        "[0, -1].map(at => [...document.querySelector('.sortable').rows].slice(1).at(at).cells[1].textContent)"
    )
    assert opened.js(first_and_last) == ["grey", "truth"]


def choose(browser, name, value):
    found = f"document.querySelector('select.{name}')"
    browser.js(f"{found}.value = '{value}'; {found}.dispatchEvent(new Event('change', {{bubbles: true}}))")


@pytest.mark.parametrize(("metric", "sign"), [("psnr", 1), ("ciede2000", -1)])
def test_photographs_are_sorted_by_any_metric_of_any_system(opened, comparison, metric, sign):
    assert opened.js(ORDER) == comparison.sampled
    scores = comparison.entries[4].members[0].scores[metric]
    worst = sorted(comparison.sampled, key=lambda name: sign * scores[comparison.names.index(name)].item())
    choose(opened, "metric", metric)
    choose(opened, "system", 5)
    choose(opened, "order", "worst")
    assert opened.js(ORDER) == worst
    choose(opened, "order", "best")
    assert opened.js(ORDER) == worst[::-1]
    figure = f"{scores[comparison.names.index(worst[-1])]:.2f}"
    assert opened.js("document.querySelector('.photographs li [data-system=\"5\"] .figure').textContent") == figure
    choose(opened, "order", "listed")
    assert opened.js(ORDER) == comparison.sampled


def test_two_pictures_with_a_divider(opened):
    opened.js("document.querySelectorAll('.tiles')[1].querySelector('[data-system=\"3\"] button').click()")
    shown = "['left', 'right'].map(side => document.querySelector(`img.${side}`).src)"
    tile = "document.querySelectorAll('.tiles')[{}].querySelector('[data-system=\"{}\"] img').src"
    assert opened.js("document.querySelector('dialog').open")
    assert opened.js(shown) == [opened.js(tile.format(1, 3)), opened.js(tile.format(1, 13))]
    choose_side = "(side => {{ side.value = '{1}'; side.onchange(); }})(document.querySelector('select.{0}'))"
    opened.js(choose_side.format("right", 0))
    assert opened.js(shown)[1] == opened.js(tile.format(1, 0))
    opened.js("document.querySelector('dialog .next').click()")
    assert opened.js(shown) == [opened.js(tile.format(2, 3)), opened.js(tile.format(2, 0))]


def test_divider_moves_by_pointer_and_by_key(opened):
    opened.js("document.querySelector('.tiles button').click()")
    at = "document.querySelector('.stage').style.getPropertyValue('--at')"
    assert opened.js(at) == "50%"
    opened.key("ArrowRight", 39)
    assert opened.js(at) == "51%"
    x, y, side = opened.js("(b => [b.left, b.top, b.width])(document.querySelector('.stage').getBoundingClientRect())")
    for kind, share in (("mousePressed", 0.3), ("mouseMoved", 0.8), ("mouseReleased", 0.8)):
        opened(
            "Input.dispatchMouseEvent", type=kind, x=x + share * side, y=y + 50, button="left", buttons=1, clickCount=1
        )
    assert opened.js(at) == "80%"
    assert "80%" in opened.js("getComputedStyle(document.querySelector('img.right')).clipPath")
    opened.key("Escape", 27)
    assert not opened.js("document.querySelector('dialog').open")


def test_system_selected_in_the_legend_is_highlighted(opened):
    opened.js("document.querySelectorAll('.key button')[2].click()")
    assert opened.js("document.querySelector('.key [aria-pressed=true]').dataset.system") == "3"
    faded = "Number(getComputedStyle(document.querySelector('.charts .mark[data-system=\"{}\"]')).opacity)"
    opened.js("new Promise(done => setTimeout(done, 400))")
    assert opened.js(faded.format(3)) == 1 and opened.js(faded.format(4)) < 0.2


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_of_a_chart_covers_another(opened, width):
    opened.size(width, mobile=width < 600)
    covered = opened.js("""[...document.querySelectorAll('.charts svg')].flatMap(chart => {
        const texts = [...chart.querySelectorAll('text')], boxes = texts.map(text => text.getBoundingClientRect());
        return texts.flatMap((one, i) => texts.slice(i + 1).map((other, j) => [one, other, boxes[i], boxes[i + 1 + j]]))
            .filter(([, , a, b]) => a.left + 1 < b.right && b.left + 1 < a.right)
            .filter(([, , a, b]) => a.top + 3 < b.bottom && b.top + 3 < a.bottom) // lines are higher than their letters
            .map(([one, other]) => `${chart.ariaLabel}: ${one.textContent} ${other.textContent}`);
    })""")
    assert covered == []


@pytest.mark.parametrize("dark", [False, True])
def test_no_horizontal_scrolling_on_a_phone(opened, dark):
    opened.size(360, 740, dark, mobile=True)
    assert opened.js("innerWidth") == 360 and opened.js(OVERFLOW) == 0
    opened.js("document.querySelector('.tiles button').click()")
    box = opened.js("(b => [b.left, b.right, b.bottom])(document.querySelector('dialog').getBoundingClientRect())")
    assert box[0] >= 0 and box[1] <= 360 and box[2] <= 740
    assert opened.js("document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth")


def test_light_and_dark_follow_the_reader(opened):
    papers = []
    for dark in (False, True):
        opened.size(1280, dark=dark)
        papers.append(opened.js("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 255)", "rgb(21, 23, 27)"]


def test_table_and_charts_are_shown_without_javascript(browser, file):
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(file)
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)
    assert len(browser.js(RANKS)) == 12
    assert browser.js("document.querySelectorAll('.charts svg').length") > 5
    assert browser.js("document.querySelector('.controls').hidden")


def test_ten_systems_on_540_photographs_open_in_under_two_seconds(browser, tmp_path):
    """Of the main thread's own time, whatever else the machine does."""
    runs = {f"arch_{n}": made_run(f"arch_{n}", n / 3) for n in range(10)}
    path = tmp_path / "report.html"
    write_page(path, [Comparison({"r.json": made_result(runs, 540, 256, 24, ("sea", "wood"))})], [], "gancolor compare")
    browser.size(1280)
    browser("Performance.enable", timeDomain="threadTicks")
    before = busy(browser)
    browser.open(path)
    assert browser.js("new Promise(done => requestAnimationFrame(() => setTimeout(done)))." + f"then(() => {READY})")
    assert 0.05 < busy(browser) - before < 2


def busy(browser):
    """Return the seconds that the main thread has worked."""
    metrics = {metric["name"]: metric["value"] for metric in browser("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]
