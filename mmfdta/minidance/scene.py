# Copyright (c) mmfdta authors.
"""A sequence: its stage, dancers and props, and what a frame of it shows."""

from dataclasses import dataclass

import numpy as np

from .appearance import Appearance, dress_cast
from .backdrop import Backdrop, build_backdrop
from .camera import Camera, encode_depth, hold_camera
from .choreography import choreograph
from .figure import draw_figure
from .options import SPLITS, MiniDanceOptions
from .props import Prop, place_props
from .skeleton import Dance, teach_dances
from .sprite import Sprite

MIN_VISIBILITY = 0.1
"""Dancers that are hidden more than this are not annotated."""
MIN_PIXELS = 12
"""Dancers with fewer visible pixels are not annotated."""


@dataclass(frozen=True)
class Frame:
    """One rendered frame with its ground truth; N dancers are annotated."""

    image: np.ndarray
    """uint8 (H, W, 3), blue, green, red."""
    depth: np.ndarray
    """uint8 (H, W), near = bright."""
    owner: np.ndarray
    """int16 (H, W): the dancer seen at a pixel, -1 for everything else."""
    identities: np.ndarray
    """int64 (N,), index of the dancer."""
    boxes: np.ndarray
    """int64 (N, 4): left, top, width, height in pixels."""
    visibilities: np.ndarray
    """float (N,): visible pixels over pixels of the whole silhouette."""


@dataclass(frozen=True)
class Scene:
    """One sequence. Its frames can be rendered in any order."""

    camera: Camera
    backdrop: Backdrop
    looks: list[Appearance]
    dances: list[Dance]
    ways: np.ndarray
    """float (dancers, F, 2): stage positions and depths."""
    props: list[Prop]
    grain: int
    """Seed of the sensor noise."""

    def dancer(self, index: int, frame: int) -> Sprite:
        """Draw one dancer alone.

        Args:
            index (int): Which dancer.
            frame (int): Index of the frame.

        Returns:
            Sprite: The whole dancer, also where he leaves the image.
        """
        x, z = self.ways[index, frame]
        return draw_figure(
            self.dances[index].pose(frame),
            self.looks[index],
            self.camera.project(frame, x, z),
            self.camera.scale(z),
        )

    def render(self, frame: int) -> Frame:
        """Render a frame and find its ground truth.

        Args:
            frame (int): Index of the frame, from 0.

        Returns:
            Frame: Picture, depth map and annotations.
        """
        image, depth = self.backdrop.view(self.camera, frame)
        owner = np.full(depth.shape, -1, np.int16)
        dancers = [self.dancer(i, frame) for i in range(len(self.looks))]
        layers = [(self.ways[i, frame, 1], i, s) for i, s in enumerate(dancers)]
        layers += [(prop.z, -1, prop.draw(self.camera, frame)) for prop in self.props]
        for z, index, sprite in sorted(layers, key=lambda layer: -layer[0]):
            inside, own = sprite.window(self.camera.width, self.camera.height)
            shape = sprite.silhouette[own]
            sprite.paint_on(image)
            depth[inside][shape] = encode_depth(z)
            owner[inside][shape] = index
        identities, boxes, visibilities = self._annotate(dancers, owner)
        noise = np.random.default_rng([self.grain, frame])
        grain = noise.integers(-4, 5, image.shape, dtype=np.int16)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
        return Frame(image, depth, owner, identities, boxes, visibilities)

    def _annotate(
        self, dancers: list[Sprite], owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes of the silhouettes inside the image, and visibilities."""
        seen = np.bincount(owner[owner >= 0], minlength=len(dancers))
        rows = []
        for index, sprite in enumerate(dancers):
            whole = int(sprite.silhouette.sum())
            visibility = seen[index] / max(whole, 1)
            if seen[index] < MIN_PIXELS or visibility < MIN_VISIBILITY:
                continue
            inside, own = sprite.window(self.camera.width, self.camera.height)
            shape = sprite.silhouette[own]
            y, x = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
            box = inside[1].start + x[0], inside[0].start + y[0]
            rows.append((index, *box, np.ptp(x) + 1, np.ptp(y) + 1, visibility))
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return table[:, 0].astype(int), table[:, 1:5].astype(int), table[:, 5]


def build_scene(options: MiniDanceOptions, split: str, number: int) -> Scene:
    """Make a sequence of a data set; it depends on nothing but the arguments.

    Args:
        options (MiniDanceOptions): The data set.
        split (str): ``train``, ``val`` or ``test``.
        number (int): Which sequence of the split, from 0.

    Returns:
        Scene: The sequence.
    """
    seed = [options.seed, SPLITS.index(split), number]
    rng = np.random.default_rng(seed)
    count = int(rng.integers(options.min_dancers, options.max_dancers + 1))
    camera = hold_camera(
        rng, options.width, options.height, options.frames, options.shake
    )
    return Scene(
        camera=camera,
        backdrop=build_backdrop(rng, camera),
        looks=dress_cast(rng, count, options.similarity),
        dances=teach_dances(rng, count, options.speed),
        ways=choreograph(rng, count, options.frames, options.crossing, options.speed),
        props=place_props(rng, options.max_props, options.frames),
        grain=int(rng.integers(2**31)),
    )
