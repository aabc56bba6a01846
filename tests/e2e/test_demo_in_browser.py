"""`gancolor demo` in a real browser, without PyTorch; its network connections are recorded."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import NAMES, find_browser
from made_onnx import made_onnx
from made_pictures import colourfulness, scene
from PIL import Image

from gancolor.inference.image_files import Picture, read_picture

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"needs a browser: none of {', '.join(NAMES)} is on PATH"
)
ROOT = Path(__file__).resolve().parents[2]
COMMAND = "import sys; sys.argv[0] = 'gancolor'; from gancolor.cli import main; main()"
# Runs before anything else in the command's Python: notes whom it wants to reach, and knows no PyTorch.
GUARD = """
import os, socket, sys
sys.modules["torch"] = None
def noting(function):
    def noted(*given, **named):
        host = next((x[0] if isinstance(x, tuple) else x for x in given if isinstance(x, (tuple, str, bytes))), None)
        if host not in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "", None):
            with open(os.environ["OUTSIDE"], "a") as file:
                print(host, file=file)
        return function(*given, **named)
    return noted
socket.getaddrinfo = noting(socket.getaddrinfo)
socket.socket.connect = noting(socket.socket.connect)
socket.socket.connect_ex = noting(socket.socket.connect_ex)
"""
UPLOAD = "#photograph input[type=file]"
LOADED = "[...document.querySelectorAll('#slider img')].filter(each => each.complete && each.naturalWidth)"
SHOWN = f"{LOADED}.length == 2"
AFTER = "document.querySelectorAll('#slider img')[1]?.src"
PIXELS = """(picture => {{
    const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight), pen = canvas.getContext('2d');
    pen.drawImage(picture, 0, 0);
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let spread = 0;
    for (let at = 0; at < data.length; at += 4) {{
        const rgb = data.slice(at, at + 3);
        spread += Math.max(...rgb) - Math.min(...rgb);
    }}
    return spread / (data.length / 4);
}})({}[{}])"""  # spread of red, green and blue


class Demo:
    def __init__(self, process, address, folder):
        self.process, self.address, self.folder = process, address, folder

    def outside(self):
        """Return the addresses, other than its own, that the server tried to reach."""
        noted = self.folder / "outside"
        return noted.read_text().split() if noted.exists() else []

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=20)
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def status(self, method, path, **headers):
        return self.ask(method, path, **headers).status


def started(folder, *words):
    """The running command, once the page is available."""
    (folder / "guard").mkdir()
    (folder / "temporary").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH")}
    env |= {"PYTHONPATH": f"{folder / 'guard'}:{ROOT}", "OUTSIDE": str(folder / "outside"), "HOME": str(folder)}
    env |= {"TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1", "http_proxy": "http://proxy.invalid:9"}
    with socket.socket() as probe:  # two workers that both search from 7860 can find the same port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "demo", "--port", str(port), *map(str, words)], env=env, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    if not line.startswith("http://127.0.0.1:"):
        process.kill()  # else the read would wait for ever
        pytest.fail(line + process.stdout.read())
    return Demo(process, line.split()[0], folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    warm = made_onnx(folder / "warm.onnx", (0.1, 0.0), (0.2, 0.4))
    cold = made_onnx(folder / "cold.onnx", (0.0, 0.1), (0.0, -0.4))
    found = started(folder, warm, cold, "--max_upload_mb", 8)
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def page(browser, demo):
    browser.size(1280)
    browser.open(demo.address)
    browser.until(f"!!document.querySelector('{UPLOAD}')")
    yield browser
    hosts = {urlsplit(address.removeprefix("blob:")).netloc for address in browser.requests()}
    assert hosts == {urlsplit(demo.address).netloc}
    assert demo.outside() == []


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """1234 x 821 in 16 bits, with a profile."""
    path = tmp_path_factory.mktemp("photograph") / "a scene.png"
    Picture(scene(821, 1234, "uint16"), profiled=True).save(path)
    small = path.with_name("scene.jpg")
    Picture(scene(300, 400)).save(small)
    return path, small


def upload(page, path):
    page.choose_file(UPLOAD, path)
    page.until(SHOWN)


def download(page, folder, kind=None):
    """Return the file that the download button gives."""
    page("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    if kind:
        page.js(f"document.querySelector('#download input[value={kind}]').click()")
    page.js("document.querySelector('#download button').click()")
    limit = time.monotonic() + 30
    while not (found := [path for path in folder.iterdir() if path.suffix != ".crdownload"]):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found[0]


def test_photograph_is_coloured_and_downloaded_in_its_own_format(page, photograph, tmp_path):
    upload(page, photograph[1])
    assert page.js(PIXELS.format(LOADED, 0)) < 1 < 20 < page.js(PIXELS.format(LOADED, 1))
    boxes = page.js(f"{LOADED}.map(each => JSON.stringify(each.getBoundingClientRect()))")
    assert boxes[0] == boxes[1]
    assert page.js("[...document.querySelectorAll('#beside .caption-label')].map(each => each.textContent.trim())") == [
        "Grey", "warm", "cold", "Original",
    ]  # fmt: skip
    before = page.js(AFTER)
    page.js("document.querySelectorAll('#beside button')[2].click()")
    page.until("document.querySelector('#slider label').textContent.includes('cold')")
    page.until(f"{SHOWN} && {AFTER} != '{before}'")
    found = download(page, tmp_path)
    assert found.name == "scene_cold.jpg"
    assert Image.open(found).format == "JPEG" and read_picture(found).size == (300, 400)


def test_16_bit_photograph_keeps_size_depth_and_profile(page, photograph, tmp_path):
    deep, _ = photograph
    upload(page, deep)
    found = read_picture(download(page, tmp_path))
    assert found.size == (821, 1234) and found.pixels.dtype == "uint16" and found.profiled
    assert colourfulness(found.pixels) > 20
    (tmp_path / "jpeg").mkdir()
    assert Image.open(download(page, tmp_path / "jpeg", "JPEG")).size == (1234, 821)


def test_the_slider_moves(page, photograph):
    upload(page, photograph[1])
    clip = f"{LOADED}[1].style.clipPath"
    assert "50%" in page.js(clip)
    box = "document.querySelector('#slider .slider-wrap').getBoundingClientRect()"
    left, top, width, height = page.js(f"(b => [b.left, b.top, b.width, b.height])({box})")
    for kind, share in (("mousePressed", 0.5), ("mouseMoved", 0.6), ("mouseMoved", 0.7), ("mouseReleased", 0.7)):
        page(
            "Input.dispatchMouseEvent", type=kind, x=left + share * width, y=top + height / 2, button="left",
            buttons=1, clickCount=1,
        )  # fmt: skip
    page.until(f"{clip}.includes('70%') || {clip}.includes('69.') || {clip}.includes('70.')", 10)


def test_example_with_strength_zero_is_grey(page):
    page.js("document.querySelectorAll('#examples button')[1].click()")
    page.until(SHOWN)
    before = page.js(AFTER)
    page.js("""(number => {
        number.value = 0;
        for (const kind of ['input', 'change', 'blur']) number.dispatchEvent(new Event(kind, {bubbles: true}));
    })(document.querySelector('#options input[type=number]'))""")
    page.until(f"{SHOWN} && {AFTER} != '{before}'")
    assert page.js(PIXELS.format(LOADED, 1)) < 1


def test_upload_that_is_not_a_photograph_gives_an_error_and_the_page_still_works(page, photograph, tmp_path):
    bad = tmp_path / "<img src=x onerror=alert(1)>..jpg"
    bad.write_bytes(b"not a photograph")
    page.choose_file(UPLOAD, bad)
    said = page.until("document.querySelector('#message [role=alert]')?.textContent")
    assert "not a readable picture" in said and "/" not in said and "<" not in said
    page.js("document.querySelector('[aria-label=Clear]').click()")
    page.until("document.querySelector('#message').textContent.includes('Drop a photograph')")
    bad.write_bytes(bytes(9 << 20))
    page.choose_file(UPLOAD, bad)
    page.until("document.body.textContent.includes('exceed the maximum allowed size')")
    upload(page, photograph[1])


@pytest.mark.parametrize("dark", [False, True])
def test_no_horizontal_scrolling_on_a_phone(page, photograph, dark):
    page.size(390, 844, dark, mobile=True)
    upload(page, photograph[1])
    assert page.js("innerWidth") == 390
    assert page.js("document.documentElement.scrollWidth") <= 390


def test_local_files_and_foreign_hosts_are_refused(demo):
    for path in (
        "/etc/passwd",
        ROOT / "setup.cfg",
        "../../etc/passwd",
        demo.folder / "warm.onnx",
        "%2e%2e/%2e%2e/etc/passwd",
    ):
        assert demo.status("GET", f"/gradio_api/file={path}") in (403, 404)
    assert demo.status("GET", "/", Host="colours.example") == 400
    assert demo.status("GET", "/") == 200


def test_address_in_a_request_is_not_fetched(demo):
    file = {"path": "http://photographs.example/a.jpg", "meta": {"_type": "gradio.FileData"}}
    data = [file, ["warm"], "warm", "", 0, 1, "guided", False]
    body = json.dumps({"data": data, "fn_index": 0, "session_hash": "crafted"})
    assert demo.ask("POST", "/gradio_api/queue/join", body, **{"Content-Type": "application/json"}).status == 200
    answer = demo.ask("GET", "/gradio_api/queue/data?session_hash=crafted")
    assert any(b"a.jpg is not fetched: upload the photograph" in line for line in answer)
    assert demo.outside() == []


def test_no_telemetry_and_no_shared_link(page):
    config = json.loads(page.js("JSON.stringify(window.gradio_config)"))
    assert config["analytics_enabled"] is False
    assert all(not dependency["show_api"] for dependency in config["dependencies"] if "show_api" in dependency)


# The hint editor --------------------------------------------------------------------------------------------------

EDITOR = "document.querySelector('#editor img')"
DOTS = "document.querySelectorAll('#editor .dot:not(.pending)')"
HUES = """(places => {{
    const picture = {}, canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
    const pen = canvas.getContext('2d');
    pen.drawImage(picture, 0, 0);
    return places.map(([x, y]) => [...pen.getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3));
}})({})"""


class HintEditor:
    """The editor of the demo page, with a photograph of two plain halves, dark and bright."""

    def __init__(self, page):
        self.page = page

    def open(self, path):
        upload(self.page, path)
        tab = "[...document.querySelectorAll('#views [role=tab]')].find(tab => tab.textContent.includes('click'))"
        self.page.js(f"{tab}.click()")
        self.shows([])

    def hints(self):
        return json.loads(self.page.js("document.querySelector('#editor [data-shown]')?.dataset.shown ?? 'null'"))

    def shows(self, hints):
        """Wait until the picture shows these hints."""
        wanted = json.dumps(hints, separators=(",", ":"))
        self.page.until(f"document.querySelector('#editor [data-shown]')?.dataset.shown == {json.dumps(wanted)}")

    def shows_one(self, x, y, color):
        """Wait until the picture shows one hint of this colour, near this pixel; return the hints."""
        shown = "JSON.parse(document.querySelector('#editor [data-shown]')?.dataset.shown ?? '[]')"
        near = f"Math.hypot(hint.x - {x}, hint.y - {y}) < 3 && hint.color == '{color}'"
        self.page.until(f"(hints => hints.length == 1 && hints.every(hint => {near}))({shown})")
        return self.hints()

    def at(self, x, y):
        """Return the place on the screen of a place in the picture, given as shares of its sides."""
        self.page.js(f"{EDITOR}.scrollIntoView({{block: 'center'}})")
        left, top, width, height = self.page.js(
            f"(b => [b.left, b.top, b.width, b.height])({EDITOR}.getBoundingClientRect())"
        )
        return left + x * width, top + y * height

    def mouse(self, *steps):
        """Send (kind, (x, y)) events."""
        for kind, (x, y) in steps:
            self.page("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def click(self, x, y):
        place = self.at(x, y)
        self.mouse(("mousePressed", place), ("mouseReleased", place))
        self.page.until("document.querySelectorAll('#editor .swatches button').length > 4")

    def choose(self, color):
        """Choose a colour in the palette's colour input."""
        self.page.js(f"""(any => {{
            any.value = '{color}';
            any.dispatchEvent(new Event('change', {{bubbles: true}}));
        }})(document.querySelector('#editor .any input'))""")

    def press(self, name):
        self.page.js(f"document.querySelector('#editor [data-do={name}]').click()")

    def colors(self, *places):
        """Return RGB at places, given as shares of the picture's sides."""
        return self.page.js(HUES.format(EDITOR, json.dumps(places)))


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A photograph of 400 x 300, its left half dark and its right half bright."""
    pixels = np.full((300, 400, 3), 90, np.uint8)
    pixels[:, 200:] = 190
    path = tmp_path_factory.mktemp("halves") / "halves.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def editor(page, halves):
    found = HintEditor(page)
    found.open(halves)
    return found


def redness(color):
    return color[0] - max(color[1:])


def test_a_click_and_red_make_that_region_red_and_not_the_rest(editor):
    before = editor.colors([0.25, 0.5], [0.1, 0.1], [0.75, 0.5])
    editor.click(0.25, 0.5)
    assert editor.hints() == []  # a place without a colour is no hint yet
    editor.choose("#d02020")
    editor.shows_one(100, 150, "#d02020")
    after = editor.colors([0.25, 0.5], [0.1, 0.1], [0.75, 0.5])
    assert redness(after[0]) > redness(before[0]) + 40 and redness(after[1]) > redness(before[1]) + 40
    assert max(abs(one - other) for one, other in zip(after[2], before[2], strict=True)) < 12


def test_suggestions_recolouring_moving_and_removing_are_undone_and_redone(editor):
    editor.click(0.25, 0.5)
    editor.page.js("document.querySelectorAll('#editor .swatches button')[5].click()")
    editor.page.until(f"{DOTS}.length == 1")
    color = editor.page.js("document.querySelectorAll('#editor .swatches button')[5].title")
    states = [[], editor.shows_one(100, 150, color)]
    editor.choose("#2040d0")
    states.append(editor.shows_one(100, 150, "#2040d0"))
    start, end = editor.at(0.25, 0.5), editor.at(0.75, 0.25)
    editor.mouse(("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end))
    states.append(editor.shows_one(300, 75, "#2040d0"))
    editor.press("remove")
    states.append([])
    editor.shows([])
    for state in reversed(states[:-1]):
        editor.press("undo")
        editor.shows(state)
    assert editor.page.js("document.querySelector('#editor [data-do=undo]').disabled")
    for state in states[1:]:
        editor.press("redo")
        editor.shows(state)


def test_saved_hints_are_loaded_again_with_the_same_picture(editor, halves, tmp_path):
    editor.click(0.25, 0.5)
    editor.choose("#d02020")
    hints = editor.shows_one(100, 150, "#d02020")
    picture = editor.page.js(f"{EDITOR}.src")
    editor.page("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    editor.press("save")
    saved = tmp_path / "halves.png.hints.json"
    limit = time.monotonic() + 30
    while not saved.exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert json.loads(saved.read_text()) == {"width": 400, "height": 300, "hints": hints}
    editor.press("clear")
    editor.shows([])
    assert editor.page.js(f"{EDITOR}.src") != picture
    editor.page.choose_file("#editor input[type=file]", saved)
    editor.shows(hints)
    assert editor.page.js(f"{EDITOR}.src") == picture
    said = "document.querySelector('#editor .said.error')?.textContent"
    for content, words in (("{", "not a file of hints"), ('{"width": 4, "height": 3, "hints": []}', "4 x 3 pixels")):
        bad = tmp_path / "bad.json"
        bad.write_text(content)
        editor.page.choose_file("#editor input[type=file]", bad)
        assert words in editor.page.until(f"{said}?.includes({json.dumps(words)}) && {said}")
    editor.shows(hints)


def test_download_and_slider_have_the_hints(editor, tmp_path):
    editor.click(0.25, 0.5)
    editor.choose("#d02020")
    editor.shows_one(100, 150, "#d02020")
    before = editor.page.js(f"{EDITOR}.src")
    editor.page.js("""(number => {
        number.value = 0.7;
        for (const kind of ['input', 'change', 'blur']) number.dispatchEvent(new Event(kind, {bubbles: true}));
    })(document.querySelector('#options input[type=number]'))""")
    editor.page.until(f"{EDITOR}.src != '{before}'")  # other options keep the hints
    editor.shows_one(100, 150, "#d02020")
    pixels = read_picture(download(editor.page, tmp_path)).pixels
    assert redness(pixels[150, 100].astype(int)) > 40
    shown = f"{LOADED}[1] && " + HUES.format(f"{LOADED}[1]", "[[0.25, 0.5]]")
    editor.page.js("document.querySelector('#views [role=tab]').click()")
    editor.page.until(f"(found => found && found[0][0] - Math.max(found[0][1], found[0][2]) > 40)({shown})")


def test_keys_move_and_remove_a_hint(editor):
    editor.click(0.25, 0.5)
    editor.choose("#d02020")
    editor.page.until(f"{DOTS}.length == 1")
    editor.page.js(f"{DOTS}[0].focus()")
    editor.page.key("ArrowRight", 39)
    editor.shows_one(104, 150, "#d02020")
    editor.page.key("Delete", 46)
    editor.shows([])


def test_keys_undo_and_redo_wherever_the_last_change_was_made(editor):
    def undo():
        editor.page.key("z", 90, modifiers=2)

    def use(button):
        editor.page.js(f"(button => {{ button.focus(); button.click(); }})(document.querySelector('#editor {button}'))")

    editor.click(0.25, 0.5)
    editor.page.key("Escape", 27)
    assert editor.page.js("document.querySelector('#editor .palette').hidden")
    editor.click(0.25, 0.5)
    use(".swatches button")
    editor.page.until(f"{DOTS}.length == 1")
    color = editor.page.js("document.querySelector('#editor .swatches button').title")
    editor.choose("#d02020")
    painted = editor.shows_one(100, 150, "#d02020")
    start, end = editor.at(0.25, 0.5), editor.at(0.75, 0.25)
    editor.mouse(("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end))
    dragged = editor.shows_one(300, 75, "#d02020")
    undo()
    editor.shows(painted)
    editor.page.key("z", 90, modifiers=2 + 8)
    editor.shows(dragged)
    editor.page.key("Delete", 46)  # the dot is focused since the drag
    editor.shows([])
    undo()
    editor.shows(dragged)
    editor.page.js(f"{DOTS}[0].focus()")
    editor.page.key("Enter", 13)
    use("[data-do=remove]")
    editor.shows([])
    for state in (dragged, painted):
        undo()
        editor.shows(state)
    undo()
    editor.shows_one(100, 150, color)
    use("[data-do=undo]")  # which is disabled by it
    editor.shows([])
    editor.page.key("z", 90, modifiers=2 + 8)
    editor.shows_one(100, 150, color)


def test_touch_on_a_phone(browser, demo, halves):
    browser.size(390, 844, dark=True, mobile=True)
    browser.open(demo.address)
    browser.until(f"!!document.querySelector('{UPLOAD}')")
    editor = HintEditor(browser)
    editor.open(halves)
    x, y = editor.at(0.25, 0.5)
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        browser("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    browser.until("document.querySelectorAll('#editor .swatches button').length > 4")
    editor.choose("#d02020")
    browser.until(f"{DOTS}.length == 1")
    start, end = editor.at(0.25, 0.5), editor.at(0.6, 0.3)
    for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
        browser("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])
    browser.until(f"parseFloat({DOTS}[0].style.left) > 50")
    assert browser.js("document.documentElement.scrollWidth") <= 390


def test_hints_stay_when_no_checkpoint_is_chosen_for_a_moment(editor):
    editor.click(0.25, 0.5)
    editor.choose("#d02020")
    hints = editor.shows_one(100, 150, "#d02020")
    boxes = "document.querySelectorAll('#options input[type=checkbox][name]')"
    editor.page.js(f"{boxes}.forEach(box => box.click())")
    editor.page.until("!document.querySelector('#views').offsetParent")
    editor.page.js(f"{boxes}[1].click()")
    editor.page.until(f"!!{EDITOR}.offsetParent")
    editor.page.until("document.querySelector('#slider label').textContent.includes('cold')")
    assert editor.page.js(f"{DOTS}.length") == 1
    editor.shows(hints)
    editor.press("undo")
    editor.shows([])


def test_another_photograph_starts_without_hints(editor, photograph):
    editor.click(0.25, 0.5)
    editor.choose("#d02020")
    editor.page.until(f"{DOTS}.length == 1")
    editor.page.js("document.querySelector('[aria-label=Clear]').click()")
    editor.page.until(f"{DOTS}.length == 0 && !!document.querySelector('{UPLOAD}')")
    editor.page.choose_file(UPLOAD, photograph[1])
    editor.shows([])
    editor.page.until(f"{EDITOR}.naturalWidth / {EDITOR}.naturalHeight < 1.334")


# The last of this file: it ends the server of the others ------------------------------------------------------------


def test_server_stops_and_deletes_its_files_while_a_page_is_open(page, demo, photograph):
    upload(page, photograph[1])
    temporary = demo.folder / "temporary"
    assert list(temporary.iterdir()) != []
    demo.process.send_signal(signal.SIGINT)
    rest, _ = demo.process.communicate(timeout=30)
    assert (demo.process.returncode, rest) == (0, "")
    assert list(temporary.iterdir()) == []
