"""Compiled programs that are kept for the next run; for the main of a binary.

The library itself names no folder: that is process-wide state, and a main's to choose.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax
import jaxlib

_WORTH_KEEPING = "jax_persistent_cache_min_compile_time_secs"
_FEATURES = ("flags", "Features")  # what x86 and ARM call them


def choose_folder() -> None:
    """Names JAX's folder of compiled programs, unless somebody has named one.

    The environment's JAX_COMPILATION_CACHE_DIR comes first; without a home there is
    none. What took a tenth of a second to compile is kept: a posterior is made by some
    sixty small programs, of which few take JAX's second.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if os.path.isabs(caches):  # else there is no such user
            folder = f"{caches}/dipgp/programs-{fingerprint()}"
            jax.config.update("jax_compilation_cache_dir", folder)
            jax.config.update(_WORTH_KEEPING, 0.1)


def fingerprint() -> str:
    """Stands for what a program for CPUs depends on and JAX's own keys leave out.

    A home may be shared by machines with different processors, and a program with
    instructions that a processor has not ends its process.
    """
    parts = (platform.machine(), jaxlib.__version__, *_instructions())
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _instructions() -> list[str]:
    """The sets of instructions that the processor has, as Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in _FEATURES:
            return sorted(value.split())
    return [platform.processor()]
