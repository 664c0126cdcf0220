"""Models and training loops of other libraries, which know nothing of lstmcore.

They are run by the tests of `lstmcore.torch.accelerate` and timed by `python -m bench others`. Each
function returns one whose every call does the same work anew and returns tensors with its results.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Work = Callable[[], list[torch.Tensor]]


def resemblyzer(seconds: float = 10.0) -> Work:
    """Embed a sound by Resemblyzer's pretrained encoder of voices (3 layers of 256 units).

    The sound is drawn, not spoken: a chord whose pitch and loudness change.
    """
    from resemblyzer import VoiceEncoder, sampling_rate

    encoder = VoiceEncoder("cpu", verbose=False)
    time = np.arange(int(seconds * sampling_rate)) / sampling_rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / sampling_rate
    voice = sum(np.sin(part * pitch) / part for part in range(1, 12))
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    sound = (0.1 * np.abs(np.sin(2 * np.pi * 2 * time)) * voice + noise).astype(np.float32)

    def embed() -> list[torch.Tensor]:
        whole, parts, _ = encoder.embed_utterance(sound, return_partials=True)
        return [torch.from_numpy(whole), torch.from_numpy(parts)]

    return embed


def lightning(epochs: int = 4, rows: int = 320) -> Work:
    """Train a classifier of packed sequences by Lightning's `Trainer`, with clipped gradients.

    The task: is the mean of the first feature, over 5 to 40 steps, above 0?
    """
    import lightning as pl  # type: ignore[import-not-found,unused-ignore]
    from torch.nn.utils.rnn import pack_sequence

    class Classifier(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(8, 64, 2, bidirectional=True, dropout=0.1)
            self.linear = torch.nn.Linear(128, 2)
            self.losses: list[torch.Tensor] = []

        def training_step(self, batch: Any, _: int) -> Any:
            sequences, labels = batch
            _, (h, _) = self.lstm(sequences)
            scores = self.linear(torch.cat([h[-2], h[-1]], 1))
            loss = torch.nn.functional.cross_entropy(scores, labels)
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)

    def collate(batch: Any) -> Any:
        labels = torch.tensor([int(part[:, 0].mean() > 0) for part in batch])
        return pack_sequence(batch, enforce_sorted=False), labels

    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 41, (rows,), generator=generator).tolist()
    data = [torch.randn(steps, 8, generator=generator) for steps in lengths]

    def train() -> list[torch.Tensor]:
        pl.seed_everything(0, verbose=False)
        model = Classifier()
        loader: Any = torch.utils.data.DataLoader(
            data,  # type: ignore[arg-type,unused-ignore]
            32,
            shuffle=True,
            collate_fn=collate,
        )
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice about workers
            trainer.fit(model, loader)
        return [torch.stack(model.losses), *(part.detach() for part in model.parameters())]

    return train


def recurrent_ppo(steps: int = 8192) -> Work:
    """Train sb3-contrib's RecurrentPPO on CartPole; the results are the times of ends and rewards.

    Actor and critic have an LSTM of 64 units each.
    """
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Episodes(BaseCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[tuple[float, float]] = []

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    self.ends.append((self.num_timesteps, info["episode"]["r"]))
            return True

    def train() -> list[torch.Tensor]:
        episodes = Episodes()
        model = RecurrentPPO(
            "MlpLstmPolicy",
            make_vec_env("CartPole-v1", n_envs=8, seed=0),
            n_steps=64,
            batch_size=128,
            n_epochs=6,
            gae_lambda=0.9,
            learning_rate=1e-3,
            policy_kwargs={"lstm_hidden_size": 64, "net_arch": []},
            seed=0,
            device="cpu",
        )
        model.learn(steps, callback=episodes)
        return [*torch.tensor(episodes.ends).unbind(1)]

    return train
