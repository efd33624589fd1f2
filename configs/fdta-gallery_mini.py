# FDTA with a gallery on MiniDance: dancers who return get their old identity
# (docs/gallery.md). Takes a checkpoint of fdta_mini.py.
_base_ = ['./fdta_mini.py']

model = dict(
    tracker=dict(
        _delete_=True,
        type='GalleryTracker',
        tracker=_base_.model.tracker,
        threshold=0.5,
    )
)
