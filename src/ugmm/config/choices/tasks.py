"""The tasks that an experiment can choose: what a network is trained for, and how it is judged."""

from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from ugmm.config.choices.declare import Choice, choice
from ugmm.config.choices.models import ModelConfig
from ugmm.errors import UserError
from ugmm.keys import key
from ugmm.objectives import (
    ClassificationObjective,
    CrossEntropy,
    LabelLikelihood,
    Likelihood,
    NegativeScore,
    Objective,
    RankingNCE,
)

if TYPE_CHECKING:
    from ugmm.nn import Classifier, Density, Network
    from ugmm.tasks import Task

__all__ = ["DiscriminativeConfig", "FittedTaskConfig", "GenerativeConfig", "TaskConfig"]

_OF_CLASSES = ("accuracy", "nll", "ece")  # what a validation measures of class scores


@dataclass
class TaskConfig(Choice):
    """What the network is trained to do."""

    group: ClassVar[str] = "task"
    # No keys: whether models are fitted at once, and whether they predict numbers.
    is_fitted: ClassVar[bool] = False
    is_regression: ClassVar[bool] = False

    @property
    def has_label(self) -> bool:
        """Whether there are classes to tell apart."""
        return True

    def measured(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Return what a validation of an experiment measures, by which the best can be chosen."""
        return _OF_CLASSES

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Network":
        """Build the network with the inputs and outputs that the task needs."""
        _need_classes(n_classes)
        return model.build(n_features, n_classes)

    def build(self, network: "Network", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module; `training` are `optimizer` and `schedule`."""
        return self.construct(network, n_classes, **training)

    def check_with(self, config: Any) -> None:
        """Refuse a model or a metric that does not go with the task."""
        model, data, monitor = config.model, config.data, config.trainer.monitor
        if data.has_target != self.is_regression:
            raise UserError(
                f"task={self.name} predicts a number, and data={data.name} has none; use "
                "data=diabetes, or data=csv with data.target=COLUMN"
                if self.is_regression
                else f"task={self.name} is about classes, and data={data.name} has a number to "
                "predict; use model=regression and task=regression, as the experiment "
                "diabetes_reg does"
            )
        if model.is_regressor != self.is_regression:
            raise UserError(
                f"model={model.name} with task={self.name}: it tells classes apart; use "
                "model=regression, mlp_regression or linear_regression"
                if self.is_regression
                else f"model={model.name} with task={self.name}: it predicts a number; use "
                "task=regression, or another model"
            )
        if model.is_fitted != self.is_fitted:
            raise UserError(
                f"model={model.name} with task={self.name}: task=fitted goes with the models lda, "
                "qda and gmm, and they go with no other task"
            )
        measured = [f"val/{name}" for name in self.measured(config)]
        if config.follows_monitor and monitor not in measured:
            raise UserError(
                f"trainer.monitor={monitor}: here a validation measures {', '.join(measured)}; "
                "choose one of these"
            )


@choice("task", "discriminative", builds="ugmm.tasks:DiscriminativeTask")
class DiscriminativeConfig(TaskConfig):
    """Telling classes apart, by cross-entropy on their scores."""

    # how much of each label's weight goes to all classes alike
    label_smoothing: float = key(0.0, low=0, high=1)
    class_weights: Literal["none", "balanced"] = "none"  # of rows in the loss, by their class

    def make_objective(self) -> ClassificationObjective:
        """Return the loss."""
        return CrossEntropy(self.label_smoothing)

    def build(self, network: "Network", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module."""
        if self.class_weights != "none":
            training["class_weights"] = self.class_weights
        return self.imported()(network, n_classes, self.make_objective(), **training)

    def check_with(self, config: Any) -> None:
        """Refuse a model that cannot be trained so."""
        super().check_with(config)
        if not config.model.is_classifier:
            _refuse_normalized(config.model, f"task={self.name}")
        objective = self.make_objective()
        if (
            self.class_weights != "none"
            and "weights" not in signature(objective.of_scores).parameters
        ):
            raise UserError(
                f"task.class_weights={self.class_weights}: {type(objective).__name__}.of_scores "
                "takes no weights; add that argument, or set task.class_weights=none"
            )


@choice("task", "generative", builds="ugmm.tasks:GenerativeTask")
class GenerativeConfig(TaskConfig):
    """A density of features and label together, or the paper's score of them."""

    objective: Literal["ranking_nce", "likelihood", "score", "cross_entropy"] = "ranking_nce"
    label: Literal["onehot", "real", "none"] = "onehot"  # how the network is given the class
    # of the label's cross-entropy, added to the objective
    label_weight: float = key(0.0, low=0, high=10**6)
    # width of the vicinal noise; null: Silverman's rule
    noise: float | None = key(None, low=0, high=1000)
    n_noise: int = key(512, low=1, high=10**6)  # draws a step for ranking_nce
    # for each estimate of the partition function, at the test
    z_draws: int = key(2**18, low=16, high=10**9)
    # densities that are averaged, each normalised by itself
    ensemble: int = key(1, low=1, high=1000)

    @property
    def has_label(self) -> bool:
        """Whether there are classes to tell apart."""
        return self.label != "none"

    def measured(self, config: Any) -> tuple[str, ...]:
        """Return what a validation measures: see `ugmm.tasks.GenerativeTask`."""
        in_bits = config.model.is_discrete and not config.data.keeps_missing
        density = ("log_prob", *(("bits_per_dim",) if in_bits else ()))
        if not self.has_label:
            return density
        score = ("score",) if self.make_objective().is_score else ()
        return (*_OF_CLASSES, *density, *score)

    def make_objective(self) -> Objective:
        """Return the loss."""
        made: dict[str, Objective] = {
            "ranking_nce": RankingNCE(self.n_noise, self.label_weight),
            "likelihood": Likelihood(self.label_weight),
            "score": NegativeScore(self.label_weight),
            "cross_entropy": LabelLikelihood(),
        }
        return made[self.objective]

    def network(self, model: ModelConfig, n_features: int, n_classes: int) -> "Network":
        """Build a density of features and label."""
        from ugmm.density import Ensemble, TiltedGaussian
        from ugmm.nn import JointScore

        if self.has_label:
            _need_classes(n_classes)
        needs_normalized = self.make_objective().needs_normalized

        def member() -> "Density":
            if needs_normalized:
                return cast("Density", model.build(n_features, n_classes if self.has_label else 1))
            label_size = {"onehot": n_classes, "real": 1, "none": 0}[self.label]
            network = model.build(n_features + label_size, 1)
            score = JointScore(cast("Classifier", network), n_classes, self.label)
            return TiltedGaussian(score, n_features, len(score.codes))

        if self.ensemble == 1:
            return member()
        return Ensemble([member() for _ in range(self.ensemble)])

    def build(self, network: "Network", n_classes: int, **training: Any) -> "Task":
        """Return the Lightning module."""
        return self.imported()(
            network,
            n_classes,
            self.make_objective(),
            noise=self.noise,
            z_draws=self.z_draws,
            has_label=self.has_label,
            **training,
        )

    def check_with(self, config: Any) -> None:
        """Refuse a model that does not go with the objective."""
        super().check_with(config)
        objective, model, chosen = self.make_objective(), config.model, self._chosen()
        if config.data.keeps_missing and not objective.takes_missing:
            raise UserError(
                f"{chosen} with data.missing=keep: it needs a value in every cell; use "
                "data.missing=mean, or task.objective=ranking_nce"
            )
        if objective.needs_normalized:
            if not model.is_density:
                raise UserError(
                    f"model={model.name} with {chosen}: task=likelihood needs a model that is "
                    "normalised by construction, such as autoregressive, ugmm_circuit or "
                    "spflow_rat"
                )
            if self.label == "real":
                raise UserError(f"{chosen} takes task.label=onehot or none")
            return
        if model.is_density:
            _refuse_normalized(model, chosen)
        if not model.is_bounded:
            head = getattr(model, "head", None)
            helps = head in ("gain", "linear") and replace(model, head="mixture").is_bounded
            raise UserError(
                f"model={model.name} with task={self.name}: the score of this model has no upper "
                "bound, so it cannot be maximised; train it with task=discriminative"
                + f", or set model.head=mixture (not {head})"
                * helps
            )
        if objective.needs_fixed_score:
            model.check_fixed(chosen)

    def _chosen(self) -> str:
        return f"task.objective={self.objective}"


@choice("task", "fitted", builds="ugmm.tasks:FittedTask")
class FittedTaskConfig(TaskConfig):
    """Fitting a model at once, in the place of training one; see `ugmm.tasks.FittedTask`."""

    is_fitted = True

    def measured(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Return what a validation measures: see `ugmm.tasks.FittedTask`."""
        return (*_OF_CLASSES, "log_prob")

    def check_with(self, config: Any) -> None:
        """Refuse to look for a best checkpoint: there is one."""
        super().check_with(config)
        if config.trainer.test_checkpoint != "last":
            raise UserError("task=fitted makes one checkpoint: set trainer.test_checkpoint=last")


def _need_classes(n_classes: int) -> None:
    """Refuse data without a label where a task tells classes apart."""
    if n_classes < 2:
        raise UserError("the data has one class only; name its label's column by data.label=...")


def _refuse_normalized(model: ModelConfig, chosen: str) -> None:
    raise UserError(
        f"model={model.name} with {chosen}: it is normalised by construction; train it with "
        "task=likelihood"
    )
