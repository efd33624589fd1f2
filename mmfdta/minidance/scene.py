# Copyright (c) mmfdta authors.
"""A sequence: the options it follows, and what each of its frames shows."""

from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

import numpy as np

from .figures import Appearance, Dance, Sprite, draw_figure, dress_cast, teach_dances
from .stage import (
    Backdrop,
    Camera,
    Prop,
    build_backdrop,
    choreograph,
    encode_depth,
    hold_camera,
    place_props,
    place_screens,
)

SPLITS = ('train', 'val', 'test')


def _option(
    default: float, low: float, high: float, text: str, later: bool = False
) -> Any:
    """Declare an option with its range and what ``--help`` says of it.

    Data sets that do not name an option that came ``later`` have its default.
    """
    metadata = dict(low=low, high=high, text=text, later=later)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, repr=False)
class MiniDanceOptions:
    """Everything that decides the pixels of a MiniDance data set.

    Equal options give equal files, byte for byte.

    Raises:
        ValueError: If an option is out of its range.
    """

    width: int = _option(256, 64, 4096, 'image width, pixels')
    height: int = _option(144, 48, 4096, 'image height, pixels')
    frames: int = _option(60, 2, 100_000, 'frames of each sequence')
    train: int = _option(40, 0, 10_000, 'training sequences')
    val: int = _option(10, 0, 10_000, 'validation sequences')
    test: int = _option(10, 0, 10_000, 'test sequences')
    min_dancers: int = _option(4, 1, 30, 'fewest dancers of a sequence')
    max_dancers: int = _option(6, 1, 30, 'most dancers of a sequence')
    similarity: float = _option(
        0.2, 0, 1, '1: the same clothes, hair and build; 0: as different as they get'
    )
    crossing: float = _option(
        0.5, 0, 1, 'probability that two adjacent dancers meet in a beat'
    )
    speed: float = _option(
        1.3, 0.1, 4, 'pace of the dance; moves get larger from frame to frame'
    )
    shake: float = _option(
        1.0, 0, 10, 'standard deviation of the camera shake, percent of the width'
    )
    max_props: int = _option(2, 0, 50, 'most distractor shapes of a sequence')
    jpeg_quality: int = _option(92, 1, 100, 'quality of the images')
    seed: int = _option(0, 0, 2**63 - 1, 'seed of the whole set')
    gap: float = _option(
        1.0, 0, 4, 'depth between two who meet, relative to 0.10 to 0.22', later=True
    )
    screens: int = _option(
        0, 0, 10, 'standing screens, which hide who passes behind them', later=True
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            low, high = option.metadata['low'], option.metadata['high']
            if option.name == 'max_dancers':
                low = self.min_dancers
            if not low <= value <= high:
                raise ValueError(
                    f'MiniDance option {option.name} = {value}, expected {low} to '
                    f'{high}.'
                )

    def __repr__(self) -> str:
        # Trainings are known by this text: as it was while there was no more to say.
        named = [f for f in fields(self) if not self._is_unsaid(f)]
        values = [f'{f.name}={getattr(self, f.name)!r}' for f in named]
        return f'{type(self).__name__}({", ".join(values)})'

    def _is_unsaid(self, option: Field) -> bool:
        return option.metadata['later'] and getattr(self, option.name) == option.default

    def sequences(self, split: str) -> int:
        """Return the number of sequences of ``train``, ``val`` or ``test``."""
        return getattr(self, split)

    def as_dict(self) -> dict[str, int | float]:
        """Return the options as plain values."""
        return asdict(self)

    def differences(self, other: dict) -> list[str]:
        """Describe where stored options differ from these.

        Args:
            other: Options as :meth:`as_dict` gave them.

        Returns:
            One ``name: stored, asked for`` per difference.
        """
        usual = {f.name: f.default for f in fields(self) if f.metadata['later']}
        there = {**usual, **other}
        return [
            f'{f.name}: {there.get(f.name)!r} there, {getattr(self, f.name)!r} wanted'
            for f in fields(self)
            if there.get(f.name) != getattr(self, f.name)
        ]


MIN_VISIBILITY = 0.1
"""Dancers with a smaller share of visible pixels are not annotated."""
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
            index: Which dancer.
            frame: Index of the frame.

        Returns:
            The whole dancer, also the part outside the image.
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
            frame: Index of the frame, from 0.

        Returns:
            Picture, depth map and annotations.
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
        options: The data set.
        split: ``train``, ``val`` or ``test``.
        number: Which sequence of the split, from 0.

    Returns:
        The sequence.
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
        ways=choreograph(
            rng,
            count,
            options.frames,
            options.crossing,
            options.speed,
            options.gap,
        ),
        props=[
            *place_props(rng, options.max_props, options.frames),
            *place_screens(rng, options.screens, options.frames),
        ],
        grain=int(rng.integers(2**31)),
    )
