"""A covariance whose parts are shared, as a pytree that keeps them shared.

A pytree is a tree: a part that two others hold is flattened twice, and after
`jax.jit` has put the tree together again it is two parts. Parts that are nested so,
layer in layer, would double in number each time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax

from dipgp.kernels.stationary import Covariance, Evaluation, Lags, Moments

# For each part, inner ones first: its structure with its own parts as leaves, and for
# each of these leaves the part's number, or None for a hyperparameter.
Plan = tuple[tuple[Any, tuple[int | None, ...]], ...]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Shared(Covariance):
    """The covariance `root`; each hyperparameter of a shared part is one leaf."""

    root: Covariance

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The root's."""
        return at(self.root, lags)

    def tree_flatten(self) -> tuple[list[Any], Plan]:
        """Hyperparameters, each once, and how the parts are made of them."""
        leaves: list[Any] = []
        plan: list[tuple[Any, tuple[int | None, ...]]] = []
        numbers: dict[int, int] = {}

        def visit(part: Covariance) -> int:
            if id(part) not in numbers:
                pieces, structure = _open(part)
                inner = [
                    visit(piece) if _is_part(piece, part) else None for piece in pieces
                ]
                own = zip(pieces, inner, strict=True)
                leaves.extend(piece for piece, number in own if number is None)
                plan.append((structure, tuple(inner)))
                numbers[id(part)] = len(plan) - 1
            return numbers[id(part)]

        visit(self.root)
        return leaves, tuple(plan)

    @classmethod
    def tree_unflatten(cls, plan: Plan, leaves: Iterable[Any]) -> "Shared":
        """The same covariance from other hyperparameters."""
        remaining = iter(leaves)
        parts: list[Any] = []
        for structure, numbers in plan:
            pieces = [next(remaining) if n is None else parts[n] for n in numbers]
            parts.append(jax.tree.unflatten(structure, pieces))
        return cls(parts[-1])


def _is_part(piece: Any, whole: Covariance) -> bool:
    return isinstance(piece, Covariance) and piece is not whole


def _open(part: Covariance) -> tuple[list[Any], Any]:
    """Hyperparameters and covariances that a covariance is immediately made of."""
    return jax.tree.flatten(part, is_leaf=lambda piece: _is_part(piece, part))
