"""From a protocol and a model to a study that can run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.decision import ChatStyle, OrganismStyle, PromptStyle, ScenarioSet, catalogue, organism_scenarios
from introspect.errors import ConfigError
from introspect.measure import AccuracyMetric
from introspect.study.presets import CHAT_PROTOCOL, ORGANISM_PROTOCOL
from introspect.study.protocol import StudyProtocol
from introspect.study.protocols.protocol import Protocol
from introspect.study.study import Study

__all__ = ["ORGANISMS", "backend_ref", "settings_of", "study_of_protocol"]

ORGANISMS = ("organism", "simulated")
"""Who reads the organisms' small language, and not chat."""


def backend_ref(text: str) -> ModelRef:
    """A model from what stands behind ``--backend``: ``provider`` or ``provider:model``.

    Raises:
        ConfigError: The text names no model.
        BackendError: There is no such organism.

    Example:
        >>> str(backend_ref("simulated"))
        'simulated/agent'
    """
    provider, _, model = text.partition(":")
    if provider == "organism":
        from introspect.subjects.organism import organism_ref

        return organism_ref(model or "shared")
    if provider == "simulated":
        from introspect.subjects.simulated import SimulatedAgent

        return SimulatedAgent(name=model or "agent", report_sharing=1.0).ref
    if not provider or not model:
        raise ConfigError(f"--backend {text!r} names no model: give organism, organism:NAME or PROVIDER:MODEL")
    return ModelRef(provider=provider, model=model)


def settings_of(protocol: Protocol, provider: str) -> StudyProtocol:
    """The numbers of a study, with the training settings at which this provider's models learn where the protocol
    names none.

    Example:
        >>> settings_of(Protocol(name="mine"), "organism").report.epochs
        60
    """
    own = ORGANISM_PROTOCOL if provider in ORGANISMS else CHAT_PROTOCOL
    p, train = protocol, protocol.report.train
    splits = None if isinstance(train.folds, int) else tuple((f.train, f.test) for f in train.folds)
    return StudyProtocol(
        name=p.name,
        n_instil=p.instil.choices,
        n_validation=p.instil.validation,
        n_measure=p.measure.choices,
        n_native=p.measure.native_choices,
        n_reports=p.report.ask.reports,
        n_examples=train.examples,
        measure_design=p.measure.design,
        counterbalance=p.draw.sides == "counterbalanced",
        n_options=p.draw.options,
        rule=p.draw.rule,
        n_folds=train.folds if isinstance(train.folds, int) else max(2, len(train.folds)),
        folds=splits,
        instil=p.instil.train or (TrainingSpec() if provider == "simulated" else own.instil),
        report=train.settings or (TrainingSpec() if provider == "simulated" else own.report),
        targets=train.targets,
        train_all=train.all_contexts,
        remeasure=p.measure.after_report_training,
        estimator=p.measure.estimator,
        read_choices=p.measure.read,
        choice_temperature=p.measure.temperature,
        report_temperature=p.report.ask.temperature,
        report_options=p.report.ask.options,
        report_format=p.report.ask.format,
    )


def study_of_protocol(protocol: Protocol, model: ModelRef, out: Path | str) -> Study:
    """The study that a protocol describes, of a model.

    Raises:
        ConfigError: Contexts that overlap or are too few, splits that name none of them.
        ScenarioError: A scenario file cannot be used.
        BackendError: There is no such organism.

    Example:
        >>> study_of_protocol(Protocol(name="mine"), backend_ref("simulated"), "out").protocol.n_reports
        10
    """
    scenarios, native = _contexts(protocol, model)
    _check_splits(protocol, scenarios)
    style: PromptStyle = OrganismStyle() if model.provider in ORGANISMS else ChatStyle()
    control = ""
    if model.provider == "organism":
        from introspect.subjects.organism import CONTROLS

        control = CONTROLS.get(model.model, "An organism of your own: what it shows holds by construction, if at all.")
    return Study(
        model=model,
        scenarios=scenarios,
        native=native,
        style=style,
        protocol=settings_of(protocol, model.provider),
        out=out,
        seeds=protocol.seeds,
        metric=AccuracyMetric(n_boot=protocol.score.n_boot, n_null=protocol.score.n_null),
        control=control,
    )


def _contexts(protocol: Protocol, model: ModelRef) -> tuple[ScenarioSet, ScenarioSet]:
    c = protocol.contexts
    if c.file is not None:
        known = ScenarioSet.load(c.file)
        rest = ScenarioSet.load(c.native_file) if c.native_file else known[c.instilled :]
        return _taken(known, c.instilled, "contexts.instilled", c.file), _native(rest, known[: c.instilled], c.native)
    if model.provider in ORGANISMS and c.attributes not in (None, 5):
        raise ConfigError(f"contexts.attributes: an organism's contexts have 5, not {c.attributes}; leave it at 5")
    if model.provider == "organism" and protocol.draw.options != 2:
        raise ConfigError(
            f"draw.options: organisms are grown on two options and learn nothing from {protocol.draw.options}; leave "
            "it at 2, or name a chat model or the simulated agent"
        )
    if model.provider == "organism":
        from introspect.subjects.organism import native_scenarios

        native = native_scenarios(model, c.native) if c.native else ScenarioSet(())
        return organism_scenarios(c.instilled), native
    if model.provider == "simulated":
        native = organism_scenarios(c.native, prefix="n") if c.native else ScenarioSet(())
        return organism_scenarios(c.instilled), native
    shipped = catalogue(n_attributes=c.attributes)
    if c.instilled + c.native > len(shipped):
        kind = f" with {c.attributes} attributes" if c.attributes else ""
        raise ConfigError(
            f"contexts: the catalogue has {len(shipped)} contexts{kind}, {c.instilled} + {c.native} are asked for; "
            "lower contexts.instilled and contexts.native, or name a file of your own in contexts.file"
        )
    return shipped[: c.instilled], shipped[c.instilled : c.instilled + c.native]


def _native(rest: ScenarioSet, instilled: ScenarioSet, n: int) -> ScenarioSet:
    both = sorted(set(rest.ids) & set(instilled.ids))
    if both and n:
        raise ConfigError(
            f"contexts.native_file: {', '.join(both[:4])} are instilled too; a native context is one that nothing is "
            "instilled in: take them out of one of the two files"
        )
    return _taken(rest, n, "contexts.native", "the file") if n else ScenarioSet(())


def _taken(known: ScenarioSet, n: int, key: str, source: str) -> ScenarioSet:
    if n > len(known):
        raise ConfigError(f"{key}: {n} contexts are asked for and {source} has {len(known)} left; lower {key}")
    return known[:n]


def _check_splits(protocol: Protocol, scenarios: ScenarioSet) -> None:
    folds = protocol.report.train.folds
    if isinstance(folds, int):
        return
    named: Sequence[str] = [name for fold in folds for name in (*fold.train, *fold.test)]
    unknown = sorted(set(named) - set(scenarios.ids))
    if unknown:
        raise ConfigError(
            f"report.train.folds: {', '.join(unknown[:4])} are none of the instilled contexts ({scenarios.ids[0]}, "
            f"{scenarios.ids[1]}, ...); correct the names"
        )
