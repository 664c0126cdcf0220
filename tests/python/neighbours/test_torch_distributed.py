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

rank, store, way = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
kind = lt.LSTM if way == "module" else torch.nn.LSTM
model = torch.nn.Sequential(kind(3, 5, 2, batch_first=True, bidirectional=True))
inputs = torch.randn(4, 6, 3)
model(inputs)[0].square().mean().backward()
expected = [parameter.grad.clone() for parameter in model.parameters()]
model.zero_grad()
if way == "accelerate":
    lt.accelerate()
parallel = torch.nn.parallel.DistributedDataParallel(model)
for _ in range(2):
    parallel.zero_grad()
    parallel(inputs[2 * rank : 2 * rank + 2])[0].square().mean().backward()
for parameter, gradient in zip(model.parameters(), expected, strict=True):
    torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-6)
calls = {"lstm.input": 2} if way == "accelerate" else {}
assert lt.accelerated_calls() == (calls, {})
dist.destroy_process_group()
print("same gradients")
"""


@pytest.mark.parametrize("way", ["module", "accelerate"])
def test_two_processes(way, tmp_path):
    """With lstmcore's module, and with PyTorch's under `accelerate`."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store"), way],
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
            worker.communicate()
