"""The hint editor of the demo page: its HTML component, and the functions that its script calls on the server."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from gancolor.demo.systems import DemoOptions, Systems, message_of
from gancolor.inference.hints import Hint, parse_hints
from gancolor.inference.image_files import Picture
from gancolor.utils.errors import InputError

QUALITY = 90  # of the JPEG in the editor
WAITING = 16  # most requests that wait; others are told to try again
HERE = Path(__file__).parent
Answer = dict[str, Any]


class Editor:
    """Answers to the editor's script. A request has the photograph's file, the system's name, options and hints.

    Args:
        folder: Gradio's upload folder; files outside it are refused.
    """

    def __init__(self, systems: Systems, folder: Path) -> None:
        self.systems, self.folder = systems, folder.resolve()
        self._places = threading.BoundedSemaphore(WAITING + 1)

    def component(self) -> gr.HTML:
        """Create the component. Its value is JSON text: {file, name, system, options, size, variants}; the script adds
        `hints`."""
        html, css, script = (HERE.joinpath(f"editor.{suffix}").read_text("utf-8") for suffix in ("html", "css", "js"))
        return gr.HTML(
            "", html_template=html, css_template=css, js_on_load=script, apply_default_css=False, elem_id="editor",
            server_functions=[_function(method) for method in (self.colour, self.suggest, self.variants, self.check)],
        )  # fmt: skip

    def value(self, file: str, system: str, options: list[Any]) -> str:
        """Return the component's value for a photograph. Raises InputError."""
        about = {"file": file, "name": Path(file).name, "system": system, "options": options}
        more = {"size": self.systems.size(Path(file)), "variants": self.systems.has_variants(system)}
        return json.dumps({**about, **more})

    def colour(self, request: Mapping[str, Any]) -> Answer:
        """Return {"picture": data URL} of the photograph in colour."""
        return self._answer(request, self._colour)

    def suggest(self, request: Mapping[str, Any]) -> Answer:
        """Return {"colours": ["#rrggbb", ...]} for the place x, y."""
        return self._answer(request, self._suggest)

    def variants(self, request: Mapping[str, Any]) -> Answer:
        """Return {"variants": [{"picture": data URL, "hints": [...]}, ...]}."""
        return self._answer(request, self._variants)

    def check(self, request: Mapping[str, Any]) -> Answer:
        """Return {"hints": [...]} of a file of hints, whose content is `text`."""
        return self._answer(request, self._check)

    def _answer(self, request: Mapping[str, Any], ask: Callable[..., Answer]) -> Answer:
        try:
            file = Path(request["file"]).resolve()
            if not file.is_relative_to(self.folder) or request["system"] not in self.systems.colorizers:
                raise InputError("this photograph is not on this page")
            hints = tuple(Hint(**hint) for hint in request["hints"])
            options = replace(DemoOptions(*request["options"]), hints=hints)
            with self._turn():
                return ask(file, request, options)
        except (InputError, MemoryError) as error:
            return {"error": message_of(error)}
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, OSError):
            return {"error": "the page and the server are of different versions; reload the page"}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for a turn, because Gradio calls the functions of components outside its queue, from many threads.

        Raises:
            InputError: too many requests wait already.
        """
        if not self._places.acquire(blocking=False):
            raise InputError(f"{WAITING} requests wait already; try again later")
        try:
            with self.systems.turn:
                yield
        finally:
            self._places.release()

    def _colour(self, file: Path, request: Mapping[str, Any], options: DemoOptions) -> Answer:
        return {"picture": _data_url(self.systems.after(file, request["system"], options))}

    def _suggest(self, file: Path, request: Mapping[str, Any], options: DemoOptions) -> Answer:
        x, y = float(request["x"]), float(request["y"])
        Hint(x, y, "black").check_inside(self.systems.size(file))
        return {"colours": self.systems.suggestions(file, request["system"], options, x, y)}

    def _variants(self, file: Path, request: Mapping[str, Any], options: DemoOptions) -> Answer:
        found = self.systems.variants(file, request["system"], options)
        rows = [{"picture": _data_url(made), "hints": [hint.to_dict() for hint in hints]} for made, hints in found]
        return {"variants": rows}

    def _check(self, file: Path, request: Mapping[str, Any], _: DemoOptions) -> Answer:
        hints = parse_hints(str(request["text"]), "this file", self.systems.size(file))
        # The page's controls know no names and no rgb().
        return {"hints": [hint.to_dict() | {"color": "#{:02x}{:02x}{:02x}".format(*hint.rgb())} for hint in hints]}


def _data_url(picture: Picture) -> str:
    """Return a picture as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(picture.encode(".jpg", QUALITY)).decode()


def _function(method: Callable[[Mapping[str, Any]], Answer]) -> Callable[[Mapping[str, Any]], Answer]:
    """Return a method as a function, to which Gradio can add attributes."""

    def function(request: Mapping[str, Any]) -> Answer:
        return method(request)

    function.__name__ = method.__name__
    return function


def hints_of(value: str | None, file: str | None) -> tuple[Hint, ...]:
    """Return the hints in the component's value, if they are of this photograph."""
    content = json.loads(value) if value else {}
    if content.get("file") != file:
        return ()
    return tuple(Hint(**hint) for hint in content.get("hints") or ())
