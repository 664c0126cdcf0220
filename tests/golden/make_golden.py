"""Write the golden files from PyTorch; run it by hand when a case is added, with torch installed.

    python tests/golden/make_golden.py

``lstm.npz``: inputs, weights, outputs and gradients of ``torch.nn.LSTM`` in float64, case by case.
``training.npz``: initial weights, data and the losses of ten Adam steps of embedding, LSTM, linear.
"""

from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent

# name: (input, hidden, layers, bidirectional, batch, steps, lengths), each with its reason.
CASES = {
    "one_layer": (3, 5, 1, False, 2, 6, None),  # H below a vector of every instruction set
    "two_layers_bidirectional": (4, 9, 2, True, 3, 7, None),  # H not a multiple of a vector
    "ragged": (2, 6, 1, True, 4, 8, (3, 8, 1, 5)),  # the reverse walk starts at each row's own end
    "long": (2, 4, 1, False, 1, 200, None),  # errors that grow with time
}


def engine_names(module: torch.nn.LSTM) -> dict[str, torch.Tensor]:
    """Return PyTorch's parameters by the engine's names, with the first of the two biases."""
    return {
        name.replace("bias_ih", "bias"): parameter
        for name, parameter in module.named_parameters()
        if not name.startswith("bias_hh")
    }


def lstm_case(seed: int, case: tuple) -> dict[str, np.ndarray]:
    size, hidden, layers, bidirectional, batch, steps, lengths = case
    torch.manual_seed(seed)
    module = torch.nn.LSTM(
        size, hidden, layers, bidirectional=bidirectional, batch_first=True, dtype=torch.float64
    )
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("bias_hh"):
                parameter.zero_()
    cells = layers * (2 if bidirectional else 1)
    data = {"x": torch.randn(batch, steps, size, dtype=torch.float64)}
    data["h0"], data["c0"] = torch.randn(2, cells, batch, hidden, dtype=torch.float64)
    for tensor in data.values():
        tensor.requires_grad_()
    sequence = data["x"]
    if lengths is not None:
        sequence = torch.nn.utils.rnn.pack_padded_sequence(
            sequence, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    y, (h, c) = module(sequence, (data["h0"], data["c0"]))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
    outputs = {"y": y, "h": h, "c": c}
    seeds = {f"d{name}": torch.randn_like(value) for name, value in outputs.items()}
    sum((value * seeds[f"d{name}"]).sum() for name, value in outputs.items()).backward()
    weights = engine_names(module)
    arrays = {**data, **outputs, **seeds, **weights}
    gradients = {f"d{name}": tensor.grad for name, tensor in {**data, **weights}.items()}
    stored = {name: tensor.detach().numpy() for name, tensor in {**arrays, **gradients}.items()}
    if lengths is not None:
        stored["lengths"] = np.array(lengths)
    return stored


def training() -> dict[str, np.ndarray]:
    torch.manual_seed(11)
    embedding = torch.nn.Embedding(12, 6, dtype=torch.float64)
    lstm = torch.nn.LSTM(6, 10, batch_first=True, dtype=torch.float64)
    linear = torch.nn.Linear(10, 3, dtype=torch.float64)
    with torch.no_grad():
        lstm.bias_hh_l0.zero_()
    lstm.bias_hh_l0.requires_grad_(False)
    parameters = {
        "embedding.embeddings": embedding.weight,
        **{f"lstm.{name}": parameter for name, parameter in engine_names(lstm).items()},
        "dense.kernel": linear.weight,
        "dense.bias": linear.bias,
    }
    start = {name: parameter.detach().numpy().copy() for name, parameter in parameters.items()}
    start["dense.kernel"] = start["dense.kernel"].T.copy()
    x, labels = torch.randint(0, 12, (8, 9)), torch.randint(0, 3, (8,))
    # Keras' epsilon: the default of the optimizer that the test compiles.
    optimizer = torch.optim.Adam(list(parameters.values()), lr=0.02, eps=1e-7)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        y, _ = lstm(embedding(x))
        loss = torch.nn.functional.cross_entropy(linear(y[:, -1]), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {**start, "x": x.numpy(), "labels": labels.numpy(), "losses": np.array(losses)}


if __name__ == "__main__":
    arrays = {
        f"{name}/{key}": value
        for seed, (name, case) in enumerate(CASES.items())
        for key, value in lstm_case(seed, case).items()
    }
    np.savez_compressed(FOLDER / "lstm.npz", **arrays)
    np.savez_compressed(FOLDER / "training.npz", **training())
