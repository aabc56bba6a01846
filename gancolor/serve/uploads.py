"""The photograph of a request, which is the body itself or a file in a form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile

from gancolor.serve.limits import HINT_BYTES

HOW = "send it as the field `file` of a form (multipart/form-data), or as the body with its own Content-Type (image/*)"
RAW = "application/octet-stream"


@dataclass(frozen=True)
class Upload:
    """A photograph's file.

    Attributes:
        name: that the sender gave it, or empty.
        fields: the form's other fields.
    """

    data: bytes
    name: str
    fields: Mapping[str, Any]


async def read_upload(request: Request) -> Upload:
    """Read a request's body. Raises HTTPException if there is no photograph in it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=2, max_fields=16, max_part_size=HINT_BYTES) as form:
                upload = await _from_form(form)
        except UnicodeError:  # Starlette only catches that of most charsets
            raise HTTPException(400, "the form is not in the charset of its Content-Type; send it in utf-8") from None
    elif kind.startswith("image/") or kind == RAW:
        upload = Upload(await request.body(), "", {})
    else:
        raise HTTPException(415, f"no photograph of type {kind[:40] or 'unknown'!r}; {HOW}")
    if not upload.data:
        raise HTTPException(422, f"the photograph is empty; {HOW}")
    return upload


async def _from_form(form: FormData) -> Upload:
    names = [name for name, _ in form.multi_items()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise HTTPException(422, f"the field {twice[:40]!r} is given twice; send one photograph in a request")
    fields = dict(form)
    file = fields.pop("file", None)
    if not isinstance(file, UploadFile):
        raise HTTPException(422, f"no photograph: {HOW}")
    texts = {name: value if isinstance(value, str) else await _text(name, value) for name, value in fields.items()}
    return Upload(await file.read(), file.filename or "", texts)


async def _text(name: str, file: UploadFile) -> str:
    """Return the content of a field that is sent as a file, as curl sends a file of hints."""
    try:
        return (await file.read(HINT_BYTES + 1)).decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPException(422, f"{name[:40]}: is not text in UTF-8") from None
