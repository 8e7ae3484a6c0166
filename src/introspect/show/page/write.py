"""From a study's folder to one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from introspect._version import __version__
from introspect.backend.wire import ModelRef
from introspect.decision import ScenarioSet
from introspect.errors import ConfigError, IntrospectError, MissingExtraError, StoreError
from introspect.show.bands import null_bands
from introspect.show.page.markup import items, picture, plain
from introspect.show.page.protocols import protocol_claims, protocols_part
from introspect.show.page.replies import ReplyPage, collect_replies
from introspect.show.study_folder import study_file, versions_of
from introspect.store import Store
from introspect.study import Study
from introspect.study.recipe import study_of

__all__ = ["write_page"]

# Columns of the arms' table: what to count first, then what was found.
_COLUMNS = (
    ("name", "arm", ""),
    ("coverage", "coverage", ".0%"),
    ("response_rate", "replies read", ".0%"),
    ("n_scenarios", "contexts", ""),
    ("pooled_r", "r", "+.2f"),
    ("ci", "95 % interval", ""),
    ("null", "null, 95 %", ""),
    ("null_p_context", "null p", ".4f"),
    ("ceiling", "ceiling", ".2f"),
    ("best_baseline_r", "best baseline", "+.2f"),
    ("sign_agreement", "signs right", ".0%"),
    ("choice_accuracy", "choices as instilled", ".2f"),
    ("learned_vs_target_r", "r(weights, target)", ".2f"),
    ("reports_from", "reports of", ""),
    ("weights_from", "weights of", ""),
)
_ENOUGH = 0.9  # a coverage below this is marked


def write_page(folder: Path | str, path: Path | str | None = None) -> Path:
    """Write one self-contained HTML file about a study: no network, no other file, safe to open and to send.

    What models wrote is data in the page and never markup; a content security policy lets nothing run but the page's
    own script. An unfinished study is shown as far as it got.

    Args:
        folder: The study's folder.
        path: Where to write; ``report.html`` in the folder if None.

    Returns:
        The file written.

    Raises:
        StoreError: The folder holds no study, or its file cannot be believed.
        ConfigError: The page cannot be written.
    """
    folder = Path(folder).expanduser()
    target = folder / "report.html" if path is None else Path(path).expanduser()
    with Store.open(study_file(folder), create=False) as store:
        manifest = dict(store.manifest)
        study = _study(manifest, folder)
        style = study.words if study else None
        scenarios = ScenarioSet([*study.scenarios, *study.native]) if study else ScenarioSet()
        result, bandless = _with_bands(_result(folder), store, study)
        replies = collect_replies(store, style, scenarios, _model_names(result))
        stages = [(s.name, s.outcome, (s.ended or s.began) - s.began, s.error) for s in store.stages()]
    text = _page(folder, result, manifest, replies, stages, style is not None, bandless)
    try:
        partial = target.with_name(target.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    return target


def _study(manifest: Mapping[str, Any], folder: Path) -> Study | None:
    """The study itself; none where its settings cannot be read here (a style of one's own)."""
    recipe = manifest.get("recipe")
    if isinstance(recipe, dict):
        with suppress(StoreError):
            return study_of(recipe, folder)
    return None


def _with_bands(result: dict[str, Any], store: Store, study: Study | None) -> tuple[dict[str, Any], str]:
    """The result with the band of each arm's null; else why there is none."""
    arms = [row for row in result.get("arms") or () if isinstance(row, dict)]
    if not arms:
        return result, ""
    if study is None:
        return result, "the settings of the study cannot be read here"
    try:
        bands = null_bands(store, study, result)
    except (IntrospectError, KeyError, TypeError, ValueError) as error:
        return result, " ".join(str(error).split())[:300]
    for row in arms:
        low, high = bands.get(str(row.get("name")), (math.nan, math.nan))
        if math.isfinite(low) and math.isfinite(high):
            row |= {"null_low": low, "null_high": high}
    known = any("null_low" in row for row in arms)
    return result, "" if known else "no arm has two contexts whose reports could be traded"


def _result(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{folder / 'result.json'} cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def _model_names(result: Mapping[str, Any]) -> dict[str, str]:
    """What a reader calls the models: "instilled" and not a hash."""
    names: dict[str, str] = {}
    seeds = [s for s in result.get("seeds") or () if isinstance(s, dict)]
    for seed in seeds:
        for name, ref in (seed.get("models") or {}).items():
            with suppress(ConfigError):
                shown = name if name == "untuned" or len(seeds) == 1 else f"{name}, seed {seed.get('seed')}"
                names[ModelRef.model_validate(ref).key] = shown
    return names


def _page(
    folder: Path,
    result: Mapping[str, Any],
    manifest: Mapping[str, Any],
    replies: ReplyPage,
    stages: Sequence[tuple[str, str, float, str | None]],
    readable: bool,
    bandless: str,
) -> str:
    room = files("introspect.show.page")
    style, script = (room.joinpath(f"page.{ending}").read_text("utf-8") for ending in ("css", "js"))
    model = _ref(result.get("model") or (manifest.get("study") or {}).get("model"))
    n_seeds = len(result.get("seeds") or ())
    parts = {
        "title": plain(f"{model}: {folder.resolve().name}"),
        "subtitle": plain(
            f"{len(replies.rows):,} replies, {n_seeds} seed{'' if n_seeds == 1 else 's'}, introspect "
            f"{versions_of(manifest)}; page by introspect {__version__}"
        ),
        "warnings": _warnings(result, replies, stages, readable, bandless),
        "claims": _claims(result.get("claims")) + protocol_claims(folder, manifest),
        "arms": _arms(result),
        "sentences": _sentences(result),
        "figures": _figures(folder, result),
        "protocols": protocols_part(folder, manifest),
        "cost": _cost(replies, stages),
        "manifest": _manifest(manifest),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": replies.to_json(),
    }
    # One pass, so that nothing a model wrote is ever taken for a place to fill in.
    template = room.joinpath("page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _warnings(
    result: Mapping[str, Any],
    replies: ReplyPage,
    stages: Sequence[tuple[str, str, float, str | None]],
    readable: bool,
    bandless: str,
) -> str:
    found = []
    if not result:
        found.append("The study is not finished: there is no result yet, only what was asked so far.")
    found += [
        f"Seed {gate.get('seed')}: {gate.get('sentence') or gate.get('name')}"
        for gate in result.get("gates") or ()
        if isinstance(gate, dict) and not gate.get("passed")
    ]
    thin = [a for a in result.get("arms") or () if isinstance(a.get("coverage"), float) and a["coverage"] < _ENOUGH]
    found += [f"Arm {a.get('name')}: only {a['coverage']:.0%} of its contexts could be scored." for a in thin]
    reasons: dict[str, list[str]] = {}
    for arm in result.get("arms") or ():
        for field, why in (arm.get("reasons") or {}).items():
            reasons.setdefault(f"{field}: {why}", []).append(str(arm.get("name")))
    found += [f"{why} ({', '.join(names)})" for why, names in reasons.items()]
    lost = {k: n for k, n in replies.count(3, replies.outcomes).items() if not k.startswith(("answered", "completed"))}
    if lost and replies.rows:
        told = ", ".join(f"{n:,} {name}" for name, n in sorted(lost.items(), key=lambda pair: -pair[1]))
        share = sum(lost.values()) / len(replies.rows)
        found.append(f"{share:.1%} of all replies are no answers: {told}.")
    broken = [(name, error) for name, outcome, _, error in stages if outcome == "failed"]
    if broken:
        found.append(f"{len(broken)} attempts at a stage failed, the last {broken[-1][0]!r} ({broken[-1][1]}).")
    if bandless:
        found.append(f"The nulls have no band in the figures: {bandless}.")
    if not readable and replies.rows:
        found.append("The study's prompt style is not known here: outcomes say how replies ended, not what they mean.")
    if not found:
        return '<p class="fine">All gates pass, every arm is covered, and every reply is an answer.</p>'
    return f'<ul class="warnings" aria-label="Warnings">{items(found)}</ul>'


def _claims(claims: Any) -> str:
    """What the study set out to show, where it said so, with the verdicts."""
    if not isinstance(claims, list) or not claims:
        return ""
    rows = []
    for claim in claims:
        if isinstance(claim, dict):
            head = claim.get("sentence") or claim.get("claim") or claim.get("name") or ""
            rest = {k: v for k, v in claim.items() if v != head and k not in ("sentence", "claim", "name")}
            rows.append(f"{head} " + ", ".join(f"{k}: {_cell(v, '')}" for k, v in rest.items()))
        else:
            rows.append(str(claim))
    return f'<h2>Claims</h2><ul class="claims">{items(rows)}</ul>'


def _arms(result: Mapping[str, Any]) -> str:
    rows = [dict(row) for row in result.get("arms") or () if isinstance(row, dict)]
    if not rows:
        return "<p>No arm was scored.</p>"
    for row in rows:
        for what, ends in (("ci", ("ci_low", "ci_high")), ("null", ("null_low", "null_high"))):
            low, high = (row.get(end) for end in ends)
            row[what] = f"{low:+.2f} to {high:+.2f}" if isinstance(low, float) and isinstance(high, float) else None
    columns = [c for c in _COLUMNS if any(row.get(c[0]) is not None for row in rows)]
    head = "".join(f'<th scope="col">{plain(title)}</th>' for _, title, _ in columns)
    body = "".join(f"<tr>{''.join(_td(row, key, form) for key, _, form in columns)}</tr>" for row in rows)
    said = f'<p class="soft">Interval: {plain(str(result.get("interval", "")))}.{_null_said(rows)}</p>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Arms"><table>{_tr(head)}{body}</table></div>{said}'
    )


def _null_said(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any(row["null"] for row in rows):
        return ""
    return " Null: where 95 % of r's lie when reports are dealt out to other contexts."


def _td(row: Mapping[str, Any], key: str, form: str) -> str:
    value = row.get(key)
    low = key == "coverage" and isinstance(value, float) and value < _ENOUGH
    return f"<td{' class=low' if low else ''}>{plain(_cell(value, form))}</td>"


def _sentences(result: Mapping[str, Any]) -> str:
    lines = []
    for name, rise in (result.get("rises") or {}).items():
        lines.append(
            f"Report training moved r on {name} contexts by {_cell(rise.get('rise'), '+.2f')} "
            f"(95 % interval {_cell(rise.get('ci_low'), '+.2f')} to {_cell(rise.get('ci_high'), '+.2f')})."
        )
    for name, r in (result.get("drift") or {}).items():
        lines.append(f"Weights before and after report training correlate at {_cell(r, '.2f')} on {name} contexts.")
    if result.get("control"):
        lines.append(str(result["control"]))
    return "".join(f"<p>{plain(line)}</p>" for line in lines)


def _figures(folder: Path, result: Mapping[str, Any]) -> str:
    """Those drawn from the result, and those that the study left in its folder."""
    shown = []
    try:
        from introspect.show.headline import plot_headline, plot_slopes

        for draw in (plot_headline, plot_slopes):
            drawn = draw(result) if result.get("arms") else None
            if drawn is not None and len(drawn.data):
                out = BytesIO()
                drawn.figure.savefig(out, format="png", dpi=110)
                shown.append(picture("image/png", out.getvalue(), drawn.caption))
    except MissingExtraError as error:
        shown.append(f"<p>{plain(str(error))}</p>")
    shown += [picture("image/png", path.read_bytes(), path.stem) for path in sorted(folder.glob("*.png"))]
    return f'<div class="figures">{"".join(shown)}</div>' if shown else "<p>No figures.</p>"


def _cost(replies: ReplyPage, stages: Sequence[tuple[str, str, float, str | None]]) -> str:
    head = _tr("".join(f'<th scope="col">{c}</th>' for c in ("model", "replies", "tokens in", "tokens out", "told by")))
    body = "".join(
        f"<tr><td>{plain(name)}</td><td>{n:,}</td><td>{into:,}</td><td>{out:,}</td><td>{told:,}</td></tr>"
        for name, (n, told, into, out) in replies.tokens.items()
    )
    seconds = sum(s for _, _, s, _ in stages)
    rows = "".join(
        f"<tr><td>{plain(name)}</td><td>{plain(outcome)}</td><td>{took:,.1f}</td></tr>"
        for name, outcome, took, _ in stages
    )
    more = _tr("".join(f'<th scope="col">{c}</th>' for c in ("stage", "outcome", "seconds")))
    return (
        f'<div class="scroll"><table>{head}{body}</table></div>'
        '<p class="soft">Tokens are those that the model told; prices are not known to this page.</p>'
        f"<details><summary>{len(stages)} stages, {seconds:,.0f} seconds</summary>"
        f'<div class="scroll"><table>{more}{rows}</table></div></details>'
    )


def _manifest(manifest: Mapping[str, Any]) -> str:
    texts = {name: _short(json.dumps(value, indent=1, ensure_ascii=False)) for name, value in manifest.items()}
    return "".join(
        f"<details><summary>{plain(name)}</summary><pre>{plain(text)}</pre></details>" for name, text in texts.items()
    )


def _short(text: str, limit: int = 200_000) -> str:
    return text if len(text) <= limit else text[:limit] + f"\n[{len(text) - limit:,} characters more in the study file]"


def _cell(value: Any, form: str) -> str:
    if value is None or isinstance(value, bool):
        return "–" if value is None else str(value)
    if form and isinstance(value, int | float):
        text = "<.0001" if form == ".4f" and 0 <= value < 1e-4 else format(value, form)
        zero = not text.strip("-+0.%")
        return text.replace("-", "+" if "+" in form else "") if zero else text  # never "-0.00"
    return str(value)


def _ref(ref: Any) -> str:
    try:
        return str(ModelRef.model_validate(ref))
    except ConfigError:
        return "a study"


def _tr(cells: str) -> str:
    return f"<thead><tr>{cells}</tr></thead>"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
