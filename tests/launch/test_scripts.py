"""Job scripts as whole texts: what Slurm and the shell of a machine are told."""

import subprocess
import sys

import pytest

from ugmm.cli import main


@pytest.fixture
def script(home, capsys):
    def script(name, *overrides):
        assert main(["launch", name, *overrides, "--dry-run"]) == 0
        assert list(home.glob("runs/*")) == []
        text = capsys.readouterr().out
        checked = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
        assert checked.returncode == 0
        return text.replace(sys.executable, "PYTHON").replace(str(home), "HOME")

    return script


def test_one_process_of_slurm(script):
    assert (
        script("iris_disc", "cluster=slurm")
        == """\
#!/bin/bash
#SBATCH --job-name=iris_disc-ID
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --signal=USR1@120
#SBATCH --output=HOME/runs/iris_disc/iris_disc-ID/job-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue

cd HOME || exit
srun PYTHON -m ugmm train --resume runs/iris_disc/iris_disc-ID
"""
    )


def test_two_nodes_with_all_that_a_cluster_may_want(script, home):
    (home / "configs" / "cluster" / "ours.yaml").write_text(
        """
name: slurm
partition: gpu,long
account: physics
qos: high
constraint: "a100|h100"
memory: 64G
cpus: 6
time: 2-00:00:00
setup: ["module load cuda/12", 'export DATA="${HOME}/data"']
prefix: apptainer exec --nv image.sif
python: python3
options: ["--exclude=node[7-9]"]
requeue: false
"""
    )
    text = script(
        "mnist_disc", "cluster=ours", "cluster.nodes=2", "cluster.gpus=4", "cluster.margin=300"
    )
    assert (
        text
        == """\
#!/bin/bash
#SBATCH --job-name=mnist_disc-ID
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=6
#SBATCH --gres=gpu:4
#SBATCH --mem=64G
#SBATCH --time=2-00:00:00
#SBATCH --partition=gpu,long
#SBATCH --account=physics
#SBATCH --qos=high
#SBATCH --constraint=a100|h100
#SBATCH --signal=USR1@300
#SBATCH --output=HOME/runs/mnist_disc/mnist_disc-ID/job-%j.out
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --exclude=node[7-9]

cd HOME || exit
module load cuda/12
export DATA="${HOME}/data"
export OMP_NUM_THREADS=6
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')
export MASTER_ADDR=${address:-$first}
srun --cpus-per-task=6 apptainer exec --nv image.sif python3 -m ugmm train --resume \
runs/mnist_disc/mnist_disc-ID
"""
    )


def test_names_with_blanks_and_signs_are_quoted(script):
    text = script("iris_disc", "cluster=slurm", "runs_dir=my runs/100%", 'cluster.constraint=a"b')
    assert '#SBATCH --output="HOME/my runs/100%%/iris_disc/iris_disc-ID/job-%j.out"' in text
    assert '#SBATCH --constraint="a\\"b"' in text
    assert text.endswith(" --resume 'my runs/100%/iris_disc/iris_disc-ID'\n")


def test_torchrun_on_one_machine_and_on_several(script):
    assert (
        script("iris_disc", "cluster=torchrun", "cluster.tasks=2")
        == """\
#!/bin/bash
cd HOME || exit
exec PYTHON -m torch.distributed.run --nproc-per-node=2 --standalone -m ugmm train --resume \
runs/iris_disc/iris_disc-ID
"""
    )
    text = script("iris_disc", "cluster=torchrun", "cluster.hosts=[10.0.0.1,b]", "cluster.gpus=4")
    assert (
        text
        == """\
#!/bin/bash
place=${1:?give the place of this machine, from 0 to 1}
cd HOME || exit
exec PYTHON -m torch.distributed.run --nproc-per-node=4 --nnodes=2 --master-addr=10.0.0.1 \
--master-port=29500 --node-rank="$place" -m ugmm train --resume runs/iris_disc/iris_disc-ID
"""
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["iris_disk", "cluster=slurm"], "is called 'iris_disk'; did you mean iris_disc"),
        (["iris_disc"], "say where it shall run: cluster=..., one of slurm"),
        (["iris_disc", "cluster=slurmm"], "unknown choice cluster=slurmm; did you mean slurm?"),
        (["iris_disc", "cluster=slurm", "cluster.node=2"], "did you mean cluster.nodes?"),
        (["iris_disc", "cluster=slurm", "cluster.nodes=0"], "cluster.nodes=0 must be at least 1"),
        (["iris_disc", "cluster=slurm", "cluster.time=2 days"], "cluster.time=2 days is no time"),
        (["iris_disc", "cluster=slurm", "cluster.memory=lots"], "memory=lots is no size"),
        (
            ["iris_disc", "cluster=slurm", "cluster.options=[exclude=a]"],
            "'exclude=a' is no option",
        ),
        (["iris_disc", "cluster=slurm", "cluster.qos=a\nreboot"], "must be one line"),
        (["iris_disc", "cluster=slurm", "cluster.name=torchrun"], "choose by cluster=..."),
        (["iris_disc", "cluster=torchrun", "cluster.hosts=[a,a]"], "name each machine once"),
        (["iris_disc", "cluster=torchrun", "cluster.time=9"], "unknown key 'cluster.time'"),
        (
            ["iris_disc", "cluster=slurm", "trainer.devices=3"],
            "trainer.devices=3, and the job would have 1",
        ),
        (
            ["iris_disc", "cluster=slurm", "trainer=ddp8"],
            "trainer.accelerator=gpu, and the job would have cpu",
        ),
        (
            ["iris_disc", "cluster=slurm_gpu8", "cluster.nodes=3", "trainer=nodes2"],
            "trainer.num_nodes=2, and the job would have 3",
        ),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_made(home, commands, capsys, arguments, line):
    commands.make("sbatch", out="17\n")
    assert main(["launch", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert line in error
    assert commands.told("sbatch") == []
    assert list(home.glob("runs/*/*")) == []
