"""Simulated agents keep what every backend promises."""

from __future__ import annotations

import pytest

from introspect.backend import Message, Request
from introspect.decision.generator import TrialGenerator
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.subjects.simulated import SimulatedAgent, SimulatedBackend
from introspect.testing.conformance import check_backend


@pytest.mark.parametrize("parameters", [{}, {"logprobs": True, "lapse": 0.2}, {"refusal_rate": 0.3, "logprobs": True}])
@pytest.mark.parametrize("style", [OrganismStyle(), ChatStyle()], ids=["organism", "chat"])
def test_simulated_agents_pass_the_conformance_suite(style, parameters):
    trials = TrialGenerator().trials(organism_scenarios(3), 2, rng=0)
    prompts = [style.choice(scenario, trial) for scenario, trial in trials]
    requests = [
        Request(messages=tuple(Message(role=m.role, content=m.content) for m in p.messages), answers=p.answers)
        for p in prompts
    ]
    unreadable = Request(messages=(Message(role="user", content="What is the time?"),))
    check_backend(
        lambda: SimulatedBackend(SimulatedAgent(**parameters)),
        requests,
        failing=unreadable,
        deterministic=True,
    )
