"""The tutorials are notebooks kept as text; each runs from top to bottom and shows figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.md"))


def test_the_five_notebooks_are_there():
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"the-loop", "own-domain", "own-backend", "reading-a-result", "internals"}


def test_notebooks_are_kept_without_outputs():
    jupytext = pytest.importorskip("jupytext")
    for path in NOTEBOOKS:
        notebook = jupytext.read(path)
        assert notebook.cells
        assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_shows_what_it_ends_in(path, tmp_path, monkeypatch):
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert "TqdmWarning" not in output.get("text", ""), "the extra notebook lacks what draws progress bars"
            said = output.get("data", {}).get("text/plain", "")
            # What has no picture or table of its own is shown by its address or by a wall of numbers.
            if any(word in said for word in ("<Figure", "StudyResult(", "Accuracy(", " object at 0x")):
                assert {"image/png", "text/html"} & output["data"].keys(), said[:80]
