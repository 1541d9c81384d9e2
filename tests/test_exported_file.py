"""What exported files say about themselves and whether they are whole, read as bytes alone."""

import io
import zipfile

import pytest

from climsim.errors import ClimSimError
from climsim.exported_file import (
    ONNX,
    PACKAGE,
    TORCHSCRIPT,
    exported_models,
    form_of,
    metadata_text,
    require_whole,
    unreadable_form,
    with_metadata,
)

TEXT = '{"door": "v2", "git_revision": "abc"}' + 200 * " "
# onnx.ModelProto by hand: ir_version 8; producer_name "x"; an opset; a graph named "g".
MODEL = b"\x08\x08" + b"\x12\x01x" + b"\x42\x02\x10\x12" + b"\x3a\x03\x12\x01g"


def archive(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, TEXT)
    return content.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("m.pt", archive("m/constants.pkl", "m/extra/metadata.json"), TORCHSCRIPT),
        ("m.pt2", archive("m/archive_format", "m/extra/metadata.json"), PACKAGE),
        ("m.onnx", with_metadata(MODEL, TEXT), ONNX),
        ("renamed.pt", with_metadata(MODEL, TEXT), ONNX),
    ],
)
def test_file_is_known_by_its_content_and_says_what_it_is(tmp_path, name, content, form):
    path = write(tmp_path / name, content)
    require_whole(path)
    assert form_of(path) == form
    assert metadata_text(path) == TEXT.encode()


def test_metadata_in_onnx_are_what_its_own_library_reads(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(with_metadata(MODEL, TEXT))
    assert (model.ir_version, model.graph.name) == (8, "g")
    assert {p.key: p.value for p in model.metadata_props}["metadata.json"] == TEXT


def test_onnx_cut_short_anywhere_is_refused(tmp_path):
    whole = with_metadata(MODEL, TEXT)
    start = len(MODEL) + 1
    for length in [*range(start, len(whole), 7), len(whole) - 1]:
        path = write(tmp_path / "m.onnx", whole[:length])
        with pytest.raises(ClimSimError, match=r"m\.onnx: (was damaged|expected an ONNX file)"):
            require_whole(path)


def test_flipped_bit_of_onnx_is_found_wherever_it_is(tmp_path):
    whole = with_metadata(MODEL, TEXT)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 4
        path = write(tmp_path / "m.onnx", changed)
        try:
            require_whole(path)
        except ClimSimError:
            continue
        # Of what its keys are called only, the file then says nothing about itself.
        assert metadata_text(path) == b""


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"text", b"\x08\x08\x3a\xff\xff\x03g", b"PK\3\4"]
)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.pt", "a TorchScript file"),
        ("m.pt2", "an AOTInductor package"),
        ("m.onnx", "an ONNX file"),
    ],
)
def test_other_content_is_refused_by_what_the_name_promises(tmp_path, content, name, expected):
    path = write(tmp_path / name, content)
    assert form_of(path) is None
    assert metadata_text(path) == b""
    with pytest.raises(ClimSimError, match=rf"{name}: expected {expected}, found something else"):
        require_whole(path)


def test_models_of_a_folder_are_found_in_every_format(tmp_path):
    from climsim.export.formats import FORMATS

    endings = [known.suffix for known in FORMATS.shipped().values()]
    for name in (*(f"unet{ending}" for ending in endings), "unet.nc", "metadata.json"):
        (tmp_path / name).touch()
    found = [path.suffix for path in exported_models(tmp_path)]
    assert len(found) == 3
    assert found == sorted(endings)


def test_a_checkpoint_where_a_model_is_expected_is_called_one(tmp_path):
    path = tmp_path / "last.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("last/data.pkl", b"pickled")
    message = rf"last\.ckpt: expected an exported model, found a checkpoint .*checkpoint={path}"
    with pytest.raises(ClimSimError, match=message):
        raise unreadable_form(path)
