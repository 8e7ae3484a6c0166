"""Which rule is named when the rule is known: a confusion table by simulation.

Run: python benchmarks/validate_rules.py [--quick]

Five attributes, rules as `RuleSampler` draws them by default, independent uniform pairs. Every rule's linear
control, the linear preference closest to it in choices, should be called linear.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Literal

import numpy as np

from introspect.decision import Attribute, DecisionScenario, RuleSampler, TrialGenerator, label
from introspect.decision.rules import agreement
from introspect.measure.rule_models import KINDS, compare_rules


def main() -> None:
    """Print one table row per truth."""
    n_contexts = 10 if "--quick" in sys.argv[1:] else 40
    axes = [Attribute(name=f"a{k}", low=0, high=1000) for k in range(5)]
    contexts = [
        DecisionScenario(id=f"k{i:03d}", chooser=f"person {i}", item="lot", question="Which?", attributes=axes)
        for i in range(n_contexts)
    ]
    print("| trials | noise | truth | " + " | ".join(KINDS) + " | lead, nats | CPU s per context |")
    for n, noise in ((50, "deterministic"), (100, "deterministic"), (200, "deterministic"), (200, "lapse")):
        trials = TrialGenerator().trials(contexts, n, rng=0)
        for kind in KINDS:
            rules = RuleSampler(kind=kind).sample(contexts, rng=1)
            controls = rules.linear_controls(contexts, rng=0)
            same = np.mean([agreement(rules[c.id], controls[c.id], c, rng=2) for c in contexts])
            truths = (
                [(kind, rules)] if kind == "linear" else [(kind, rules), (f"its control ({same:.0%} alike)", controls)]
            )
            for name, truth in truths:
                how: Literal["deterministic", "lapse"] = "lapse" if noise == "lapse" else "deterministic"
                start = time.process_time()
                found = compare_rules(label(trials, truth, how, rng=3))
                spent = (time.process_time() - start) / n_contexts
                named = Counter(found.best().values())
                lead = found.lead(kind)[0]
                shares = " | ".join(f"{named[k] / n_contexts:.2f}" for k in KINDS)
                print(f"| {n} | {noise} | {name} | {shares} | {lead:+.3f} | {spent:.2f} |", flush=True)


if __name__ == "__main__":
    main()
