# Copyright (c) mmfdta authors.
"""What a MiniDance data set is made of: sizes and difficulty knobs."""

from dataclasses import asdict, dataclass, fields

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class MiniDanceOptions:
    """Everything that decides the pixels of a MiniDance data set.

    Equal options give equal files, byte for byte.
    """

    width: int = 256
    """Image width, pixels."""
    height: int = 144
    """Image height, pixels."""
    frames: int = 60
    """Frames of a sequence."""
    train: int = 40
    """Training sequences."""
    val: int = 10
    """Validation sequences."""
    test: int = 10
    """Test sequences."""
    min_dancers: int = 4
    """Fewest dancers of a sequence."""
    max_dancers: int = 6
    """Most dancers of a sequence."""
    similarity: float = 0.2
    """Likeness of the dancers of a sequence: 1 = the same clothes, hair and
    build, 0 = as different as they get."""
    crossing: float = 0.5
    """Probability that two neighbours cross within a beat of the dance."""
    speed: float = 1.3
    """Pace of the dance; moves get larger from frame to frame."""
    shake: float = 1.0
    """Amplitude of the camera shake, percent of the image width."""
    max_props: int = 2
    """Most distractor shapes of a sequence."""
    jpeg_quality: int = 92
    """Quality of the images, 1..100."""
    seed: int = 0
    """Seed of the whole set."""

    def __post_init__(self) -> None:
        self._within('width', 64, 4096)
        self._within('height', 48, 4096)
        self._within('frames', 2, 100_000)
        for split in SPLITS:
            self._within(split, 0, 10_000)
        self._within('min_dancers', 1, 30)
        self._within('max_dancers', self.min_dancers, 30)
        self._within('similarity', 0, 1)
        self._within('crossing', 0, 1)
        self._within('speed', 0.1, 4)
        self._within('shake', 0, 10)
        self._within('max_props', 0, 50)
        self._within('jpeg_quality', 1, 100)
        self._within('seed', 0, 2**63 - 1)

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ValueError(
                f'MiniDance option {name} = {value}, expected {low} to {high}.'
            )

    def sequences(self, split: str) -> int:
        """Return the number of sequences of ``train``, ``val`` or ``test``."""
        return getattr(self, split)

    def as_dict(self) -> dict[str, int | float]:
        """Return the options as plain values."""
        return asdict(self)

    def differences(self, other: dict) -> list[str]:
        """Describe where stored options differ from these.

        Args:
            other (dict): Options as :meth:`as_dict` gave them.

        Returns:
            list[str]: One ``name: stored, asked for`` a difference.
        """
        return [
            f'{f.name}: {other.get(f.name)!r} there, {getattr(self, f.name)!r} wanted'
            for f in fields(self)
            if other.get(f.name) != getattr(self, f.name)
        ]
