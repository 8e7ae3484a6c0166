"""Studies as tasks of a Ray cluster."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from introspect.errors import ConfigError, MissingExtraError
from introspect.study.sweeps.executors import Lost, Ticket
from introspect.study.sweeps.lanes import StudyOrder
from introspect.study.sweeps.sweep import Resources
from introspect.study.sweeps.worker import run_order, thread_variables

__all__ = ["RayExecutor", "adds_nodes"]

_log = logging.getLogger("introspect.study")

_GROWS_WITHIN = 900.0
"""Seconds: Ray's own limit for the start of a node."""


class RayExecutor:
    """Ray tasks, one a study, each with the cores, GPUs and memory that it asks for.

    Ray places and queues them; a task whose worker or node dies comes back as lost. Ray's own retries are off, so that
    what is begun again is counted in one place.

    Args:
        workers: Size of the local cluster that is started where no address is given: so many cores.
        address: Of a cluster that there is; RAY_ADDRESS if None.
        patience: Seconds to wait for nodes that the cluster has not yet, once it is asked for them. By default none,
            and a quarter of an hour where an autoscaler is seen to add nodes.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, workers: int | None = None, address: str | None = None, patience: float | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("ray", "ray") from None
        self._ray: Any = ray
        self._workers = workers
        self._address = address or os.environ.get("RAY_ADDRESS")
        if self._address and workers is not None:
            raise ConfigError("--workers sizes a local cluster; the one at --address has the size that it has")
        if not self._address and patience is not None:
            raise ConfigError(
                "--wait-for-nodes is for a cluster that grows; a local one does not: name one in --address"
            )
        self._patience = patience
        self._ours = False
        self._begun: dict[Any, Ticket] = {}
        self._needs: Sequence[Resources] = ()

    @property
    def room(self) -> str:
        """The cluster's size."""
        if not self._ray.is_initialized():
            return f"a Ray cluster at {self._address}" if self._address else "a local Ray cluster"
        has = self._ray.cluster_resources()
        nodes = sum(1 for node in self._ray.nodes() if node["Alive"])
        gpus = f", {has['GPU']:g} GPUs" if has.get("GPU") else ""
        return f"Ray: {nodes} node{'s' * (nodes > 1)}, {has.get('CPU', 0):g} cores{gpus}"

    def check(self, needs: Sequence[Resources]) -> None:
        """Whether some node of the cluster has what each study needs, now or once the cluster has grown.

        Raises:
            ConfigError: None has; with what to do.
        """
        self._needs = needs
        if not self._ray.is_initialized():
            self._start()
        lacking = [need for need in dict.fromkeys(needs) if not self._has_room(need)]
        if not lacking:
            return
        patience = self._patience if self._patience is not None else _GROWS_WITHIN if self._grows() else 0.0
        if patience:
            _log.warning(
                "waiting up to %g s for nodes with %s: the cluster has none yet and is asked for them", patience,
                "; ".join(map(_words, lacking)),
            )  # fmt: skip
            lacking = self._wait_for(lacking, patience)
        if lacking:
            self._leave()
            waited = (
                f" after {patience:g} s of waiting; see what the autoscaler may add (`ray status`),"
                if patience
                else ";"
            )
            grow = "" if patience or not self._address else "; where nodes are added on demand, give --wait-for-nodes"
            raise ConfigError(
                f"resources: no node of the cluster has {_words(lacking[0])} for one study{waited} lower resources, "
                f"or give another cluster{grow}"
            )

    def _has_room(self, need: Resources) -> bool:
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory_gb * 1e9}
        return any(all(node.get(key, 0) >= value for key, value in wanted.items()) for node in nodes)

    def _grows(self) -> bool:
        """Whether an autoscaler is at work. Ray has no public word for it: one that is not seen here is waited for
        where the user says so.
        """
        with suppress(Exception):
            from ray.experimental.internal_kv import _internal_kv_get

            return adds_nodes(_internal_kv_get("__autoscaling_status"))
        return False

    def _wait_for(self, needs: Sequence[Resources], patience: float) -> list[Resources]:
        """Ask for nodes as Ray's own tasks do, by queueing one that needs them; those that never came."""
        asked = {self._task(_nothing, need, "room").remote(): need for need in needs}
        came, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=patience)
        for reference in set(asked) - set(came):
            with suppress(Exception):
                self._ray.cancel(reference, force=True)
        return [need for reference, need in asked.items() if reference not in came]

    def _task(self, function: Any, needs: Resources, name: str) -> Any:
        return self._ray.remote(function).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, memory=int(needs.memory_gb * 1e9) or None, max_retries=0,
            name=name,
        )  # fmt: skip

    def _start(self) -> None:
        """Join the cluster, or start one here: nothing is reported to anyone, and no page is served."""
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address:
            try:
                self._ray.init(address=self._address, **quiet)
            except Exception as error:  # Ray raises many kinds
                raise ConfigError(
                    f"no Ray cluster answers at {self._address}: {' '.join(str(error).split())[:200]}; start one with "
                    "`ray start --head`, set RAY_AUTH_MODE=token where it asks for a token (as Ray 2.60's `ray start` "
                    "has it do), or leave --address out"
                ) from None
        else:
            cpus = max((need.cpus for need in self._needs), default=1)
            # Workers inherit these; set before they start, since a library reads them when it is loaded.
            before = {k: os.environ.get(k) for k in (*thread_variables(1), "RAY_USAGE_STATS_ENABLED")}
            os.environ.update({**thread_variables(cpus), "RAY_USAGE_STATS_ENABLED": "0"})
            try:
                n = None if self._workers is None else self._workers * cpus
                self._ray.init(
                    address="local", num_cpus=n, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet
                )
            finally:
                for key, value in before.items():
                    os.environ.pop(key) if value is None else os.environ.update({key: value})
        self._ours = True

    def submit(self, ticket: Ticket, order: StudyOrder) -> None:
        """Hand it to Ray."""
        task = self._task(run_order, order.resources, order.title)
        self._begun[task.remote(order.model_dump_json())] = ticket

    def wait(self) -> list[tuple[Ticket, str | Lost]]:
        """Wait for the next task to end."""
        ready, _ = self._ray.wait(list(self._begun), num_returns=1)
        ended: list[tuple[Ticket, str | Lost]] = []
        for reference in ready:
            ticket = self._begun.pop(reference)
            try:
                ended.append((ticket, self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                ended.append((ticket, Lost(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")))
        return ended

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take back what was not begun, and leave the cluster, or end it where it is ours."""
        for reference in self._begun:
            with suppress(Exception):
                self._ray.cancel(reference, force=True)
        self._begun.clear()
        self._leave()

    def _leave(self) -> None:
        if self._ours:
            self._ray.shutdown()
            self._ours = False


def adds_nodes(status: str | bytes) -> bool:
    """Whether a cluster's own status tells of an autoscaler: of nodes that are of some kind that was configured.

    Where nodes are only looked at, and none is ever added, each is a kind of its own.

    Example:
        >>> adds_nodes('{"autoscaler_report": {"node_type_mapping": {"ab12": "node_ab12"}}}')
        False
    """
    told = json.loads(status)["autoscaler_report"]
    kinds = [*(told.get("active_nodes") or {}), *(told.get("node_type_mapping") or {}).values()]
    return any(not str(kind).startswith("node_") for kind in kinds)


def _nothing() -> None:
    """Shows that there is room."""


def _words(need: Resources) -> str:
    return f"{need.cpus} cores, {need.gpus:g} GPUs and {need.memory_gb:g} GB of memory"
