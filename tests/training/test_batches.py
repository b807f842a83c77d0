"""`mml.training.batches`: every image once, in batches that devices and processes can share."""

import numpy as np
import pytest

from mml.training import ShuffledBatches


def test_every_image_once_per_epoch_in_a_new_order():
    batches = ShuffledBatches(np.arange(45), np.arange(45), batch_size=20, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        batches.shuffle(epoch)
        assert [len(x) for x, _, _ in batches] == [20, 20, 20]
        assert [weights.sum() for _, _, weights in batches] == [20, 20, 5]
        assert all((x == y).all() for x, y, _ in batches)
        orders.append(np.concatenate([x[weights == 1] for x, _, weights in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), np.arange(45))
    assert (orders[0] != orders[1]).any() and (orders[0] == orders[2]).all()
    others = ShuffledBatches(np.arange(45), np.arange(45), batch_size=20, seed=2)
    assert any((ours[0] != theirs[0]).any() for ours, theirs in zip(batches, others, strict=True)), "the seed counts"


def test_processes_share_each_batch():
    whole = ShuffledBatches(np.arange(45), np.arange(45), 16, seed=3, devices=8)
    shares = [
        ShuffledBatches(np.arange(45), np.arange(45), 16, seed=3, devices=8, process=process, processes=2)
        for process in range(2)
    ]
    for index in range(3):
        for expected, *parts in zip(whole[index], *(share[index] for share in shares), strict=True):
            assert [len(part) for part in parts] == [8, 8]
            np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("images, expected", [(5, [8]), (8, [8]), (9, [16]), (16, [16]), (17, [16, 16])])
def test_every_batch_can_be_shared(images, expected):
    batches = ShuffledBatches(np.arange(images), np.arange(images), 16, seed=0, devices=8)
    assert [len(x) for x, _, _ in batches] == expected
    chosen = np.concatenate([x[weights == 1] for x, _, weights in batches])
    np.testing.assert_array_equal(np.sort(chosen), np.arange(images))


def test_what_cannot_be_shared():
    with pytest.raises(
        ValueError, match="`batch_size` must be a multiple of 3, the number of devices.*batch_size=16"
    ):
        ShuffledBatches(np.arange(9), np.arange(9), 16, seed=0, devices=3)
    with pytest.raises(ValueError, match="`devices` must be a multiple of 3, the number of processes.*devices=8"):
        ShuffledBatches(np.arange(9), np.arange(9), 16, seed=0, devices=8, processes=3)
    for process in (-1, 2):
        with pytest.raises(ValueError, match=f"`process` must be from 0 to 1. Received: process={process}"):
            ShuffledBatches(np.arange(9), np.arange(9), 16, seed=0, devices=2, processes=2, process=process)
    with pytest.raises(ValueError, match="`seed` must not be negative. Received: seed=-1"):
        ShuffledBatches(np.arange(9), np.arange(9), 16, seed=-1)
