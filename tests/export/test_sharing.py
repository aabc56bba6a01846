import shutil
from pathlib import Path

import numpy as np
import pytest

from gancolor.export.sharing import share_weights
from gancolor.inference.backends import OnnxBackend
from gancolor.utils.errors import InputError


def test_pair_takes_half_the_space_and_predicts_the_same(exports, tmp_path):
    onnx, weights = (Path(shutil.copy(exports(name, half=True).path, tmp_path)) for name in ("onnx", "safetensors"))
    lightness = np.linspace(-1, 1, 40 * 50, dtype=np.float32).reshape(1, 1, 40, 50)
    before, size = OnnxBackend(onnx)(lightness), onnx.stat().st_size
    saved = share_weights(onnx, weights)
    assert onnx.stat().st_size == size - saved < 0.5 * size
    assert np.array_equal(OnnxBackend(onnx)(lightness), before)
    shared = onnx.read_bytes()
    weights.unlink()
    with pytest.raises(InputError):
        OnnxBackend(onnx)
    assert onnx.read_bytes() == shared


def test_files_with_nothing_in_common_are_refused(exports, tmp_path):
    onnx = Path(shutil.copy(exports("onnx", half=True).path, tmp_path))
    full = Path(shutil.copy(exports("safetensors").path, tmp_path))
    with pytest.raises(InputError, match="no weights in common"):
        share_weights(onnx, full)
    with pytest.raises(InputError, match="has to be in the folder"):
        share_weights(onnx, exports("safetensors", half=True).path)
