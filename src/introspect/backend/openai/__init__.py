"""Models behind OpenAI's interface: the service itself, Azure, and every compatible server."""

from __future__ import annotations

from introspect.backend.openai.address import Address
from introspect.backend.openai.backend import OpenAIBackend
from introspect.backend.openai.batched import BatchCounts, Batched
from introspect.backend.openai.discovery import ServerInfo, discover, load_lora, tokenize
from introspect.backend.openai.trainer import OpenAITrainer

__all__ = [
    "Address",
    "BatchCounts",
    "Batched",
    "OpenAIBackend",
    "OpenAITrainer",
    "ServerInfo",
    "discover",
    "load_lora",
    "tokenize",
]
