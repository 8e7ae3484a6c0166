"""Who runs the studies of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from introspect.errors import ConfigError
from introspect.study.sweeps.lanes import StudyOrder
from introspect.study.sweeps.sweep import Resources

__all__ = ["EXECUTORS", "Executor", "Lost", "Ticket", "executor"]

EXECUTORS = ("local", "ray", "here")
"""Names of the executors: processes of this machine, a Ray cluster, and this very process."""

Ticket = int


class Lost(Exception):
    """The worker died under a study; the reason is the text."""


class Executor(Protocol):
    """Runs orders, as many at once as there is room for. Used as a context.

    An order whose worker dies is handed back as `Lost`, and may be submitted again.
    """

    @property
    def room(self) -> str:
        """What it has, in words."""
        ...

    def check(self, needs: Sequence[Resources]) -> None:
        """Whether a study of each of these needs would ever find room.

        Raises:
            ConfigError: It would not; with what to do.
        """
        ...

    def submit(self, ticket: Ticket, order: StudyOrder) -> None:
        """Have an order run as soon as there is room."""
        ...

    def wait(self) -> list[tuple[Ticket, str | Lost]]:
        """Wait until an order has ended: what `run_order` returned, or that its worker died."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def executor(
    name: str, workers: int | None = None, address: str | None = None, patience: float | None = None
) -> Executor:
    """An executor by its name.

    Args:
        name: "local", "ray" or "here".
        workers: Studies at the same time: processes of this machine, or the size of the local Ray cluster that is
            started where no other is named. By default what this machine has cores for.
        address: Of a Ray cluster: "auto" for the one that this machine belongs to, ``ray://host:10001``, or
            ``host:6379``.
        patience: Seconds to wait for nodes that a Ray cluster has yet to add; see `RayExecutor`.

    Raises:
        ConfigError: There is none of that name, or settings of another one are given.

    Example:
        >>> executor("local", workers=2).room
        '2 workers on this machine'
    """
    if name not in EXECUTORS:
        raise ConfigError(f"there is no executor {name!r}; known are {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be 1 or more, got {workers}")
    if address is not None and name != "ray":
        raise ConfigError(f"--address names a Ray cluster; the executor is {name!r}: give --executor ray")
    if patience is not None and (name != "ray" or not patience >= 0):
        raise ConfigError(
            f"--wait-for-nodes is how many seconds a Ray cluster may take to add nodes; got {patience:g} for the "
            f"executor {name!r}"
        )
    made: Any
    if name == "ray":
        from introspect.study.sweeps.on_ray import RayExecutor

        made = RayExecutor(workers, address, patience)
    elif name == "here":
        from introspect.study.sweeps.local import HereExecutor

        made = HereExecutor()
    else:
        from introspect.study.sweeps.local import LocalExecutor

        made = LocalExecutor(workers)
    found: Executor = made
    return found
