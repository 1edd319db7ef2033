"""What Lightning is told of how the processes of a run were started: by srun, torchrun or itself.

Lightning's own detection takes any shell within a Slurm job for a process that srun has started.
"""

import os
from typing import TYPE_CHECKING, Any

from ugmm.cluster.network import reach_others
from ugmm.cluster.slurm import current_step
from ugmm.errors import UserError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment

__all__ = ["check_launch", "launch_environment"]


def check_launch(asked: Any, num_nodes: int, present: int) -> None:
    """Refuse devices and nodes that do not fit the processes which a launcher has started.

    Args:
        asked: `trainer.devices`.
        num_nodes: `trainer.num_nodes`.
        present: How many devices `auto` stands for.

    Raises:
        UserError: If a launcher has started more or fewer, or if several nodes have none.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        launcher = "torchrun"
        each = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // each
    elif step := current_step():
        if step.per_node is None:
            raise UserError(
                "srun has started more processes on one node than on another: give --nodes and "
                "--ntasks-per-node"
            )
        launcher, each, nodes = "srun", step.per_node, step.nodes
    elif num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={num_nodes} needs a launcher on every node: start with "
            "srun or torchrun"
        )
    else:
        return
    named = len(asked) if isinstance(asked, list) else asked
    devices = present if named == "auto" else named
    if devices != each:
        raise UserError(
            f"trainer.devices={asked}: {launcher} has started {each} process(es) on each "
            f"node, one for each device; set trainer.devices={each}, or start as many as devices"
        )
    if num_nodes != nodes:
        raise UserError(
            f"trainer.num_nodes={num_nodes}: {launcher} has started processes on {nodes} "
            f"node(s); set trainer.num_nodes={nodes}"
        )


def launch_environment() -> "ClusterEnvironment":
    """Return Lightning's view of the launcher of this process."""
    from lightning.pytorch.plugins import environments

    if "TORCHELASTIC_RUN_ID" in os.environ:
        if os.environ["WORLD_SIZE"] != os.environ["LOCAL_WORLD_SIZE"]:
            reach_others(os.environ["MASTER_ADDR"])
        return environments.TorchElasticEnvironment()
    if (step := current_step()) is None:
        return environments.LightningEnvironment()
    # Lightning asks for it, though it is only set where the job was asked for it by this name.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(step.per_node)
    # Its own requeueing hangs when ranks are uneven; a requeued job resumes anyway.
    environment = environments.SLURMEnvironment(auto_requeue=False)
    if step.nodes > 1:
        reach_others(environment.main_address)
    return environment
