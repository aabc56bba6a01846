import sys
from pathlib import Path

# The benchmarks are scripts of a folder, not a package: they find each other by it.
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
