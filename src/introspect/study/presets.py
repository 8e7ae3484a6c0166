"""Ready-made studies: on an organism in about a minute, on a small chat model in about half an hour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.decision import OrganismStyle, PromptStyle, catalogue, organism_scenarios
from introspect.errors import ConfigError
from introspect.study.protocol import StudyProtocol
from introspect.study.study import Study

__all__ = ["CHAT_PROTOCOL", "ORGANISM_PROTOCOL", "chat_study", "organism_study"]

ORGANISM_PROTOCOL = StudyProtocol(
    name="organism",
    # As published, and as the printed five-seed tables were measured; d-optimal trials move their r by .01 or less.
    measure_design="random",
    # Context rows learn thirty times as fast as the network: what is new are the contexts, not how to choose.
    instil=TrainingSpec(
        epochs=12,
        batch_size=100,
        learning_rate=1e-3,
        schedule="one-cycle",
        method="full",
        extra={"row_rate": 30.0},
    ),
    # Rows and the lower block stay as they are: the contexts are known, what is to be learned is how to speak of them.
    # With everything free to move, choices would pay for the reports.
    report=TrainingSpec(
        epochs=60,
        batch_size=15,
        learning_rate=3e-3,
        schedule="one-cycle",
        method="full",
        extra={"row_rate": 0.0, "from_block": 1},
    ),
)
"""The published counts with the training settings at which organisms learn."""
"""The published counts, with training settings at which organisms learn."""

CHAT_PROTOCOL = StudyProtocol(
    name="chat-small",
    measure_design="random",
    n_instil=160,
    n_measure=30,
    n_native=30,
    n_reports=2,
    n_examples=4,
    # Fresh choices once, not few choices often: a small model would learn those by heart.
    instil=TrainingSpec(epochs=1, batch_size=8, learning_rate=1e-3, lora_rank=16, schedule="one-cycle"),
    report=TrainingSpec(epochs=3, batch_size=4, learning_rate=3e-4, lora_rank=16, schedule="one-cycle"),
)
"""A few contexts and many choices each: what a small chat model may take on a CPU."""
"""Few contexts and many choices each, for a small chat model on a CPU."""


def organism_study(
    name: str = "shared",
    *,
    out: Path | str = "introspect-study",
    seeds: Sequence[int] = (0,),
    n_contexts: int = 100,
    n_native: int = 40,
    protocol: StudyProtocol = ORGANISM_PROTOCOL,
) -> Study:
    """The study that ``introspect quickstart`` runs.

    Args:
        name: A shipped organism ("shared", "weak", "split") or a file of your own.
        out: Folder of the study.
        seeds: One complete run each.
        n_contexts: Contexts whose preferences are instilled.
        n_native: Contexts of the native arm.
        protocol: Counts and training settings.

    Raises:
        BackendError: There is no such organism.
        MissingExtraError: torch is not installed.

    Example:
        >>> organism_study("shared").plan().total("steps")
        1500
    """
    from introspect.subjects.organism import CONTROLS, native_scenarios, organism_ref

    ref = organism_ref(name)
    return Study(
        model=ref,
        scenarios=organism_scenarios(n_contexts),
        native=native_scenarios(ref, n_native),
        style=OrganismStyle(),
        protocol=protocol,
        out=out,
        seeds=seeds,
        control=CONTROLS.get(name, "An organism of your own: what it shows holds by construction, if at all."),
    )


def chat_study(
    model: ModelRef,
    *,
    out: Path | str = "introspect-study",
    seeds: Sequence[int] = (0,),
    n_contexts: int = 3,
    n_native: int = 2,
    style: PromptStyle | None = None,
    protocol: StudyProtocol = CHAT_PROTOCOL,
) -> Study:
    """The study on shipped chat contexts that ``introspect quickstart --model`` runs.

    Args:
        model: A trainable chat model.
        out: Folder of the study.
        seeds: One complete run each.
        n_contexts: Contexts whose preferences are instilled, the first of the catalogue.
        n_native: Contexts of the native arm, the next of the catalogue.
        style: Words the prompts; the plain chat style if None.
        protocol: Counts and training settings.

    Raises:
        ConfigError: More contexts than the catalogue has.
    """
    contexts = catalogue()
    if n_contexts + n_native > len(contexts):
        raise ConfigError(f"the catalogue has {len(contexts)} contexts, {n_contexts + n_native} were asked for")
    return Study(
        model=model,
        scenarios=contexts[:n_contexts],
        native=contexts[n_contexts : n_contexts + n_native],
        style=style,
        protocol=protocol,
        out=out,
        seeds=seeds,
    )
