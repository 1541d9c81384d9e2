"""The table of variables agrees with the sets, the features and the transforms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from climsim.data.statistics.statistics import Statistics, VariableStatistics
from climsim.errors import ClimSimError
from climsim.variable_table import (
    SETS,
    derivation,
    markdown,
    normalization,
    page,
    text,
    variables_table,
)
from climsim.variables import EXPANDED, STANDARD, TARGETS, variable
from tests import ROOT


@pytest.mark.parametrize("name", SETS)
def test_rows_cover_the_vector_without_gap(name):
    rows = variables_table(name)
    assert rows[0].first == 0
    assert all(a.last + 1 == b.first for a, b in itertools.pairwise(rows))
    assert rows[-1].last + 1 == SETS[name].size()


def test_positions_follow_the_levels():
    rows = {r.name: r for r in variables_table("standard", levels=5)}
    assert (rows["state_qn"].first, rows["state_qn"].last) == (10, 14)
    assert (rows["state_ps"].first, rows["state_ps"].levels) == (45, 1)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        (
            "tm_state_q0_dyn",
            "(mli(t-1).(q0001 + q0002 + q0003) - mlo(t-2).(q0001 + q0002 + q0003)) / dt",
        ),
        ("state_u_prvphy", "(mlo(t-1).state_u - mli(t-1).state_u) / dt"),
        ("tm_state_qn_prvphy", "(mlo(t-2).(q0002 + q0003) - mli(t-2).(q0002 + q0003)) / dt"),
        ("ptend_q0003", "(mlo.state_q0003 - mli.state_q0003) / dt"),
        ("cam_out_SOLS", "as in mlo"),
        ("pbuf_TAUX", "as in mli"),
    ],
)  # fmt: skip
def test_formulas(name, formula):
    assert derivation(name) == formula


def artificial_statistics(levels=20):
    rng = np.random.default_rng(5)
    entries = {}
    for name in {**dict.fromkeys(EXPANDED.names), **dict.fromkeys(TARGETS.names)}:
        shape = (levels,) if variable(name).profile else ()
        mean = rng.uniform(0.2, 0.4, shape)
        low, high = mean - rng.uniform(1, 2, shape), mean + rng.uniform(1, 2, shape)
        std = rng.uniform(0.3, 0.5, shape)
        entries[name] = VariableStatistics(
            np.full(shape, 9.0), mean, std, low, high, 0.3, 0.4, rng.uniform(0.1, 0.9, shape)
        )
    return Statistics(entries, levels, "train", "")


@pytest.mark.parametrize("variables", [STANDARD, EXPANDED])
def test_rules_are_what_the_transforms_do(variables):
    """Evaluate the rule in words beside the module, for every input."""
    import torch

    from climsim.transforms.build import from_statistics

    levels = 20
    statistics = artificial_statistics(levels)
    transform = from_statistics(statistics, variables.name, levels).inputs
    x = np.random.default_rng(1).uniform(0.1, 0.9, (3, variables.size(levels)))
    z = transform(torch.from_numpy(x).float()).numpy()
    for name, place in variables.slices(levels).items():
        s, v = statistics[name], x[:, place]
        spread = s.max - s.min
        rule = normalization(name, variables.name)
        qn = 1 - np.exp(-v / s.positive_mean)
        qn[:, :15] = 0
        expected = {
            "as it is, clipped to [0, 1.2]": v,
            "as it is": v,
            "x / (max - min)": v / spread,
            "x / (max - min) per level": v / spread,
            "x / std per level": v / s.std,
            "x / max(std, 1e-12) per level": v / s.std,
            "x / max(std, 2e-7) per level": v / s.std,
            "(x - mean) / (max - min) per level": (v - s.mean) / spread,
            "(x - mean) / (max - min)": (v - s.mean) / spread,
            "1 - exp(-x / mean of x > 1e-7) per level, 0 in the top 15 levels": qn,
        }[rule]
        np.testing.assert_allclose(z[:, place], expected, rtol=2e-5, atol=1e-6, err_msg=name)


def test_target_rules():
    assert normalization("ptend_t", "targets") == "x / max(std, 1e-9) per level"
    assert normalization("ptend_u", "targets") == (
        "x / max(std, 1e-6) per level, 0 in the top 12 levels"
    )
    assert normalization("cam_out_PRECC", "targets") == "x / max(std, 1e-12)"
    assert normalization("state_t", "interface_v2") == "none: physical values"


def test_renderings_hold_every_variable():
    rows = variables_table("expanded")
    for rendering in (markdown(rows), text(rows)):
        assert all(name in rendering for name in EXPANDED.names)
    assert markdown(rows).count("\n") == len(rows) + 2


def test_unknown_set_lists_the_known():
    with pytest.raises(ClimSimError, match="unknown variable set 'v8': expected one of"):
        variables_table("v8")


def test_documentation_holds_the_tables():

    file = ROOT / "docs/variables.md"
    assert file.read_text() == page(), (
        "docs/variables.md: write it again: "
        "python -c 'from climsim.variable_table import page; print(page(), end=\"\")'"
    )


def test_page_holds_every_set():
    text_of_page = page()
    for name in SETS:
        assert f"## {name}\n" in text_of_page
        assert markdown(variables_table(name)) in text_of_page


@pytest.mark.parametrize("words", [["targets"], ["set=targets"], ["targets", "form=text"]])
def test_the_set_is_a_bare_word_on_the_command_line(words, capsys):
    from climsim.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["data", "variables", *words])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "ptend_q0001" in printed
    assert "state_ps" not in printed


def test_a_bare_word_is_refused_where_every_key_is_named(capsys):
    from climsim.cli import main

    for words in (["data", "prepare", "raw"], ["data", "variables", "targets", "standard"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 1
        assert "expected key=value" in capsys.readouterr().err


def test_table_of_an_encoding_says_all_representations():
    assert normalization("state_u", "multirep") == (
        "z = (x - mean) / std per level; (x - mean) / std of all levels; "
        "sign(z - min z) log(1 + abs(z - min z))"
    )
    assert normalization("liq_partition", "multirep") == "as it is"
    assert normalization("state_ps", "multirep") == "(x - mean) / std"
