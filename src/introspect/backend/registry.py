"""Which provider opens and trains which reference."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, IntrospectError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from introspect.backend.budgeted import Budget
    from introspect.backend.cached import ReplyStore

__all__ = ["ENTRY_POINT_GROUP", "Provider", "known_providers", "open_model", "register", "trainer_for"]

ENTRY_POINT_GROUP = "introspect.backends"

# Dotted paths and not imports: the rooms that hold these providers stand on this one, and their libraries are
# heavy.
_BUILT_IN = {
    "simulated": "introspect.subjects.simulated:PROVIDER",
    "organism": "introspect.subjects.organism.provider:PROVIDER",
    "transformers": "introspect.backend.local.provider:PROVIDER",
    "openai": "introspect.backend.openai.provider:PROVIDER",
    "tinker": "introspect.backend.tinker.provider:PROVIDER",
    "inspect": "introspect.backend.inspect_model:PROVIDER",
    "vllm": "introspect.backend.vllm_server:PROVIDER",
}


@dataclass(frozen=True)
class Provider:
    """How models of one kind are opened, and trained where they can be.

    Attributes:
        open: Makes a backend of a reference.
        trainer: Makes a trainer; None where these models cannot be trained.
        hosted: Whether each request goes over a network, so that retries, limits and budgets make sense.
    """

    open: Callable[[ModelRef], ModelBackend]
    trainer: Callable[[], Trainer] | None = None
    hosted: bool = False


_registered: dict[str, Provider] = {}


def register(
    provider: str,
    *,
    open: Callable[[ModelRef], ModelBackend],  # not the built-in: the verb of open_model
    trainer: Callable[[], Trainer] | None = None,
    hosted: bool = False,
) -> None:
    """Make references of this provider openable in this process. A later registration replaces an earlier
    one.

    A package does the same for all processes with an entry point in the group ``introspect.backends`` whose
    name is the provider and whose object is a `Provider`.

    Args:
        provider: The name that `ModelRef.provider` carries.
        open: Makes a backend of a reference.
        trainer: Makes a trainer, where these models can be trained.
        hosted: Whether each request goes over a network; `open_model` then adds retries and limits.

    Example:
        >>> from introspect.backend import FunctionBackend, ModelRef
        >>> def opened(ref):
        ...     return FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> register("always-a", open=opened)
        >>> "always-a" in known_providers()
        True
    """
    if not provider:
        raise BackendError("a provider needs a name; got an empty string")
    _registered[provider] = Provider(open=open, trainer=trainer, hosted=hosted)


def known_providers() -> tuple[str, ...]:
    """Names of all providers: registered, built in and brought by installed packages.

    Example:
        >>> {"openai", "organism", "simulated", "transformers"} <= set(known_providers())
        True
    """
    return tuple(sorted({*_registered, *_BUILT_IN, *(point.name for point in _points())}))


def open_model(
    ref: ModelRef,
    cache: ReplyStore | None = None,
    *,
    budget: Budget | None = None,
    record: Path | str | None = None,
    concurrency: int | None = None,
    batches: JobRecorder | None = None,
) -> ModelBackend:
    """Open the model that a reference names, with what a study needs around it.

    From the inside out: the provider's backend; `Recorded` (every attempt, where a file is named); for hosted models
    `Limited`, `Budgeted` (where there is a budget; every attempt counts) and `Retrying`; `Cached` (where there is a
    store; what it finds costs nothing). Another order, or other settings, are made by hand: each is a backend around a
    backend.

    Args:
        ref: What to open.
        cache: Where replies are looked up and kept; without it every request is asked.
        budget: What may be spent on a hosted model.
        record: A JSON Lines file to which requests and replies are appended, without keys.
        concurrency: Requests to a hosted model under way at most.
        batches: Ask through the service's Batch API, and write down here what was sent: cheaper, within a day, and with
            neither budget, record nor concurrency.

    Raises:
        BackendError: The provider is unknown, its model cannot be opened, or it is local and has a budget or a
            concurrency, or it has no Batch API.
        BudgetError: The budget has a cap and the model's price is not known.
        MissingExtraError: The provider needs a library that is not installed.

    Example:
        >>> from introspect.backend import FunctionBackend, ModelRef
        >>> def opened(ref):
        ...     return FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> register("always-a", open=opened)
        >>> open_model(ModelRef(provider="always-a", model="any")).info.ref.model
        'always-a'
    """
    if not isinstance(ref, ModelRef):
        raise BackendError(
            f"open_model takes a ModelRef, got {ref!r:.80}. Name provider and model, as in "
            f"ModelRef(provider='openai', model='gpt-4o-mini'); known providers: {', '.join(known_providers())}"
        )
    provider = _provider(ref.provider)
    if not provider.hosted and (budget is not None or concurrency is not None):
        raise BackendError(
            f"models of provider {ref.provider!r} run on this machine: they take neither a budget nor a concurrency"
        )
    backend = provider.open(ref)
    if batches is not None:
        from introspect.backend.openai import Batched, OpenAIBackend

        if (
            not isinstance(backend, OpenAIBackend)
            or budget is not None
            or record is not None
            or concurrency is not None
        ):
            raise BackendError(
                f"batches are for models of provider 'openai' ({ref} is given), and go without budget, record and "
                "concurrency: what a batch costs is known only when it has ended"
            )
        if cache is None:
            return Batched(backend, batches)
        from introspect.backend.cached import Cached

        return Cached(Batched(backend, batches), cache)
    if record is not None:
        from introspect.backend.recorded import Recorded

        backend = Recorded(backend, record)
    if provider.hosted:
        from introspect.backend.limited import Limited
        from introspect.backend.retrying import Retrying

        backend = Limited(backend, concurrency=concurrency)
        if budget is not None:
            from introspect.backend.budgeted import Budgeted

            backend = Budgeted(backend, budget)
        backend = Retrying(backend)
    if cache is None:
        return backend
    from introspect.backend.cached import Cached

    return Cached(backend, cache)


def trainer_for(ref: ModelRef) -> Trainer:
    """The trainer of this reference's provider.

    Raises:
        BackendError: The provider is unknown, or its models cannot be trained.

    Example:
        >>> from introspect.backend import FunctionBackend, ModelRef
        >>> def opened(ref):
        ...     return FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> register("always-a", open=opened)
        >>> trainer_for(ModelRef(provider="always-a", model="any"))
        Traceback (most recent call last):
        introspect.errors.BackendError: models of provider 'always-a' cannot be trained: ...
    """
    provider = _provider(ref.provider)
    if provider.trainer is None:
        raise BackendError(
            f"models of provider {ref.provider!r} cannot be trained: it was registered without a trainer. "
            f"Train a base of another provider, or register one with trainer=..."
        )
    return provider.trainer()


def _points() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _provider(name: str) -> Provider:
    """Registered here, else built in, else brought by a package (which cannot shadow a built-in)."""
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except IntrospectError:
            raise
        except (ImportError, AttributeError) as error:
            raise BackendError(f"the built-in provider {name!r} cannot be loaded: {error}") from error
        return _checked(name, found, module)
    for point in _points():
        if point.name == name:
            try:
                found = point.load()
            except IntrospectError:
                raise
            except Exception as error:  # another package's code: whatever it raises, name the package
                raise BackendError(
                    f"the provider {name!r} of entry point {point.value!r} cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
            return _checked(name, found, point.value)
    raise BackendError(
        f"no provider named {name!r}. Known: {', '.join(known_providers())}. "
        f"Add one with introspect.backend.register(...) or an entry point in the group {ENTRY_POINT_GROUP!r}."
    )


def _checked(name: str, found: object, where: str) -> Provider:
    if not isinstance(found, Provider):
        raise BackendError(f"the provider {name!r} from {where} is a {type(found).__name__}, not a Provider")
    return found
