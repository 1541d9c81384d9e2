"""The competition's score and submission, on small files in its layout."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from sklearn.metrics import r2_score

from climsim.data.rows.forms import columns_of
from climsim.errors import ClimSimError
from climsim.evaluation.config import KaggleScoreConfig, SubmissionConfig
from climsim.evaluation.kaggle_score import score_kaggle, score_lines
from climsim.evaluation.kaggle_submission import write_submission
from climsim.export.loading import load_emulator
from climsim.physics.derived import derived_inputs
from climsim.provenance import trace
from climsim.variables import KAGGLE_INPUTS, OUTPUTS, V2_RH
from tests.data.rows_synthetic import make_record
from tests.exported_synthetic import LEVELS, write_model
from tests.grids import make_grid

NAMES = columns_of(OUTPUTS, LEVELS)
LIGHT = {f"ptend_q0001_{k}" for k in range(5)}
"""Targets without weight."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and the competition's three files, with their rows in any order."""
    folder = tmp_path_factory.mktemp("kaggle")
    record = make_record(folder, 8, make_grid(levels=LEVELS))
    rng = np.random.default_rng(1)
    table = record.table().take(rng.permutation(len(record.inputs)))
    csv.write_csv(table, folder / "train.csv")
    parquet.write_table(table, folder / "train.parquet")
    csv.write_csv(table.drop_columns(NAMES), folder / "test.csv")
    weights = [0.0 if n in LIGHT else 1 / np.std(table[n].to_numpy()) for n in NAMES]
    order = rng.permutation(len(NAMES))
    columns = [pa.array(np.full(len(table), weights[k])) for k in order]
    sample = pa.table([table["sample_id"], *columns], ["sample_id", *(NAMES[k] for k in order)])
    csv.write_csv(sample, folder / "sample_submission.csv")
    write_model(folder / "one.pt", 1)
    write_model(folder / "two.pt", 2)
    return folder


def expected(folder, model="one.pt"):
    """Truth, prediction and weights, computed plainly."""
    table = csv.read_csv(folder / "train.csv")
    columns = {n: np.asarray(table[n]) for n in table.column_names if n != "sample_id"}
    inputs = np.stack([columns[n] for n in columns_of(KAGGLE_INPUTS, LEVELS)], axis=1)
    fields = {n: x.T for n, x in KAGGLE_INPUTS.fields(inputs, LEVELS).items()}
    grid = make_grid(levels=LEVELS)
    fields["state_pmid"] = grid.midpoint_pressure(fields["state_ps"])
    fields["cam_in_SNOWHICE"] = np.zeros(len(inputs))
    fields |= derived_inputs(fields, np.zeros(len(inputs)))
    vector = np.concatenate([np.atleast_2d(fields[n]) for n in V2_RH.names]).T
    prediction = load_emulator(folder / model)(vector.astype("f4"))[:, : len(NAMES)]
    first = csv.read_csv(folder / "sample_submission.csv").slice(0, 1)
    weights = np.array([first[n][0].as_py() for n in NAMES])
    return np.stack([columns[n] for n in NAMES], axis=1), prediction, weights


def config(folder, out, **keys):
    given = {"model": "one.pt", "truth": "train.csv", "weights": "sample_submission.csv", **keys}
    return KaggleScoreConfig(
        **{
            k: folder / v if k in ("model", "truth", "weights") and v else v
            for k, v in given.items()
        },
        out=out,
    )


@pytest.mark.parametrize("truth", ["train.csv", "train.parquet"])
@pytest.mark.parametrize("batch", [5, 4096])
def test_score_of_a_model_is_that_of_scikit_learn_on_weighted_values(
    folder, tmp_path, truth, batch
):
    settings = config(folder, tmp_path / "s.json", truth=truth, batch_columns=batch)
    scores = json.loads(score_kaggle(settings).read_text())
    y, p, w = expected(folder)
    each = r2_score(y * w, p * w, multioutput="raw_values")
    np.testing.assert_allclose(list(scores["r2"].values()), each, rtol=1e-4)
    assert scores["kaggle_score"] == pytest.approx(r2_score(y * w, p * w), rel=1e-4)
    assert [scores["r2"][name] for name in LIGHT] == [1.0] * 5
    assert scores["targets_without_weight"] == 5
    assert scores["of_weighted_targets"] == pytest.approx(each[w > 0].mean(), rel=1e-4)
    assert "56 samples" in score_lines(settings.out)[0]


def test_targets_without_variance_count_as_in_scikit_learn(folder, tmp_path):
    table = csv.read_csv(folder / "train.csv")
    where = table.column_names.index("cam_out_SOLS")
    constant = table.set_column(where, "cam_out_SOLS", pa.array(np.full(len(table), 0.3)))
    csv.write_csv(constant, tmp_path / "truth.csv")
    wrong = [n for n in table.column_names if n in NAMES or n == "sample_id"]
    csv.write_csv(table.select(wrong), tmp_path / "submission.csv")
    settings = KaggleScoreConfig(
        tmp_path / "submission.csv", tmp_path / "truth.csv", tmp_path / "s.json", levels=LEVELS
    )
    r2 = json.loads(score_kaggle(settings).read_text())["r2"]
    assert (r2["cam_out_SOLS"], r2["cam_out_SOLL"]) == (0.0, 1.0)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_submission_holds_weighted_predictions_in_the_order_of_the_sample(folder, tmp_path, form):
    out = tmp_path / f"submission.{form}"
    inputs, weights = folder / "test.csv", folder / "sample_submission.csv"
    seen = []
    settings = SubmissionConfig(folder / "one.pt", inputs, weights, out, batch_columns=20)
    write_submission(settings, lambda *counts: seen.append(counts))
    assert seen == [(20, 56), (40, 56), (56, 56)]
    table = csv.read_csv(out) if form == "csv" else parquet.read_table(out)
    sample = csv.read_csv(weights)
    assert table.column_names == sample.column_names
    assert table["sample_id"].to_pylist() == sample["sample_id"].to_pylist()
    _, p, w = expected(folder)
    found = np.stack([np.asarray(table[n]) for n in NAMES], axis=1)
    np.testing.assert_allclose(found, p * w, rtol=1e-3, atol=1e-5)
    assert (trace(out).kind, len(trace(out).inputs)) == ("submission", 2)


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_a_table_of_the_competition_is_not_replaced_by_a_submission(folder, tmp_path, name):
    table = (folder / name).read_bytes()
    out, weights = tmp_path / name, folder / "sample_submission.csv"
    out.write_bytes(table)
    settings = SubmissionConfig(folder / "one.pt", folder / "test.csv", weights, out)
    with pytest.raises(ClimSimError, match=rf"{name}: the file that is there is not a submission"):
        write_submission(settings)
    assert out.read_bytes() == table
    assert [p.name for p in tmp_path.iterdir()] == [name]
    out.unlink()
    for _ in range(2):  # Made, and replaced by its own command.
        write_submission(settings)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}.json"]


@pytest.mark.parametrize("last", ["s.csv", "s.csv.json"])
def test_a_submission_whose_command_was_killed_is_made_by_the_next(
    folder, tmp_path, monkeypatch, last
):
    out, weights = tmp_path / "s.csv", folder / "sample_submission.csv"
    settings = SubmissionConfig(folder / "one.pt", folder / "test.csv", weights, out)
    replace = os.replace

    def killed(source, target):
        if target == tmp_path / last:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_submission(settings)
    write_submission(settings)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "s.csv.json"]


def test_a_submission_scores_as_its_model(folder, tmp_path):
    out, weights = tmp_path / "submission.csv", folder / "sample_submission.csv"
    members = (folder / "two.pt",)
    write_submission(
        SubmissionConfig(folder / "one.pt", folder / "test.csv", weights, out, members)
    )
    one = config(folder, tmp_path / "model.json", members=members)
    two = config(folder, tmp_path / "table.json", levels=LEVELS, batch_columns=11)
    object.__setattr__(two, "model", out)
    scores = [json.loads(score_kaggle(settings).read_text()) for settings in (one, two)]
    assert scores[0]["kaggle_score"] == pytest.approx(scores[1]["kaggle_score"])
    alone = json.loads(score_kaggle(config(folder, tmp_path / "one.json")).read_text())
    assert alone["kaggle_score"] != pytest.approx(scores[0]["kaggle_score"])


def test_stacked_arrays_are_scored_like_tables(folder, tmp_path):
    table = csv.read_csv(folder / "train.csv")
    for name, columns in (("x", columns_of(KAGGLE_INPUTS, LEVELS)), ("y", NAMES)):
        values = np.stack([np.asarray(table[n]) for n in columns], axis=1)
        np.save(tmp_path / f"{name}.npy", values)
    settings = config(
        folder, tmp_path / "a.json", targets=tmp_path / "y.npy",
        grid=folder / "ClimSim_low-res_grid-info.nc",
    )  # fmt: skip
    object.__setattr__(settings, "truth", tmp_path / "x.npy")
    arrays = json.loads(score_kaggle(settings).read_text())
    tables = json.loads(score_kaggle(config(folder, tmp_path / "t.json")).read_text())
    assert arrays["r2"] == pytest.approx(tables["r2"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"weights": "predicted.csv"}, "expected the same weights >= 0 in every row"),
        ({"weights": "train.csv"}, r"expected no column but sample_id and the 152 targets of 24 "
         r"levels, found state_t_0, state_t_1, state_t_2 and \d+ more: give the competition's"),
        ({"weights": "deep.csv"}, r"deep\.csv: expected no column but .*, found ptend_t_24, ptend"),
        ({"weights": "nothing.csv"}, "expected a weight > 0 for one target at least, found 0 for"),
        ({"weights": "test.csv"}, r"expected a column for each of the 152 targets, found no col"),
        ({"truth": "test.csv"}, r"test\.csv: expected the 152 targets of 24 levels, found no .*: "
         r"give the file that holds them as well \(targets= or outputs=\)"),
        ({"model": "sample_submission.csv"}, r"of the 368 targets, found no column ptend_t_24"),
        ({"model": "sample_submission.csv", "levels": LEVELS, "truth": "other.csv"},
         r"from row 6 on its samples are not those of"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused(folder, tmp_path, keys, message):
    table = csv.read_csv(folder / "train.csv")
    csv.write_csv(pa.concat_tables([table.slice(0, 5), table.slice(6)]), folder / "other.csv")
    csv.write_csv(table.select(["sample_id", *NAMES]), folder / "predicted.csv")
    deep = {name: [1.0] for name in columns_of(OUTPUTS, LEVELS + 1)}
    csv.write_csv(pa.table(deep), folder / "deep.csv")
    zeros = {name: np.zeros(3) for name in NAMES}
    csv.write_csv(pa.table({"sample_id": ["a", "b", "c"], **zeros}), folder / "nothing.csv")
    with pytest.raises(ClimSimError, match=message):
        score_kaggle(config(folder, tmp_path / "s.json", **{"batch_columns": 5, **keys}))
    assert list(tmp_path.iterdir()) == []


def named_anew(table, names):
    return table.set_column(0, "sample_id", pa.array(names))


def test_samples_that_came_twice_or_have_no_name_are_neither_scored_nor_submitted(folder, tmp_path):
    table = csv.read_csv(folder / "train.csv")
    names = table["sample_id"].to_pylist()
    for unfit, message in (
        (pa.concat_tables([table, table.slice(3, 2)]), "sample_id of row 4 stands twice"),
        (named_anew(table, [*names[:6], None, *names[7:]]), "row 7: expected a sample_id, found n"),
    ):
        csv.write_csv(unfit, folder / "unfit.csv")
        with pytest.raises(ClimSimError, match=rf"unfit\.csv: .*{message}"):
            score_kaggle(config(folder, tmp_path / "s.json", truth="unfit.csv", batch_columns=5))
        with pytest.raises(ClimSimError, match=rf"unfit\.csv: .*{message}"):
            write_submission(
                SubmissionConfig(
                    folder / "one.pt",
                    folder / "unfit.csv",
                    folder / "sample_submission.csv",
                    tmp_path / "s.csv",
                )
            )
    assert list(tmp_path.iterdir()) == []


def test_a_submission_that_holds_no_numbers_is_refused(folder, tmp_path):
    table = csv.read_csv(folder / "train.csv").select(["sample_id", *NAMES])
    values = table["ptend_t_3"].to_pylist()
    lost = pa.array([*values[:8], float("nan"), *values[9:]])
    place = table.column_names.index("ptend_t_3")
    csv.write_csv(table.set_column(place, "ptend_t_3", lost), folder / "lost.csv")
    settings = config(folder, tmp_path / "s.json", model="lost.csv", levels=LEVELS, batch_columns=5)
    with pytest.raises(ClimSimError, match=r"lost\.csv: row 9: expected a number in ptend_t_3"):
        score_kaggle(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_memory_is_refused(folder, tmp_path):
    write_model(tmp_path / "v6.pt", 1, "v6")
    settings = config(folder, tmp_path / "s.json")
    object.__setattr__(settings, "model", tmp_path / "v6.pt")
    with pytest.raises(ClimSimError, match=r"v6\.pt: the model looks back 2 steps"):
        score_kaggle(settings)


def test_weights_of_one_row_are_those_of_every_sample(folder, tmp_path):
    sample = csv.read_csv(folder / "sample_submission.csv")
    csv.write_csv(sample.drop_columns(["sample_id"]).slice(0, 1), tmp_path / "row.csv")
    made = []
    for weights in (folder / "sample_submission.csv", tmp_path / "row.csv"):
        out = tmp_path / f"of-{weights.name}"
        write_submission(SubmissionConfig(folder / "one.pt", folder / "test.csv", weights, out))
        made.append(csv.read_csv(out))
    assert made[0].equals(made[1])


@pytest.mark.parametrize("change", ["lacking", "misspelt", "surplus"])
def test_submission_with_weights_of_other_targets_is_refused_and_leaves_nothing(
    folder, tmp_path, change
):
    sample = csv.read_csv(folder / "sample_submission.csv")
    names = ["cam_out_SOL" if name == "cam_out_SOLL" else name for name in sample.column_names]
    table, message = {
        "lacking": (sample.drop_columns(["ptend_u_3"]), "targets, found no column ptend_u_3: give"),
        "misspelt": (sample.rename_columns(names), "targets, found no column cam_out_SOLL: give"),
        "surplus": (
            sample.append_column("Usage", sample["ptend_u_3"]),
            "levels, found Usage: give",
        ),
    }[change]
    weights, out = folder / f"{change}.csv", tmp_path / "submission.csv"
    csv.write_csv(table, weights)
    with pytest.raises(ClimSimError, match=rf"weights=.*{change}\.csv: expected .*{message}"):
        write_submission(SubmissionConfig(folder / "one.pt", folder / "test.csv", weights, out))
    assert list(tmp_path.iterdir()) == []


def test_submission_without_names_or_ending_is_refused(folder, tmp_path):
    table = csv.read_csv(folder / "test.csv").drop_columns(["sample_id"])
    csv.write_csv(table, tmp_path / "x.csv")
    keys = {
        "model": folder / "one.pt", "inputs": tmp_path / "x.csv",
        "weights": folder / "sample_submission.csv",
        "grid": folder / "ClimSim_low-res_grid-info.nc",
    }  # fmt: skip
    with pytest.raises(ClimSimError, match=r"x\.csv: no column sample_id"):
        write_submission(SubmissionConfig(**keys, out=tmp_path / "s.csv"))
    with pytest.raises(ClimSimError, match=r"out: expected a file ending in \.csv or \.parquet"):
        write_submission(SubmissionConfig(**keys, out=tmp_path / "s.txt"))
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
