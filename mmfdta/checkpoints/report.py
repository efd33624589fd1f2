# Copyright (c) mmfdta authors.
"""What became of every tensor of a checkpoint."""

from collections import Counter
from dataclasses import dataclass, field

USED, GENERATED, DROPPED = 'used', 'generated', 'dropped'


@dataclass(frozen=True)
class TensorRecord:
    """The fate of one tensor.

    Attributes:
        source: Name in the source; None if it was generated.
        target: Name in the result; None if it was dropped.
        reason: Why it was generated or dropped, or what was done to it.
    """

    source: str | None
    target: str | None
    reason: str = ''

    @property
    def fate(self) -> str:
        """``used``, ``generated`` or ``dropped``."""
        if self.source is None:
            return GENERATED
        return DROPPED if self.target is None else USED


@dataclass
class ConversionReport:
    """Account of a conversion.

    Attributes:
        family: Key of the source's family.
        title: Its name for people.
        target: Key of the naming that was written.
        classes: Which classes the head kept, '' if there is no head.
        records: One for every tensor of the source and of the result.
        absent: Parts of the model that the source does not have at all.
        optional: Names that this source may lack and does.
        incomplete: Names that the source should have and lacks.
    """

    family: str
    title: str
    target: str
    classes: str = ''
    records: list[TensorRecord] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of used, generated and dropped tensors."""
        counts = Counter(record.fate for record in self.records)
        return {fate: counts[fate] for fate in (USED, GENERATED, DROPPED)}

    def reasons(self, fate: str) -> dict[str, int]:
        """Number of tensors by reason."""
        return dict(Counter(r.reason for r in self.records if r.fate == fate))

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return {
            'family': self.family,
            'title': self.title,
            'target': self.target,
            'classes': self.classes,
            'counts': self.counts,
            'not_in_the_source': {'parts': self.absent, 'tensors': self.optional},
            'incomplete': self.incomplete,
            'tensors': [
                {'fate': r.fate, 'source': r.source, 'target': r.target}
                | ({'reason': r.reason} if r.reason else {})
                for r in self.records
            ],
        }

    def summary(self) -> str:
        """A few lines for people."""
        lines = [
            f'found:     {self.title} ({self.family})',
            f'to:        {self.target}',
        ]
        if self.classes:
            lines.append(f'classes:   {self.classes}')
        for fate, count in self.counts.items():
            lines.append(f'{fate + ":":<11}{count}')
            lines += [
                f'{"":<11}{number} {reason}'
                for reason, number in self.reasons(fate).items()
                if reason
            ]
        missing = self.absent + self.optional
        if missing:
            lines.append(
                'not in the source, so they start from scratch where the config has '
                f'them: {", ".join(missing)}'
            )
        return '\n'.join(lines)
