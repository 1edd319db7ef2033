"""An ablation's file and plan: which points there are, and that a plan stays as it is."""

import pytest

from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.files import project_root
from ugmm.config.frozen import from_yaml, to_yaml
from ugmm.errors import UserError
from ugmm.runs import run_folder
from ugmm.studies.ablation import read_ablation

BASE = "experiment: iris_disc\nseeds: [0, 1]\n"
VARIANTS = "variants:\n  plain: {}\n  dropout: {model.dropout: 0.3}\n"


def test_variants_by_grid_by_repetitions(ablation):
    grid = "folds: [0, 2]\ngrid: {model.min_scale: [0.1, 0.2], optimizer.lr: [0.01]}\n"
    points = ablation(BASE + VARIANTS + grid).points
    assert len(points) == 2 * 2 * 2 * 2
    assert points[0].variant == "plain model.min_scale=0.1 optimizer.lr=0.01"
    assert [p.repetition for p in points[:4]] == [
        f"seed={seed} fold={fold}" for seed in (0, 1) for fold in (0, 2)
    ]
    last = points[-1].resolve()
    assert (last.model.dropout, last.model.min_scale, last.optimizer.lr) == (0.3, 0.2, 0.01)
    assert (last.seed, last.data.fold, last.group) == (1, 2, "mine")
    assert len({p.id for p in points}) == len(points)


def test_the_id_is_of_what_is_computed(ablation):
    ids = [p.id for p in ablation(BASE + VARIANTS).points]
    settings = "set: {tracking.mode: offline, trainer.devices: 2, runs_dir: elsewhere}\n"
    renamed = VARIANTS.replace("plain", "nothing")
    assert [p.id for p in ablation(BASE + settings + renamed).points] == ids
    others = [p.id for p in ablation(BASE + "set: {optimizer.lr: 0.5}\n" + VARIANTS).points]
    assert not set(ids) & set(others)


def test_a_variant_may_start_from_another_experiment(ablation):
    text = BASE + "variants:\n  ours: {}\n  mlp: {experiment: iris_gen, task.z_draws: 64}\n"
    ours, _, other, _ = (point.resolve() for point in ablation(text).points)
    assert (ours.experiment, other.experiment) == ("iris_disc", "iris_gen")
    assert (other.task.z_draws, other.seed, other.variant) == (64, 0, "mlp")


def test_where_a_run_lies_is_known_without_composing(ablation):
    read = ablation(BASE + VARIANTS)
    for point in read.points:
        config = point.resolve()
        expected = run_folder(config.runs_dir, config.group, config.name, point.id)
        assert point.run.folder == expected
    assert read.open_ledger().folder == expected.parent / "ablation"


def test_a_plan_grows_and_never_changes(ablation):
    first = ablation(BASE + VARIANTS)
    ledger = first.open_ledger()
    assert ledger.extend(first.points) == (first.points, [])
    changed = ablation(BASE + "variants:\n  plain: {}\n  wide: {'model.hidden': [20]}\n")
    added, dropped = ledger.extend(changed.points)
    assert {p.variant for p in added} == {"wide"}
    assert {p.variant for p in dropped} == {"dropout"}
    assert ledger.read_points() == [*first.points, *added]
    assert ledger.extend(changed.points) == ([], dropped)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BASE, "mine.yaml: give variants (named sets of settings), a grid, or both"),
        (BASE + "variants: [a]", "mine.yaml: variants must map names to values"),
        (BASE + "variants: {a: 3}", "variants.a must map keys to values, such as"),
        (BASE + "set: 0\n" + VARIANTS, "mine.yaml: set must map names to values"),
        (BASE + "variants: {a: {seed: 7}}", "variant 'a' sets seed; give seeds beside variants"),
        (BASE + "set: {seed: 7}\n" + VARIANTS, "variant 'plain' sets seed; give seeds"),
        (BASE + "grid: {name: [a, b]}", "variant 'name=a' sets name, which the study sets itself"),
        (BASE + "folds: [0]\ngrid: {data.fold: [1, 2]}", "sets data.fold; give folds beside"),
        (BASE + "variants: {a: {}, b: {}}", "'a' and 'b' are the same for seed=0"),
        (
            BASE + "grid: {model.dropout: 0.1}",
            "dropout must be a list of values, such as [0.1]",
        ),
        (BASE + "variants: {a: {model.dropot: 1}}", "variant 'a': unknown key 'model.dropot'"),
        (BASE + "variants: {a: {experiment: [x]}}", "'a': experiment must be a name"),
        (BASE + "variants: {1: {}, '1': {seed: 1}}", "the key '1' is there twice"),
        (BASE + "variants: {'': {}}", "a variant has no name; give each a name of its own"),
        (BASE + "grid: {optimizer.lr: [1.0, 1.00]}", "two variants are called 'optimizer.lr=1.0'"),
        (BASE + "variants: {a: {experiment: }}", "such as iris_disc; got None"),
        (BASE + "variants: {a: {experiment: iris_dics}}", "'a': unknown experiment 'iris_dics'"),
        (
            BASE + VARIANTS + "baseline: plane",
            "no variant is called 'plane', the baseline; did you",
        ),
        (BASE + VARIANTS + "jobs: 3", "unknown key 'jobs'"),
        ("experiment: iris_disc\nseeds: [1, 1]\n" + VARIANTS, "seeds must be different numbers"),
        ("experiment: iris_dics\n" + VARIANTS, "did you mean iris_disc"),
    ],
)
def test_mistakes_are_one_clear_line(ablation, text, line):
    with pytest.raises(UserError) as mistake:
        ablation(text).points  # noqa: B018  (composes them)
    assert line in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_an_unknown_point_names_the_nearest(ablation, capsys):
    ablation(BASE + VARIANTS)
    assert main(["ablate", "mine.yaml", "--point", "plain sed=0"]) == 1
    assert "no point is called 'plain sed=0'; did you mean plain seed=0" in capsys.readouterr().err


def test_a_metric_without_a_goal_is_refused_before_anything_is_run(ablation, capsys):
    ablation(BASE + VARIANTS + "metric: my/own")
    assert main(["ablate", "mine.yaml"]) == 1
    assert "say which way my/own is better: goal: max, or goal:" in capsys.readouterr().err


def test_a_search_is_no_sweep(ablation, capsys):
    ablation(
        "experiment: iris_disc\nmetric: val/nll\nsearch: optuna\n"
        "space: {model.dropout: [0.0, 0.1]}\n"
    )
    assert main(["ablate", "mine.yaml", "--wandb"]) == 1
    assert "leave --wandb out" in capsys.readouterr().err


def test_an_unknown_ablation_names_the_nearest(capsys):
    assert main(["ablate", "mnist_nrm"]) == 1
    assert "unknown ablation 'mnist_nrm'; did you mean mnist_norm" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((project_root() / "experiments/ablations").glob("*.yaml")))
def test_every_ablation_is_valid(path):
    found = read_ablation(path.stem)
    assert found.title != found.name
    assert len(found.points) >= 2 or found.space or len(found.searches) > 1


NAMES = ("on", "off", "no", "0", "1", "01", "1.0", "null", "~", "a #1", "x: y", "${seed}", "???")


def test_variants_are_called_what_is_written(ablation):
    keys = [name if name.isalnum() or name in "~ 1.0" else f"'{name}'" for name in NAMES]
    entries = [f"  {key}: {{optimizer.lr: 0.{n + 1:02}}}\n" for n, key in enumerate(keys)]
    read = ablation(f"{BASE}baseline: '${{seed}}'\nvariants:\n{''.join(entries)}")
    points = read.points
    ledger = read.open_ledger()
    ledger.extend(points)
    assert tuple(read.variants) == NAMES
    assert [p.name for p in points] == [f"{n} seed={seed}" for n in NAMES for seed in (0, 1)]
    for point in ledger.read_points():  # as they were planned, and as a run freezes them
        config = point.resolve()
        assert (config.name, config.variant) == (point.name, point.variant)
        assert from_yaml(to_yaml(config), "frozen") == config
        assert point.agrees(read.variants[point.variant])


def test_settings_of_variants_are_texts_where_texts_are_due(ablation):
    text = BASE + (
        "set: {data: csv, data.types: {no: drop, 'a.b': drop}}\n"
        "grid: {data.label: [no, 01, 'null', null, x]}\n"
    )
    read = ablation(text)
    points = read.points[::2]
    assert [p.variant for p in points] == [
        f"data.label={label}" for label in ("no", "01", '"null"', "null", "x")
    ]
    labels = [p.resolve().data.label for p in points]
    assert labels == ["no", "01", "null", None, "x"]
    assert points[0].resolve().data.types == {"no": "drop", "a.b": "drop"}
    for point in points:
        assert point.agrees(read.variants[point.variant])
        again = compose("iris_disc", ["data=csv", point.variant])  # as it says on the command line
        assert again.data.label == point.resolve().data.label
