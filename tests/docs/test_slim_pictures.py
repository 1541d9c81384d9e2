"""A report kept with the documentation holds the same pictures in fewer bytes."""

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

import slim_pictures


@pytest.fixture
def picture():
    """A PNG of a smooth field with little noise: many colours, close to each other."""
    x, y = np.meshgrid(np.linspace(0, 1, 200), np.linspace(0, 1, 200))
    field = np.stack([200 * x, 200 * y, 100 * x + 100 * y], axis=-1)
    noise = np.random.default_rng(0).integers(0, 12, field.shape)
    stream = io.BytesIO()
    Image.fromarray((field + noise).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pixels_of(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=float)


def test_picture_becomes_smaller_and_stays_alike(picture):
    small = slim_pictures.slim(picture)
    assert len(small) < len(picture) / 2
    assert pixels_of(small).shape == pixels_of(picture).shape
    assert np.abs(pixels_of(small) - pixels_of(picture)).mean() < 16
    assert len(slim_pictures.slim(small)) <= len(small)


def test_report_changes_in_its_pictures_only(picture, tmp_path, capsys):
    embedded = "data:image/png;base64," + base64.b64encode(picture).decode()
    text = f'<p>before</p><img alt="a" src="{embedded}"><img alt="b" src="{embedded}"><p>after</p>'
    (tmp_path / "in.html").write_text(text)
    slim_pictures.main(tmp_path / "in.html", tmp_path / "out.html")
    slimmed = (tmp_path / "out.html").read_text()
    found = re.findall(r"base64,([^\"]+)", slimmed)
    assert len(found) == 2
    assert pixels_of(base64.b64decode(found[0])).shape == (200, 200, 3)
    hidden = re.sub(r"base64,[^\"]+", "", slimmed)
    assert hidden == re.sub(r"base64,[^\"]+", "", text)
    assert "out.html" in capsys.readouterr().out


def test_notebook_keeps_its_cells_and_its_pictures_get_smaller(picture, tmp_path):
    held = {"image/png": base64.b64encode(picture).decode(), "text/plain": "<Figure>"}
    output = nbformat.v4.new_output("display_data", held)
    cell = nbformat.v4.new_code_cell("draw()", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "in.ipynb")
    slim_pictures.main(tmp_path / "in.ipynb", tmp_path / "out.ipynb")
    (slimmed,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert slimmed.source == "draw()"
    assert slimmed.outputs[0].data["text/plain"] == "<Figure>"
    assert len(base64.b64decode(slimmed.outputs[0].data["image/png"])) < len(picture) / 2
