"""Two processes with DistributedDataParallel over gloo: same gradients as one with all rows."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("PyTorch is built without gloo", allow_module_level=True)

WORKER = """
import sys

import torch
import torch.distributed as dist

import lstmcore.torch as lt

rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
model = torch.nn.Sequential(lt.LSTM(3, 5, 2, batch_first=True, bidirectional=True))
inputs = torch.randn(4, 6, 3)
model(inputs)[0].square().mean().backward()
expected = [parameter.grad.clone() for parameter in model.parameters()]
model.zero_grad()
parallel = torch.nn.parallel.DistributedDataParallel(model)
for _ in range(2):
    parallel.zero_grad()
    parallel(inputs[2 * rank : 2 * rank + 2])[0].square().mean().backward()
for parameter, gradient in zip(model.parameters(), expected, strict=True):
    torch.testing.assert_close(parameter.grad, gradient)
dist.destroy_process_group()
print("same gradients")
"""


def test_two_processes(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script)]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path.cwd(),
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            out, err = worker.communicate(timeout=120)
            assert worker.returncode == 0, err
            assert "same gradients" in out
    finally:
        for worker in workers:
            worker.kill()
