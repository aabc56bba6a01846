"""POST /colorize: colours, options, formats, and what is refused."""

import asyncio
import io
import json
import re
import threading

import httpx
import numpy as np
import pytest
import pyvips
from made_pictures import colourfulness, scene
from PIL import Image

from gancolor.inference.hints import Hint
from gancolor.inference.image_files import Picture, read_picture
from gancolor.serve import guard
from gancolor.serve.app import Service, as_response, build_app
from gancolor.serve.colouring import Coloured
from gancolor.serve.limits import Limits

JPEG = {"Content-Type": "image/jpeg"}
HINTS = json.dumps({"width": 40, "height": 30, "hints": [{"x": 20, "y": 15, "color": "#2040c0", "radius": 9}]})


def test_form_and_raw_body_give_the_colorizers_own_result(client, service, made) -> None:
    photograph = made("PNG")
    expected = service.colorizer(read_picture(photograph)).encode(".png")
    form = client.post("/colorize", files={"file": ("my photo.png", photograph, "image/png")})
    raw = client.post("/colorize", content=photograph, headers={"Content-Type": "image/png"})
    assert form.content == raw.content == expected
    assert form.headers["content-type"] == "image/png"
    name = "my_photo_coloured.png"
    assert form.headers["content-disposition"] == f"attachment; filename=\"{name}\"; filename*=utf-8''{name}"
    assert form.headers["x-content-type-options"] == "nosniff"
    assert colourfulness(read_picture(form.content).pixels) > 3


@pytest.mark.parametrize(
    "name", ["../../etc/x.jpg", "C:\\x.jpg", 'a"; b\r\nX-Y: z', "Großmutter.jpg", ".jpg", "\udc80"]
)
def test_names_of_files_are_safe(name: str) -> None:
    disposition = as_response(Coloured(b"", "jpg", ()), name).headers["content-disposition"]
    assert re.fullmatch(
        r"attachment; filename=\"[\w-]+_coloured\.jpg\"; filename\*=utf-8''[\w%-]+_coloured\.jpg", disposition, re.ASCII
    )


def test_options_act_as_query_and_as_fields(client, service, made) -> None:
    photograph = made("PNG")
    grey = client.post("/colorize?strength=0", content=photograph, headers=JPEG)
    assert colourfulness(read_picture(grey.content).pixels) < 0.1
    fields = {"strength": "0.5", "size": "16", "flips": "true", "upsampling": "bilinear"}
    by_query = client.post("/colorize", params=fields, content=photograph, headers=JPEG)
    by_form = client.post("/colorize?strength=1", data=fields, files={"file": photograph})  # the field counts
    assert by_query.status_code == 200 and by_query.content == by_form.content


@pytest.mark.parametrize("wanted", ["true", "false"])
def test_disclosure(client, made, wanted: str) -> None:
    result = client.post(f"/colorize?disclosure={wanted}", content=made(), headers=JPEG)
    assert (b"compositeWithTrainedAlgorithmicMedia" in result.content) == (wanted == "true")


def test_hints_act_as_query_as_field_and_as_file(client, service, made) -> None:
    photograph = made("PNG")
    hint = Hint(20, 15, "#2040c0", 9)
    expected = service.colorizer(read_picture(photograph), [hint]).encode(".png")
    by_query = client.post("/colorize", params={"hints": HINTS}, content=photograph, headers=JPEG)
    by_field = client.post("/colorize", data={"hints": HINTS}, files={"file": photograph})
    by_file = client.post("/colorize", files={"file": photograph, "hints": ("h.json", HINTS)})
    assert by_query.content == by_field.content == by_file.content == expected


@pytest.mark.parametrize(
    ("given", "written"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("TIFF", "TIFF"), ("AVIF", "AVIF"), ("GIF", "PNG"),
     ("BMP", "PNG")],
)  # fmt: skip
def test_a_result_keeps_its_format_if_that_can_be_written(client, made, given: str, written: str) -> None:
    answer = client.post("/colorize", content=made(given), headers=JPEG)
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).format == written
    assert answer.headers["content-type"] == Image.MIME[written]


def test_an_ultra_hdr_jpeg_keeps_its_format(client, tmp_path) -> None:
    bright = pyvips.Image.new_from_memory(scene().tobytes(), 90, 60, 3, "uchar").copy(interpretation="srgb")
    bright.colourspace("scrgb").uhdrsave(str(tmp_path / "x.jpg"))
    answer = client.post("/colorize", content=(tmp_path / "x.jpg").read_bytes(), headers=JPEG)
    assert answer.headers["content-type"] == "image/jpeg"


def test_format_and_quality_are_chosen(client, made) -> None:
    sizes = []
    for quality in (20, 90):
        answer = client.post(f"/colorize?format=webp&quality={quality}", content=made(), headers=JPEG)
        assert answer.headers["content-type"] == "image/webp"
        sizes.append(len(answer.content))
    assert sizes[0] < sizes[1]


def test_further_pages_are_ignored_with_a_note(client) -> None:
    pages, file = [Image.fromarray(scene(20, 30))] * 3, io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    answer = client.post("/colorize", content=file.getvalue(), headers=JPEG)
    assert answer.headers["x-gancolor-warning"] == "the first of its 3 pages is coloured"


SMALL = Picture(scene(20, 30)).encode(".png")
FORMS = "multipart/form-data; boundary=X"
FORM = b'--X\r\nContent-Disposition: form-data; name="size"\r\n\r\n1\r\n--X--\r\n'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("status", "said", "request_"),
    [
        (422, "strength: input should be less than or equal to 2", {"params": {"strength": 3}}),
        (422, "strength: input should be a finite number", {"params": {"strength": "nan"}}),
        (422, "size: input should be less than or equal to 512", {"params": {"size": 4096}}),
        (422, "no option 'sze'; choose from size, strength", {"params": {"sze": 1}}),
        (422, "quality: input should be greater", {"data": {"quality": "0"}, "files": {"file": b"x"}}),
        (422, "no photograph: send it as", {"files": {"photo": b"x"}}),
        (422, "no photograph: send it as", {"data": {"file": "x"}, "files": {"hints": b"x"}}),
        (422, "'file' is given twice", {"files": [("file", b"x"), ("file", b"y")]}),
        (422, "not text in UTF-8", {"files": {"file": b"x", "hints": b"\xff"}}),
        (422, "hints: string should have at most 4096 characters", {"params": {"hints": "x" * 4097}}),
        (422, "hints is not a file of hints", {"data": {"hints": "x" * 4097}, "files": {"file": SMALL}}),
        (422, "hints is not a file of hints", {"params": {"hints": "[]"}}),
        (422, "hints are for 4 x 3 pixels", {"params": {"hints": '{"width": 4, "height": 3, "hints": []}'}}),
        (422, "is not a colour", {"params": {"hints": HINTS.replace("#2040c0", "\\ud800\\n")}}),
        (422, "the photograph is empty", {"content": b""}),
        (422, "not a readable picture", {"content": b"no picture"}),
        (422, "not a", {"content": SVG}),
        (400, "boundary", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (400, "charset", {"content": FORM, "headers": {"Content-Type": f"{FORMS}; charset=undefined"}}),
        (400, "charset", {"content": FORM, "headers": {"Content-Type": f"{FORMS}; charset=punycode"}}),
        (415, "no photograph of type 'text/plain'", {"headers": {"Content-Type": "text/plain"}}),
        (415, "no photograph of type 'unknown'", {"headers": {}}),
        (413, "the upload is larger than 1 MB", {"content": bytes(2**20 + 1)}),
        (413, "the upload is larger than 1 MB", {"content": (bytes(2**17) for _ in range(9))}),
    ],
)
def test_bad_requests_get_one_line(client, made, status: int, said: str, request_: dict) -> None:
    if "files" not in request_:
        request_ = {"content": made(), "headers": JPEG, **request_}
    answer = client.post("/colorize", **request_)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} and said in answer.json()["error"]
    assert "\n" not in answer.json()["error"] and "/tmp" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_truncated_photograph_is_refused(client, made) -> None:
    answer = client.post("/colorize", content=made(height=200, width=200)[:-900], headers=JPEG)
    assert answer.status_code == 422 and "not a readable picture" in answer.json()["error"]


def test_damage_that_libvips_quotes_in_no_utf8_is_refused(client) -> None:
    pillow_heif, file = pytest.importorskip("pillow_heif"), io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene(50, 70))).save(file)
    data = file.getvalue().replace(b"clap", b"\xfflap")
    assert data != file.getvalue()
    answer = client.post("/colorize", content=data, headers={"Content-Type": "image/heic"})
    assert answer.status_code == 422 and "not a readable picture" in answer.json()["error"]


def test_photographs_of_too_many_pixels_are_refused_by_their_header(client, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit does not count
    for format in ("PNG", "BMP"):
        file = io.BytesIO()
        Image.new("1", (1001, 1000)).save(file, format)
        answer = client.post("/colorize", content=file.getvalue()[:-20], headers=JPEG)  # truncated: not decoded
        assert answer.status_code == 413, answer.text
        assert "1001 x 1000 pixels are more than 1 megapixels" in answer.json()["error"]


def test_fault_is_answered_in_the_same_shape_and_does_not_tell(client, service, made, monkeypatch) -> None:
    monkeypatch.setattr(type(service.turns), "run", lambda *_: 1 / 0)
    answer = client.post("/colorize", content=made(), headers=JPEG)
    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault of the server; its log says more"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert 'status="500"} 1.0' in client.get("/metrics").text


def test_full_memory_is_told(client, service, made, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(service.colorizer), "__call__", fail)
    answer = client.post("/colorize", content=made(), headers=JPEG)
    assert answer.status_code == 503 and "the memory is full" in answer.json()["error"]


def test_unknown_addresses_and_methods_get_the_same_shape(client) -> None:
    assert client.get("/docs").status_code == client.post("/colorize/", follow_redirects=False).status_code == 404
    assert set(client.get("/docs").json()) == {"error"}
    answer = client.get("/colorize")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST" and set(answer.json()) == {"error"}


def test_head_is_answered_as_get_without_a_body(client) -> None:
    for address in ("/health", "/health/live", "/metrics"):
        assert client.head(address).status_code == client.get(address).status_code == 200
    answer = client.head("/colorize")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"


class Slow:
    """A service whose colouring waits until it is told to go on."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        colour = type(service.colorizer).colour

        def wait(*given: object) -> object:
            self.begun.set()
            self.go.wait(20)
            return colour(*given)

        monkeypatch.setattr(type(service.colorizer), "colour", wait)


@pytest.fixture
def slow(service: Service, monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(service, monkeypatch)


def test_requests_wait_for_their_turn_and_more_are_sent_away(service, slow, made) -> None:
    async def talk() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(service)), base_url="http://x") as client:
            ask = [asyncio.create_task(client.post("/colorize", content=made(), headers=JPEG)) for _ in range(2)]
            await asyncio.to_thread(slow.begun.wait, 20)
            refused = await client.post("/colorize", content=made(), headers=JPEG)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
            assert refused.json()["error"] == "1 requests wait already; try again later"
            assert (await client.get("/health")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
            assert "gancolor_requests_in_progress 2.0" in (await client.get("/metrics")).text
            slow.go.set()
            assert [answer.status_code for answer in await asyncio.gather(*ask)] == [200, 200]
            assert (await client.get("/health")).json() == {"status": "ok"}
            metrics = (await client.get("/metrics")).text
        assert 'gancolor_request_seconds_count{status="200"} 2.0' in metrics
        assert 'gancolor_request_seconds_count{status="503"} 1.0' in metrics

    asyncio.run(talk())


def test_requests_that_take_too_long_are_answered(colorizer, made, monkeypatch) -> None:
    service = Service(colorizer, Limits(seconds=1))
    slow = Slow(service, monkeypatch)
    monkeypatch.setattr(guard, "LINGER", 0.1)

    async def stalled():
        yield b"the first bytes"
        await asyncio.sleep(20)

    async def talk() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(service)), base_url="http://x") as client:
            contents = (made(), stalled())
            posts = (client.post("/colorize", content=content, headers=JPEG) for content in contents)
            answers = [*await asyncio.gather(*posts), await client.get("/health")]
            assert "gancolor_requests_in_progress 1.0" in (await client.get("/metrics")).text
            slow.go.set()
            async with asyncio.timeout(20):
                while (await client.get("/health")).status_code != 200:
                    await asyncio.sleep(0.01)
            return answers

    try:
        coloured, uploaded, health = asyncio.run(talk())
    finally:
        slow.go.set()
    assert health.status_code == 503 and health.json()["error"] == "a photograph takes longer than 1 s"
    assert coloured.status_code == 503 and coloured.headers["retry-after"]
    assert coloured.json()["error"].startswith("no result after 1 s")
    assert uploaded.status_code == 408 and uploaded.json()["error"] == "the upload took longer than 1 s"


def test_stopping_service_is_live_but_not_ready(client, service) -> None:
    service.stopping = True
    assert client.get("/health").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_16_bits_and_alpha_are_kept(client) -> None:
    deep = Picture(scene(20, 30, "uint16"), np.full((20, 30, 1), 999, np.uint16))
    answer = client.post("/colorize", content=deep.encode(".png"), headers={"Content-Type": "image/png"})
    result = read_picture(answer.content)
    assert result.pixels.dtype == np.uint16 and (result.alpha == 999).all()
