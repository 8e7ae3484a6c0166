"""Open-weight models trained and sampled on Tinker's machines, through its official SDK. Experimental.

Needs the extra ``tinker`` and the key ``TINKER_API_KEY``. Nothing here is imported before a reference with the provider
"tinker" is opened.
"""

from __future__ import annotations
