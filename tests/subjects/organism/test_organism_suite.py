"""Organisms keep the forty promises of a backend."""

from __future__ import annotations

import pytest
from test_organism_backend import questions, request

from introspect.backend import ModelRef, Request
from introspect.subjects.organism import OrganismBackend
from introspect.testing import BackendConformance


class TestOrganism(BackendConformance):
    deterministic = True

    @pytest.fixture(autouse=True)
    def _ref(self, tiny_ref: ModelRef) -> None:
        type(self).ref = tiny_ref

    def make(self) -> OrganismBackend:
        return OrganismBackend(self.ref)

    def requests(self) -> list[Request]:
        return questions()[:8]

    def failing(self) -> Request:
        return request("weigh " * 100)
