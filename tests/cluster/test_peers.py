"""The loss of another process is one line, whatever the library calls it."""

import pytest
import torch
from torch import distributed

from ugmm.cluster.peers import in_touch
from ugmm.errors import UserError

SAID = [
    "[/x/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:9428: Connection "
    "reset by peer. This is typically caused by a remote worker hanging",
    "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3",
    "[/x/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 20000ms for recv",
]


@pytest.mark.parametrize("text", SAID)
def test_what_gloo_says_is_one_line_with_the_remedy(text):
    line = pytest.raises(UserError, match=r"^another process .*; go on with: this$")
    with line as raised, in_touch("go on with: this"):
        raise RuntimeError(text)
    assert "\n" not in str(raised.value)
    assert "broke" in str(raised.value) or "heard" in str(raised.value)


def test_other_backends_have_errors_of_their_own():
    with pytest.raises(UserError, match="another process"), in_touch("so"):
        raise distributed.DistBackendError("NCCL: unhandled system error")


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="tensor size"), in_touch("so"):
        torch.ones(2) @ torch.ones(3)
