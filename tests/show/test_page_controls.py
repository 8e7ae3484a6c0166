"""The page of a folder of protocol runs shows what the protocols found: claims and controls."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from introspect import __version__
from introspect.errors import StoreError
from introspect.show.page import write_page
from introspect.study import Protocol, ProtocolRun, RunResult
from introspect.subjects import SimulatedAgent

PROTOCOL = """\
protocol: 1
name: small
contexts: {instilled: 10, native: 0}
instil: {choices: 12}
measure: {choices: 10, design: random, estimator: unit-normal, after_report_training: false}
report: {ask: {reports: 1}}
score: {n_boot: 50, n_null: 49}
controls: [untuned, few-shot]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    agent = SimulatedAgent(name="page", report_sharing=1.0).ref
    return ProtocolRun(Protocol.from_yaml(PROTOCOL), agent, tmp_path_factory.mktemp("page")).run()


def test_claims_and_every_control_stand_on_the_page(run: RunResult, tmp_path: Path) -> None:
    text = write_page(run.folder.parent, tmp_path / "page.html").read_text(encoding="utf-8")
    first = text[text.index("<h2>Claims of protocol small</h2>") : text.index('<h2 id="found">')]
    for claim in run.claims():
        assert claim.finding in first
    part = text[text.index("<h2>Controls of protocol small</h2>") : text.index('<h2 id="replies">')]
    (untuned, few_shot) = run.controls
    assert part.count("<img ") == 1
    assert re.search(rf"<figcaption>untuned: {re.escape(untuned.sentence)}</figcaption>", part)
    assert f"<p>few-shot: not applicable: {few_shot.reason}.</p>" in part


def test_the_page_of_a_protocol_names_its_version_and_a_result_s_own_folder_leads_to_it(run, tmp_path: Path) -> None:
    text = write_page(run.folder.parent, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"introspect {__version__}; page by" in text
    with pytest.raises(StoreError, match=f"; give {re.escape(str(run.folder.parent))}$"):
        write_page(run.folder)


def test_the_headline_of_a_protocol_s_run_has_its_nulls_too(run: RunResult, tmp_path: Path) -> None:
    text = write_page(run.folder.parent, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "95 % of r with reports dealt out to other contexts" in text
    assert "no band" not in text


def test_words_of_a_result_that_was_tampered_with_stay_words(run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "study.db").write_bytes((run.folder.parent / "study.db").read_bytes())
    (folder / "small").mkdir()
    found = json.loads((run.folder / "result.json").read_text())
    found["controls"][0] |= {"sentence": "<script>alert(1)</script>", "rows": [{"condition": "x"}]}
    found["controls"] += [{"word": "odd"}, "none"]
    found["claims"] = [{"finding": "half a claim"}]
    (folder / "small" / "result.json").write_text(json.dumps(found))
    text = write_page(folder).read_text(encoding="utf-8")
    assert "untuned: &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "half a claim" not in text
