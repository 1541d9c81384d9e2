"""Cards: the page that the Hub shows of a model or a store, made from what these say themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from climsim.calendar import to_date
from climsim.cards import ModelCard
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError
from climsim.evaluation.saved import open_metrics
from climsim.exported_file import form_of, metadata_text
from climsim.files import file_hash
from climsim.processes import in_words
from climsim.variables import variable

_TAGS = ("climate", "atmospheric-physics", "climsim")
_SECTIONS = ("git_revision", "climsim_version")


def model_card(
    model: Path, repo: str, licence: str, offline: Path | None, pictures: Sequence[Path]
) -> str:
    """The card of an exported model.

    Args:
        model: exported file.
        repo: that it is uploaded to, such as ``me/unet``.
        licence: identifier.
        offline: its offline metrics, if there are any.
        pictures: figures that are uploaded with it.

    Raises:
        ClimSimError: if the metrics are of another model.
    """
    metadata = json.loads(metadata_text(model))
    card = ModelCard.from_json(metadata, str(model))
    name, folder = card.training.network or model.stem, repo.rpartition("/")[2]
    lines = _front(licence, [*_TAGS, *([name] if card.training.network else [])])
    lines += [
        f"# {name}",
        "",
        "An emulator of the physics of the atmosphere in one column: it takes the state of the "
        "climate model and returns tendencies and surface fluxes, in physical units. Exported by "
        f"the ClimSim Kaggle Edition as one {form_of(model)}.",
        "",
        *_table(
            {
                "interface": card.interface.name,
                "levels": card.n_levels,
                "inputs": card.n_inputs,
                "outputs": f"{card.n_outputs}"
                + (" (predicted losses included)" if card.confidence else ""),
                "recipe": card.training.recipe or "unknown",
                "seed": "unknown" if card.training.seed is None else card.training.seed,
                "time step [s]": "unknown" if card.time_step is None else f"{card.time_step:g}",
                "replaced processes": in_words(card.emulated_processes) or "unknown",
                "licence": licence,
            }
        ),
        "## Use",
        "",
        "```sh",
        f"climsim hub pull repo={repo} out={folder}",
        "```",
        "",
        "```python",
        "import climsim",
        "",
        f'emulator = climsim.load_emulator("{folder}/model{model.suffix}")',
        "outputs = emulator(inputs)  # (column, feature) float32",
        "```",
        "",
    ]
    if offline is not None:
        lines += _scores(model, offline)
    if pictures:
        lines += ["## Figures", ""]
        lines += [f"![{p.stem.replace('_', ' ')}](figures/{p.name})\n" for p in pictures]
    return "\n".join([*lines, *_provenance(metadata, {model.name: file_hash(model)})]) + "\n"


def store_card(store: Store, licence: str) -> str:
    """The card of a prepared store."""
    attributes = {key: str(value) for key, value in store.group.attrs.items()}
    first, last = (to_date(int(store.times[k])) for k in (0, -1))
    lines = _front(licence, list(_TAGS))
    lines += [
        "# Prepared store",
        "",
        "Columns of the atmosphere before and after its physics, as a Zarr store that xarray "
        "(`xarray.open_zarr(path, consolidated=False)`) and `climsim.open_store` open.",
        "",
        *_table(
            {
                "steps": store.n_steps,
                "time": f"{first} to {last} (noleap)",
                "columns": store.n_columns,
                "levels": store.n_levels,
                "variables": len(store.names),
                "time step [s]": f"{store.time_step:g}",
                "emulated processes": in_words(store.emulated_processes) or "unknown",
                "licence": licence,
            }
        ),
        "| variable | unit | meaning |",
        "|---|---|---|",
        *(f"| `{n}` | {variable(n).unit} | {variable(n).long_name} |" for n in store.names),
        "",
    ]
    return "\n".join([*lines, *_provenance(attributes, {"store": store.fingerprint})]) + "\n"


def _front(licence: str, tags: Sequence[str]) -> list[str]:
    """What the Hub reads, as YAML."""
    return [
        "---",
        f"license: {json.dumps(licence)}",
        "library_name: climsim",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        "---",
        "",
    ]


def _table(rows: Mapping[str, object]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items()), ""]


def _scores(model: Path, offline: Path) -> list[str]:
    """Skill by output, from metrics of this very model."""
    with open_metrics(offline) as metrics:
        hashes = json.loads(metrics.attrs.get("input_hashes", "{}"))
        settings = json.loads(metrics.attrs.get("configuration", "{}"))
        alone = not settings.get("members")
        if not alone or hashes.get(settings.get("model")) != file_hash(model):
            raise ClimSimError(
                f"offline={offline}: expected metrics of {model} alone, found those of another "
                "model or of several: score it with `climsim evaluate offline`"
            )
        names = [n for n in metrics.data_vars if str(n).startswith("r2_mean_")]
        scores = [(str(n).removeprefix("r2_mean_"), float(metrics[n])) for n in names]
        split, mean = metrics.attrs["split"], float(metrics["r2_mean"])
    rows = [f"| {variable(n).long_name} (`{n}`) | {value:.4f} |" for n, value in scores]
    return [
        "## Scores",
        "",
        f"Offline, on the {split} split of the store `{hashes.get('store', 'unknown')[:12]}`: R2 "
        "over all samples, mean over levels. All scores are in `offline.nc`. Offline skill does "
        "not tell whether a coupled run stays stable.",
        "",
        "| output | R2 |",
        "|---|---|",
        f"| mean over all outputs | {mean:.4f} |",
        *rows,
        "",
    ]


def _provenance(notes: Mapping[str, object], hashes: Mapping[str, str]) -> list[str]:
    """What made it, from what it says itself."""
    rows = {key: notes[key] for key in _SECTIONS if key in notes}
    rows |= {f"SHA-256 of {name}": f"`{value}`" for name, value in hashes.items()}
    lines = ["## Provenance", "", *_table(rows)]
    for key in ("input_hashes", "environment", "configuration"):
        value = notes.get(key)
        if value:
            text = value if isinstance(value, str) else json.dumps(value)
            pretty = json.dumps(_without_folders(json.loads(text)), indent=1)
            lines += [f"<details><summary>{key}</summary>", "", "```json", pretty, "```", ""]
            lines += ["</details>", ""]
    return lines


def _without_folders(value: object) -> object:
    """Absolute paths by their last part alone, as where they lay concerns nobody else."""
    if isinstance(value, dict):
        return {_without_folders(key): _without_folders(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_without_folders(x) for x in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
