"""Whether memory is what ran out, and not something else whose message happens to speak of memory."""

from __future__ import annotations

import torch

__all__ = ["out_of_memory"]

_SAID = (
    "out of memory",  # CUDA, MPS, XPU, cuDNN
    "not enough memory",  # the CPU's allocator
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator's or the CPU's memory is what ran out.

    Asking for less would not mend an illegal access or a wrong memory format, and would hide it.

    Example:
        >>> out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"))
        True
        >>> out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
        False
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in _SAID)
