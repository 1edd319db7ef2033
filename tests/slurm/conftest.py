"""A Slurm cluster that is started for these tests, and stopped."""

import pytest
from head import Head
from slurm_cluster import Cluster, why_not

from waiting import wait_until


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A head and two nodes, for all tests of a session."""
    if reason := why_not():
        pytest.skip(f"no Slurm cluster: {reason}")
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def head(cluster, tmp_path):
    """A user at the head; jobs that a test has left are cancelled."""
    yield Head(cluster, tmp_path)
    cluster.run("scancel", "--user=root")
    wait_until(lambda: not cluster.run("squeue", "--noheader"))
