# PETS09-S2L1, 795 frames of a university yard: settings are chosen on the first half
# and reported on the second. `mmfdta prepare-dataset pets` writes it.
input_size = 416  # the short side of the input
test_pipeline = [
    dict(
        type='ClipSteps',
        transforms=[
            dict(type='OpenClip'),
            dict(type='ClipResize', short=input_size, max_long=1000),
            dict(type='DecodeClip', exact=True),
        ],
    ),
    dict(type='PackClipInputs'),
]

val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='SequenceSampler'),
    dataset=dict(
        type='PETSDataset',
        data_root='data/pets',
        split='train',
        half='first',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], half='second')
)

# Scored by the rules of the data set.
val_evaluator = dict(type='MOTMetric', metric=['HOTA', 'CLEAR', 'Identity'])
test_evaluator = val_evaluator
