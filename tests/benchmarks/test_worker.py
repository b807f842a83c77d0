"""What is sent to the process of a contender arrives there."""

import dataclasses
import json

from worker import read_config

from mml.training import TrainingConfig


def test_the_process_of_ours_gets_the_same_configuration():
    config = TrainingConfig(epochs=7)
    assert read_config("ours", json.dumps(dataclasses.asdict(config))) == config
