"""A sweep as data: which models, which seeds, which conditions, and what each study may use."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, JsonValue, PrivateAttr, ValidationError, field_validator, model_validator

from introspect._checked import raw_validate
from introspect.backend.wire import canonical
from introspect.errors import BackendError, ConfigError
from introspect.study.protocols import Protocol, backend_ref, named_protocol
from introspect.study.protocols.sections import Section
from introspect.study.protocols.yaml_lines import Lines, read_lines, told

__all__ = ["ModelEntry", "Resources", "Sweep"]


class Resources(Section):
    """What one study uses while it runs.

    Attributes:
        cpus: Processor cores; torch and the matrix libraries get as many threads.
        gpus: GPUs; a share of one lets several studies use it.
        memory_gb: Main memory; 0 for no claim.
        processes: Processes that fine-tune together through accelerate's launcher, for models larger than one GPU.
        vllm: Address of the vLLM server that a model of provider "vllm" is asked on.
    """

    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    memory_gb: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    processes: int = Field(default=1, ge=1)
    vllm: str | None = Field(default=None, pattern=r"^https?://[^@?#]+$")

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: a share of one, or a whole number of them; got {self.gpus:g}")
        if self.processes > 1 and 0 < self.gpus < self.processes:
            raise ValueError(f"processes: {self.processes} processes need a GPU each, and gpus is {self.gpus:g}")
        return self


class ModelEntry(Section):
    """One model, with resources of its own where the sweep's will not do.

    Example:
        >>> ModelEntry.model_validate("organism:weak").backend
        'organism:weak'
    """

    backend: str
    resources: Resources | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return {"backend": given} if isinstance(given, str) else given


class Sweep(Section):
    """Every model with every seed under every condition: a file that can be read, hashed and run.

    Attributes:
        sweep: Version of the format.
        name: What it is called.
        protocol: What all studies have in common: a protocol's name, a file, or settings.
        models: Models, as behind ``--backend``.
        seeds: One study each; a number n stands for 0 to n - 1.
        conditions: Name -> what differs from the protocol.
        resources: What one study uses.
        attempts: How often a study is begun at most, where workers die under it.
        gather: What the sweep's own store gets besides results: "tables" (every step, with its choices and reports), or
            "replies" too, word by word.

    Raises:
        ConfigError: In `from_yaml` and `load`: one line that names file, line, key and what to do.

    Example:
        >>> sweep = Sweep.from_yaml('''
        ... name: doses
        ... protocol: plunkett2025
        ... models: [organism:shared, organism:weak]
        ... seeds: 3
        ... conditions:
        ...   one: {}
        ...   four: {report: {train: {examples: 4}}}
        ... ''')
        >>> sweep.n_studies, sweep.protocols["four"].report.train.examples
        (12, 4)
    """

    sweep: Literal[1] = 1
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    protocol: str | dict[str, JsonValue] = "recommended"
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    conditions: dict[str, dict[str, JsonValue]] = Field(default={"protocol": {}}, min_length=1)
    resources: Resources = Resources()
    attempts: int = Field(default=3, ge=1, le=20)
    gather: Literal["tables", "replies"] = "tables"
    _lines: Lines | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, given: Any) -> Any:
        return tuple(range(given)) if isinstance(given, int) and not isinstance(given, bool) else given

    @field_validator("conditions", mode="before")
    @classmethod
    def _empty(cls, given: Any) -> Any:
        # A condition that changes nothing is written as a name with nothing behind it.
        return {k: {} if v is None else v for k, v in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _possible(self) -> Sweep:
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds: must be distinct whole numbers from 0, got {list(self.seeds)}")
        names = [m.backend for m in self.models]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"models: {', '.join(twice)} is named twice; name it once")
        for name, changes in self.conditions.items():
            taken = sorted({"seeds", "name", "protocol"} & set(changes))
            if taken:
                raise ValueError(f"conditions: {name!r} sets {taken[0]}, which is the sweep's own; take it out")
        return self

    def __eq__(self, other: object) -> bool:
        # Where it was read from is no part of it.
        return isinstance(other, Sweep) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(canonical(self.model_dump(mode="json")))

    @property
    def n_studies(self) -> int:
        """Models times seeds times conditions."""
        return len(self.models) * len(self.seeds) * len(self.conditions)

    @property
    def hash(self) -> str:
        """Hash of what is studied, whatever it runs on."""
        content = [
            [str(backend_ref(m.backend).identity()) for m in self.models],
            list(self.seeds),
            {name: p.hash for name, p in self.protocols.items()},
        ]
        return "sha256:" + hashlib.sha256(canonical(content).encode()).hexdigest()

    @property
    def protocols(self) -> dict[str, Protocol]:
        """The protocol of each condition, named after it.

        Raises:
            ConfigError: A condition sets what there is not, or what cannot be.
        """
        return {name: self._condition(name) for name in self.conditions}

    def resources_of(self, model: ModelEntry) -> Resources:
        """The model's own, or the sweep's."""
        return model.resources or self.resources

    def where(self, *path: str | int) -> str:
        """Where a setting stands."""
        return f"sweep {self.name!r}" if self._lines is None else self._lines.where(path)

    def to_yaml(self) -> str:
        """YAML text that `from_yaml` reads back without loss."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True, width=100
        )

    @classmethod
    def from_yaml(cls, text: str, source: str = "sweep", folder: Path | None = None) -> Self:
        """Read YAML; every condition is made a protocol and checked.

        Args:
            text: The YAML.
            source: What errors call it.
            folder: Where paths in it count from.
        """
        data, lines = read_lines(text, source)
        if not isinstance(data, dict):
            raise ConfigError(f"{source}: expected a mapping with at least name and models, got {type(data).__name__}")
        try:
            made = raw_validate(cls, data)
        except ValidationError as error:
            raise ConfigError(told(error, lines, cls)) from None
        made._lines = lines
        if folder is not None:
            # Whole paths: a worker may have been started in any folder.
            base = folder.absolute()
            if isinstance(made.protocol, str) and _is_file(made.protocol):
                made = made.model_copy(update={"protocol": str(base / Path(made.protocol).expanduser())})
            made._lines, made._folder = lines, base
        for number, model in enumerate(made.models):
            try:
                backend_ref(model.backend)
            except (ConfigError, BackendError) as error:
                raise ConfigError(f"{lines.where(('models', number))}: models: {error}") from None
        _ = made.protocols
        return made

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a YAML file; paths in it count from its folder."""
        file = Path(path).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the sweep {file} cannot be read: {error}") from None
        return cls.from_yaml(text, str(path), file.parent)

    def _common(self) -> dict[str, Any]:
        if isinstance(self.protocol, dict):
            return dict(self.protocol)
        found = Protocol.load(self.protocol) if _is_file(self.protocol) else named_protocol(self.protocol)
        return found.model_dump(mode="json")

    def _condition(self, name: str) -> Protocol:
        try:
            common = self._common()
        except ConfigError as error:
            raise ConfigError(f"{self.where('protocol')}: protocol: {error}") from None
        merged = {**_merged(common, self.conditions[name]), "name": name, "seeds": [self.seeds[0]]}
        # An error names the line of this file on which the setting stands, if it does.
        known = self._lines.at if self._lines is not None else {}
        at = {path[1:]: line for path, line in known.items() if path[0] == "protocol" and len(path) > 1}
        at |= {path[2:]: line for path, line in known.items() if path[:2] == ("conditions", name) and len(path) > 2}
        source = f"sweep {self.name!r}" if self._lines is None else self._lines.source
        try:
            return Protocol._read(merged, Lines(at, source)).beside(self._folder or Path.cwd())
        except ConfigError as error:
            raise ConfigError(f"{error} (condition {name!r})") from None


def _is_file(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged; what is no section is replaced.

    Example:
        >>> _merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": []})
        {'a': {'b': 3, 'c': 2}, 'd': []}
    """
    found = dict(base)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return found
