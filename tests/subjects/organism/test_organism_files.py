"""An organism's file is believed whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from introspect.backend import ModelRef, open_model
from introspect.errors import BackendError
from introspect.subjects.organism import Organism, organism_ref


@pytest.fixture
def path(tiny: Organism, tmp_path: Path) -> Path:
    target = tmp_path / "mine.safetensors"
    tiny.save(target)
    return target


def refused(call, *said: str) -> None:
    with pytest.raises(BackendError) as caught:
        call()
    assert all(word in str(caught.value) for word in said), caught.value


def test_what_is_saved_comes_back_exactly(tiny: Organism, path: Path) -> None:
    again = Organism.load(path)
    assert again.config == tiny.config
    assert again.rows.keys() == tiny.rows.keys()
    assert all(np.array_equal(again.rows[key], row) for key, row in tiny.rows.items())
    for (name, one), (other_name, other) in zip(
        tiny.network.state_dict().items(), again.network.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)
    assert again.to_bytes() == tiny.to_bytes() == path.read_bytes()


def test_the_same_organism_has_the_same_hash_in_another_process(path: Path) -> None:
    code = (
        "import hashlib, sys; from pathlib import Path; from introspect.subjects.organism import Organism\n"
        "print('sha256:' + hashlib.sha256(Organism.load(Path(sys.argv[1])).to_bytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == organism_ref(str(path)).revision


def test_shipping_in_16_bits_halves_the_size_and_hardly_changes_the_weights(tiny: Organism, tmp_path: Path) -> None:
    tiny.save(tmp_path / "half.safetensors", half=True)
    half = Organism.load(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.65 * len(tiny.to_bytes())
    for one, other in zip(tiny.network.parameters(), half.network.parameters(), strict=True):
        assert other.dtype == torch.float32
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


def test_a_clone_can_be_changed_without_changing_the_original(tiny: Organism) -> None:
    before, twin = tiny.to_bytes(), tiny.clone()
    with torch.no_grad():
        for parameter in twin.network.parameters():
            parameter.add_(1.0)
    for row in twin.rows.values():
        row += 1.0
    assert tiny.to_bytes() == before


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refused(lambda: Organism.load(tmp_path / "none.safetensors"), "none.safetensors", "missing")
    refused(lambda: Organism.load(tmp_path), str(tmp_path), "missing")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(lambda: Organism.load(path), str(path), "cannot be read")


def test_a_changed_byte_is_found_by_the_hash(tiny: Organism, path: Path) -> None:
    right = organism_ref(str(path)).revision
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(lambda: Organism.load(path, expected=right), str(path), right[:19])


HEADERS = {
    "no header": None,
    "another format": {"format": "introspect-organism-99"},
    "a list": [1, 2],
    "not JSON": "{",
    "no recipe": {"format": "introspect-organism-1", "rows": []},
    "a recipe that makes no organism": {
        "format": "introspect-organism-1",
        "config": {"name": "x", "width": 3},
        "rows": [],
    },
    "another recipe's weights": {"format": "introspect-organism-1", "config": {"name": "x", "width": 32}, "rows": []},
    "rows without names": {"format": "introspect-organism-1", "config": {"name": "x"}, "rows": 7},
}


@pytest.mark.parametrize("name", HEADERS)
def test_other_safetensors_files_are_refused(tiny: Organism, tmp_path: Path, name: str) -> None:
    header, target = HEADERS[name], tmp_path / "other.safetensors"
    tensors = {f"network.{k}": v.contiguous() for k, v in tiny.network.state_dict().items()}
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, target, metadata=None if header is None else {"organism": text})
    refused(lambda: Organism.load(target), str(target))
    refused(lambda: open_model(organism_ref(str(target))), str(target))


def test_fewer_rows_than_names_are_refused(tiny: Organism, tmp_path: Path) -> None:
    short = tiny.clone()
    data = short.to_bytes()
    (tmp_path / "whole.safetensors").write_bytes(data)
    from safetensors import safe_open

    with safe_open(str(tmp_path / "whole.safetensors"), framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors | {"rows": tensors["rows"][:-1].clone()}, tmp_path / "short.safetensors", metadata=metadata)
    refused(lambda: Organism.load(tmp_path / "short.safetensors"), "short.safetensors")


def test_a_half_written_file_beside_it_is_not_looked_at(tiny: Organism, path: Path) -> None:
    path.with_name(path.name + ".partial").write_bytes(b"half")
    assert Organism.load(path).to_bytes() == tiny.to_bytes()
    tiny.save(path)
    assert not path.with_name(path.name + ".partial").exists()


def test_a_tuned_reference_must_say_where_its_weights_lie(tiny_ref: ModelRef, path: Path) -> None:
    tuned = tiny_ref.model_copy(update={"adapter": "sha256:" + "0" * 64, "parent": tiny_ref})
    refused(lambda: open_model(tuned), "where its weights lie")
    refused(lambda: open_model(tuned.model_copy(update={"location": str(path)})), str(path), "sha256:000000")
    refused(lambda: open_model(tuned.model_copy(update={"location": str(path) + "x"})), "missing")


@pytest.mark.parametrize("name", ["ghost", "Shared", "", "shared.safetensors"])
def test_unknown_names_are_refused_and_the_known_ones_named(name: str) -> None:
    refused(lambda: organism_ref(name), repr(name), "shared", "weak", "split")


def test_without_torch_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import introspect\n"
        "from introspect.cli import main\n"
        "for call in (lambda: introspect.grow_organism(None), introspect.native_scenarios,\n"
        "             lambda: introspect.open_model(introspect.ModelRef(provider='organism', model='shared'))):\n"
        "    try:\n"
        "        call()\n"
        "    except introspect.MissingExtraError as error:\n"
        "        print(error)\n"
        "raise SystemExit(main(['quickstart', '--out', sys.argv[1]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "never-made"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    assert all("introspect-lm[organism]" in line for line in lines)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not Path("never-made").exists()
