"""Commands, products and order of the jobs of a study follow from its stages."""

import subprocess
import sys
from dataclasses import replace

import networkx
import pytest
from cftime import DatetimeNoLeap

from climsim.errors import ClimSimError
from climsim.hosts.gcm.restart import Restart, write_restart
from climsim.workflow.agreement import check_agreement
from climsim.workflow.config import DataSource
from climsim.workflow.graph import Node, graph_of
from climsim.workflow.maker import Jobs
from climsim.workflow.order import awaited, out_of_reach
from climsim.workflow.plan import joint_jobs, make_plan
from climsim.workflow.run import Experiment, experiment_config
from climsim.workflow.steps import JOINT, STEPS
from tests.evaluation_synthetic import write_store

ONE = ("members.networks=[unet]", "members.recipes=[standard]", "members.seeds=[7]")
E3SM = (
    "host=e3sm",
    "source.raw={raw}",
    *(f"++online.host_options.{k}=x" for k in ("source", "machine", "account", "reference_folder")),
    "++references.reference_perturbed.host_options.run_type=hybrid",
)
SEGMENTS = "+stages.online_collect.segments=1"
MEMBER, OTHER = "unet-standard-7", "unet-standard-43"


def _periods(train, validation, test):
    """Splits by period, as a study takes them."""
    given = {"train": train, "validation": validation, "test": test}
    return [f"+stages.prepare.split.{name}={period}" for name, period in given.items()]


@pytest.fixture(scope="module")
def jobs():
    settings = ["+stages.online_run.days=3", "+stages.evaluate_offline.stride=6"]
    given = [*ONE, "members.seeds=[7,43]", "iterations=1", "hindcasts.starts=3", *settings]
    config = experiment_config("aggregate", given)
    make = Jobs(config, None)
    every = [*make_plan(config, make), *joint_jobs(make, [MEMBER, OTHER], [MEMBER], [MEMBER])]
    return {job.name: job for job in every}


def test_every_step_is_named_after_its_stage_and_runs_its_command(jobs):
    assert set(STEPS) == {job.rule for job in jobs.values()}
    for rule, step in STEPS.items():
        others = ("online_reference", "evaluate_ensemble", "prepare_visited", "train_visited")
        others += ("hindcast_reference", "online_hindcasts")
        assert rule in (step.stage.name, *others)
    for job in jobs.values():
        path = STEPS[job.rule].stage.path
        assert job.command[: len(path)] == path
        assert job.name == (f"{job.rule}-{job.member}" if job.member else job.rule)
    assert set(JOINT) <= set(STEPS)


def test_hindcasts_start_where_one_run_with_full_physics_passed(jobs):
    reference, short = jobs["hindcast_reference-reference"], jobs[f"online_hindcasts-{MEMBER}"]
    assert {"days=20", "kept_restart_days=5", "streams=[h1]"} <= set(reference.command)
    starts = [f"hindcasts/reference/starts/day{day:04d}" for day in (0, 5, 10)]
    assert {"days=10", f"starts=[{','.join(starts)}]"} <= set(short.command)
    assert jobs["evaluate_hindcasts"].inputs == (
        f"hindcasts/{MEMBER}",
        "hindcasts/reference",
    )


def test_hindcasts_of_a_host_that_runs_in_batch_are_refused(tmp_path):
    given = [*ONE, *(word.format(raw=tmp_path) for word in E3SM), "hindcasts.starts=3"]
    config = experiment_config("demo", given)
    with pytest.raises(ClimSimError, match=r"hindcasts\.starts=3: the host e3sm keeps"):
        make_plan(config, Jobs(config, None))


def test_jobs_wait_for_what_makes_their_inputs(jobs, tmp_path):
    after = awaited(tmp_path, list(jobs.values()))
    assert after["generate"] == []
    assert after["prepare"] == ["flags/generate.done"]
    assert after["statistics"] == ["flags/prepare.done"]
    assert after[f"train-{MEMBER}"] == ["flags/prepare.done", "statistics.nc"]
    # A file within a folder waits for the folder.
    assert after[f"export-{MEMBER}"] == [f"flags/train-{MEMBER}.done"]
    assert after["online_reference-reference"] == ["flags/generate.done"]
    assert after["hindcast_reference-reference"] == ["flags/generate.done"]
    assert after[f"online_hindcasts-{MEMBER}"] == [
        "flags/hindcasts-reference.done",
        f"models/{MEMBER}.pt",
    ]
    assert after[f"online_run-{MEMBER}"] == ["flags/generate.done", f"models/{MEMBER}.pt"]
    runs = [f"flags/online-{name}.done" for name in ("reference", "reference_perturbed", MEMBER)]
    assert after["evaluate_online"] == runs
    scored = [f"offline/unet-standard{seed}.nc" for seed in ("-43", "-7", "")]
    assert after["report"] == ["flags/figures.done", "hindcasts.nc", *scored, "online.nc"]


def test_seeds_of_a_network_and_recipe_are_scored_together_as_each_of_them_is(jobs, tmp_path):
    ensemble = jobs["evaluate_ensemble-unet-standard"]
    models = [f"models/{member}.pt" for member in (MEMBER, OTHER)]
    waits = awaited(tmp_path, list(jobs.values()))[ensemble.name]
    assert waits == ["flags/prepare.done", *sorted(models)]
    assert (ensemble.settings["model"], ensemble.settings["members"]) == (models[0], models[1:])
    assert ensemble.settings["stride"] == jobs[f"evaluate_offline-{MEMBER}"].settings["stride"] == 6


def test_ensembles_are_of_the_seeds_that_got_there(jobs):
    make = Jobs(experiment_config("demo", [*ONE, "members.seeds=[7,43,1024]"]), None)
    two = joint_jobs(make, [MEMBER, OTHER], [])[0]
    assert two.settings["members"] == [f"models/{OTHER}.pt"]
    assert [job.rule for job in joint_jobs(make, [MEMBER], [])] == ["figures", "report"]


def test_combinations_that_are_left_out_are_not_trained():
    config = experiment_config("demo", ["members.seeds=[7]"])
    names = ["unet-standard-7", "unet-steady-7", "pure_resLSTM-steady-7"]
    assert config.members.names() == names
    assert [job.member for job in make_plan(config, Jobs(config, None)) if job.rule == "train"] == (
        names
    )


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("pure_resLSTM", "unknown members.without 'pure_resLSTM': expected one of"),
        ("pure_resLTSM-conf_loss", "members.without.*pure_resLSTM-conf_loss"),
        ("unet-standard", "members.without: expected at least one combination .* to remain"),
    ],
)
def test_what_cannot_be_left_out_is_refused_in_one_line(without, message):
    with pytest.raises(ClimSimError, match=message):
        experiment_config("demo", [*ONE, f"members.without=[{without}]"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["+stages.figures.networks=[unett]"],
            r"stages\.figures: networks: expected one of unet, found 'unett': did you mean unet\?",
        ),
        (["+stages.figures.recipes=[v6]"], r"stages\.figures: recipes: expected one of standard, "),
        (["+stages.figures.seeds=[7,99]"], r"stages\.figures: seeds: expected one of 7, found 99"),
        (
            ["+stages.evaluate_online.years=1"],
            r"stages\.evaluate_online: years=1: expected years that the reference run of the study "
            r"has, found 7 days",
        ),
        (
            ["+stages.evaluate_online.skip_days=7"],
            r"stages\.evaluate_online: skip_days=7: expected days that leave some of the 7 ",
        ),
        (
            ["online.days=800", "+stages.figures.years=1"],
            r"stages\.figures: years=1: expected time means over as many years, found all 800 days",
        ),
        (
            ["online.days=800", "+stages.figures.years=1", "+stages.evaluate_online.years=2"],
            r"stages\.figures: years=1: .* found years=2 of stages\.evaluate_online: give",
        ),
    ],
)
def test_scores_and_figures_of_what_the_study_lacks_are_refused_before_anything_runs(
    words, message, tmp_path
):
    with pytest.raises(ClimSimError, match=message):
        Experiment(experiment_config("demo", [*ONE, *words]), tmp_path, None, slurm=False)


@pytest.mark.parametrize(
    "words",
    [
        ["online.days=380", "+stages.figures.years=1", "+stages.evaluate_online.skip_days=5"],
        ["online.days=800", "+stages.figures.years=1", "+stages.evaluate_online.years=1"],
        ["iterations=1", SEGMENTS, "+stages.figures.recipes=[standard_visited1]"],
        ["members.models=[{folder}/theirs-v2-43.pt]", "+stages.figures.seeds=[43]"],
    ],
)
def test_part_of_a_study_that_it_will_hold_is_drawn(words, tmp_path):
    (tmp_path / "theirs-v2-43.pt").touch()
    given = [word.format(folder=tmp_path) for word in words]
    Experiment(experiment_config("demo", [*ONE, *given]), tmp_path, None, slurm=False)


def test_file_that_is_there_is_waited_for_by_its_path(jobs, tmp_path):
    (tmp_path / "failures.json").touch()
    config = experiment_config("demo", ONE)
    report = joint_jobs(Jobs(config, None), [MEMBER], [], failures=True)[-1]
    assert awaited(tmp_path, [report])["report"] == ["failures.json"]


def test_settings_of_one_reference_or_of_the_members_change_no_other_run(jobs):
    steps = ("online_reference", "online_run")
    runs = {n: j.settings for n, j in jobs.items() if j.rule in steps and "visited" not in n}
    assert {name: run["days"] for name, run in runs.items()} == {
        "online_reference-reference": 10,
        "online_reference-reference_perturbed": 10,
        f"online_run-{MEMBER}": 3,
        f"online_run-{OTHER}": 3,
    }
    seeds = [run["perturbation_seed"] for run in runs.values()]
    assert seeds == [None, 2, None, None]


@pytest.fixture(scope="module")
def iterated():
    config = experiment_config("aggregate", [*ONE, "+stages.online_run.days=3"])
    return {job.name: job for job in make_plan(config, Jobs(config, None))}


def test_iteration_collects_with_the_model_before_it_and_trains_from_its_weights(iterated):
    first, second = (f"unet-standard_visited{n}-7" for n in (1, 2))
    collect = iterated[f"online_collect-{second}"]
    assert collect.settings["model"] == f"models/{first}.pt"
    assert (collect.product, collect.settings["first_year"]) == (f"visited/{second}", 2001)
    train = iterated[f"train_visited-{second}"].settings
    assert train["trainer"]["warm_start"] == f"members/{first}/last.ckpt"
    assert (train["recipe"]["name"], train["seed"]) == ("standard_visited2", 7)
    # Of the settings of the first training only what the step itself names differs.
    before = iterated[f"train-{MEMBER}"].settings["trainer"]
    changed = {key for key, value in before.items() if train["trainer"][key] != value}
    assert changed == {"epochs", "warm_start"}


def test_visited_states_are_of_training_alone_and_scales_are_those_of_the_weather(iterated):
    prepared = iterated["prepare_visited-unet-standard_visited2-7"]
    assert prepared.settings["split"]["training_only"] == "1001-01/9999-12"
    assert prepared.settings["also"] == [f"visited/unet-standard_visited{n}-7" for n in (1, 2)]
    train = iterated["train_visited-unet-standard_visited2-7"].settings["data"]
    assert (train["store"], train["statistics"]) == (prepared.product, "statistics.nc")
    assert train["foreign_statistics"] is True
    scored = [job for job in iterated.values() if job.rule == "evaluate_offline"]
    assert [job.settings["store"] for job in scored] == 3 * ["store.zarr"]


def test_everything_after_a_failure_is_out_of_reach_and_nothing_else(iterated, tmp_path):
    lost = out_of_reach(
        tmp_path, list(iterated.values()), {"online_collect-unet-standard_visited1-7"}
    )
    assert {name for name in lost if name.startswith("export")} == {
        f"export-unet-standard_visited{n}-7" for n in (1, 2)
    }
    assert not any("unet-standard-7" in name or "reference" in name for name in lost)


def test_iterations_without_raw_weather_or_a_host_that_labels_are_refused(tmp_path):
    config = experiment_config("aggregate")
    for unfit, message in (
        (replace(config, source=DataSource(store=tmp_path)), "give source.raw in its place"),
        (replace(config, host="e3sm"), "the host e3sm cannot label the states"),
    ):
        with pytest.raises(ClimSimError, match=message):
            make_plan(unfit, Jobs(unfit, None))
    with pytest.raises(ClimSimError, match="iterations: expected a number from 0 to 8, found 9"):
        experiment_config("aggregate", ["iterations=9"])


def test_options_of_a_host_reach_every_stage_that_builds_it_unless_a_stage_has_its_own():
    built = ("generate", "online_reference", "online_run", "online_collect")
    iterated = experiment_config("aggregate", [*ONE, "+hosts.gcm.diffusion_hours=24"])
    jobs = make_plan(iterated, Jobs(iterated, None))
    given = {job.rule: job.settings["host_options"] for job in jobs if job.rule in built}
    assert set(given) == set(built)
    assert all(options["diffusion_hours"] == 24 for options in given.values())
    tuned = experiment_config("demo", [*ONE, "+hosts.gcm.tuning={convection.tau: 7200}"])
    first = make_plan(tuned, Jobs(tuned, None))[0]
    assert first.settings["host_options"]["tuning"] == {"convection.tau": 7200}
    own = [*ONE, "+online.host_options.diffusion_hours=48", "+hosts.gcm.diffusion_hours=24"]
    config = experiment_config("demo", [*own, "+hosts.gcm.resolution=T21"])
    jobs = {job.rule: job.settings for job in make_plan(config, Jobs(config, None))}
    hours = {rule: jobs[rule]["host_options"]["diffusion_hours"] for rule in built[:3]}
    assert hours == {"generate": 24, "online_reference": 48, "online_run": 48}
    assert jobs["generate"]["host_options"]["resolution"] == "T21"


def test_options_of_one_host_do_not_reach_another(tmp_path):
    own = tmp_path / "room.py"
    own.touch()
    config = experiment_config(
        "demo", [*ONE, f"host={own}:build_host", "+hosts.build_host.depth=3"]
    )
    assert config.host_settings == {"host": f"{own}:build_host", "host_options.depth": 3}
    with pytest.raises(ClimSimError, match=r"hosts \(options by host\).*'gmc'.*gcm"):
        experiment_config("demo", [*ONE, "+hosts.gmc.resolution=T21"])


@pytest.mark.parametrize(
    ("study", "word", "message"),
    [
        ("demo", "+stages.generate.raw=mine", "stages.generate.raw=mine: .* here to raw: leave"),
        (
            "demo",
            "+stages.train.seed=3",
            "stages.train.seed=3: the study sets it itself, here to 7",
        ),
        (
            "demo",
            "+online.start=mine.npz",
            "online.start=mine.npz: .* to raw/.generate/restart.npz",
        ),
        ("demo", "+online.model=mine.pt", "online.model=mine.pt: .* models/unet-standard-7.pt"),
        ("aggregate", "+stages.online_collect.first_year=5", "first_year=5: .* here to 1001"),
    ],
)
def test_key_that_a_study_sets_itself_is_refused_not_dropped(study, word, message):
    config = experiment_config(study, [*ONE, word])
    with pytest.raises(ClimSimError, match=message):
        make_plan(config, Jobs(config, None))


@pytest.mark.parametrize("host", ["e3sm", "/own/host.py:build_host"])
def test_host_of_a_study_is_a_key_like_others(host):
    assert experiment_config("demo", [f"host={host}"]).host == host


def test_graph_shows_the_steps_of_every_iteration(iterated, tmp_path):
    graph = graph_of(tmp_path, list(iterated.values()))
    collect = [Node("online_collect", n) for n in (1, 2)]
    assert list(graph.predecessors(collect[1])) == [Node("export", 1)]
    assert networkx.has_path(graph, collect[0], collect[1])
    assert Node("train") in graph


def test_process_of_a_job_loads_none_of_the_slow_libraries():
    script = "import sys, climsim.workflow.job; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    slow = {"hydra", "omegaconf", "pandas", "scipy", "snakemake", "torch", "xarray", "zarr"}
    assert slow.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "stages.train.trainer.epochs=x",
            r"stages\.train: trainer\.epochs: expected integer, found",
        ),
        ("stages.generate.days=-1", r"stages\.generate: days: expected a positive, finite number"),
        (
            "stages.train.preset=smal",
            r"stages\.train: unknown preset of the network unet 'smal': expected one of "
            r"published, small: did you mean small\?",
        ),
        ("+stages.evaluate_offline.split=tests", r"split: expected one of .* did you mean test\?"),
        ("+stages.statistics.split=trai", r"stages\.statistics: split: expected one of train, "),
        (
            "+stages.export.format=onyx",
            r"unknown format 'onyx'.* did you mean onnx\?",
        ),
        (
            "+online.hourly_fields=[TMQ,PRECX]",
            r"stages\.online_reference: hourly_fields: expected one of .* did you mean PRECT\?",
        ),
        ("+networks.unet.preset=tiny", r"stages\.train: unknown preset of the network unet"),
        ("+stages.train.optimizer.name=sgd", r"stages\.train: unknown optimizer 'sgd'"),
        ("stages.train.schedule=stp", r"stages\.train: unknown schedule 'stp'.* did you mean step"),
        ("+stages.train.recipe.loss=hubr", r"stages\.train: unknown loss 'hubr'"),
        ("+recipes.standard.recipe.loss=no.py:f", r"stages\.train: .*no\.py: no such file"),
        ("+stages.train.network.hyperparameters.size=3", r"unknown hyperparameter of .* 'size'"),
        (
            "+stages.train.network.hyperparameters.model_channels=6",
            r"stages\.train: model_channels: expected a multiple of 4",
        ),
    ],
)
def test_value_that_a_late_stage_refuses_is_refused_before_anything_runs(word, message):
    with pytest.raises(ClimSimError, match=message):
        config = experiment_config("demo", [*ONE, word])
        make_plan(config, Jobs(config, None))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["+online.host_options.resolution=T11"],
            r"stages\.online_reference: host_options\.resolution: expected one of T10, T21, T31",
        ),
        (
            ["+hosts.gcm.radiation=gray"],
            r"stages\.\w+: host_options\.radiation: expected one of .* did you mean grey\?",
        ),
        (
            ["++stages.generate.host_options.xyz=1"],
            r"unknown .* key .host_options\.xyz. of .data",
        ),
        ([*E3SM, "+online.host_options.run_type=brnch"], r"host_options\.run_type: .* mean branch"),
        ([*E3SM, "+online.coupler.positivity=false"], r"coupler\.positivity=False: the host e3sm"),
        ([*E3SM, "+online.host_options.poll_minutes=x"], r"poll_minutes: expected number, found"),
    ],
)
def test_option_that_the_host_refuses_is_refused_before_anything_runs(words, message, tmp_path):
    given = [word.format(raw=tmp_path) for word in words]
    with pytest.raises(ClimSimError, match=message):
        config = experiment_config("demo", [*ONE, *given])
        make_plan(config, Jobs(config, None))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["members.recipes=[v6]", "+stages.prepare.memory=false"],
            r"stages\.prepare: for unet-v6-7: the store holds no previous-step features, which",
        ),
        (
            ["+recipes.standard.recipe.inputs=v1"],
            r"stages\.train: unet-standard-7: its inputs v1 predict 128 values, expected 368",
        ),
        (
            ["members.recipes=[v6]", "+online.coupler.spinup_steps=1"],
            r"online: for unet-v6-7: coupler\.spinup_steps: expected 2 or more for .* found 1",
        ),
        (
            ["stages.generate.days=2"],
            r"stages\.prepare: split\.gap_days=1.0: the record of 2\.00 days is too short for 2 "
            r"gaps.*stages\.generate has days=2",
        ),
        (
            [
                *("+stages.generate.seasons=4", "+stages.generate.members=4"),
                *("stages.generate.days=2", "+stages.prepare.split.stretches=true"),
            ],
            r"stages\.prepare: split\.gap_days=1.0: the record of 2\.00 days is too short for 2",
        ),
        (
            ["+stages.prepare.split.name=published"],
            r"stages\.prepare: split\.validation=0008-02/0009-01: no step of the record "
            r"\(0002-01-01 .* to 0002-01-05 23:40:00\) falls in this .*generate has days=5",
        ),
        (
            _periods("0002-01-01/0002-01-03", "0002-01-05", "0002-01-07"),
            r"test=0002-01-07: no step of the record \(0002-01-01 .* to 0002-01-05 23:40:00\)",
        ),
        (
            [*_periods("0002-01-01", "0002-01-03", "0002-01-05"), "+hosts.gcm.start=jw"],
            r"train=0002-01-01: no step of the record \(0001-04-01 .* to 0001-04-05 23:40:00\)",
        ),
        (
            ["+stages.evaluate_offline.split=scoring"],
            r"split: expected steps in the split scoring, which stages\.evaluate_offline reads",
        ),
        (["+stages.prepare.split.test=0"], r"the split test, which stages\.evaluate_offline reads"),
        (
            ["+stages.prepare.split.validation=0"],
            r"the split validation, which stages\.train reads",
        ),
        (
            ["+online.host_options.retain_turbulence=false"],
            r"stages\.online_run: unet-standard-7: expected an emulated term of clouds, conv"
            r"ection, radiation, as stages\.generate says, found .*: give .* hosts\.NAME\.KEY",
        ),
        (
            ["+online.coupler.mixing=confidence", "+online.coupler.mixing_high=1"],
            r"online: for unet-standard-7: coupler\.mixing=confidence: its recipe trains no conf",
        ),
    ],
)
def test_stages_that_do_not_fit_together_are_refused_before_anything_runs(words, message, tmp_path):
    config = experiment_config("demo", [*ONE, *words])
    jobs = make_plan(config, Jobs(config, None))
    with pytest.raises(ClimSimError, match=message):
        check_agreement(jobs, tmp_path)


@pytest.mark.parametrize(
    ("validation", "words", "message"),
    [
        (0, [], r"expected steps in the split validation, which stages\.train reads, found none"),
        (
            1,
            ["+stages.evaluate_offline.split=scoring"],
            r"expected steps in the split scoring, which stages\.evaluate_offline reads",
        ),
        (1, ["members.recipes=[v6]"], r"for unet-v6-7: the store holds no previous-step features"),
    ],
)
def test_given_store_that_lacks_what_a_stage_reads_is_refused_before_anything_runs(
    validation, words, message, tmp_path
):
    store = tmp_path / "given.zarr"
    write_store(store, validation=validation)
    config = experiment_config("demo", [*ONE, f"source.store={store}", *words])
    with pytest.raises(ClimSimError, match=rf"source\.store=.*given\.zarr: {message}"):
        check_agreement(make_plan(config, Jobs(config, None)), tmp_path)


def test_given_store_that_holds_what_is_read_is_taken(tmp_path):
    write_store(tmp_path / "given.zarr", validation=1)
    config = experiment_config("demo", [*ONE, f"source.store={tmp_path}/given.zarr"])
    check_agreement(make_plan(config, Jobs(config, None)), tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        _periods("0002-01-01", "0002-01-03", "0002-01-05"),
        [*_periods("0001-04-01", "0001-04-03", "0001-04-05"), "+hosts.gcm.start=jw"],
        [*_periods("0004-01-03", "0002-01-03", "0002-01-05"), "+stages.generate.members=2"],
        [*_periods("0007-03-01", "0007-03-03", "0007-03-05"), "+stages.generate.start=start.npz"],
    ],
)
def test_periods_of_the_generated_days_are_taken(words, tmp_path):
    write_restart(tmp_path / "start.npz", Restart({}, DatetimeNoLeap(7, 3, 1), 0, {}))
    config = experiment_config("demo", [*ONE, *words])
    check_agreement(make_plan(config, Jobs(config, None)), tmp_path)


@pytest.mark.parametrize(
    ("study", "key"),
    [
        ("demo", "stages.generate.start"),
        ("demo", "stages.generate.starts"),
        ("demo", "stages.prepare.grid"),
        ("demo", "stages.train.trainer.warm_start"),
        ("demo", "stages.evaluate_online.external"),
        ("demo", "stages.report.damping"),
        ("aggregate", "stages.online_collect.starts"),
    ],
)
def test_file_that_is_not_there_is_refused_before_anything_runs(study, key, tmp_path):
    stage, _, last = key.removeprefix("stages.").partition(".")
    with pytest.raises(ClimSimError, match=rf"stages\.{stage}: {last}: .*none: no such file"):
        Experiment(experiment_config(study, [*ONE, f"+{key}=none"]), tmp_path, None, slurm=False)
    (tmp_path / "none").touch()
    Experiment(experiment_config(study, [*ONE, f"+{key}=none"]), tmp_path, None, slurm=False)


@pytest.mark.parametrize("name", ["demo", "quick", "aggregate", "year"])
def test_stages_of_shipped_studies_fit_together(name, tmp_path):
    config = experiment_config(name)
    check_agreement(make_plan(config, Jobs(config, None)), tmp_path)


def test_hybrid_on_e3sm_is_planned_before_its_model_is_there(tmp_path):
    config = experiment_config("demo", [*ONE, *(word.format(raw=tmp_path) for word in E3SM)])
    assert f"online_run-{MEMBER}" in {job.name for job in make_plan(config, Jobs(config, None))}


def test_hourly_fields_of_e3sm_are_its_own(tmp_path):
    given = [word.format(raw=tmp_path) for word in (*E3SM, "+online.hourly_fields=[OMEGA]")]
    config = experiment_config("demo", [*ONE, *given])
    runs = [job for job in make_plan(config, Jobs(config, None)) if job.member == MEMBER]
    assert [job.settings["hourly_fields"] for job in runs if job.rule == "online_run"] == [
        ["OMEGA"]
    ]


def test_key_that_a_study_does_not_hold_yet_is_answered_with_a_plus():
    with pytest.raises(ClimSimError, match=r"add it with a plus: \+recipes\.v6\.recipe\.delta="):
        experiment_config("demo", [*ONE, "recipes.v6.recipe.delta=2"])


def test_keys_of_a_host_that_a_study_lacks_are_named_as_the_study_takes_them():
    config = experiment_config("demo", [*ONE, "host=e3sm"])
    with pytest.raises(ClimSimError, match=r"add .*\+\+online\.host_options\.account=\.\.\. "):
        make_plan(config, Jobs(config, None))


def test_key_that_collecting_lacks_is_named_as_the_study_takes_it():
    config = experiment_config("demo", [*ONE, "iterations=1"])
    with pytest.raises(ClimSimError, match=r"add \+\+stages\.online_collect\.segments=\.\.\.$"):
        make_plan(config, Jobs(config, None))


def test_only_members_of_the_recipes_that_iterate_are_trained_again():
    config = experiment_config("quick", ["members.networks=[unet]"])
    again = [name for name in config.member_names if "visited" in name]
    assert again == ["unet-steady_visited1-7"]
    names = {job.name for job in make_plan(config, Jobs(config, None))}
    assert {name for name in names if name.startswith("train_visited")} == {
        "train_visited-unet-steady_visited1-7"
    }
    every = experiment_config("quick", [*ONE, "members.iterated_recipes=[]"])
    assert every.member_names == [MEMBER, "unet-standard_visited1-7"]


def test_recipe_that_iterates_must_exist():
    with pytest.raises(ClimSimError, match=r"members\.iterated_recipes: .*stedy"):
        experiment_config("quick", ["members.iterated_recipes=[stedy]"])


def test_exported_files_are_named_by_their_format_wherever_they_are_read():
    config = experiment_config("year")
    jobs = {job.name: job for job in make_plan(config, Jobs(config, None))}
    assert jobs["export-unet-steady-7"].output == "models/unet-steady-7.pt2"
    readers = ("evaluate_offline", "online_run", "online_collect")
    for name, job in jobs.items():
        if name.startswith(readers):
            assert any(path.endswith("-7.pt2") for path in job.inputs), name


def test_visited_states_begin_where_each_season_ended():
    config = experiment_config("year")
    (job,) = (j for j in make_plan(config, Jobs(config, None)) if j.rule == "online_collect")
    ends = [f"raw/.generate/restart{number}.npz" for number in ("", "-02", "-03", "-04")]
    assert f"starts=[{','.join(ends)}]" in job.command
    assert set(ends) <= set(job.inputs)


def test_format_that_e3sm_cannot_load_is_refused_before_anything_runs(tmp_path):
    given = [*ONE, *(word.format(raw=tmp_path) for word in E3SM), "+stages.export.format=onnx"]
    config = experiment_config("demo", given)
    with pytest.raises(ClimSimError, match=r"\.onnx: expected a TorchScript file, which E3SM"):
        make_plan(config, Jobs(config, None))
