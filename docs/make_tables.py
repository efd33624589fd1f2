# Copyright (c) mmfdta authors.
"""Write the measured figures of the pages and of model-index.yml from the records.

python docs/make_tables.py
python docs/make_tables.py --check
python docs/make_tables.py --add out/benchmark.json --set minidance --seeds 0 \
    --source 'mmfdta benchmark benchmarks/minidance --tune 20 --threads 1'

CONTRIBUTING.md says what a record is, and how a page asks for a table.
"""

import argparse
import hashlib
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure as Plot
from PIL import Image
from run_records import (
    METRICS,
    TUNED,
    Figure,
    RecordSet,
    make_diagnosis_records,
    make_record,
    read_records,
    training_seconds,
)

from mmfdta.checkpoints import PUBLISHED as PUBLISHED_WEIGHTS
from mmfdta.minidance import records as ablation
from mmfdta.structures.tables import markdown_table
from mmfdta.visualization import (
    DifferenceRow,
    TrackerPoint,
    plot_differences,
    plot_plane,
    save_figure,
)

ROOT = Path(__file__).resolve().parents[1]


class OverviewRow(NamedTuple):
    """A tracker in the README: its words, and where its scores are.

    Attributes:
        tracker: Its name, with a link if there is a page.
        association: How it associates.
        config: The config that users start from.
        published: Published weights and the config whose DanceTrack test HOTA counts.
        record: Set and name in the records.
    """

    tracker: str
    association: str
    config: str
    published: tuple[str, str] | None
    record: tuple[str, str]


OVERVIEW = (
    OverviewRow(
        'FDTA',
        'ID words; embeddings shaped by depth, history and contrast',
        'fdta_dancetrack',
        ('dancetrack', 'fdta_dancetrack'),
        ('minidance', 'FDTA'),
    ),
    OverviewRow(
        'MOTIP',
        'ID words; FDTA without its adapters',
        'motip_dancetrack',
        ('motip-dancetrack', 'motip_dancetrack'),
        ('minidance', 'MOTIP'),
    ),
    OverviewRow(
        '[MOTR](docs/motr.md)',
        'queries that pass from frame to frame',
        'motr_dancetrack',
        ('motr-dancetrack', 'motr_dancetrack'),
        ('minidance', 'MOTR'),
    ),
    OverviewRow(
        '[Boxes](docs/boxes.md)',
        "FDTA's ID words on boxes of any detector",
        'boxes_dancetrack',
        None,
        ('minidance', 'Boxes'),
    ),
    OverviewRow(
        'IoU and embedding',
        "overlap and FDTA's embeddings",
        'iou-embedding_fdta-det_mini',
        None,
        ('minidance', 'IoU and embedding'),
    ),
    OverviewRow(
        'C-BIoU',
        'motion and overlap of enlarged boxes',
        'cbiou_yolox-x_dancetrack',
        None,
        ('minidance', 'C-BIoU'),
    ),
    OverviewRow(
        'ByteTrack',
        'motion and overlap',
        'bytetrack_yolox-x_dancetrack',
        ('yolox-x-dancetrack', 'bytetrack_yolox-x_dancetrack'),
        ('minidance', 'ByteTrack'),
    ),
    OverviewRow(
        'BoT-SORT',
        'motion, overlap, camera motion',
        'botsort_yolox-x_dancetrack',
        None,
        ('minidance', 'BoT-SORT'),
    ),
    OverviewRow(
        'OC-SORT',
        'motion and overlap',
        'ocsort_yolox-x_dancetrack',
        ('yolox-x-dancetrack', 'ocsort_yolox-x_dancetrack'),
        ('minidance', 'OC-SORT'),
    ),
    OverviewRow(
        'SORT',
        'motion and overlap',
        'sort_yolox-x_dancetrack',
        None,
        ('minidance', 'SORT'),
    ),
)
# Steps of the paper on DanceTrack's test split, HOTA.
PUBLISHED = {'SA': 0.8, 'TA': 1.0, 'IA': 0.7, 'SA+TA': 1.4, 'TA+IA': 1.6, 'all': 2.3}
# Sets in which the results of a data set are looked for, by its name in the index.
INDEX = {
    'MiniDance-test': ('minidance', 'detectors'),
    'PETS09-S2L1-second-half': ('pets-trained', 'pets-boxes', 'pets', 'gallery'),
}
# The sets that the plots of docs/benchmark_results.md show: scores, and times that were
# taken in one run while nothing else ran.
PLOTTED = ('minidance', 'minidance-times')
# Sets that the plot of PETS shows, each group in a colour: trackers on YOLOX-nano's
# detections, and models that were trained on PETS.
PETS = (('pets', 'pets-boxes'), ('pets-trained',))
# What the parts of the adapter study compare their runs with, by seed.
STUDY = {
    'seeds': ('none',),
    'fresh': ('none',),
    'depth': ('TA+IA', 'all'),
    'conditions': ('none',),
    'lengths': ('none',),
}
# The study counts an interval that excludes zero as a result with so many fresh seeds:
# those from FIRST_FRESH on, which no variant was chosen by.
STUDY_SEEDS = 6
FIRST_FRESH = 4
_BLOCK = re.compile(
    r'<!-- (?P<kind>table|figure|study): (?P<what>[^\n]+?) -->(?P<text>.*?)'
    r'<!-- end -->',
    re.S,
)


# --------------------------------------------------------------------------- tables
def score_table(found: RecordSet) -> str:
    """All trackers with all scores."""
    names = [n for t in found.trackers for n in (t, t + TUNED) if _has(found, n)]
    facts = list(found.rows(names[0])[0].get('facts', {}))
    seeds = [found.seeds(name) for name in names]
    several = max(seeds) > 1
    rows = []
    for name, number in zip(names, seeds, strict=True):
        known = found.rows(name)[0].get('facts', {})
        count = (number,) if several else ()
        rows.append((name, *known.values(), *count, *found.cells(name)))
    head = (found.records[0].get('title', 'tracker'), *facts)
    return markdown_table((*head, *(('seeds',) if several else ()), *found.title), rows)


def _has(found: RecordSet, name: str) -> bool:
    return any(t['name'] == name for r in found.records for t in r['trackers'])


def tuned_table(found: RecordSet) -> str:
    """Trackers at the setting of their config and at the best of val."""
    several = len(found.records) > 1
    rows = []
    for name in found.trackers:
        searched = any(name in (r.get('tuning') or {}) for r in found.records)
        tuned = found.is_tuned(name)
        first = 'config' if tuned or not searched else 'config, best of the trials'
        for side, row, setting in (
            ('published', name, first),
            ('tuned', name + TUNED, 'tuned'),
        ):
            if side == 'published' or tuned:
                count = (found.seeds(row),) if several else ()
                val = found.on_val(name, side)
                rows.append((name, setting, *count, val, *found.cells(row)))
    head = ('tracker', 'settings', *(('seeds',) if several else ()), 'HOTA, val')
    return markdown_table((*head, *found.title), rows)


def overview_table(*asked: RecordSet) -> str:
    """The README's: what others published on DanceTrack, what was measured here.

    Raises:
        ValueError: If the records or the published weights have no such score.
    """
    sets = {found.name: found for found in asked}
    rows = []
    for row in OVERVIEW:
        published = '-' if row.published is None else _published_hota(*row.published)
        of, name = row.record
        found = sets.get(of, RecordSet(of, []))
        figure, tuned = found.figure(name, 'HOTA'), found.figure(name + TUNED, 'HOTA')
        if figure is None:
            raise ValueError(f'found no record of {name} in {of}, expected its HOTA')
        measured = figure.text('HOTA'), tuned.text('HOTA') if tuned else '-'
        # The narrow columns of the README do not break a score.
        measured = tuple(text.replace(' ', '\N{NO-BREAK SPACE}') for text in measured)
        title = f'{row.tracker}: {row.association}'
        rows.append((title, published, *measured, f'`{row.config}`'))
    head = ('tracker: associates by', 'DanceTrack, published', 'MiniDance, measured')
    return markdown_table((*head, 'tuned', 'config'), rows)


def _published_hota(weights: str, config: str) -> str:
    """What the authors state for DanceTrack's test split, with their page."""
    for figure in PUBLISHED_WEIGHTS[weights].figures:
        if (figure.data, figure.split, figure.config) == ('DanceTrack', 'test', config):
            return f'[{figure.scores["HOTA"]:.1f}]({figure.source})'
    raise ValueError(f'found no published HOTA of {config} on the test split')


def difference_table(found: RecordSet) -> str:
    """Differences to the reference: with intervals of one seed, or over the seeds."""
    metrics = ('HOTA', 'DetA', 'AssA')
    names = [n for r in found.records for n in r['differences'] if TUNED not in n]
    several = len(found.records) > 1
    rows = []
    for name in dict.fromkeys(names):
        known = [
            r['differences'][name] for r in found.records if name in r['differences']
        ]
        cells = []
        for metric in metrics:
            of_seeds = [d[metric] for d in known]
            text = Figure.of([d['overall'] for d in of_seeds]).text(metric, sign=True)
            if not several:
                low, high = (100 * of_seeds[0][end] for end in ('low', 'high'))
                text += f' [{low:+.1f}, {high:+.1f}]'
            cells.append(text)
        better = [_better(d) for d in known]
        wins, all_of_them = map(sum, zip(*better, strict=True))
        count = (len(known),) if several else ()
        rows.append((name, *count, *cells, f'{wins}/{all_of_them}'))
    head = (f'minus {found.records[0]["reference"]}', *(('seeds',) if several else ()))
    return markdown_table((*head, *metrics, 'better in'), rows)


def _better(difference: dict) -> tuple[int, int]:
    """In how many sequences a tracker is better, and how many there are."""
    if 'better_in' in difference:
        better, sequences = difference['better_in']
        return better, sequences
    of_sequences = difference['HOTA']['of_sequences']
    return sum(value > 0 for value in of_sequences), len(of_sequences)


def cost_table(found: RecordSet) -> str:
    """Times, memory and size, means over the seeds; of tuned trackers as of others."""
    stages = ('decode', 'preprocess', 'detector', 'association')
    rows = []
    for name in found.trackers:
        known = [t for t in found.rows(name) if t.get('timing')]
        if not known:
            continue
        cells: list[list[float | None]] = [
            [t['timing']['stages'][s]['median'] for t in known] for s in stages
        ]
        cells.append([t['timing']['frames_per_second'] for t in known])
        cells.append([t['peak_memory'] and t['peak_memory'] / 2**20 for t in known])
        cells.append([t['cost']['parameters'] / 1e6 for t in known])
        cells.append([t['cost']['flops'] / 1e9 for t in known])
        digits = (2, 2, 2, 2, 2, 0, 2, 2)
        rows.append((name, *map(_mean_cell, cells, digits)))
    units = ('FPS', 'memory MB', 'params M', 'GFLOPs')
    return markdown_table(('tracker', *(f'{s} ms' for s in stages), *units), rows)


def _mean_cell(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f'{statistics.fmean(known):.{digits}f}' if known else '-'


def step_table(found: RecordSet) -> str:
    """HOTA of each combination of adapters minus that of none, by seed."""
    rows = []
    base = [row['scores']['HOTA'] for row in found.rows('none')]
    for name, published in PUBLISHED.items():
        scores = [row['scores']['HOTA'] for row in found.rows(name)]
        steps = [a - b for a, b in zip(scores, base, strict=True)]
        cells = [Figure.of([step]).text('HOTA', sign=True) for step in steps]
        mean = Figure.of([statistics.fmean(steps)]).text('HOTA', sign=True)
        rows.append((name, f'{published:+.1f}', mean, *cells))
    seeds = [f'seed {number}' for number in range(len(base))]
    return markdown_table(('adapters', 'published', 'mean', *seeds), rows)


def length_table(short: RecordSet, long: RecordSet) -> str:
    """The same adapters after trainings of two lengths."""
    metrics = ('HOTA', 'DetA', 'AssA', 'IDF1')
    rows = []
    for found in (short, long):
        iterations = int(found.name.rpartition('-')[2])
        for name in long.trackers:
            cells = [found.figure(name, metric) for metric in metrics]
            texts = [f.text(m) for f, m in zip(cells, metrics, strict=True) if f]
            seeds = [f'{100 * row["scores"]["HOTA"]:.1f}' for row in found.rows(name)]
            rows.append((name, f'{iterations:,}', *texts, *seeds))
    seeds = [f'HOTA, seed {number}' for number in range(len(long.records))]
    return markdown_table(('adapters', 'iterations', *metrics, *seeds), rows)


# ---------------------------------------------------------------------------- study
Runs = Sequence[ablation.Run]


def read_study(path: Path) -> Runs:
    """Read the runs of the adapter study.

    Args:
        path: The file; none are read if it is not there.

    Raises:
        ValueError: If it cannot be read, or its runs are not scored on as many
            sequences: their scores cannot be compared.
    """
    runs = ablation.read_records(path)
    numbers = sorted({run.sequences or 0 for run in runs})
    if len(numbers) > 1:
        raise ValueError(
            f'{path.name}: found runs scored on {" and ".join(map(str, numbers))} '
            'sequences (0: those of the data), expected one number; keep one kind'
        )
    return runs


def runs_of_part(runs: Runs, part: str) -> list[ablation.Run]:
    """Choose the runs that a part of the adapter study shows, in the order of rows.

    Args:
        runs: Of the study; those on other detectors belong to no part.
        part: One of :data:`STUDY`.
    """
    order = ('none', *PUBLISHED)

    def belongs(run: ablation.Run) -> bool:
        choices = dict(condition='default', iterations=None) | run.choices
        if (choices['detector'], choices['sharing']) != ('deformable-detr', 'default'):
            return False
        if choices['iterations'] or part == 'lengths':
            return bool(choices['iterations']) and part == 'lengths'
        if choices['condition'] != 'default' or part == 'conditions':
            return choices['condition'] != 'default' and part == 'conditions'
        if part == 'fresh':
            return run.seed >= FIRST_FRESH
        return part == 'seeds' or choices['adapters'] in STUDY['depth']

    def place(run: ablation.Run) -> tuple:
        return run.group, order.index(run.choices['adapters']), run.label, run.seed

    return sorted(filter(belongs, runs), key=place)


def compare_parts(runs: Runs, parts: Sequence[str]) -> list[ablation.Difference]:
    """Differences of the runs of parts to their references, each pair once."""
    found: dict[tuple[str, ...], ablation.Difference] = {}
    for part in parts:
        chosen = runs_of_part(runs, part)
        for reference in STUDY[part]:
            for one in ablation.compare(chosen, reference):
                if (reference, one.name, one.score) not in found:
                    found.setdefault((one.name, reference, one.score), one)
    return list(found.values())


def study_tables(runs: Runs, *parts: str) -> str:
    """Scores of the runs of parts, and their differences."""
    found = [run for part in parts for run in runs_of_part(runs, part)]
    if not found:
        return 'No run of this part is recorded.'
    scores = ablation.summarise_seeds(ablation.by_variant(found))
    return f'{scores}\n{study_differences(runs, *parts)}'


def study_differences(runs: Runs, *parts: str) -> str:
    """Differences by seed in parts, with their intervals."""
    found = compare_parts(runs, parts)
    if not found:
        return 'No seed has runs of both a variant and its reference.'
    return ablation.summarise_differences(found)


def study_verdict(runs: Runs, *parts: str) -> str:
    """Say which intervals of HOTA on test exclude zero, and which with fresh seeds."""
    known, fresh = (
        [one for one in found if one.score == 'HOTA' and one.has_interval]
        for found in (compare_parts(runs, parts), compare_parts(runs, ['fresh']))
    )
    if not known:
        return 'No comparison has two seeds, so there is no interval.'
    enough = [one for one in fresh if len(one.by_seed) >= STUDY_SEEDS]
    text = (
        f'Of the {len(known)} comparisons with at least two seeds, the 95 % interval '
        f'of HOTA excludes zero in {_decided(known)}.'
    )
    if not enough:
        return f'{text} No comparison has {STUDY_SEEDS} fresh seeds.'
    return (
        f'{text} With at least {STUDY_SEEDS} fresh seeds (comparisons: {len(enough)}), '
        f'it excludes zero in {_decided(enough)}.'
    )


def _decided(compared: Sequence[ablation.Difference]) -> str:
    """How many intervals exclude zero, and whose."""
    named = [
        f'`{one.name}` against `{one.reference}` ({100 * one.mean:+.1f}, '
        f'{len(one.by_seed)} seeds)'
        for one in compared
        if one.excludes_zero
    ]
    return f'{len(named)}: {"; ".join(named)}' if named else 'none'


STUDIES: dict[str, Callable[..., str]] = dict(
    tables=study_tables, differences=study_differences, verdict=study_verdict
)

TABLES: dict[str, Callable[..., str]] = dict(
    scores=score_table,
    tuned=tuned_table,
    overview=overview_table,
    differences=difference_table,
    cost=cost_table,
    steps=step_table,
    lengths=length_table,
)


def write_block(
    kind: str, what: str, sets: dict[str, RecordSet], runs: Runs = ()
) -> str:
    """Write what stands between two comments of a page.

    Args:
        kind: ``table``, ``figure`` or ``study``.
        what: ``NAME SET ...`` of :data:`TABLES`, with ``of TRACKER, TRACKER`` where
            not all are shown; ``SET / TRACKER / METRIC``; or ``NAME PART ...`` of
            :data:`STUDIES` and :data:`STUDY`.
        sets: The records.
        runs: Those of the adapter study.

    Raises:
        ValueError: If there is no such table, set, tracker, score or part.
    """
    if kind == 'study':
        name, *parts = what.split()
        if name not in STUDIES or not parts or not STUDY.keys() >= set(parts):
            raise ValueError(
                f'found {what!r}, expected one of {", ".join(STUDIES)}, and of the '
                f'parts {", ".join(STUDY)}'
            )
        made = STUDIES[name](runs, *parts)
        return made if name == 'verdict' else f'\n\n{made}\n'
    if kind == 'table':
        what, _, trackers = what.partition(' of ')
        name, *asked = what.split()
        unknown = [one for one in asked if one not in sets]
        if name not in TABLES or not asked or unknown:
            raise ValueError(
                f'found {what!r}, expected one of {", ".join(TABLES)}, and of the '
                f'sets {", ".join(sorted(sets))}'
            )
        found = [sets[one] for one in asked]
        if trackers:
            found = [one.only(trackers.split(', ')) for one in found]
        return f'\n\n{TABLES[name](*found)}\n'
    parts = [part.strip() for part in what.split(' / ')]
    figure = None
    if len(parts) == 3 and parts[0] in sets:
        figure = sets[parts[0]].figure(parts[1], parts[2])
    if figure is None:
        raise ValueError(
            f'found {what!r}, expected SET / TRACKER / METRIC of the records'
        )
    return figure.text(parts[2])


def write_page(
    text: str, sets: dict[str, RecordSet], name: str = '', runs: Runs = ()
) -> str:
    """Put tables and figures between the comments of a page.

    Args:
        text: The page.
        sets: The records.
        name: The page's name, for errors.
        runs: Those of the adapter study.

    Raises:
        ValueError: If a comment asks for what is not there, or has no end.
    """

    def replace(match: re.Match) -> str:
        try:
            made = write_block(match['kind'], match['what'], sets, runs)
        except ValueError as error:
            line = text.count('\n', 0, match.start()) + 1
            raise ValueError(f'{name}, line {line}: {error}') from None
        return f'<!-- {match["kind"]}: {match["what"]} -->{made}<!-- end -->'

    begun = len(re.findall(r'<!-- (?:table|figure|study): ', text))
    if begun != len(_BLOCK.findall(text)) or begun != text.count('<!-- end -->'):
        raise ValueError(
            f'{name}: found {begun} comments that begin a table or figure and '
            f'{text.count("<!-- end -->")} times <!-- end -->, expected pairs'
        )
    return _BLOCK.sub(replace, text)


# ---------------------------------------------------------------------- model index
def write_index(text: str, sets: dict[str, RecordSet]) -> str:
    """Put the measured metrics into the index of models.

    Args:
        text: The index; of a model with ``Origin of Results: measured`` the line
            ``Metrics`` is written.
        sets: The records, in which a model is known by its config.

    Raises:
        ValueError: If there is no record of a measured model.
    """
    head, *models = re.split(r'(?m)^(?=  - Name: )', text)
    made = []
    for model in models:
        name = re.match(r'  - Name: (.+)', model)
        if name is not None and 'Origin of Results: measured' in model:
            dataset = re.search(r'Dataset: (.+)', model)
            of = dataset[1] if dataset else ''
            metrics = _index_metrics(name[1], of, sets)
            model = re.sub(
                r'Metrics: \{.*?\}', f'Metrics: {{{metrics}}}', model, flags=re.S
            )
        made.append(model)
    return head + ''.join(made)


def _index_metrics(config: str, dataset: str, sets: dict[str, RecordSet]) -> str:
    for name in INDEX.get(dataset, ()):
        found = sets.get(name, RecordSet(name, []))
        for tracker in found.trackers:
            if found.rows(tracker)[0].get('config') == config:
                figures = [(m, found.figure(tracker, m)) for m in METRICS[:-1]]
                return ', '.join(f'{m}: {100 * f.mean:.1f}' for m, f in figures if f)
    raise ValueError(
        f'model-index.yml: found no record of {config} on {dataset}; add one, or '
        'leave out its results'
    )


# ---------------------------------------------------------------------------- plots
def make_plots(found: RecordSet, times: RecordSet) -> Iterator[tuple[str, Plot]]:
    """Draw the trackers at the settings of their configs; means over the seeds.

    Args:
        found: Their scores.
        times: Their times.
    """
    names = found.trackers

    def points(across: dict[str, float], metric: str) -> list[TrackerPoint]:
        up = {n: f for n in across if (f := found.figure(n, metric))}
        return [
            TrackerPoint(n, across[n], 100 * up[n].mean, names.index(n)) for n in up
        ]

    detection = {n: 100 * f.mean for n in names if (f := found.figure(n, 'DetA'))}
    labels = ('DetA', 'AssA')
    yield 'benchmark_plane', plot_plane(points(detection, 'AssA'), labels, True)
    timed = {n: [t['timing'] for t in times.rows(n) if t.get('timing')] for n in names}
    speed = {
        name: statistics.fmean(t['frames_per_second'] for t in known)
        for name, known in timed.items()
        if known
    }
    if speed:
        labels = ('frames per second', 'HOTA')
        yield 'benchmark_speed', plot_plane(points(speed, 'HOTA'), labels)
    rows = _difference_rows(found)
    if rows:
        reference = found.records[0]['reference']
        yield 'benchmark_differences', plot_differences(rows, reference, 'HOTA', 0.95)


def _difference_rows(found: RecordSet) -> dict[str, DifferenceRow]:
    """Differences of the first seed, whose sequences and interval they show."""
    record, rows = found.records[0], {}
    for name, by_metric in (record.get('differences') or {}).items():
        if name.endswith(TUNED) or 'of_sequences' not in by_metric['HOTA']:
            continue
        known = by_metric['HOTA']
        rows[name] = DifferenceRow(
            np.array(known['of_sequences']),
            known['overall'],
            known['low'],
            known['high'],
            found.trackers.index(name),
        )
    return rows


def make_pets_plot(groups: Sequence[Sequence[RecordSet]]) -> Plot:
    """Draw the trackers of groups of sets, a colour for each; means over the seeds."""
    points = []
    for number, group in enumerate(groups):
        known = {name: found for found in reversed(group) for name in found.trackers}
        for name, found in known.items():
            x, y = found.figure(name, 'DetA'), found.figure(name, 'AssA')
            if x and y:
                points.append(TrackerPoint(name, 100 * x.mean, 100 * y.mean, number))
    return plot_plane(points, ('DetA', 'AssA'), hota_lines=True)


def digest_of(*sets: RecordSet) -> str:
    """Name what the plots of sets show."""
    records = [record for found in sets for record in found.records]
    text = json.dumps(records, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ----------------------------------------------------------------------------- main
def compare(root: Path, write: bool) -> list[str]:
    """Compare pages, index and plots with the records, and write them if asked to.

    Args:
        root: The checkout.
        write: Write what differs.

    Returns:
        Names of the files that differ.

    Raises:
        ValueError: If a record or a comment of a page cannot be understood.
    """
    docs = root / 'docs'
    sets = read_records(docs / 'records', docs / 'assets' / 'ablation.csv')
    runs = read_study(docs / 'records' / 'adapters.json')
    differ = []
    index = root / 'model-index.yml'
    for page in (root / 'README.md', *sorted(docs.glob('*.md')), index):
        text = page.read_text(encoding='utf-8')
        made = (
            write_index(text, sets)
            if page == index
            else write_page(text, sets, page.name, runs)
        )
        if made != text:
            differ.append(page.relative_to(root).as_posix())
            if write:
                page.write_text(made, encoding='utf-8')
    for name, figure, stamp in _list_plots(sets):
        path = docs / 'assets' / f'{name}.png'
        if _stamp(path) != stamp:
            differ.append(path.relative_to(root).as_posix())
            if write:
                save_figure(figure, path, metadata=dict(Comment=stamp))
    return differ


def _list_plots(sets: dict[str, RecordSet]) -> Iterator[tuple[str, Plot, str]]:
    """Name, plot, and digest of what it shows, where there are records."""
    shown = [sets.get(name, RecordSet(name, [])) for name in PLOTTED]
    if shown[0].records:
        for name, figure in make_plots(*shown):
            yield name, figure, digest_of(*shown)
    groups = [[sets[name] for name in group if name in sets] for group in PETS]
    if all(groups):
        yield 'pets_plane', make_pets_plot(groups), digest_of(*sum(groups, []))


def _stamp(path: Path) -> str | None:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return picture.info.get('Comment')


def add_records(
    files: Sequence[Path], name: str, seeds: Sequence[int | None], source: str
) -> None:
    """Make records of runs, each instead of the one of the same seed.

    Args:
        files: ``benchmark.json`` or ``diagnosis.json`` of each run.
        name: The set that they belong to.
        seeds: Seed of each training; None: nothing was trained.
        source: The command that ran, without what is a matter of the machine.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If one is neither, or seeds and files do not go together.
    """
    if len(files) != len(seeds):
        raise ValueError(
            f'--seeds: found {len(seeds)} for {len(files)} files, expected one for each'
        )
    for path, seed in zip(files, seeds, strict=True):
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            make = make_diagnosis_records if 'bounds' in content else make_record
            record = make(content, name, seed, source)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        end = '' if seed is None else f'-seed{seed}'
        target = ROOT / 'docs' / 'records' / f'{name}{end}.json'
        target.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
        print(target.relative_to(ROOT))


def add_times(files: Sequence[Path], name: str, config: str) -> None:
    """Note how long the trainings of a config took, instead of what is noted of it.

    Args:
        files: ``scalars.json`` of each run of them.
        name: The set that has their scores.
        config: The config that was trained.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If one is no such file.
    """
    path = ROOT / 'docs' / 'records' / 'times.json'
    record = json.loads(path.read_text(encoding='utf-8'))
    known = [
        t for t in record['trackers'] if (t['name'], t['config']) != (name, config)
    ]
    seconds = [round(spent) for spent in training_seconds(files)]
    known.append(dict(name=name, config=config, seconds=seconds, scores={}))
    record['trackers'] = sorted(known, key=lambda t: (t['name'], t['config']))
    path.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    print(path.relative_to(ROOT))


def main() -> int:
    """Write or check; 1 if a page differs from the records, or something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing')
    parser.add_argument(
        '--add',
        nargs='+',
        type=Path,
        metavar='FILE',
        help='benchmark.json or diagnosis.json of runs, or scalars.json of trainings',
    )
    parser.add_argument('--set', help='name of the set of --add, such as minidance')
    parser.add_argument('--source', help='the command that ran')
    parser.add_argument('--trained', help='config of the trainings of scalars.json')
    parser.add_argument(
        '--seeds', nargs='+', type=int, help='seed of each of --add, if trained'
    )
    options = parser.parse_args()
    try:
        if options.add:
            if not options.set or bool(options.source) == bool(options.trained):
                raise ValueError(
                    '--add: expected --set with it, and either --source or --trained'
                )
            if options.trained:
                add_times(options.add, options.set, options.trained)
            else:
                seeds = options.seeds or [None] * len(options.add)
                add_records(options.add, options.set, seeds, options.source)
        differ = compare(ROOT, not options.check)
    except (OSError, ValueError) as error:
        print(f'make_tables.py: {error}', file=sys.stderr)
        return 1
    for name in differ:
        print(name if not options.check else f'{name}: run python docs/make_tables.py')
    return 1 if differ and options.check else 0


if __name__ == '__main__':
    sys.exit(main())
