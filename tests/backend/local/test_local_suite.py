"""A transformers model keeps the forty promises of a backend."""

from __future__ import annotations

import pytest
from tiny_chat import question

from introspect.backend import ModelBackend, ModelRef, Request, open_model
from introspect.testing import BackendConformance


class TestTransformers(BackendConformance):
    deterministic = True

    @pytest.fixture(autouse=True)
    def _ref(self, tiny: ModelRef) -> None:
        type(self).ref = tiny

    def make(self) -> ModelBackend:
        return open_model(self.ref)

    def failing(self) -> Request:
        return question("boat " * 400)
