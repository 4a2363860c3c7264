"""Which parameters are the blocks' matrices, and which are the rest: one rule, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterGroups:
    """A model's trained parameters by name, in the model's order.

    matrices: decayed, and moved by Muon where that is asked for.
    others: never decayed: embeddings, the output head, norms, biases.
    """

    matrices: dict[str, Tensor]
    others: dict[str, Tensor]


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """Part the trained parameters.

    A matrix is what has two dimensions or more, stands in a module list called `blocks`, and is no
    embedding. Everything else is not.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    groups = ParameterGroups({}, {})
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim >= 2 and "blocks" in name.split(".")
        chosen = groups.matrices if is_matrix and id(parameter) not in embeddings else groups.others
        chosen[name] = parameter
    return groups
