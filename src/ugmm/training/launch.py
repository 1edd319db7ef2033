"""What Lightning is told of how the processes of a run were started: by srun, torchrun or itself.

Lightning's own detection takes any shell within a Slurm job for a process that srun has started.
"""

import os

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from ugmm.cluster.slurm import current_step
from ugmm.config.training import TrainerConfig
from ugmm.errors import UserError

__all__ = ["check_launch", "launch_environment"]


def check_launch(config: TrainerConfig, present: int) -> None:
    """Refuse settings that do not fit the processes which a launcher has started.

    Args:
        config: Devices and nodes.
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
    elif config.num_nodes > 1:
        raise UserError(
            f"trainer.num_nodes={config.num_nodes} needs a launcher on every node: start with "
            "srun or torchrun"
        )
    else:
        return
    named = len(config.devices) if isinstance(config.devices, list) else config.devices
    devices = present if named == "auto" else named
    if devices != each:
        raise UserError(
            f"trainer.devices={config.devices}: {launcher} has started {each} process(es) on each "
            f"node, one for each device; set trainer.devices={each}, or start as many as devices"
        )
    if config.num_nodes != nodes:
        raise UserError(
            f"trainer.num_nodes={config.num_nodes}: {launcher} has started processes on {nodes} "
            f"node(s); set trainer.num_nodes={nodes}"
        )


def launch_environment() -> ClusterEnvironment:
    """Return Lightning's view of the launcher of this process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return TorchElasticEnvironment()
    if (step := current_step()) is None:
        return LightningEnvironment()
    # Lightning asks for it, though it is only set where the job was asked for it by this name.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(step.per_node)
    # Its own requeueing hangs when ranks are uneven; a requeued job resumes anyway.
    return SLURMEnvironment(auto_requeue=False)
