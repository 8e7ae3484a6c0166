"""Open-weight chat models on this machine: read by transformers, trained by TRL with PEFT's LoRA.

Needs the extra ``local``. Nothing here is imported before a reference with the provider "transformers" is opened.
"""

from __future__ import annotations
