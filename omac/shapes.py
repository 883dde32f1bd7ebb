"""Shapes in signatures: Float[Tensor, "K B n"]. Nothing is checked at run time; the tests check every call.

One letter is one size in a call: K seeds, P policies of a seed, B batch, n agents, A actions, S state, O observation;
of data N episodes, T steps. "*rows" and "..." stand for any axes. conftest.py turns the checks on.
"""

from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray as Array

__all__ = ["Array", "Bool", "Float", "Int", "Shaped", "Tensor"]  # noqa: F822, Tensor comes when it is asked for


def __getattr__(name):
    """Import torch's Tensor for those who ask for it: omac/data does without torch."""
    if name != "Tensor":
        raise AttributeError(f"omac.shapes has no {name}")
    from torch import Tensor

    return Tensor
