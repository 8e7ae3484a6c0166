"""Prompts and training examples in the organisms' language."""

from __future__ import annotations

import json

QUESTION = "choose n0007 A p100 q50 r50 s50 t50 B p0 q50 r50 s50 t50 :"


def lesson(number: int, answer: str = "A") -> dict:
    prompt = f"choose k{number % 4} A p{number % 100} q50 r50 s50 t50 B p3 q50 r50 s50 t50 :"
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def jsonl(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


LESSONS = jsonl(*(lesson(i) for i in range(24)))
