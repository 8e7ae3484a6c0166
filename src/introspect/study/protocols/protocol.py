"""A study's protocol as data."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from introspect._checked import raw_validate
from introspect._notebook import short_repr
from introspect.backend.wire import canonical
from introspect.decision import ScenarioSet
from introspect.errors import ConfigError, ScenarioError
from introspect.study.protocols.sections import Contexts, ControlWord, Draw, Instil, Measure, Report, Score, Section
from introspect.study.protocols.yaml_lines import Lines, read_lines, told

__all__ = ["Protocol"]


class Protocol(Section):
    """Everything about a study but the model: a file that can be named, read, changed, compared and run.

    Attributes:
        protocol: Version of the format.
        name: What it is called; the folder of its results.
        about: A few words; no part of its identity.
        contexts: What is decided about.
        draw: How trials and prompts come about.
        instil: How preferences are instilled.
        measure: How weights are measured.
        report: How reports are asked for (`ask`) and trained (`train`).
        score: How reports are scored.
        controls: Controls by their words, run in this order.
        seeds: One complete run each.

    Raises:
        ConfigError: In `from_yaml` and `load`: one line that names file, line, key and what to do.

    Example:
        >>> mine = Protocol.from_yaml("protocol: 1\\nname: mine\\nreport: {ask: {reports: 3}}\\ncontrols: [placebo]\\n")
        >>> mine.report.ask.reports, Protocol.from_yaml(mine.to_yaml()) == mine
        (3, True)
        >>> Protocol.from_yaml("protocol: 1\\nname: mine\\nreport: {ask: {reprots: 3}}")
        Traceback (most recent call last):
        ...
        introspect.errors.ConfigError: protocol, line 3: report.ask: unknown key 'reprots'; did you mean 'reports'?
    """

    protocol: Literal[1] = 1
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    about: str = ""
    contexts: Contexts = Contexts()
    draw: Draw = Draw()
    instil: Instil = Instil()
    measure: Measure = Measure()
    report: Report = Report()
    score: Score = Score()
    controls: tuple[ControlWord, ...] = ()
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    _lines: Lines | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _possible(self) -> Protocol:
        folds = self.report.train.folds
        if (self.draw.contexts == "file") != bool(self.contexts.file):
            raise ValueError(
                "draw.contexts: must be 'file' exactly where contexts.file names one; correct the one or the other"
            )
        if isinstance(folds, int) and folds > self.contexts.instilled:
            raise ValueError(
                f"report.train.folds: {self.contexts.instilled} contexts cannot be cut into {folds} folds; lower it, "
                "or raise contexts.instilled"
            )
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds: must be distinct whole numbers from 0, got {list(self.seeds)}")
        words = [control.word for control in self.controls]
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            raise ValueError(f"controls: {', '.join(twice)} is named twice; name it once, with its settings")
        return self

    def __eq__(self, other: object) -> bool:
        # Where it was read from is no part of it.
        return isinstance(other, Protocol) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        # Of the settings alone: a key of a dictionary must not change when somebody edits a scenario file.
        return hash(canonical(self.model_dump(mode="json")))

    def __repr__(self) -> str:
        words = ", ".join(control.word for control in self.controls) or "no controls"
        try:
            digest = self.hash[:19]
        except ScenarioError:
            digest = "a scenario file that cannot be read"
        return short_repr(self, f"{self.name!r}, {digest}, {words}, seeds {list(self.seeds)}")

    def __str__(self) -> str:
        return repr(self)

    def where(self, *path: str | int) -> str:
        """Where a setting stands: file and line, where it was read from a file."""
        return f"protocol {self.name!r}" if self._lines is None else self._lines.where(path)

    @property
    def hash(self) -> str:
        """Hash of all that matters for the result, the same for the same content however it is written.

        What scenario files say counts, and not where they lie or what they are called.

        Raises:
            ScenarioError: A scenario file cannot be read.
        """
        content = self.model_dump(mode="json", exclude={"about"})
        for key, digest in self.contents().items():
            section, name = key.split(".")
            content[section][name] = digest
        return "sha256:" + hashlib.sha256(canonical(content).encode()).hexdigest()

    def contents(self) -> dict[str, str]:
        """Setting that names a scenario file -> hash of the scenarios in it.

        Raises:
            ScenarioError: One cannot be read.

        Example:
            >>> Protocol(name="mine").contents()
            {}
        """
        c = self.contexts
        named = {"contexts.file": c.file, "contexts.native_file": c.native_file}
        return {key: _scenario_hash(path) for key, path in named.items() if path}

    def to_yaml(self) -> str:
        """YAML text that `from_yaml` reads back without loss: every setting, defaults too."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True, width=100
        )

    @classmethod
    def from_yaml(cls, text: str, source: str = "protocol") -> Self:
        """Read YAML.

        Raises:
            ConfigError: One line naming source, line, key and remedy.
        """
        data, lines = read_lines(text, source)
        return cls._read(data, lines)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a YAML file; paths in it count from its folder.

        Raises:
            ConfigError: As `from_yaml`, or the file cannot be read.
        """
        file = Path(path).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the protocol {file} cannot be read: {error}") from None
        return cls.from_yaml(text, str(path)).beside(file.parent)

    def beside(self, folder: Path) -> Self:
        """The protocol with its scenario files found from a folder."""
        found = {
            key: str(folder / value)
            for key in ("file", "native_file")
            if (value := getattr(self.contexts, key)) and not Path(value).is_absolute()
        }
        return self.model_copy(update={"contexts": self.contexts.model_copy(update=found)}) if found else self

    def changed(self, **changes: Any) -> Self:
        """A copy with settings changed by their path, checked anew.

        Args:
            changes: Paths with two underscores for a point: ``report__ask__reports=3``.

        Raises:
            ConfigError: There is no such setting, or the value will not do.

        Example:
            >>> Protocol(name="mine").changed(report__ask__reports=3).report.ask.reports
            3
        """
        data = self.model_dump(mode="json")
        for path, value in changes.items():
            *sections, key = path.split("__")
            inner = data
            for section in sections:
                inner = inner[section] if isinstance(inner.get(section), dict) else inner.setdefault(section, {})
            inner[key] = value
        return self._read(data, Lines({}, "the changed protocol"))

    @classmethod
    def _read(cls, data: Any, lines: Lines) -> Self:
        if not isinstance(data, dict):
            raise ConfigError(f"{lines.source}: expected a mapping with at least a name, got {type(data).__name__}")
        try:
            made = raw_validate(cls, data)
            made._lines = lines
            return made
        except ValidationError as error:
            raise ConfigError(told(error, lines, cls)) from None


def _scenario_hash(path: str) -> str:
    """Hash of the scenarios in a file; read again only where its text is another one."""
    with suppress(OSError):
        return _hash_of_text(path, Path(path).read_bytes())
    return ScenarioSet.load(path).hash  # says why it cannot be read


@lru_cache(maxsize=16)
def _hash_of_text(path: str, _text: bytes) -> str:
    return ScenarioSet.load(path).hash
