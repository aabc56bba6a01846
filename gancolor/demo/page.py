"""The demo page: its controls and event handlers."""

import secrets
import warnings
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from gradio import processing_utils
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gancolor.choices import MOST_STRENGTH
from gancolor.demo.editor import WAITING, Editor, hints_of
from gancolor.demo.examples import draw_examples
from gancolor.demo.systems import SIZES, DemoOptions, Systems, download_name, message_of
from gancolor.utils.errors import InputError

ABOUT = "Photographs in colour. The lightness is the photograph's own; the colours are a network's guess."
EMPTY = "Drop a photograph, or take one of the examples."
KINDS = {"as uploaded": "", "PNG": ".png", "JPEG": ".jpg"}
QUALITY = 90  # of the JPEGs on the page
COLUMNS = 4  # most pictures side by side
EVERY, AGE = 600, 6 * 3600  # seconds: interval of checks for old files, and age from which they are deleted
CSS = Path(__file__).with_name("page.css")
PRESS = "() => setTimeout(() => document.querySelector('#file').click(), 100)"  # wait for the file's address


class Page:
    """Event handlers, each of which takes values of controls and returns new ones.

    Args:
        folder: for the pictures that are shown and downloaded.
    """

    def __init__(self, systems: Systems, folder: Path) -> None:
        self.systems = systems
        self.names = list(systems.colorizers)
        self.folder = folder
        self.editor = Editor(systems, folder)

    def show(
        self, file: str | None, chosen: Sequence[str], picked: str | None, edited: str | None, *options: Any
    ) -> tuple[Any, ...]:
        """Return the message, the slider, the gallery, the system in the slider, the row of the download, the tabs and
        the editor's value.

        Args:
            edited: the editor's value, which has the hints.
        """
        names = self._in_order(chosen)
        if file is None:
            return *_empty(EMPTY), ""
        if not names:
            return *_empty("Choose a checkpoint."), gr.skip()  # so that the editor keeps its hints
        picked = picked if picked in names else names[0]
        try:
            with self.systems.turn, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                grey, original = self.systems.before(Path(file))
                wanted = replace(DemoOptions(*options), hints=hints_of(edited, file))
                coloured = [self.systems.after(Path(file), name, wanted) for name in names]
                value = self.editor.value(file, picked, list(options))
            for warning in caught:
                gr.Warning(escape(str(warning.message).replace(file, Path(file).name)))
        except (InputError, MemoryError) as error:
            return *_empty(f'<span role="alert">{escape(message_of(error))}</span>'), gr.skip()
        pictures = [grey, *coloured, original] if original else [grey, *coloured]
        files = [self._write("shown.jpg", picture.encode(".jpg", QUALITY)) for picture in pictures]
        sides = files[0], files[1 + names.index(picked)]
        slider = gr.ImageSlider(sides, label=f"Grey | {picked}", visible=True)
        beside = list(zip(files, ["Grey", *names, "Original"], strict=False))
        gallery = gr.Gallery(beside, columns=min(len(beside), COLUMNS), visible=len(beside) > 2)
        return gr.HTML(visible=False), slider, gallery, picked, gr.Row(visible=True), gr.Tabs(visible=True), value

    def edit(self, *given: Any) -> tuple[Any, ...]:
        """Return the slider and the gallery after hints have changed in the editor; see `show`."""
        return self.show(*given)[1:3]

    def pick(self, chosen: Sequence[str], picked: str | None, event: gr.SelectData) -> str | None:
        """Return the clicked system; clicks on the grey picture or the original change nothing."""
        names = self._in_order(chosen)
        return names[event.index - 1] if 0 < event.index <= len(names) else picked

    def finish(self, file: str | None, picked: str | None, kind: str, edited: str | None, *options: Any) -> str:
        """Write the coloured photograph at its full size, and return its path for the download."""
        if file is None or picked is None:
            raise gr.Error("There is no photograph yet.", print_exception=False)
        name = download_name(Path(file), picked, KINDS[kind])
        try:
            wanted = replace(DemoOptions(*options), hints=hints_of(edited, file))
            with self.systems.turn:
                finished = self.systems.finished(Path(file), picked, wanted)
                return self._write(name, finished.encode(Path(name).suffix))
        except (InputError, MemoryError) as error:
            raise gr.Error(escape(message_of(error)), print_exception=False) from None

    def _in_order(self, chosen: Sequence[str]) -> list[str]:
        return [name for name in self.names if name in chosen]

    def _write(self, name: str, data: bytes) -> str:
        path = self.folder / secrets.token_hex(16) / name
        path.parent.mkdir()
        path.write_bytes(data)
        return str(path)


def build_page(systems: Systems, folder: Path) -> gr.Blocks:
    """Build the page without serving it.

    Args:
        folder: Gradio's, for all files of the page.
    """
    page = Page(systems, folder)
    examples = [[str(file)] for file in draw_examples(folder)]
    with gr.Blocks(title="gancolor", analytics_enabled=False, fill_width=True, delete_cache=(EVERY, AGE)) as blocks:
        gr.HTML(f"<h1>gancolor</h1><p>{ABOUT}</p>", elem_id="heading", padding=False)
        with gr.Row(elem_id="desk"):
            with gr.Column(elem_id="photograph"):
                file = gr.File(label="Photograph", height=160)
                picture = gr.Image(visible=False)
                scenes = gr.Dataset(label="Examples", components=[picture], samples=examples, elem_id="examples")
            with gr.Column(elem_id="result"):
                message = gr.HTML(EMPTY, elem_id="message", padding=False)
                with gr.Tabs(visible=False, elem_id="views") as tabs:
                    with gr.Tab("Compare"):
                        slider = gr.ImageSlider(visible=False, buttons=["fullscreen"], max_height=600, elem_id="slider")
                    with gr.Tab("Colour by click"):
                        editor = page.editor.component()
                with gr.Row(visible=False, elem_id="download") as row:
                    kind = gr.Radio(list(KINDS), value=next(iter(KINDS)), label="Download as")
                    button = gr.Button("Download", variant="primary")
                gallery = gr.Gallery(
                    visible=False, label="Side by side", allow_preview=False, object_fit="contain", buttons=[],
                    height="auto", interactive=False, elem_id="beside",
                )  # fmt: skip
            with gr.Column(elem_id="options"):
                chosen = gr.CheckboxGroup(
                    page.names, value=page.names, label="Checkpoints", visible=len(page.names) > 1
                )
                strength = gr.Slider(0, MOST_STRENGTH, 1, step=0.05, label="Strength", info="of the colour; 0 is grey")
                sizes = [("as trained", 0)] + [(f"{size} pixels", size) for size in SIZES]
                size = gr.Dropdown(sizes, value=0, label="Working size", info="the size of training is usually best")
                upsampling = gr.Radio(
                    ["guided", "bilinear"], value="guided", label="Upsampling", info="guided keeps colour within edges"
                )
                flips = gr.Checkbox(False, label="Mean with the mirrored photograph")
        picked, ready = gr.State(), gr.DownloadButton(visible="hidden", elem_id="file")
        options = [size, strength, upsampling, flips]
        alone: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "colour", "api_visibility": "private"}
        at_once: dict[str, Any] = {"queue": False, "api_visibility": "private"}
        shown = {"fn": page.show, "inputs": [file, chosen, picked, editor, *options], **alone}
        shown["outputs"] = [message, slider, gallery, picked, row, tabs, editor]
        asking = [file.change, chosen.change, size.change, flips.change]
        gr.on(asking, **shown, trigger_mode="always_last", show_progress_on=[message, slider])
        gr.on([strength.change, upsampling.change], **shown, trigger_mode="always_last", show_progress="hidden")
        edited = {**shown, "fn": page.edit, "outputs": [slider, gallery]}
        editor.input(**edited, trigger_mode="always_last", show_progress="hidden")
        gallery.select(page.pick, [chosen, picked], picked, **at_once).then(**shown, show_progress="hidden")
        scenes.click(lambda sample: sample[0], scenes, file, **at_once)
        begun = button.click(lambda: gr.Button("Preparing", interactive=False), None, button, **at_once)
        finished = begun.then(page.finish, [file, picked, kind, editor, *options], ready, **alone)
        finished.success(None, js=PRESS)
        finished.then(lambda: gr.Button("Download", interactive=True), None, button, **at_once)
    return blocks.queue(max_size=WAITING, default_concurrency_limit=1)


def serve(blocks: gr.Blocks, host: str, port: int | None, most_mb: int, hosts: Sequence[str]) -> str:
    """Serve the page in a thread, and return its address.

    Args:
        hosts: host names that requests may use; any other comes from a foreign site that points here (DNS rebinding).

    Raises:
        OSError: no port is free.
    """
    processing_utils.async_ssrf_protected_get = _refuse_to_fetch
    _, address, _ = blocks.launch(
        server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, share=False, inline=False,
        inbrowser=False, show_error=False, footer_links=[], run_history=False, enable_monitoring=False, pwa=False,
        ssr_mode=False, mcp_server=False, num_workers=0, max_file_size=most_mb * 2**20, strict_cors=True,
        allowed_paths=[], css_paths=CSS, theme=_theme(),
        app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]},
    )  # fmt: skip
    return address


async def _refuse_to_fetch(url: str) -> NoReturn:
    """Take the place of Gradio's download of a file that a request names by its address.

    The page only takes uploads, so such a request is not the page's own; Gradio would fetch any public address.
    """
    raise gr.Error(f"{escape(url)} is not fetched: upload the photograph.", print_exception=False)


def _theme() -> gr.themes.Base:
    """Create a calm theme with system fonts, because Gradio's own are fetched from another server."""
    grey = {f"{name}{dark}": "*neutral_500" if not dark else "*neutral_400"
            for name in ("body_text_color_subdued", "block_info_text_color") for dark in ("", "_dark")}  # fmt: skip
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    theme = gr.themes.Base(primary_hue="blue", radius_size="md", **fonts)
    return theme.set(body_background_fill="*neutral_50", block_background_fill="white", **grey)


def _empty(message: str) -> tuple[Any, ...]:
    """Return what `Page.show` does for a message in place of pictures, except the editor's value."""
    hidden = gr.ImageSlider(None, visible=False), gr.Gallery(None, visible=False)
    tabs = gr.Tabs(visible="hidden")  # not False, with which Gradio would delete the editor's state
    return gr.HTML(message, visible=True), *hidden, None, gr.Row(visible=False), tabs
