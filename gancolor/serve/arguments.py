"""Command-line arguments of `gancolor serve`. Nothing else is imported, so that `--help` is fast."""

import argparse
from pathlib import Path
from typing import Any

from gancolor.utils.arguments import count, port


def add_serve(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of `gancolor serve` to the commands' parsers, and return it."""
    serve = commands.add_parser(
        "serve",
        help="serve an HTTP API that colours photographs",
        usage="gancolor serve [--host ADDRESS] [--port N] [--checkpoint PATH] [--device NAME] [...]",
        description="Answers POST /colorize with the photograph in colour; /openapi.json describes the requests, and "
        "/health and /metrics are for supervision. Ctrl-C and SIGTERM stop it after the requests in progress. More in "
        "docs/serving.md.",
        allow_abbrev=False,
    )
    serve.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1",
        help="address to listen on; 0.0.0.0: open to the whole network (default: 127.0.0.1: this machine only)",
    )  # fmt: skip
    serve.add_argument("--port", metavar="N", type=port, default=8000, help="port (default: 8000)")
    serve.add_argument(
        "--checkpoint", metavar="PATH", type=Path,
        help="run folder, .safetensors or .onnx file (default: the bundled generator)",
    )  # fmt: skip
    serve.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add = serve.add_argument_group("limits").add_argument
    add("--max_upload_mb", metavar="N", type=count, default=50, help="size of a request; more: 413 (default: 50)")
    add("--max_megapixels", metavar="N", type=count, default=50, help="of a photograph; more: 413 (default: 50)")
    add("--max_waiting", metavar="N", type=count, default=16,
        help="requests that wait while a photograph is coloured; more: 503 (default: 16)")  # fmt: skip
    add("--timeout", metavar="SECONDS", type=count, default=60,
        help="time of a request with its upload and waiting; longer: 408 or 503 (default: 60)")  # fmt: skip
    return serve
