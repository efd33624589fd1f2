# Copyright (c) mmfdta authors.
"""Commands on a simulated GPU: files and scores of the CPU, no tensors of the GPU."""

# Waits of what a command does once per run, however long it is.
ONCE = (
    'apis/fingerprints.py',
    'mmengine/hooks/ema_hook.py:after_load_checkpoint',
    'mmengine/model/base_module.py',
    'mmengine/model/weight_init.py',
)
SAVING = 'mmengine/utils/misc.py:apply_to < engine/checkpoint_hook.py'

# Two sequences of four and three frames: one batch each, and no ID scores at first.
TESTED = {
    'models/detectors/outputs.py:host_detections': 2,
    'models/trackers/fdta_tracker.py:on_host': 5,
}


def of_frames(counts: dict) -> dict[str, int]:
    """Waits but for those once per run or checkpoint."""
    return {
        place: count
        for place, count in counts['waits'].items()
        if not place.startswith((*ONCE, SAVING))
    }


def test_training(simulated_cuda) -> None:
    """Two epochs of three steps, the second resumed, both validated on seven frames."""
    found = simulated_cuda('case_runs', 'training')
    assert found['iterations'] == 6
    assert found['validations'] == 2
    assert found['counts']['pickled'] == {}
    assert of_frames(found['counts']) == {
        # Three steps, logged one by one.
        'engine/finite_loss_hook.py:_stop_if_broken': 3,
        'engine/message_hub.py:_fetch': 3,
        'engine/optim_wrapper.py:_any_nonzero': 3,
        'models/detectors/matcher.py:__call__': 3,
        **TESTED,
    }, found['counts']['table']


def test_training_in_half_precision(simulated_cuda) -> None:
    found = simulated_cuda('case_runs', 'training', precision='fp16', epochs=1)
    assert found['iterations'] == 3
    assert found['counts']['pickled'] == {}


def test_commands(simulated_cuda) -> None:
    """Test, track, tune and compare seven frames of two sequences."""
    found = simulated_cuda('case_runs', 'commands')
    assert min(found['rows'].values()) > 1
    counts = found['counts']
    assert of_frames(counts['test']) == TESTED, counts['test']['table']
    assert of_frames(counts['track']) == {
        # One sequence of four frames.
        'models/detectors/outputs.py:host_detections': 1,
        'models/trackers/fdta_tracker.py:on_host': 3,
    }, counts['track']['table']
