"""Composition: every shipped YAML loads, and every mistake is one line that names its place."""

import json
from pathlib import Path

import pytest

from ugmm.config.choices import CHOSEN, declared
from ugmm.config.choices.models import MLPConfig, UGMMConfig
from ugmm.config.compose import GROUPS, compose
from ugmm.config.frozen import from_mapping, from_yaml, read_config, to_mapping, to_yaml
from ugmm.errors import UserError
from ugmm.runs import Run

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_shipped_experiment_loads(name):
    config = compose(name)
    assert config.experiment == config.group == config.name == name
    assert from_yaml(to_yaml(config), "frozen") == config


CHOICES = sorted(
    {(path.parent.name, path.stem) for group in GROUPS for path in ROOT.glob(f"configs/{group}/*")}
    | {(group, name) for group in CHOSEN for name in declared(group)}
)


@pytest.mark.parametrize(("group", "name"), CHOICES, ids="=".join)
def test_every_shipped_choice_can_be_chosen(group, name):
    """A choice that no experiment names would otherwise never be read."""
    gaussians = ("lda", "qda", "gmm", "fitted")
    regressions = ("diabetes", "regression", "mlp_regression", "linear_regression")
    fits = {
        "generative": "iris_gen",
        "score": "iris_paper",
        **dict.fromkeys(gaussians, "iris_lda"),
        **dict.fromkeys(regressions, "diabetes_reg"),
    }
    together = {
        "autoregressive": ["task=likelihood"],
        "bernoulli_mixture": ["task=likelihood"],
        "nade": ["task=likelihood"],
        "ugmm_circuit": ["task=likelihood"],
        "likelihood": ["model=autoregressive"],
        **{name: ["task=fitted"] for name in ("lda", "qda", "gmm")},
        "fitted": ["model=lda"],
        **{name: ["data=digits"] for name in ("conv", "cnn", "rnn", "gru", "vit")},
        **{name: ["data=digits", "task=likelihood"] for name in ("pixel_ugmm", "pixel_relu")},
    }
    choice = f"{group}={name}"
    config = compose(fits.get(name, "iris_disc"), [choice, *together.get(name, [])])
    assert getattr(config, group) is not None


def test_layers_override_one_another():
    config = compose("mnist_disc", ["model.dropout=0.1", "seed=3", "trainer.max_epochs=2"])
    assert config.model.dropout == 0.1  # the command line over the experiment
    assert config.optimizer.lr == 0.02  # the experiment over the schema
    assert config.data.batch_size == 256  # the choice
    assert config.optimizer.betas == (0.9, 0.999)  # the schema
    assert config.name == "dropout=0.1 seed=3 max_epochs=2"
    assert config.group == "mnist_disc"
    assert config.tracking.project == "ugmm-mnist-discriminative"


def test_where_a_run_happens_is_not_part_of_its_name(tmp_path):
    config = compose("mnist_disc", [f"runs_dir={tmp_path}", "tracking.mode=offline", "seed=1"])
    assert config.name == "seed=1"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["data=csv", "data.path=../data/big.csv", "data.label=y"], "data=csv path=big label=y"),
        (["data=csv", "data.path=/a/b c/big.csv.gz", "data.label=y"], "data=csv path=big label=y"),
        (["schedule.name=step", "model.hidden=[32,16]"], "schedule=step hidden=[32,16]"),
        (["data.batch_size=64", "optimizer.lr=0.01"], "batch_size=64 lr=0.01"),
        (["tracking.project=a-name-that-goes-on-and-on"], "iris_disc"),
        (["task.label_smoothing=${optimizer.lr}"], "label_smoothing=optimizer.lr"),
        (["name=as/it.stands/and/however/long/it/may/be/it/is/mine"], None),
        (["model.hidden=[1,2,3,4,5,6,7,8,9,10,11]"], "hidden=[1,2,3,4,5,6,7,8,9.."),
        (["optimizer.lr=${optimizer.weight_decay}1"], "lr=optimizer.weight_d.."),
    ],
)
def test_a_run_is_called_by_its_settings_in_short(settings, name):
    called = compose("iris_disc", settings).name
    assert called == (settings[0].removeprefix("name=") if name is None else name)


def test_many_settings_are_counted():
    many = [f"data.types.column{n}=continuous" for n in range(9)]
    config = compose("iris_disc", ["data=csv", "data.path=x.csv", "data.label=y", *many])
    assert config.name == "data=csv path=x label=y column0=continuous +8 more"
    assert len(config.name) <= 60


def test_the_path_of_a_table_is_frozen_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose(
        "iris_disc", ["data=csv", "data.path=a/../table.csv", "data.label=y"], root=ROOT
    )
    assert config.data.path == str(tmp_path / "table.csv")
    monkeypatch.chdir("/")
    assert from_yaml(to_yaml(config), "frozen") == config


def test_the_types_of_columns_are_the_users_own_keys():
    settings = ["data=csv", "data.types={an id: drop, age: numeric}", "data.types.zip=categorical"]
    config = compose("iris_disc", settings)
    assert config.data.types == {"an id": "drop", "age": "numeric", "zip": "categorical"}
    assert from_yaml(to_yaml(config), "frozen") == config
    for wrong, complaint in (
        ("{id:drop}", "data.types has no value for 'id:drop'; write 'data.types={name: value}'"),
        ("{id: '${oc.env:HOME}'}", "calls a resolver"),
        ("{id: {a: b}}", "data.types.id: Cannot convert 'dict' to string"),
        ("drop", "data.types holds keys of its own, got 'drop'"),
    ):
        with pytest.raises(UserError) as caught:
            compose("iris_disc", ["data=csv", f"data.types={wrong}"])
        assert complaint in str(caught.value)


def test_another_model_keeps_the_widths_of_the_experiment():
    config = compose("mnist_disc", ["model=mlp"])
    assert isinstance(config.model, MLPConfig)
    assert config.model.hidden == [128, 64]
    assert config.model.dropout == 0.0  # 0.3 is the experiment's component dropout
    assert isinstance(compose("mnist_mlp", ["model=ugmm"]).model, UGMMConfig)


def test_naming_the_choice_that_the_experiment_has_changes_nothing():
    assert compose("iris_gen", ["model=ugmm"]).model == compose("iris_gen").model
    assert compose("iris_disc", ["model=ugmm_paper"]).model == compose("iris_paper").model


def test_a_frozen_configuration_that_is_cut_short_is_one_line():
    whole = to_yaml(compose("iris_gen"))
    for text in ("", whole[: len(whole) // 2]):
        with pytest.raises(UserError, match=r"config\.yaml( is incomplete|: not valid YAML)"):
            from_yaml(text, "config.yaml")


def test_dropout_is_a_number_or_one_for_each_layer():
    assert compose("mnist_disc", ["model.dropout=[0.1,0.2,0]"]).model.dropout == [0.1, 0.2, 0.0]


def test_references_reach_other_keys():
    assert compose("mnist_disc", ["name=lr ${optimizer.lr}"]).name == "lr 0.02"


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "model.dropot=0.1",
            "command line: unknown key 'model.dropot'; did you mean model.drop",
        ),
        ("optimiser.lr=1", "command line: unknown key 'optimiser'; did you mean optimizer"),
        ("lr=0.1", "command line: unknown key 'lr'; did you mean optimizer.lr?"),
        ("optimizer=sgd", "holds keys of its own, got 'sgd'; did you mean optimizer.name=sgd?"),
        ("model.hidden=10,5", "model.hidden is a list, such as [128, 64]; got '10,5'"),
        ("model=MLP", "unknown choice model=MLP; did you mean mlp"),
        ("model=mpl", "unknown choice model=mpl; did you mean mlp"),
        ("model=../model/mlp", "unknown choice model=../model/mlp"),
        ("model.name=mlp", "command line: choose by model=mlp, not by model.name"),
        ("experiment=mine", "experiment is the name of the file and cannot be set"),
        ("seed=???", "seed has no value"),
        ("optimizer.lr=fast", "command line: optimizer.lr: Value 'fast'"),
        ("optimizer.lr=0", "command line: optimizer.lr=0.0 must be above 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan must be above 0"),
        ("optimizer.lr=inf", "optimizer.lr=inf must be above 0"),
        ("optimizer.betas=[0.9,1]", "optimizer.betas=1.0 must be at least 0 and below 1"),
        ("optimizer.betas=[0.9]", "optimizer.betas has 2 values; got [0.9]"),
        ("optimizer.lr=${seed}", "optimizer.lr=0.0 must be above 0"),
        ("schedule.milestones=[3,3]", "schedule.milestones must be different epochs"),
        ("schedule.gamma=1e12", "schedule.gamma=1000000000000.0 must be above 0 and at most"),
        ("trainer.max_epochs=10000000000", "must be at least 1 and at most 1000000"),
        ("trainer.devices=2,3", "trainer.devices=2,3 must be a number or auto"),
        ("trainer.devices=0", "trainer.devices=0 must be at least 1"),
        ("data.val_size=0", "there is no best checkpoint to test"),
        ("model.norm=batch data.batch_size=1", "model.norm=batch needs a data.batch_size of 2"),
        ("seed=${oc.env:HOME}", "command line: seed=${oc.env:HOME} calls a resolver"),
        ("optimizer.name=rmsprop", "optimizer.name: Invalid value 'rmsprop', expected one of"),
        ("model.dropout=[0.1,1.5,0]", "model.dropout=1.5 must be at least 0 and below 1"),
        ("model.hidden=128", "model.hidden is a list, such as [128, 64]; got 128"),
        ("model.hidden[0]=7", "set the whole list, such as 'model.hidden=[128,64]'"),
        ("model.hidden=[0]", "model.hidden=0 must be at least 1"),
        ("model.hidden=[[1]]", "model.hidden[0]: Value '[1]' of type 'list'"),
        ("model.hidden=null", "command line: model.hidden has no value"),
        ("model.dropout=[[1]]", "model.dropout: Value '[[1]]' of type 'list'"),
        ("optimizer.betas=[[1],0.2]", "optimizer.betas: Value '[[1], 0.2]'"),
        ("optimizer.lr=", "command line: optimizer.lr has no value"),
        ("optimizer=null", "command line: optimizer has no value"),
        ("tracking=online", "names a file of configs/tracking/, and there are none; set a key"),
        ("data.shift=2", "unknown key 'data.shift'; it is called data.max_shift now"),
        ("data.shifts=2", "unknown key 'data.shifts'; it is called data.robustness now"),
        ("seed=2147483648", "seed=2147483648 must be at least 0 and at most 2147483647"),
        ("seed=1.5", "command line: seed: Value '1.5'"),
        ("seed=-1", "seed=-1 must be at least 0"),
        ("optimizer=3", "optimizer holds keys of its own, got 3"),
        ("nonsense", "'nonsense' is not of the form key=value"),
        ("name=${oc.env:HOME}", "name=${oc.env:HOME} calls a resolver"),
        ("tracking.tags=['${oc.env:HOME}']", "calls a resolver"),
        ("name=${nope}", "name: Interpolation key 'nope' not found"),
        ("task=generative model=mlp", "the score of this model has no upper bound"),
        ("task=generative model.head=gain", "or set model.head=mixture (not gain)"),
        ("task=generative model.head=linear", "the score of this model has no upper bound"),
        ("model.head=linear model.hidden=[]", "model.head=linear needs a width in model.hidden"),
        (
            "data=csv data.path=t.csv data.missing=keep model=mlp",
            "model=mlp with data.missing=keep: it needs a value in every cell; use data.missing=",
        ),
        (
            "data=csv data.path=t.csv data.missing=keep model=ugmm model.min_scale=0.1 "
            "task=generative task.objective=score",
            "task.objective=score with data.missing=keep: it needs a value in every cell; use",
        ),
        (
            "data=csv data.path=t.csv data.missing=keep model=autoregressive model.head=bernoulli "
            "task=likelihood trainer.monitor=val/bits_per_dim",
            "here a validation measures val/accuracy, val/nll, val/ece, val/log_prob; choose one",
        ),
        ("model._target_=os.system", "unknown key 'model._target_'"),
        (
            "seed=!!python/name:os.system",
            "seed: not valid YAML: line 1: !!python/name:os.system is",
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(override, complaint):
    overrides = [override] if " " not in override else override.split()
    with pytest.raises(UserError) as caught:
        compose("mnist_disc", overrides)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["conv", "vit"])
def test_a_head_that_does_not_help_is_not_proposed(model):
    with pytest.raises(UserError, match=r"train it with task=discriminative$"):
        compose("iris_gen", [f"model={model}", "task.label=none"])


@pytest.mark.parametrize("model", ["conv", "cnn", "rnn", "gru", "vit"])
def test_a_table_is_not_taken_for_images_unasked(model):
    iris = "data=iris", f"model={model}"
    with pytest.raises(UserError, match=rf"model={model} looks at images, .* data=iris are none"):
        compose("iris_disc", iris)
    patch = ["model.patch=1"] * (model == "vit")
    assert compose("iris_disc", [*iris, "model.image_shape=[2,2]", *patch]).model.image_shape
    assert compose("iris_disc", ["data=digits", f"model={model}"]).model.image_shape is None


def test_an_unknown_experiment_names_the_nearest():
    with pytest.raises(UserError, match="'mnist_dsic'; did you mean mnist_disc"):
        compose("mnist_dsic")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model:\n  name: tree\n", "unknown model.name 'tree'; there are ugmm, mlp"),
        ("experiment: other\n", "experiment is the name of the file and cannot be set"),
        ("modle:\n  hidden: [3]\n", "unknown key 'modle'; did you mean model"),
        ("model:\n  hiden: [3]\n", "unknown key 'model.hiden'; did you mean model.hidden"),
        ("seed: [1]\n", "seed: Value '[1]' of type"),
        ("seed: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("seed: 1\nseed: 2\n", "not valid YAML"),
        ("seed: [1\n", "not valid YAML"),
        ("- 1\n", "expected keys and values"),
        ("name: ${oc.env:HOME}\n", "calls a resolver"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, text, complaint):
    path = tmp_path / "mine.yaml"
    defaults = "defaults: {data: iris, model: ugmm, task: discriminative}\n"
    path.write_text(text if text.startswith("-") else defaults + text)
    with pytest.raises(UserError) as caught:
        compose(str(path))
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_experiment_must_choose_its_groups(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("defaults: {data: iris, model: ugmm}\n")
    with pytest.raises(UserError, match=r"defaults names no task; add 'task: ...'"):
        compose(str(path))
    for defaults, complaint in (
        ("{1: iris}", "unknown group 'defaults.1'"),
        ("{data: null}", "defaults.data must name a choice of data"),
        ("[iris]", "defaults must map groups to choices"),
    ):
        path.write_text(f"defaults: {defaults}\n")
        with pytest.raises(UserError, match=complaint):
            compose(str(path))
    path.write_text("defaults: {dta: iris}\n")
    with pytest.raises(UserError, match=r"unknown group 'defaults.dta'; did you mean data"):
        compose(str(path))


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no such file: nowhere/mine.yaml"):
        compose("nowhere/mine.yaml")
    with pytest.raises(UserError, match="cannot read"):
        read_config(Run(tmp_path))


def test_a_file_that_is_not_text_is_one_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        compose(str(path))


def test_layers_are_laid_over_the_experiment_in_order_and_the_command_line_over_them():
    layers = [
        ("one", {"optimizer.lr": 0.5, "seed": 1, "model": {"hidden": [7]}}),
        ("two", {"seed": 2, "trainer.max_epochs": 3}),
    ]
    config = compose("mnist_disc", ["trainer.max_epochs=4"], layers)
    assert (config.optimizer.lr, config.seed, config.trainer.max_epochs) == (0.5, 2, 4)
    assert (config.model.hidden, config.model.dropout) == ([7], 0.1)
    assert config.name == "max_epochs=4"  # of the command line alone
    assert layers[0][1]["model"] == {"hidden": [7]}


def test_a_layer_is_what_its_text_on_the_command_line_would_be():
    settings = {"model": "mlp", "model.dropout": 0.3, "optimizer.betas": [0.5, 0.9], "name": "a"}
    overrides = ["model=mlp", "model.dropout=0.3", "optimizer.betas=[0.5,0.9]", "name=a"]
    assert compose("mnist_disc", layers=[("mine", settings)]) == compose("mnist_disc", overrides)


def test_values_of_a_layer_are_not_parsed():
    for name in ("1e3", "[a, b]", "a: b", "null", "yes", "# a", "'a"):
        assert compose("mnist_disc", layers=[("mine", {"name": name})]).name == name


def test_a_later_choice_drops_what_was_set_for_an_earlier_one():
    layers = [("one", {"model.min_scale": 0.5, "model.hidden": [7]}), ("two", {"model": "mlp"})]
    assert compose("mnist_disc", layers=layers).model == MLPConfig(hidden=[7])
    model = compose("mnist_disc", ["model=mlp"], layers[:1]).model
    assert model == MLPConfig(hidden=[7])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "mpl"}, "mine: unknown choice model=mpl; did you mean mlp"),
        ({"model": 3}, "mine: unknown choice model=3"),
        ({"model.name": "mlp"}, "mine: choose by model=mlp, not by model.name"),
        ({"model": {"name": "mlp"}}, "mine: choose by model=mlp, not by model.name"),
        ({"model": {"hiden": [3]}}, "mine: unknown key 'model.hiden'; did you mean model.hidden"),
        ({"model.hidden[0]": 3}, "mine: set the whole list, such as 'model.hidden=[128,64]'"),
        ({"optimizer.lr": -1}, "mine: optimizer.lr=-1.0 must be above 0"),
        ({"experiment": "other"}, "mine: experiment is the name of the file and cannot be set"),
        ({"name": "${oc.env:HOME}"}, "mine: name=${oc.env:HOME} calls a resolver"),
    ],
)
def test_a_mistake_in_a_layer_names_its_source(settings, complaint):
    with pytest.raises(UserError) as caught:
        compose("mnist_disc", layers=[("mine", settings)])
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("experiment", ["iris_gen", "mnist_disc", "mnist_vit"])
def test_a_configuration_comes_back_from_its_mapping(experiment):
    config = compose(experiment, ["optimizer.betas=[0.5,0.9]"])
    mapping = json.loads(json.dumps(to_mapping(config)))
    assert from_mapping(mapping, "mine") == config
    del mapping["plots"]  # as an earlier version froze it
    assert from_mapping(mapping, "mine") == config
    del mapping["seed"]
    with pytest.raises(UserError, match="mine is incomplete: it lacks seed"):
        from_mapping(mapping, "mine")
