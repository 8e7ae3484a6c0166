"""A server on a loopback port, and the official client that holds it to OpenAI's description."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from openai_contract import Contract
from stepping import Stepper, open_stepper

from introspect.backend import ModelRef, register
from introspect.backend.openai import backend as backend_module
from introspect.backend.openai import trainer as trainer_module
from introspect.serve import serving
from introspect.subjects.organism import organism_ref


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(organism_ref("shared"), tmp_path_factory.mktemp("serve")) as url:
        yield url


@pytest.fixture
def contract() -> Contract:
    return Contract()


@pytest.fixture
def connect(contract: Contract) -> Iterator[Callable[..., openai.OpenAI]]:
    clients = []

    def make(url: str, key: str = "unused") -> openai.OpenAI:
        clients.append(openai.OpenAI(base_url=url, api_key=key, max_retries=0, http_client=contract.sync()))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def every_client(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> Contract:
    """Holds what our own backends and trainers send, and what they get, against the description."""
    for module in (backend_module, trainer_module):
        made = module.make_client

        def make(*args, made=made, **options):
            client = made(*args, **options)
            client._client.event_hooks = contract.asynchronous().event_hooks
            return client

        monkeypatch.setattr(module, "make_client", make)
    return contract


@pytest.fixture
def client(server: str, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return connect(server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def stepper() -> ModelRef:
    register("stepper", open=open_stepper, trainer=Stepper)
    Stepper.gate, Stepper.starts = threading.Semaphore(0), []
    return ModelRef(provider="stepper", model="base")
