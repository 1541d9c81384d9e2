"""The measured climate: aims, statistics, and the run that measures it."""

import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.figures import climate


class FixedMeans:
    """Means as a run would have accumulated them."""

    def __init__(self, temperature, rain, tropopause):
        self.means = {
            "mean/state_t": np.full(3, temperature),
            "mean/state_q0001": np.full(3, 0.01),
            "mean/cam_out_PRECC": np.asarray(rain),
            "mean/pbuf_LHFLX": np.asarray(84.0),
            "mean/cam_out_FLWDS": np.asarray(340.0),
            "mean/cam_out_NETSW": np.asarray(180.0),
            "tropopause": np.asarray(tropopause),
        }

    def pressure(self):
        return np.array([95.0, 218.0, 993.0])

    def mean(self, name):
        return self.means[name]


REFERENCE = {
    "state_t": {"mean": np.array([250.0, 250.0, 250.0])},
    "state_q0001": {"mean": np.array([0.01, 0.025, 0.0095])},
    "cam_out_PRECC": {"mean": np.array([3.0])},
    "pbuf_LHFLX": {"mean": np.array([84.0])},
    "cam_out_FLWDS": {"mean": np.array([347.0])},
    "cam_out_NETSW": {"mean": np.array([162.0])},
}


def test_aims_are_checked_by_difference_factor_share_and_range():
    rows = climate.check_aims(FixedMeans(255.0, 2.7, 110.0), REFERENCE)
    met = [row["met"] for row in rows]
    # 5 K: within 8 aloft, not within 4 below; humidity a factor 2.5, 5 %; rain 10 % low; 7 and
    # 18 W/m2.
    assert met == [True, False, True, True, True, True, True, False, True]
    assert rows[2]["worst"] == pytest.approx(2.5)
    assert rows[4]["worst"] == pytest.approx(0.1)
    assert not climate.check_aims(FixedMeans(255.0, 2.7, 400.0), REFERENCE)[-1]["met"]


def test_statistics_are_read_in_the_order_of_levels(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(
        "file,variable,level,mean,std\n"
        "mli,state_t,2,210,5\nmli,state_t,1,200,4\nmlo,x,,1,2\nmlo,y,,,\n"
    )
    read = climate.read_statistics(path)
    np.testing.assert_array_equal(read["state_t"]["mean"], [200.0, 210.0])
    assert read["x"]["std"][0] == 2.0
    assert np.isnan(read["y"]["mean"][0])


def test_missing_statistics_are_named_before_anything_runs(tmp_path):
    config = climate.ClimateConfig(out=tmp_path / "made", reference=tmp_path / "none.csv")
    with pytest.raises(ClimSimError, match=r"reference: .*none\.csv: no such file"):
        climate.run_climate(config)
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_day_gives_table_means_and_figure_and_continues(gcm, tmp_path, shared):
    reference = shared / "reference_data" / "e3sm_mmf_statistics.csv"
    config = climate.ClimateConfig(out=tmp_path, days=1, reference=reference, checkpoint_days=1)
    table = climate.run_climate(config, host=gcm).read_text()
    assert "| pbuf_LHFLX |" in table
    assert "tropical tropopause" in table
    assert (tmp_path / "climate.png").stat().st_size > 1000
    before = (tmp_path / "means.npz").read_bytes()
    climate.run_climate(config, host=gcm)
    assert (tmp_path / "means.npz").read_bytes() == before


def test_statistics_of_a_variable_in_both_files_of_a_step_are_those_before_physics(tmp_path):
    path = tmp_path / "statistics.csv"
    lines = ["file,variable,level,mean,std", "mli,state_t,0,200,1", "mli,state_t,1,280,2"]
    path.write_text("\n".join([*lines, "mlo,state_t,0,201,3", "mlo,state_t,1,281,4"]))
    found = climate.read_statistics(path)["state_t"]
    assert found["mean"].tolist() == [200.0, 280.0]
    assert found["std"].tolist() == [1.0, 2.0]
