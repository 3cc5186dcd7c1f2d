"""A search whose trials train with PyTorch in several processes (DistributedDataParallel). Needs torch.

    hpctune run configs/torch_ddp.py                       # on this machine, with 2 CPUs
    hpctune run configs/torch_ddp.py -p gpu -A myproject   # on Slurm: each process is a task of the trial's job

More processes, GPUs and nodes are a matter of ScalingConfig alone.
"""

import tempfile
from pathlib import Path

import hpctune as tune
from hpctune.train import ScalingConfig
from hpctune.train.torch import TorchTrainer


def train(config):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from hpctune.train.torch import get_device, prepare_data_loader, prepare_model

    torch.manual_seed(0)
    x = torch.randn(512, 8)
    y = x @ torch.arange(1.0, 9.0).reshape(8, 1)
    loader = prepare_data_loader(DataLoader(TensorDataset(x, y), batch_size=config["batch_size"], shuffle=True))
    model, first = torch.nn.Linear(8, 1), 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        state = torch.load(Path(checkpoint.path, "state.pt"), map_location="cpu")
        model.load_state_dict(state["model"])
        first = state["epoch"] + 1
    model = prepare_model(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    for epoch in range(first, 10):
        if tune.get_context().get_world_size() > 1:
            loader.sampler.set_epoch(epoch)
        for batch, wanted in loader:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(batch), wanted).backward()
            optimizer.step()
        with torch.no_grad():
            loss = torch.nn.functional.mse_loss(model(x.to(get_device())), y.to(get_device())).item()
        with tempfile.TemporaryDirectory() as directory:
            saved = None
            if tune.get_context().get_world_rank() == 0:
                inner = getattr(model, "module", model)
                torch.save({"model": inner.state_dict(), "epoch": epoch}, Path(directory, "state.pt"))
                saved = tune.Checkpoint.from_directory(directory)
            tune.report({"loss": loss, "epoch": epoch}, checkpoint=saved)


tuner = tune.Tuner(
    TorchTrainer(train, scaling_config=ScalingConfig(num_workers=2, use_gpu=False)),
    param_space={"train_loop_config": {"lr": tune.loguniform(1e-3, 1e-1), "batch_size": tune.choice([16, 32])}},
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        num_samples=4,
        scheduler=tune.schedulers.ASHAScheduler(max_t=10, grace_period=2),
    ),
    run_config=tune.RunConfig(
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        failure_config=tune.FailureConfig(max_failures=2),
        verbose=1,
    ),
    slurm=tune.SlurmOptions(time="0:30:00"),
)
