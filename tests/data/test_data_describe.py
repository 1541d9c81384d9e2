"""Looking at a store: the numbers are those of the data, the plots show them."""

from __future__ import annotations

import numpy as np
import pytest

from climsim.data.statistics.description import (
    ReferenceDeciles,
    read_reference,
    summarize_variable,
)
from climsim.data.statistics.statistics import Statistics, compute_statistics
from climsim.errors import ClimSimError
from climsim.figures.config import DescribeConfig
from climsim.figures.moist import look_at_moisture
from climsim.figures.store import describe_store, draw_maps, draw_profiles

CSV = "file,variable,level,mean,std,median,decile10,decile90,minimum,maximum\n"


def reference_file(path, levels=5):
    rows = [f"mli,state_t,{k},250,9,{200 + k},{190 + k},{210 + k},100,300" for k in range(levels)]
    rows += [f"mlo,state_t,{k},0,0,0,0,0,0,0" for k in range(levels)]
    path.write_text(
        CSV
        + "\n".join(
            [*rows, "mli,state_u,0,0,0,,,,0,0", "mli,state_ps,,1e5,9,98000,97000,99000,9e4,1e5"]
        )
    )
    return path


def test_summary_agrees_with_numpy(store):
    values = store.array("state_t")[...][store.steps("train")].astype("f8")
    summary = summarize_variable(store, "state_t", "train", steps=1000)
    assert summary.mean == pytest.approx(values.mean())
    assert summary.std == pytest.approx(values.std())
    np.testing.assert_allclose(summary.deciles[1], np.median(values.reshape(-1, 5), axis=0))
    scalar = summarize_variable(store, "state_ps", "train", steps=1000)
    expected = store.array("state_ps")[...][store.steps("train")].astype("f8").mean(axis=0)
    np.testing.assert_allclose(scalar.column_mean, expected)


def test_memory_features_are_summarized_where_they_exist(store):
    assert np.isfinite(summarize_variable(store, "tm_state_u_dyn", "train", steps=5).deciles).all()


def test_table_and_plots_are_written(store, tmp_path):
    config = DescribeConfig(
        store.path, tmp_path / "out", steps=3, reference=reference_file(tmp_path / "r.csv")
    )
    seen = []
    result = describe_store(config, lambda done, total: seen.append((done, total)))
    text = (tmp_path / "out/table.txt").read_text()
    assert all(name in text for name in store.names)
    assert "7 columns, 5 levels" in str(result)
    assert seen[-1] == (len(store.names), len(store.names))
    for name in ("profiles.png", "maps.png", "clouds.png", "water.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_numbers_of_every_step_come_from_statistics(store, tmp_path):
    compute_statistics(store).save(tmp_path / "s.nc")
    config = DescribeConfig(store.path, tmp_path / "out", steps=2, statistics=tmp_path / "s.nc")
    assert "train, every step" in describe_store(config).text
    statistics = Statistics.open(tmp_path / "s.nc")
    for name in ("state_u", "state_ps"):
        whole = summarize_variable(store, name, "train", steps=1000)
        short = summarize_variable(store, name, "train", 2, statistics)
        for key in ("mean", "std", "min", "max"):
            assert getattr(short, key) == pytest.approx(getattr(whole, key), rel=1e-9)
        # The sketch gives a value of the sample, numpy one between two of them.
        spread = whole.max - whole.min
        np.testing.assert_allclose(short.deciles, whole.deciles, atol=0.03 * spread)
    assert short.column_mean.shape == (7,)


def test_statistics_of_another_store_or_split_are_refused(store, tmp_path):
    found = compute_statistics(store)
    found.save(tmp_path / "s.nc")
    config = DescribeConfig(store.path, tmp_path / "x", split="test", statistics=tmp_path / "s.nc")
    with pytest.raises(ClimSimError, match="they are of split train, expected test"):
        describe_store(config)
    Statistics(found.variables, 5, "train", "0123").save(tmp_path / "other.nc")
    with pytest.raises(ClimSimError, match="computed from another store"):
        describe_store(DescribeConfig(store.path, tmp_path / "x", statistics=tmp_path / "other.nc"))


def test_profile_panel_shows_data_and_reference(store):
    summary = summarize_variable(store, "state_t", "train", steps=9)
    other = ReferenceDeciles(*(np.full(5, v) for v in (1.0, 2.0, 3.0)))
    (axis,) = draw_profiles(store, [summary], {"state_t": other}).axes
    lines = [line.get_xdata() for line in axis.lines]
    np.testing.assert_array_equal(lines[0], summary.deciles[1])
    assert [line[0] for line in lines[1:]] == [2.0, 1.0, 3.0]
    assert axis.yaxis_inverted()
    few = ReferenceDeciles(*(np.ones(4) for _ in range(3)))
    assert len(draw_profiles(store, [summary], {"state_t": few}).axes[0].lines) == 1


def test_map_shows_the_nearest_column_everywhere_and_no_gap_between_columns(store):
    summary = summarize_variable(store, "state_ps", "train", steps=9)
    (picture,) = draw_maps(store, [summary]).axes[0].images
    shown = np.asarray(picture.get_array())
    assert shown.shape == (180, 360)
    assert np.isfinite(shown).all()
    column = 3
    row = int(store.grid.lat[column] + 90)
    place = int((store.grid.lon[column] + 180) % 360)
    assert shown[row, place] == summary.column_mean[column]


def test_reference_is_read_by_level(tmp_path):
    table = read_reference(reference_file(tmp_path / "r.csv"))
    assert table["state_t"].median.tolist() == [200, 201, 202, 203, 204]
    assert np.isnan(table["state_u"].median).all()
    assert table["state_ps"].high.tolist() == [99000]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", CSV + "mli,state_t,0,x,x,x,x,x,x,x\n"])
def test_other_files_are_no_reference(tmp_path, content):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(ClimSimError, match="expected columns"):
        read_reference(tmp_path / "r.csv")
    with pytest.raises(ClimSimError, match="no such file"):
        read_reference(tmp_path / "none.csv")


def test_bad_configuration_names_the_key(tmp_path):
    with pytest.raises(ClimSimError, match=r"steps: .*found 0"):
        DescribeConfig(tmp_path, tmp_path, steps=0)


def test_water_of_columns_and_tops_of_clouds_agree_with_numpy(store):
    steps = store.steps("train")[:3]
    found = look_at_moisture(store, steps)
    grid = store.grid
    fields = {n: store.array(n)[...][steps].astype("f8") for n in store.names}
    ps = fields["state_ps"]
    edges = grid.hyai[:, None, None] * grid.p0 + grid.hybi[:, None, None] * ps
    mass = np.moveaxis(np.diff(edges, axis=0), 0, -1) / 9.80616
    water = sum(fields[f"ptend_q000{i}"] for i in (1, 2, 3))
    residual = (water * mass).sum(-1) + 1000 * fields["cam_out_PRECC"]
    np.testing.assert_allclose(found.residual, residual.mean(0), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.evaporation, fields["pbuf_LHFLX"].mean(0) / 2.501e6)
    condensate = fields["state_q0002"] + fields["state_q0003"]
    cloudy = condensate > 1e-12
    np.testing.assert_allclose(found.liquid, fields["state_q0002"][cloudy] / condensate[cloudy])
    np.testing.assert_array_equal(found.temperature, fields["state_t"][cloudy])
    middles = np.moveaxis(edges[1:] + edges[:-1], 0, -1) / 2
    for top in found.cloud_top:
        assert np.isclose(middles, top, rtol=1e-3).any()
