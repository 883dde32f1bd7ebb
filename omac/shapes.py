"""Shapes in signatures: Float[Tensor, "K B n"]. Nothing is checked at run time; the tests check every call.

One letter is one size in a call: K seeds, P policies of a seed, B batch, n agents, A actions, S state, O observation.
"*rows" stands for any axes. conftest.py turns the checks on.
"""

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor"]
