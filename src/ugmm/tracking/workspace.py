"""A Weights & Biases workspace for an ablation, built without a network. Imports no torch."""

from collections.abc import Sequence
from typing import Any

__all__ = ["make_workspace"]


def make_workspace(
    entity: str,
    project: str,
    group: str,
    title: str,
    metric: str,
    curves: Sequence[str],
    report: Sequence[str],
    axes: Sequence[str],
) -> Any:
    """Return a workspace of a group's runs, those of one variant as one line with a band.

    Args:
        entity: Whose project it is.
        project: Where the runs are.
        group: Theirs; others are filtered out.
        title: What the workspace is called.
        metric: The final metric, a key of the runs' summaries.
        curves: What was logged while training, a panel each.
        report: Further keys of the summaries.
        axes: The keys of the configuration in which variants differ.

    Raises:
        ModuleNotFoundError: If wandb-workspaces is not installed.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def line(key: str) -> Any:
        return wr.LinePlot(
            title=key,
            x="trainer/global_step",
            y=[key],
            groupby=wr.Config("variant"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )

    def bars(key: str) -> Any:
        return wr.BarPlot(
            title=f"{key}: mean and standard deviation",
            metrics=[wr.SummaryMetric(key)],
            groupby=wr.Config("variant"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )

    # A column given as text would become a key of the summary, silently.
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in axes]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(metric)))
    parallel = [wr.ParallelCoordinatesPlot(title="settings", columns=columns)] if axes else []
    shown = ["variant", "seed", *axes]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title,
        sections=[
            ws.Section("Results", panels=[*map(bars, (metric, *report)), *parallel], is_open=True),
            ws.Section("Curves", panels=list(map(line, curves)), is_open=True),
            ws.Section("Settings", panels=[wr.RunComparer(diff_only="split")]),
        ],
        settings=ws.WorkspaceSettings(x_axis="trainer/global_step"),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Config("group") == group],
            groupby=[ws.Config("variant")],
            order=[ws.Ordering(ws.Summary(metric), ascending=False)],
            pinned_columns=[*(f"config:{key}" for key in shown), f"summary:{metric}"],
        ),
    )
