# CrowdHuman: as DanceTrack, of static images that become clips by a constant shift. For
# training only; take the test data of the set that you test on.
_base_ = ['./dancetrack.py']

train_pipeline = [t for t in _base_.train_pipeline if t['type'] != 'LoadClipDepth']
train_dataloader = dict(
    dataset=dict(
        type='CrowdHumanClipDataset',
        data_root='data/CrowdHuman',
        pipeline=train_pipeline,
    )
)
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
