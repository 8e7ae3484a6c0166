"""``introspect doctor URL``: what a server says it does, and what it does."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from introspect.errors import BackendError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from introspect.backend.openai.discovery import ServerInfo
    from introspect.backend.openai.probing import Finding

__all__ = ["add_parser"]

_SHOWN = {"works": "works", "ignored": "IGNORED", "refused": "no", "unclear": "unclear"}


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    doctor = commands.add_parser(
        "doctor",
        help="see what an OpenAI-compatible server really does",
        description="Ask a server a dozen short questions and name what it answers 200 to and ignores: "
        "log-probabilities, n, seeds, JSON schemas, prefilled answers, or the model's name. Its key is taken from the "
        "environment. `introspect doctor tinker` samples, trains a few steps and samples again, in about two minutes.",
    )
    doctor.add_argument("url", metavar="URL", help="for example http://localhost:8000/v1; or tinker")
    doctor.add_argument("--model", metavar="NAME", help="which model to ask (default: the only one it serves)")
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    doctor.set_defaults(run=_doctor)


def _tinker(options: argparse.Namespace) -> int:
    from introspect.backend.portal import run_sync
    from introspect.backend.tinker.checkup import Step, check_up

    def say(step: Step) -> None:
        if not options.json:
            print(f"{step.name:<24} {'works' if step.works else 'DOES NOT':<8} {step.detail}", flush=True)

    steps = run_sync(check_up, options.model, None, say)
    whole = all(step.works for step in steps)
    if options.json:
        print(json.dumps({"works": whole, "steps": [step._asdict() for step in steps]}, ensure_ascii=False))
    else:
        print("\nAll of it works." if whole else "\nNot all of it works; the lines above say what does not.")
    return 0 if whole else 1


def _doctor(options: argparse.Namespace) -> int:
    from introspect.backend.portal import run_sync

    if options.url == "tinker":
        return _tinker(options)
    server, model, findings, calls = run_sync(_examine, options.url, options.model)
    lies = [finding for finding in findings if finding.state == "ignored"]
    if options.json:
        shown = {
            "url": server.url,
            "server": server.dialect,
            "version": server.version,
            "models": list(server.models),
            "context_length": server.context_length,
            "slots": server.slots,
            "model": model,
            "calls": calls,
            "features": {f.feature: {"state": f.state, "detail": f.detail} for f in findings},
            "lies": [f.feature for f in lies],
        }
        print(json.dumps(shown, ensure_ascii=False))
        return 0
    print(f"{server.url}: {_described(server)}")
    print(f"model {model}, {calls} calls\n")
    for finding in findings:
        print(f"{finding.feature:<12} {_SHOWN[finding.state]:<8} {finding.detail}")
    print()
    if lies:
        print(f"It answers 200 to, and ignores: {', '.join(f.feature for f in lies)}.")
    else:
        print("It does what it answers 200 to.")
    return 0


async def _examine(url: str, name: str | None) -> tuple[ServerInfo, str, list[Finding], int]:
    from introspect.backend.openai import Address, OpenAIBackend, discover
    from introspect.backend.openai.client import needed_key
    from introspect.backend.openai.probing import FEATURES
    from introspect.backend.wire import ModelRef

    address = Address.of(url)
    server = await discover(address, needed_key(address))
    if name is None:
        if not server.models and server.problem is not None:
            raise BackendError(f"{address} does not list its models ({server.problem}). Is it there? Else use --model")
        if len(server.models) != 1:
            some = ", ".join(server.models[:8]) or "none"
            raise BackendError(f"{address} lists {len(server.models)} models ({some}); name one with --model")
        name = server.models[0]
    backend = OpenAIBackend(ModelRef(provider="openai", model=name, location=url))
    try:
        await backend.probe()
        findings = [await backend.findings.find(feature) for feature in FEATURES]
        return server, name, findings, backend.findings.calls
    finally:
        await backend.aclose()


def _described(server: ServerInfo) -> str:
    parts: list[str] = ["an OpenAI-compatible server" if server.dialect == "plain" else server.dialect]
    if server.version:
        parts.append(server.version)
    if server.context_length:
        parts.append(f"{server.context_length} tokens of context")
    if server.slots:
        parts.append(f"{server.slots} slots")
    return ", ".join(parts)
