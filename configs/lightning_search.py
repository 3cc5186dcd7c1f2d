"""A search over PyTorch Lightning models. Needs lightning.

hpctune run configs/lightning_search.py
"""

import hpctune as tune


def train(config):
    import lightning
    import torch

    from hpctune.integration.pytorch_lightning import TuneReportCheckpointCallback

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(8, config["units"]), torch.nn.ReLU(), torch.nn.Linear(config["units"], 1)
            )

        def training_step(self, batch, index):
            return torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1])

        def validation_step(self, batch, index):
            self.log("val_loss", torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), config["lr"])

    torch.manual_seed(0)
    x = torch.randn(256, 8)
    data = torch.utils.data.TensorDataset(x, (x[:, :1] * x[:, 1:2]).tanh())
    first, second = torch.utils.data.random_split(data, [192, 64])
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"}, on="validation_end")],
    )
    loader = torch.utils.data.DataLoader
    checkpoint = tune.get_checkpoint()
    path = None if checkpoint is None else f"{checkpoint.path}/checkpoint"
    trainer.fit(Model(), loader(first, 32, shuffle=True), loader(second, 64), ckpt_path=path)


tuner = tune.Tuner(
    train,
    param_space={"lr": tune.loguniform(1e-4, 1e-1), "units": tune.choice([8, 16, 32])},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=3),
    run_config=tune.RunConfig(name="lightning"),
)
