"""The parameters of all networks in the lists that an update works on, and clipping, all on the seed axis."""

import torch

from omac.shapes import Float, Tensor


def parameter_groups(nets, groups: dict) -> dict[str, list[Tensor]]:
    """List the parameters of {group: names of its networks}; a group without parameters is left out.

    One is with `local_value: max`, which has no V network.
    """
    found = {group: [p for name in names for p in getattr(nets, name).parameters()] for group, names in groups.items()}
    return {group: parameters for group, parameters in found.items() if parameters}


def target_pairs(nets, pairs) -> tuple[list[Tensor], list[Tensor]]:
    """List the parameters of all target copies and those that they follow, in one order: ([online], [target]).

    pairs: (network, copy) names. A copy may lack layers that its value does not need.
    """
    online, target = [], []
    for network, copy in pairs:
        followed = dict(getattr(nets, network).named_parameters())
        for name, parameter in getattr(nets, copy).named_parameters():
            online.append(followed[name])
            target.append(parameter)
    return online, target


def clip_per_seed(parameters: list[Float[Tensor, "K _ _"]], limit: float) -> Float[Tensor, " K"]:
    """Scale gradients so that each seed's norm over all of them is at most a limit.

    Args:
        parameters: with gradients [K,...]; they are changed in place.
        limit: the largest norm.
    Returns:
        The norms before, [K].
    """
    grads = [p.grad for p in parameters]
    norm = torch.stack([torch.linalg.vector_norm(g, dim=(1, 2)) for g in grads]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
    return norm
