"""Running networks in batches of one size: no output depends on its neighbours, its place, or the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from npgen.nn.inference import MICRO_BATCH, exact_convolutions, in_micro_batches, on_device

CPU = torch.device("cpu")


def test_every_batch_has_one_size_and_the_last_is_padded():
    images, numbers = np.arange(2 * (MICRO_BATCH + 3)).reshape(-1, 2), np.arange(MICRO_BATCH + 3)
    outputs = np.empty((len(images), 2), np.int64)
    seen = []

    def run(batch, added):
        seen.append((tuple(batch.shape), int(batch[3:].sum())))
        return batch + added[:, None]

    in_micro_batches(run, (images, numbers), outputs, CPU, 1)
    np.testing.assert_array_equal(outputs, images + numbers[:, None])
    assert [shape for shape, _ in seen] == [(MICRO_BATCH, 2)] * 2 and seen[-1][1] == 0


@pytest.mark.parametrize("threads", [1, 3, None])
def test_an_output_depends_on_its_input_alone(threads):
    rng = np.random.default_rng(0)
    images = rng.random((70, 3, 9, 9), np.float32)
    weight = torch.from_numpy(rng.random((5, 3, 3, 3), np.float32))

    def outputs(chosen):
        rows = np.empty((len(chosen), 5, 7, 7), np.float32)
        in_micro_batches(lambda x: torch.nn.functional.conv2d(x, weight), (chosen,), rows, CPU, threads)
        return rows

    everything, order = outputs(images), rng.permutation(70)
    np.testing.assert_array_equal(outputs(images[order]), everything[order])
    np.testing.assert_array_equal(outputs(images[41:42]), everything[41:42])
    assert outputs(images[:0]).shape == (0, 5, 7, 7)


@pytest.mark.parametrize(("threads", "kind"), [(0, ValueError), (1025, ValueError), (1.5, TypeError)])
def test_threads_out_of_range_are_refused(threads, kind):
    with pytest.raises(kind, match="threads must be "):
        in_micro_batches(lambda x: x, (np.zeros((1, 1)),), np.zeros((1, 1)), CPU, threads)


def test_stored_tensors_become_single_precision_with_channels_last():
    tensors = {"weight": np.arange(24, dtype=np.float16).reshape(2, 3, 2, 2), "bias": np.ones(2, np.float16)}
    found = on_device(tensors, CPU)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert found["weight"].is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(found["weight"].numpy(), tensors["weight"])
    np.testing.assert_array_equal(found["bias"].numpy(), tensors["bias"])


def test_cuda_is_kept_exact():
    before = torch.backends.cudnn.allow_tf32
    with exact_convolutions(CPU):
        assert torch.backends.cudnn.allow_tf32 == before
    with exact_convolutions(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before
