"""What the benches share with the tests and the examples: the project harness and the demo's models."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "tests" / "e2e"), str(_ROOT / "examples")]

import demo_models  # noqa: E402 - found on the path just set
import project  # noqa: E402 - likewise

__all__ = ["demo_models", "project"]
