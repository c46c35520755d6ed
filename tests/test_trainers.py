"""The Trainer of transformers as the reading runs it."""

from __future__ import annotations

from reading import story

from freezelint.source.story import Backward, GradFlag, OptimizerBuilt, Step, TrainMode, ZeroGrad


def test_a_trainer_of_transformers_is_run_as_it_runs() -> None:
    read = story(
        """
        from transformers import Trainer, TrainerCallback
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)
            def forward(self, x):
                return self.head(self.body(x))
        class Open(TrainerCallback):
            def on_train_begin(self, args, state, control, model=None, **kwargs):
                model.body.requires_grad_(True)
        class Mine(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                outputs = model(inputs["x"])
                loss = F.mse_loss(outputs, inputs["y"])
                return (loss, outputs) if return_outputs else loss
        net = Net()
        net.body.requires_grad_(False)
        trainer = Mine(model=net, callbacks=[Open()])
        trainer.train()
        """
    )
    told = (OptimizerBuilt, GradFlag, TrainMode, Backward, Step, ZeroGrad)
    kinds = [type(event) for event in read.events if isinstance(event, told)]
    assert kinds == [GradFlag, OptimizerBuilt, ZeroGrad, GradFlag, *[TrainMode, Backward, Step, ZeroGrad] * 2]
    (built,) = read.of(OptimizerBuilt)
    assert {param.owner.name for param in built.optimizer.params if param.owner} == {"head"}
    assert all(event.node is not None for event in read.of(Backward))


def test_a_trainer_takes_the_optimizer_it_is_given() -> None:
    read = story(
        """
        from transformers import Trainer
        net = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        Trainer(model=net, optimizers=(optimizer, None)).train()
        """
    )
    assert len(read.of(OptimizerBuilt)) == 1
    assert [event.optimizer for event in read.of(Step)] == [read.optimizers[0]] * 2


def test_a_loop_that_a_trainer_writes_anew_is_not_guessed() -> None:
    read = story(
        """
        from transformers import Trainer
        class Mine(Trainer):
            def _inner_training_loop(self, *args, **kwargs):
                return run(self)
        Mine(model=nn.Linear(2, 1)).train()
        """
    )
    assert not read.trains
    assert all(module.escaped for module in read.modules)
