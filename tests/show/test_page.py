"""The page shows every reply, whatever it says, and nothing a model wrote is ever markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from introspect.backend import Message, ModelInfo, ModelRef, Reply, Request
from introspect.cli import main
from introspect.errors import ConfigError, StoreError
from introspect.show import plot_reports, write_page
from introspect.show.bands import band_of, null_bands
from introspect.store import ReplyRow, Store
from introspect.study.recipe import study_of

HOSTILE = [
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned=1'>",
    "<!-- <script> --!> ]]> <![CDATA[",
    '"><svg/onload=window.owned=1>',
    "{{data}} {{script}} \\1 \\g<0> %(data)s",
    "javascript:window.owned=1",
    "A\u202eB\u2066 right to left \u200f שלום",
    "nul \x00 bell \x07 escape \x1b[31m line\u2028separator\u2029",
    "half a pair: \ud83d end",
    "x" * 250_000,
    "",
    "&lt;script&gt; &amp; &#60;",
]


class Tags(HTMLParser):
    """What a browser would take for elements."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.inside: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            del self.inside[len(self.inside) - 1 - self.inside[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        (self.scripts if self.inside[-1:] == ["script"] else self.text).append(data)


def parsed(path: Path) -> Tags:
    tags = Tags()
    tags.feed(path.read_text(encoding="utf-8"))
    return tags


def data_of(path: Path) -> dict[str, Any]:
    return json.loads(parsed(path).scripts[0])


def hostile_folder(folder: Path, texts: list[str], model: str = "m") -> Path:
    """A study file with these replies, and these prompts, and nothing else."""
    folder.mkdir()
    rows = []
    info = ModelInfo(ref=ModelRef(provider="function", model=model)).model_dump_json()
    for k, text in enumerate(texts):
        said = text.encode("utf-8", "replace").decode() if "\ud83d" in text else text
        request = Request(messages=(Message(role="user", content=said[:5000] or "?"),), sample_index=k)
        reply = json.dumps({"status": "completed", "text": said})
        rows.append(ReplyRow(f"k{k}", request.model_dump_json(), reply, info))
    with Store.open(folder / "study.db") as store:
        store.put_replies(rows)
        failed = Reply(status="failed", reason="<b>the server</b> said </script>")
        store.put_failures([ReplyRow("f", request.model_dump_json(), failed.model_dump_json(), info)])
        store.manifest["note"] = "</pre></details><script>window.owned=1</script>"
    return folder


def test_a_study_is_shown_whole_with_warnings_before_arms_before_replies(finished) -> None:
    path = write_page(finished.folder)
    assert path == finished.folder / "report.html"
    text = path.read_text(encoding="utf-8")
    places = [text.index(mark) for mark in ('class="warnings"', "<table>", 'class="figures"', 'id="list"', 'id="cost"')]
    assert places == sorted(places)
    for arm in finished.result.arm_names:
        assert f"<td>{arm}</td>" in text
    found = data_of(path)
    with Store.open(finished.folder / "study.db", create=False) as store:
        assert len(found["rows"]) == store.n_replies() + store.n_failures()
    assert set(found["kinds"]) >= {"choice", "report"}
    assert {"answered A", "answered B", "unparsable"} <= set(found["outcomes"])
    known = {f"k{k:04}" for k in range(12)} | {f"n{k:04}" for k in range(11)}
    assert {found["contexts"][row[1]] for row in found["rows"] if found["kinds"][row[2]] != "other"} == known
    assert {"untuned", "instilled, seed 0", "all, seed 1"} <= set(found["models"])
    assert "unparsable" in re.search(r"are no answers: ([^<]*)", text)[1]


def test_the_headline_of_the_page_has_the_nulls_that_the_study_drew(finished, tmp_path: Path) -> None:
    told = json.loads((finished.folder / "result.json").read_text())
    with Store.open(finished.folder / "study.db", create=False) as store:
        before = len(store.stages()), len(store.steps()), dict(store.manifest)
        bands = null_bands(store, study_of(store.manifest["recipe"], finished.folder), told)
        assert (len(store.stages()), len(store.steps()), dict(store.manifest)) == before
        assert bands == {
            name: band_of([seed.arms[name] for seed in finished.result.seeds]) for name in finished.result.arm_names
        }
        told["seeds"][1]["arms"][0]["pooled_r"] += 0.1
        partly = null_bands(store, study_of(store.manifest["recipe"], finished.folder), told)
        assert partly == {name: bands[name] for name in bands if name != told["seeds"][1]["arms"][0]["name"]}
    text = write_page(finished.folder, tmp_path / "page.html").read_text(encoding="utf-8")
    low, high = bands["report-trained"]
    assert f"<td>{low:+.2f} to {high:+.2f}</td>" in text
    assert "Null: where 95 % of r&#x27;s" in text or "Null: where 95 % of r's" in text
    assert "95 % of r with reports dealt out to other contexts" in text
    assert "no band" not in text


def test_a_figure_of_many_panels_gets_the_whole_width(finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "study")
    plot_reports(finished.result, tmp_path / "study" / "reports.png")
    text = write_page(tmp_path / "study").read_text(encoding="utf-8")
    figures = re.findall(r'<figure( class="wide")?><img src="[^"]*" alt="([^"]*)"', text)
    assert [wide != "" for wide, alt in figures if alt == "reports"] == [True]
    assert [wide != "" for wide, alt in figures if alt.startswith("r of each arm")] == [False]


def test_a_page_without_bands_says_why(finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "study")
    with Store.open(tmp_path / "study" / "study.db") as store:
        store.manifest["recipe"] = {"style": {"is": "own", "of": "mine.MyStyle"}}
    text = write_page(tmp_path / "study").read_text(encoding="utf-8")
    assert "The nulls have no band in the figures: the settings of the study cannot be read here." in text
    assert "dealt out" not in text


def test_outcomes_are_those_that_the_study_counted(finished) -> None:
    found = data_of(write_page(finished.folder))
    place = found["models"].index("instilled, seed 0")
    bad = found["outcomes"].index("unparsable")  # what a refusal is to an organism's parser
    n = sum(row[0] == place and row[3] == bad and found["kinds"][row[2]] == "choice" for row in found["rows"])
    assert 0 < n < 100


def test_the_page_loads_nothing_and_lets_nothing_else_run(finished) -> None:
    tags = parsed(write_page(finished.folder))
    for tag, name, value in tags.attributes:
        assert name not in ("onclick", "onload", "onerror", "srcset", "action"), (tag, name)
        if name in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, value[:50])
    policy = next(value for _, name, value in tags.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    digest = base64.b64encode(hashlib.sha256(tags.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert tags.seen["script"] == 2
    assert tags.seen["link"] == tags.seen["iframe"] == 0


def test_hostile_replies_prompts_reasons_and_manifests_are_text(tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path / "s", HOSTILE, model="<script>m</script>\u202e")
    path = write_page(folder)
    tags = parsed(path)
    assert tags.seen["script"] == 2
    assert tags.seen["img"] == tags.seen["svg"] == tags.seen["b"] == 0
    source = path.read_text(encoding="utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b\u2028\u2029]", source)
    found = data_of(path)
    said = [row[6] for row in found["rows"]]
    for text in HOSTILE:
        whole = text.encode("utf-8", "replace").decode()
        assert whole in said or any(whole.startswith(t[:1000]) and "characters more]" in t for t in said), text[:40]
    assert any(row[7].get("reason") == "<b>the server</b> said </script>" for row in found["rows"])
    assert len(source) < 2_000_000


def test_an_unfinished_study_is_shown_as_far_as_it_got(finished, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(finished.folder / "study.db", copy)
    text = write_page(copy).read_text(encoding="utf-8")
    assert "The study is not finished" in text
    assert "No arm was scored" in text


def test_nothing_is_written_as_less_than_nothing(finished, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "study")
    result = json.loads((tmp_path / "study" / "result.json").read_text())
    for arm in result["arms"]:
        arm |= {"best_baseline_r": -4e-18, "learned_vs_target_r": -0.001, "pooled_r": -0.4}
    (tmp_path / "study" / "result.json").write_text(json.dumps(result))
    text = write_page(tmp_path / "study").read_text(encoding="utf-8")
    table = text[text.index("best baseline") : text.index("</table>")]
    assert "-0.00" not in table
    assert ">+0.00<" in table
    assert ">0.00<" in table
    assert ">-0.40<" in table


def test_claims_come_first_where_a_study_has_them(finished, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(finished.folder / "study.db", copy)
    claims = [{"sentence": "Reports improve on <new> contexts.", "verdict": "supported", "r": 0.5}]
    (copy / "result.json").write_text(json.dumps({"claims": claims}))
    text = write_page(copy).read_text(encoding="utf-8")
    assert "Reports improve on &lt;new&gt; contexts. verdict: supported, r: 0.5" in text


def test_a_style_of_the_users_own_is_said_not_to_be_readable(tmp_path: Path) -> None:
    text = write_page(hostile_folder(tmp_path / "s", ["A"])).read_text(encoding="utf-8")
    assert "prompt style is not known here" in text
    assert data_of(tmp_path / "s" / "report.html")["outcomes"] == ["completed", "failed"]


def test_what_cannot_be_shown_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StoreError, match="holds no study"):
        write_page(tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_page(hostile_folder(tmp_path / "s", ["A"]), tmp_path / "no" / "folder.html")
    (tmp_path / "s" / "result.json").write_text("{")
    with pytest.raises(StoreError, match=r"result\.json cannot be read"):
        write_page(tmp_path / "s")
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_the_command_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hostile_folder(tmp_path / "s", ["A"])
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    assert "open it in a browser" in capsys.readouterr().out
    assert (tmp_path / "page.html").is_file()
    assert not list(tmp_path.glob("*.partial"))
