"""Promises of the shipped contexts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from introspect.decision import ScenarioSet, TrialGenerator, check_leakage
from introspect.decision.catalogue import catalogue
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles import ChatStyle
from introspect.decision.vetting import vet
from introspect.errors import ScenarioError

CONTEXTS = list(catalogue())
KINDS = {
    "goods": 134, "services": 66, "jobs": 13, "medical": 13, "policies": 13, "schedules": 12, "research": 13,
    "travel": 12, "pets": 12, "software": 12,
}  # fmt: skip
# What a unit is made of, after a count like "hundred" and before a remainder like "a day".
UNIT_WORDS = """
    % hz rockwell w kw kwh hp g kg mg gram grams milligrams micrograms tonnes ounces hundredweight quintals pounds
    cm mm m² km inches feet fathoms metres micrometres leagues ri paces palms fingers nautical square cubic acres
    litres centilitres decilitres ml gallons quarts cups seconds second milliseconds minutes hours days weeks months
    years seasons watches nights knots km/h °c degrees db decibels lux kilolux lumens newtons kilonewtons terajoules
    electrons gray millisieverts ph stops mesh shore gloss scoville dioptres pixel megapixels megabits kilobytes bytes
    gigabytes semitones points point percent times per of g euro euros dollars pounds pence farthings shillings guineas
    francs marks gulden guilders schillings lire soldi lei krónur kroner lari rand naira cedis leones birr dirhams
    dinars gold silver coppers cents centavos pesos reais rupees rupiah taka won yen mon yuan ringgit piastres shekels
    credits words levels carts chairs boxes books songs tiles trees pictures interviews openings children households
    villages nurses pairs pills visits shifts ratings jobs flats bushels baskets sheep hens cacao handfuls spoons drums
    typewriters labour sherds spear member error watts a
"""
UNITS = set(UNIT_WORDS.split())
COUNTS = r"(tenths|hundredths|quarter)( of an?| of)? |(hundred|thousand|million|billion) "
DICTIONARY_LACKS = """
    bandoneon batá birchbark breathability centilitres dangdut decilitres dioptres hanbok homestay huipil inkstone
    kilolitre kilolitres kilolux kilonewtons kora logins micrometres millisieverts ney oware piastres ploughman reais
    runtime sharpenings soldi sprayings stockfish terajoules tommes tortillería trailhead traineeship waka app maths
    dal kerbs bint der kWh
"""
REAL_WORDS = set(DICTIONARY_LACKS.split())


def normal(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text).casefold()


def tag(context: DecisionScenario, field: str) -> str:
    (found,) = (t.removeprefix(f"{field}:") for t in context.tags if t.startswith(f"{field}:"))
    return found


def words_of(context: DecisionScenario) -> list[str]:
    texts = [context.item, context.question, context.chooser]
    for axis in context.attributes:
        texts += [axis.name, axis.unit, *(axis.levels or ())]
    return texts


def test_three_hundred_contexts_two_hundred_of_them_goods_and_services() -> None:
    assert Counter(tag(c, "kind") for c in CONTEXTS) == KINDS
    assert sum(KINDS.values()) == 300
    assert KINDS["goods"] + KINDS["services"] == 200


def test_the_contexts_that_studies_have_used_are_still_the_first_and_the_same() -> None:
    # The content hash of the forty contexts of the first version, under which finished stages are found again.
    assert catalogue()[:40].hash == "18028520add7e4cd1660175cd853a1dd"
    assert CONTEXTS[0].id == "lighthouse-lamp"
    assert CONTEXTS[39].id == "sled-team"


def test_every_number_of_attributes_comes_and_five_is_the_commonest() -> None:
    counts = Counter(c.n_attributes for c in CONTEXTS)
    assert set(counts) == set(range(2, 11))
    assert counts[5] == 207
    assert min(counts[n] for n in (2, 3, 4, 6, 7)) >= 8


def test_tags_say_what_is_so() -> None:
    for context in CONTEXTS:
        assert [t.split(":")[0] for t in context.tags] == ["kind", "attributes", "sense", "region", "era"], context.id
        assert tag(context, "attributes") == str(context.n_attributes)
        assert tag(context, "sense") in ("strong", "some", "none")


def test_choosers_come_from_many_places_and_times() -> None:
    regions, eras = (Counter(tag(c, field) for c in CONTEXTS) for field in ("region", "era"))
    assert set(regions) == {
        "africa", "east-asia", "south-asia", "southeast-asia", "middle-east", "europe", "north-america",
        "latin-america", "oceania", "nowhere",
    }  # fmt: skip
    assert max(regions.values()) <= 0.3 * len(CONTEXTS)
    assert min(regions.values()) >= 10
    assert set(eras) == {"ancient", "medieval", "early-modern", "modern", "present", "future"}
    assert min(eras.values()) >= 9
    assert eras["present"] <= 200


def test_how_common_sense_the_weights_are_is_balanced_within_kinds() -> None:
    senses = Counter(tag(c, "sense") for c in CONTEXTS)
    assert min(senses.values()) >= 60
    for kind in KINDS:
        assert {tag(c, "sense") for c in CONTEXTS if tag(c, "kind") == kind} == {"strong", "some", "none"}, kind


def test_no_chooser_item_or_attribute_comes_twice() -> None:
    for texts in (
        [c.id for c in CONTEXTS],
        [c.chooser for c in CONTEXTS],
        [c.item for c in CONTEXTS],
        [c.question for c in CONTEXTS],
        [a.name for c in CONTEXTS for a in c.attributes],
    ):
        assert [text for text, n in Counter(map(normal, texts)).items() if n > 1] == []
    for parity in (0, 1):
        assert check_leakage(CONTEXTS[parity::2], CONTEXTS[1 - parity :: 2]).clean


def test_every_context_passes_the_checks_that_drafts_go_through() -> None:
    assert {c.id: vet(c) for c in CONTEXTS if vet(c)} == {}


def test_units_are_units() -> None:
    odd = set()
    for unit in {a.unit for c in CONTEXTS for a in c.attributes if a.unit}:
        bare = re.sub(rf"^({COUNTS})+", "", unit + " ").strip()
        if bare and bare.split()[0].lower() not in UNITS:
            odd.add(unit)
    assert odd == set()


def test_ranges_are_wide_enough_to_matter_and_never_negative_without_reason() -> None:
    negative = {a.name for c in CONTEXTS for a in c.attributes if a.levels is None and a.low < 0}
    assert negative == {"strike note"}  # in semitones around a note
    for context in CONTEXTS:
        for axis in context.attributes:
            if axis.levels is None and axis.low > 0 and axis.unit not in ("mm", "pH", "points of 100"):
                assert axis.high / axis.low >= 1.05, (context.id, axis.name)
            if axis.unit == "%" or axis.unit.startswith("% of "):
                assert axis.high <= 320, (context.id, axis.name)
            for points in (10, 20, 100):
                if axis.unit == f"points of {points}":
                    assert axis.high <= points, (context.id, axis.name)


def test_words_are_spelled_as_in_a_dictionary() -> None:
    spelling = pytest.importorskip("spellchecker")
    known = spelling.SpellChecker()
    unknown = set()
    for context in CONTEXTS:
        for text in words_of(context):
            for word in re.findall(r"[^\W\d_]+(?:[’'ʿ-][^\W\d_]+)*", text):
                # Names, and British spellings of words that the dictionary has the American of.
                if word[0].isupper() or len(word) < 3 or word in REAL_WORDS:
                    continue
                parts = [p for p in re.split(r"[’'-]", word) if len(p) > 2 and p[0].islower()]
                unknown |= {p for p in parts if p not in known and american(p) not in known and p not in REAL_WORDS}
    assert unknown == set()


def american(word: str) -> str:
    word = re.sub(r"(lo|vo|la|co|mou|neighb|hon|fav|harb|lab)our", lambda m: m[0].replace("our", "or"), word)
    word = re.sub(r"our(s|ed)?$", r"or\1", word)
    word = re.sub(r"(t|b)re(s?)$", r"\1er\2", word).replace("programme", "program").replace("moult", "molt")
    return word.replace("draught", "draft")


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.id)
def test_a_context_can_be_asked_about(context: DecisionScenario) -> None:
    style = ChatStyle(show_ranges=True)
    trials = TrialGenerator().trials([context], 12, rng=1)
    for scenario, trial in trials:
        prompt = style.choice(scenario, trial)
        assert style.read(prompt.messages) == prompt.content
    (block,) = trials.blocks
    low, high = (np.array([getattr(a, end) for a in context.attributes]) for end in ("low", "high"))
    assert ((low <= block.values) & (block.values <= high)).all()


def test_loading_twice_gives_the_same_set() -> None:
    assert catalogue() is catalogue()


def test_filters_keep_the_order_and_combine() -> None:
    pets = catalogue(kind="pets")
    assert len(pets) == KINDS["pets"]
    assert catalogue(kind=("pets", "travel"), n_attributes=5).ids == tuple(
        c.id for c in CONTEXTS if tag(c, "kind") in ("pets", "travel") and c.n_attributes == 5
    )
    assert catalogue(n_attributes=(2, 3)).filter(lambda s: s.n_attributes > 3) == ScenarioSet()
    african = catalogue(tags=["region:africa", "era:medieval"])
    assert all({"region:africa", "era:medieval"} <= set(c.tags) for c in african)
    assert catalogue(tags="era:future", sense="none") == ScenarioSet(
        c for c in CONTEXTS if "era:future" in c.tags and tag(c, "sense") == "none"
    )


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kind": "food"}, "kind 'food'; there are goods, jobs"),
        ({"n_attributes": 11}, "attributes '11'; there are 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ({"sense": "no"}, "sense 'no'; there are none, some, strong"),
        ({"tags": "africa"}, "tag 'africa'; there are attributes:10"),
    ],
)
def test_a_filter_that_can_match_nothing_says_what_there_is(wanted: dict, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        catalogue(**wanted)


def test_tags_change_no_content_hash() -> None:
    bare = ScenarioSet(c.untagged() for c in CONTEXTS[:3])
    assert bare.hash == catalogue()[:3].hash
    assert bare != catalogue()[:3]
    one, other = (TrialGenerator().trials(s, 4, rng=0) for s in (bare, catalogue()[:3]))
    assert one.hash == other.hash
