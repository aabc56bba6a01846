"""Options of a request: query parameters, or fields of a form."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from gancolor.choices import MOST_STRENGTH, ChromaUpsampling, PictureFormat
from gancolor.inference.image_files import QUALITY
from gancolor.inference.working_size import LEAST_SIZE
from gancolor.serve.limits import HINT_BYTES, MOST_SIZE, QUERY_HINTS

EXAMPLE_HINTS = '{"width": 640, "height": 480, "hints": [{"x": 120, "y": 80, "color": "#a03030"}]}'
HINTS = Field(
    description="Colours of places, as JSON: the photograph's width and height, and for each hint its place `x`, `y` "
    "in pixels of the upright photograph, its `color` as in CSS and, optionally, its `radius`. Long ones go into a "
    "form.",
    examples=[EXAMPLE_HINTS],
    json_schema_extra={"format": "json"},
)


def _true_or_false(value: object) -> object:
    """Refuse the other words (1, yes, off) that pydantic takes for a truth value and the document does not know."""
    if value not in ("true", "false", True, False):
        raise PydanticCustomError("bool_parsing", "Input should be true or false")
    return value


class RequestOptions(BaseModel):
    """How a photograph is coloured and written; see `gancolor colorize --help`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    size: Annotated[int, Field(ge=LEAST_SIZE, le=MOST_SIZE)] | SkipJsonSchema[None] = Field(
        None,
        description="Shorter side of the network's input in pixels (default: as in training, which is usually best).",
        examples=[256],
    )
    strength: float = Field(
        1.0, ge=0, le=MOST_STRENGTH, description="Factor on the predicted colours; 0 is grey.", examples=[0.8]
    )
    upsampling: ChromaUpsampling = Field(
        "guided", description="How colour is resized: `guided` follows the photograph's edges."
    )
    flips: Annotated[bool, BeforeValidator(_true_or_false)] = Field(
        False, description="Average the predictions of the photograph and its mirror image, at half the speed."
    )
    format: Literal["keep", PictureFormat] = Field(
        "keep", description="Format of the result; `keep`: the photograph's own, or PNG if that can't be written."
    )
    quality: int = Field(QUALITY, ge=1, le=100, description="Quality of jpg, webp and avif.")
    disclosure: Annotated[bool, BeforeValidator(_true_or_false)] = Field(
        True, description="Say in the result's metadata (XMP) that a machine made the colours."
    )
    hints: Annotated[Annotated[str, Field(max_length=HINT_BYTES)] | SkipJsonSchema[None], HINTS] = None


class QueryOptions(RequestOptions):
    """Options in the query string, whose length servers limit."""

    hints: Annotated[Annotated[str, Field(max_length=QUERY_HINTS)] | SkipJsonSchema[None], HINTS] = None


def form_schema() -> dict[str, Any]:
    """Return the JSON schema of the form: the photograph and the options."""
    options = RequestOptions.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary", "description": "The photograph."}
    return {
        "type": "object", "required": ["file"], "properties": {"file": file, **options}, "additionalProperties": False,
    }  # fmt: skip


def first_error(errors: Any) -> str:
    """Return the first of pydantic's errors as one line."""
    first: Mapping[str, Any] = errors[0]
    name = next((str(part) for part in first["loc"] if part != "query"), "the request")
    if first["type"] == "extra_forbidden":
        return f"no option {name[:40]!r}; choose from {', '.join(RequestOptions.model_fields)}"
    return f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"
