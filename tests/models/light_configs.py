# Copyright (c) mmfdta authors.
"""The models of the project's configs, with fewer layers and queries."""


def light(model: dict) -> dict:
    """Fewer layers, queries and blocks, and the same heads."""
    detector = model.get('detector', model)
    detector = detector.get('host', detector)
    if 'roi_head' in detector:
        detector.rpn_head.num_proposals = detector.test_cfg.rcnn.max_per_img = 8
        detector.roi_head.update(num_stages=2, stage_loss_weights=[1, 1])
        del detector.roi_head.bbox_head[2:], detector.train_cfg.rcnn[2:]
    else:
        detector.num_queries = 8
        detector.encoder.num_layers = 1
        detector.decoder.num_layers = 2
    detector.backbone.pop('init_cfg', None)
    if detector.backbone.get('depth') == 50:
        detector.backbone.update(depth=18)
        levels = detector.backbone.out_indices
        detector.neck.in_channels = [64 * 2**level for level in levels]
    for part in ('temporal_adapter', 'id_decoder'):
        if model.get(part):
            model[part].num_layers = 2
    if 'clip_detection' in model:
        model.clip_detection.num_grad_frames = 1
    if model.type == 'MOTR':
        model.tracker.update(newborn_thr=0.0, keep_thr=0.0)
    elif 'tracker' in model:
        model.tracker.update(det_thr=0.0, newborn_thr=0.0)
    return model


# A config of each base model; those of other data sets differ in sizes that do not
# attend.
FAMILIES = dict(
    deformable_detr_r50='deformable_detr_dancetrack',
    deformable_detr_small='deformable_detr_mini',
    fdta_ddq_r50='fdta_ddq-r50_dancetrack',
    fdta_deformable_detr_two_stage_small='fdta_deformable-detr-two-stage_mini',
    fdta_dino_r50='fdta_dino-r50_dancetrack',
    fdta_dino_small='fdta_dino-r50_mini',
    fdta_r50='fdta_dancetrack',
    fdta_small='fdta_mini',
    fdta_sparse_rcnn_r50='fdta_sparse-rcnn-r50_dancetrack',
    motip='motip_dancetrack',
    motr_r50='motr_dancetrack',
    motr_small='motr_mini',
)
