"""Training runs, each in a folder of its own: trained once, resumed after an interruption, loaded when complete."""

from mml.training.batches import ShuffledBatches
from mml.training.checkpoints import Checkpoint
from mml.training.recipe import RECIPES, TrainingConfig, compile_model
from mml.training.runs import Run, train

__all__ = ["RECIPES", "Checkpoint", "Run", "ShuffledBatches", "TrainingConfig", "compile_model", "train"]
