"""A study with a budget stops before it is broken, keeps what it has paid for, and goes on with more."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "backend" / "openai"))
from faulty_server import FaultyServer
from paid_study import answer, paid_study

from introspect.backend import Budget, Price
from introspect.errors import BudgetError

PRICES = {"*": Price(input=1.0, output=1.0)}
EACH = 12 / 1_000_000  # ten tokens there and two back


def test_a_study_stops_before_its_cap_and_pays_only_for_the_rest_later(tmp_path: Path) -> None:
    with FaultyServer(answer=answer) as server:
        first, second = Budget(cap=200 * EACH, prices=PRICES), Budget(cap=1.0, prices=PRICES)
        study = paid_study("paid", server.url, tmp_path / "study", 4)
        with pytest.raises(BudgetError, match="cap"):
            replace(study, budget=first).run()
        assert 0 < first.spent <= 200 * EACH
        replace(study, budget=second).run()
        asked = [json.dumps(body, sort_keys=True) for body in server.bodies if not body["model"].startswith("train:")]
    assert len(set(asked)) == len(asked) > 200
    assert first.spent + second.spent == pytest.approx(len(asked) * EACH)
