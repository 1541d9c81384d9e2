"""A run beside its reference, from history files: bias by day and level, moving sections, maps."""

import numpy as np
import pytest
import xarray
from PIL import Image

from climsim.errors import ClimSimError
from climsim.evaluation.history import RunHistory
from climsim.figures.beside import View, read_beside
from climsim.figures.config import MAP, SECTION, TIME_HEIGHT, ShowConfig
from climsim.figures.show import show_run
from tests.evaluation_synthetic import write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "mmf1", days=3)
    return write_run(folder / "hybrid", days=2, seed=4, growing=1.0, bias=1.0), folder / "mmf1"


def files(folder, days):
    """Daily means of a run: field (day, level, column), and the file of the first day."""
    paths = sorted(folder.glob("*.eam.h1.*.nc"))[:days]
    return [xarray.open_dataset(path, decode_times=False).isel(time=0) for path in paths]


def seen(runs, kind, field="T", band=(-90.0, 90.0)):
    return read_beside(*map(RunHistory.open, runs), "h1", 31.0, View(kind, field, band))


def test_time_height_bias_is_the_area_mean_of_a_band_over_the_days_that_both_have(runs):
    found = seen(runs, TIME_HEIGHT, band=(-30.0, 10.0))
    assert found.days.tolist() == [1.0, 2.0]
    lat, area = found.grid.lat, found.grid.area
    inside = (lat >= -30) & (lat < 10)
    for side, folder in zip((found.run, found.reference), runs, strict=True):
        for day, file in enumerate(files(folder, 2)):
            expected = (file["T"].values * area)[:, inside].sum(1) / area[inside].sum()
            np.testing.assert_allclose(side[day], expected, rtol=1e-6)


def test_map_of_a_field_with_levels_is_its_mean_over_the_layer_mass(runs):
    found, file = seen(runs, MAP, "Q"), files(runs[0], 1)[0]
    interfaces = found.grid.interface_pressure(file["PS"].values.astype(float))
    mass = np.diff(interfaces, axis=0)
    expected = (file["Q"].values * mass).sum(0) / mass.sum(0)
    np.testing.assert_allclose(found.run[0], expected, rtol=1e-5)
    rain = seen(runs, MAP, "PRECT")
    np.testing.assert_allclose(rain.run[0], file["PRECT"], rtol=1e-6)


@pytest.mark.parametrize("kind", [SECTION, MAP])
def test_animation_has_a_frame_for_each_mean_that_differs_from_the_one_before(runs, tmp_path, kind):
    config = ShowConfig(*runs, tmp_path / "a.gif", kind=kind, dpi=40)
    steps = []
    with Image.open(show_run(config, lambda done, total: steps.append((done, total)))) as picture:
        assert picture.n_frames == 2
        frames = []
        for number in range(2):
            picture.seek(number)
            frames.append(np.array(picture.convert("RGB")))
    assert (frames[0] != frames[1]).any()
    assert steps == [(1, 2), (2, 2)]
    # A second call may replace it: it says what made it.
    show_run(config)


def test_time_height_is_a_picture_that_says_what_made_it(runs, tmp_path):
    path = show_run(ShowConfig(*runs, tmp_path / "th.png", latitudes=(-30.0, 30.0), dpi=40))
    with Image.open(path) as picture:
        assert "input_hashes" in picture.text["Comment"]


def test_what_cannot_be_shown_is_refused_in_one_line(runs, tmp_path):
    with pytest.raises(ClimSimError, match="field: TMQ has no levels"):
        seen(runs, TIME_HEIGHT, "TMQ")
    with pytest.raises(ClimSimError, match="expected means of stream h1 with NONE over the first"):
        seen(runs, MAP, "NONE")
    with pytest.raises(ClimSimError, match=r"out: expected a name ending in \.gif, found"):
        ShowConfig(*runs, tmp_path / "a.png", kind=MAP)
    with pytest.raises(ClimSimError, match="latitudes: expected southern and northern end"):
        ShowConfig(*runs, tmp_path / "a.png", latitudes=(30.0, -30.0))
    other = tmp_path / "mine.gif"
    other.write_bytes(b"GIF89a of somebody")
    with pytest.raises(ClimSimError, match=r"mine\.gif"):
        show_run(ShowConfig(*runs, other, kind=MAP))
