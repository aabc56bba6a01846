"""Arrays of any library that follows the array API standard (https://data-apis.org/array-api)."""

from typing import Any

import array_api_compat
import numpy as np

Array = Any  # of NumPy, PyTorch or another library that follows the standard
device = array_api_compat.device


def array_namespace(array: Array) -> Any:
    """Return the module with an array's functions, under the standard's names.

    NumPy has these names itself. array_api_compat's module of them would import all of NumPy, f2py and tests included:
    a tenth of the time that `gancolor colorize` takes for one photograph.
    """
    return np if isinstance(array, np.ndarray) else array_api_compat.array_namespace(array)
