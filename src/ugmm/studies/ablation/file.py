"""An ablation's file: read, and checked as a whole.

Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ugmm.config.compose import assignment
from ugmm.config.files import named_file, title_of
from ugmm.config.merge import make_settings, read_yaml
from ugmm.errors import UserError, nearest
from ugmm.studies.ablation.definition import (
    Ablation,
    AblationSettings,
    Family,
    list_repetitions,
)
from ugmm.studies.ablation.searching.space import read_space
from ugmm.studies.grid import expand_grid
from ugmm.yaml_text import to_values

__all__ = ["read_ablation"]

_MAPPINGS = ("set", "variants", "grid", "families")


def read_ablation(name: str, root: Path | None = None) -> Ablation:
    """Read and check an ablation's file; what its variants set is checked as they are composed.

    Args:
        name: Of a file in `experiments/ablations/`, or the path of a YAML file.
        root: See `ugmm.config.compose.compose`.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(name, "experiments/ablations", root)
    values = read_yaml(path)
    common, variants, grid, families = (_pop_mapping(values, part, path) for part in _MAPPINGS)
    space = to_values(values.pop("space", None))
    settings: AblationSettings = make_settings(AblationSettings, values, str(path))
    _check_repetitions(settings, path)
    title, repetitions = title_of(path) or path.stem, list_repetitions(settings)
    found = Ablation(path, title, root, settings, {}, repetitions, common)
    if settings.search is not None:
        if variants or grid:
            raise UserError(f"{path}: a search has a space or families, and no variants or grid")
        if families:
            return _with_families(found, families, alone=space is None)
        for name in ("choose", "search_seed"):
            if getattr(settings, name):
                raise UserError(f"{path}: {name} is a key of families; leave it out")
        if settings.baseline:
            raise UserError(f"{path}: a search has a space, and no baseline; leave it out")
        _check_search(settings, path)
        found = replace(found, space=read_space(space, str(path)))
        _check_space(found)
        return found
    if space is not None or families:
        what = "a space is" if space is not None else "families are"
        raise UserError(f"{path}: {what} searched: add 'search: optuna'")
    _check_nothing_searched(settings, path)
    combined = _combine(common, variants, grid, str(path))
    if (baseline := settings.baseline) and baseline not in combined:
        raise UserError(
            f"{path}: no variant is called {baseline!r}, the baseline; "
            f"{nearest(baseline, combined)}"
        )
    return replace(found, variants=combined)


def _pop_mapping(values: dict[str, Any], part: str, path: Path) -> dict[str, Any]:
    entries = values.pop(part, None)
    if to_values(entries) is None:
        return {}
    if not isinstance(entries, dict):
        raise UserError(f"{path}: {part} must map names to values")
    return entries


def _combine(
    common: Mapping[str, Any], variants: Mapping[str, Any], grid: Mapping[str, Any], source: str
) -> dict[str, dict[str, Any]]:
    """Return each variant with each combination of the grid, by name: all that it sets."""
    if not variants and not grid:
        raise UserError(f"{source}: give variants (named sets of settings), a grid, or both")
    combinations = expand_grid(grid, source)
    combined: dict[str, dict[str, Any]] = {}
    for name, entry in variants.items() if variants else [(None, {})]:
        settings = {} if to_values(entry) is None else entry
        if not isinstance(settings, dict):
            raise UserError(
                f"{source}: variants.{name} must map keys to values, such as "
                "{model.dropout: 0.2}"
            )
        for combination in combinations:
            parts = [] if name is None else [name]
            parts += [assignment(k, v) for k, v in combination.items()]
            whole = " ".join(parts)
            if not whole.strip() or whole in combined:
                called = f"two variants are called {whole!r}" if whole else "a variant has no name"
                raise UserError(f"{source}: {called}; give each a name of its own")
            combined[whole] = {**common, **settings, **combination}
    return combined


def _check_repetitions(settings: AblationSettings, path: Path) -> None:
    for name, values in (("seeds", settings.seeds), ("folds", settings.folds)):
        if len(set(values)) < len(values) or (name == "seeds" and not values):
            raise UserError(f"{path}: {name} must be different numbers, at least one")


def _with_families(found: Ablation, families: Mapping[str, Any], *, alone: bool) -> Ablation:
    """Return an ablation with its families, each of which is checked as a search."""
    path, settings = found.path, found.settings
    if not alone:
        raise UserError(f"{path}: families have a space each; leave the one beside them out")
    if settings.search_seed in settings.seeds:
        raise UserError(
            f"{path}: search_seed={settings.search_seed} is one of the seeds; what a search chose "
            "is compared on seeds that it has not seen"
        )
    read = {}
    for name, entry in families.items():
        source = f"{path}: families.{name}"
        if not isinstance(entry, dict):
            raise UserError(f"{source} must map keys to values, and space to what is searched")
        space = read_space(to_values(entry.get("space")), source)
        common = {key: value for key, value in entry.items() if key not in ("space", "epochs")}
        own = {"experiment": settings.experiment, "epochs": entry.get("epochs", settings.epochs)}
        epochs = make_settings(AblationSettings, own, source).epochs
        read[name] = Family({**found.common, **common}, space, epochs)
    if (baseline := settings.baseline) and baseline not in read:
        raise UserError(f"{path}: no family is called {baseline!r}; {nearest(baseline, read)}")
    found = replace(found, families=read)
    places = {found.compose_first().run.folder.parent: found.name}
    for search in found.searches.values():
        _check_search(search.settings, path)
        _check_space(search)
        first = search.compose_first()
        if "folds" in first.config["data"]:
            raise UserError(
                f"{path}: which rows of data={first.config['data']['name']} are tested follows "
                "the seed, so a search would learn from rows that later seeds are tested on; tune "
                "and compare such models by ugmm crossval"
            )
        place = first.run.folder.parent
        if (other := places.setdefault(place, search.name)) != search.name:
            raise UserError(
                f"{path}: the runs of {other} and {search.name} would lie in one folder, {place}; "
                "give one of them another name"
            )
    return found


def _check_search(settings: AblationSettings, path: Path) -> None:
    chosen = settings.metric
    if not chosen.startswith("val/"):
        raise UserError(
            f"{path}: searching by {chosen or 'nothing'}: what the test rows chose, they cannot "
            "judge; choose by validation, such as val/nll"
        )
    if settings.trials is not None and settings.seconds is not None:
        raise UserError(f"{path}: give trials or seconds, not both")
    if any(low >= high for low, high in pairwise(settings.epochs)):
        raise UserError(f"{path}: epochs={settings.epochs} must grow from rung to rung")


def _check_nothing_searched(settings: AblationSettings, path: Path) -> None:
    """Refuse keys of searches, which would come to nothing."""
    for name in ("trials", "seconds", "epochs", "choose", "search_seed"):
        if getattr(settings, name):
            raise UserError(f"{path}: {name} is a key of searches: add 'search: optuna'")


def _check_space(ablation: Ablation) -> None:
    """Compose every bound of the space, so that no trial can fail for its settings alone."""
    if "trainer.max_epochs" in {*ablation.common, *ablation.space} and ablation.settings.epochs:
        raise UserError(f"{ablation.path}: trainer.max_epochs is set by epochs; leave one out")
    firsts = {name: entry.list_bounds()[0] for name, entry in ablation.space.items()}
    for name, entry in ablation.space.items():
        for value in entry.list_bounds():
            settings = {**ablation.common, **firsts, name: value}
            variant = f"{ablation.name} with {assignment(name, value)}"
            ablation.compose_point(variant, settings, ablation.repetitions[0])
