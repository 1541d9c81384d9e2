"""What users of the library meet in Python: names, representations, shapes, clear errors."""

import importlib.resources

import numpy as np
import pytest
import torch

import climsim
from climsim.export.loading import load_emulator
from climsim.export.probe import probe_columns
from climsim.interfaces import V2
from climsim.variables import OUTPUTS, TARGETS
from tests.exported_synthetic import LEVELS, write_model


@pytest.fixture(scope="module", params=["standard", "conf_loss"])
def emulator(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"{request.param}.pt"
    return load_emulator(write_model(path, 7, request.param))


@pytest.fixture(scope="module")
def columns():
    return probe_columns(V2.variables, LEVELS, 5).numpy()


def test_package_says_its_version_and_brings_its_error_and_types():
    assert climsim.__version__[0].isdigit()
    assert issubclass(climsim.ClimSimError, Exception)
    assert importlib.resources.files("climsim").joinpath("py.typed").is_file()


def test_emulator_says_what_it_is(emulator):
    shown = repr(emulator)
    assert str(emulator.path) in shown
    assert f"pao_model, interface v2: (column, {V2.variables.size(LEVELS)}) -> (column," in shown
    assert "\n" not in shown
    assert emulator.inputs is V2.variables


def test_output_splits_into_named_fields(emulator, columns):
    y = emulator(columns)
    fields = emulator.fields(y)
    np.testing.assert_array_equal(fields["ptend_q0001"], y[:, LEVELS : 2 * LEVELS])
    assert fields["cam_out_PRECC"].shape == (5,)
    losses = {name for name in fields if name.startswith("confidence_")}
    assert losses == ({f"confidence_{n}" for n in TARGETS.names} if emulator.confidence else set())
    assert set(fields) - losses == set(OUTPUTS.names)
    with pytest.raises(climsim.ClimSimError, match=r"expected outputs of shape \(column, "):
        emulator.fields(y[:, 1:])


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda x: x[0], r"found \(\d+,\)"),
        (lambda x: x[:, 1:], r"found \(5, \d+\)"),
        (lambda x: [*x.tolist()[:1], [1.0]], "rows of different length"),
        (lambda x: x.astype(complex), "values of type complex128"),
        (lambda x: x.astype(str), "values of type <U"),
        (lambda x: x.astype(object), "values of type object"),
    ],
)
def test_what_is_no_array_of_columns_is_refused_in_one_line(wrong, found, emulator, columns):
    with pytest.raises(climsim.ClimSimError, match=f"expected input of shape.*{found}") as refused:
        emulator(wrong(columns))
    assert "\n" not in str(refused.value)


def test_numbers_of_other_types_are_taken_as_float32(emulator, columns):
    expected = emulator(columns)
    for same in (columns.astype(np.float64), columns.tolist(), torch.as_tensor(columns)):
        np.testing.assert_array_equal(emulator(same), expected)


def test_nan_in_gives_nan_out_for_that_column_alone(emulator, columns):
    expected = emulator(columns)
    assert np.isfinite(expected).all()
    holes = columns.copy()
    holes[1] = np.nan
    holes[3, -1] = np.nan
    y = emulator(holes)
    assert np.isnan(y[[1, 3]]).all()
    np.testing.assert_array_equal(y[[0, 2, 4]], expected[[0, 2, 4]])


def test_network_refuses_what_is_no_tensor_of_columns():
    network = climsim.build_network("pao_model", n_levels=LEVELS, preset="small")
    width = network.n_inputs
    for wrong, found in (
        (np.zeros((2, width)), "found numpy.ndarray: use torch.as_tensor"),
        (torch.zeros(width), rf"found \({width},\) of torch.float32"),
        (torch.zeros(2, width, dtype=torch.int64), "of torch.int64"),
    ):
        with pytest.raises(climsim.ClimSimError, match=found):
            network(wrong)
    assert network(torch.zeros(2, width)).shape == (2, network.n_outputs)
