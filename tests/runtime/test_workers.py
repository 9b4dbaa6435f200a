"""Threads in which torch computes on one core each."""

import os
import subprocess
import sys

import pytest
import torch

from npgen.runtime import torch_workers


def test_each_thread_computes_on_one_core():
    before = torch.get_num_threads()
    assert list(torch_workers(3).map(lambda _: torch.get_num_threads(), range(9))) == [1] * 9
    assert torch.get_num_threads() == before


def test_the_same_count_has_the_same_pool():
    assert torch_workers(2) is torch_workers(2)
    assert torch_workers(2) is not torch_workers(3)
    assert torch_workers(None) is torch_workers(torch.get_num_threads())


FORK = """
import os
import pytest
import torch
from npgen.runtime import torch_workers, workers

torch_workers(2)
with workers._lock:
    child = os.fork()
    if child == 0:
        os._exit(sum(torch_workers(2).map(lambda _: torch.get_num_threads(), range(4))))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_a_pool_of_its_own():
    # In a process of its own: a fork of this one would take pytest along.
    result = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "4\n"
