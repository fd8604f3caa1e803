"""Which GPUs of a machine the benchmark's runs get."""

import pytest

pytest.importorskip("submitit")

from el_plugins.nmt.benchmark.schedule import visible_gpus


def test_only_the_gpus_that_are_left_to_this_process():
    assert visible_gpus(2, None) == [0, 1]
    assert visible_gpus(2, "2,3") == [2, 3]
    assert visible_gpus(1, "5, -1") == [5]
    assert visible_gpus(0, "") == []
    with pytest.raises(ValueError, match="by numbers for --cluster local, got 'GPU-8d1f'"):
        visible_gpus(1, "GPU-8d1f")
