"""Entry point of `gancolor demo`, which serves the page until it is interrupted and then deletes its files."""

import os
import time
import webbrowser
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from gancolor.demo.systems import Systems, system_names
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.image_files import MOST_MEGAPIXELS
from gancolor.inference.recombine import can_compile
from gancolor.utils.addresses import HERE, in_url, is_loopback, listen, warn_if_public
from gancolor.utils.errors import InputError
from gancolor.utils.signals import Interruption

BUNDLED_NAME = "gancolor"  # name of the bundled generator


def run_demo(
    checkpoints: Sequence[Path],
    host: str = HERE,
    port: int | None = None,
    *,
    most_mb: int,
    megapixels: int,
    device: str,
    disclosure: bool,
    show: bool,
) -> int:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        checkpoints: exported generators (.safetensors, .onnx) and run folders; none: the bundled generator.
        host: address to listen on.
        port: None: 7860, or the next free port.
        most_mb: maximum size of an upload [megabytes].
        megapixels: maximum size of a photograph.
        device, disclosure: see `Colorizer`.
        show: open the page in the browser.

    Raises:
        InputError: a checkpoint can't be used, the address or port is unavailable, or Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise InputError("the page needs Gradio: pip install 'gancolor[demo]'")
    host = host.strip("[]")  # around an IPv6 address
    listen(host, port).close()  # Gradio binds it itself, and says less if it can't
    with (
        Interruption() as interruption,
        TemporaryDirectory(prefix="gancolor-demo-", ignore_cleanup_errors=True) as kept,
    ):
        isolate_gradio(Path(kept))
        systems = open_systems(checkpoints, device, megapixels, disclosure)
        from gancolor.demo.page import build_page, serve  # imports gradio, so only after the environment is set

        page = build_page(systems, Path(kept))
        names = [HERE, "localhost", host] if is_loopback(host) and ":" not in host else ["*"]
        address = serve(page, in_url(host), port, most_mb, names)
        warn_if_public(host, "this page")
        print(f"{address} serves the page; Ctrl-C stops it", flush=True)
        if show:
            webbrowser.open(address)
        while interruption.signal is None:
            time.sleep(0.1)
        page.close(verbose=False)
    return 0


def open_systems(
    checkpoints: Iterable[Path], device: str, megapixels: int = MOST_MEGAPIXELS, disclosure: bool = True
) -> Systems:
    """Load the checkpoints, or the bundled generator if there are none. Raise InputError if one can't be used."""
    paths = list(checkpoints)
    compiled = can_compile()
    if not paths:
        bundled = Colorizer.load(device=device, compiled=compiled, disclosure=disclosure)
        return Systems({BUNDLED_NAME: bundled}, megapixels)
    colorizers = (Colorizer.load(path, device=device, compiled=compiled, disclosure=disclosure) for path in paths)
    return Systems(dict(zip(system_names(paths), colorizers, strict=True)), megapixels)


def isolate_gradio(folder: Path) -> None:
    """Keep files in `folder`, disable telemetry, and bypass proxies for Gradio's requests to its own server
    (https://github.com/gradio-app/gradio/issues/4046).

    Call it before Gradio and ONNX Runtime are imported.
    """
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
