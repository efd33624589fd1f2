# Copyright (c) mmfdta authors.
"""Write docs/model_zoo.md, and the commands of docs/published_weights.md.

python docs/make_model_zoo.py
python docs/make_model_zoo.py --check
python docs/make_model_zoo.py --count

`--count` builds every model and writes its number of parameters into model-index.yml.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import make_tables
import yaml
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from run_records import RecordSet, read_records

from mmfdta.apis.progress import say_bytes
from mmfdta.apis.weights import commands_of, not_published
from mmfdta.checkpoints.published import (
    PUBLISHED,
    TOLERANCE,
    PublishedScores,
    PublishedWeights,
)
from mmfdta.minidance.records import Run
from mmfdta.minidance.records import read_records as read_runs

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / 'model-index.yml'
PAGE = ROOT / 'docs' / 'model_zoo.md'
PUBLISHED_PAGE = ROOT / 'docs' / 'published_weights.md'
METRICS = tuple(TOLERANCE)
NUMBERS = (
    *METRICS,
    'box AP',
    'params M',
    'memory MB',
    'iterations',
    'seeds',
    'score',
    'size',
)
# End of a config's name -> title of the data set, in the order of the page.
DATA = {
    'dancetrack': 'DanceTrack',
    'sportsmot': 'SportsMOT',
    'bft': 'BFT',
    'mot17': 'MOT17',
    'pets': 'PETS09-S2L1',
    'mini': 'MiniDance',
    'mini_demo': 'MiniDance',
    'coco': 'COCO',
}
# Split that measured scores are of, with its name in the index.
MEASURED = {
    'MiniDance': ('test', 'MiniDance-test'),
    'PETS09-S2L1': ('second half', 'PETS09-S2L1-second-half'),
}
# The training that comes first: its weights start that of the config.
FIRST_STAGE = {
    'fdta_mini': 'deformable_detr_mini',
    'fdta-depth-attention_mini': 'deformable_detr_mini',
    'fdta-gallery_mini': 'deformable_detr_mini',
    'motip_mini': 'deformable_detr_mini',
    'motr_mini': 'deformable_detr_mini',
    'fdta_dino-r50_mini': 'dino-r50_mini',
    'motip_dino-r50_mini': 'dino-r50_mini',
    'fdta_deformable-detr-two-stage_mini': 'deformable-detr-two-stage_mini',
    'fdta_pets': 'deformable_detr_pets',
    'motip_pets': 'deformable_detr_pets',
    'fdta_dino-r50_pets': 'dino-r50_pets',
    'dino-r50_pets': 'dino-r50_mini',
    'boxes_pets': 'boxes_mini',
}
# Association that was trained without the detector that it is scored on.
TRAINED_AS = {
    'boxes_fdta-det_mini': 'boxes_mini',
    'boxes_yolox-nano_pets': 'boxes_pets',
}
# Sets whose trackers are variants of a config.
VARIANTS = {
    'adapters': 'fdta-depth-attention_mini',
    'sharing': 'fdta_deformable-detr-two-stage_mini',
    'pets-boxes-begin': 'boxes_pets',
    'pets-boxes-end': 'boxes_pets',
    'pets-looks-begin': 'boxes-looks_yolox-nano_pets',
    'pets-trained-begin': 'fdta_pets',
}
# Sets that are scored on a part of the half that others are trained on.
WITHIN_FIRST_HALF = (
    *('pets-boxes-begin', 'pets-boxes-end'),
    *('pets-looks-begin', 'pets-trained-begin'),
)
# Trainings that the set `detectors` has too.
REPEATED = (('sharing', 'joint (the default)'), ('ablation-2600', 'all'))
# Sets of times: their weights are those of another set.
TIMES = ('times', 'minidance-times')
HEAD = """# Model zoo: scores and weights

Find the weights for a config, what they score, and what was trained for this project.

```shell
mmfdta weights                                    # names of all weights
mmfdta weights motip-dancetrack                   # fetch a file and print its path
mmfdta test motip_dancetrack motip-dancetrack     # fetch, track, score, compare
mmfdta train motip_dancetrack --cfg-options load_from=deformable-detr-dancetrack
```

- **Published** scores come from the page that "stated by" links. `mmfdta test` compares
  yours with them ([published weights](published_weights.md)). Where the split is a
  link, a server scores it.
- **Measured** scores come from this project: mean and standard deviation over the
  seeds. They are of small models on a CPU ([benchmark results](benchmark_results.md)).
- **Parameters** are those of the model that the config builds, in millions.
- **Memory** is the peak of main memory while tracking on a CPU; the largest one of the
  seeds. GPU memory was not measured. For training,
  [`mmfdta estimate-memory`](training.md#fit-a-card) estimates it.
- **Training starts from** names published weights, if there are any. The commands below
  each table name the weights of an earlier training otherwise.

[Configs and settings](configs.md) describes each config.
"""
COCO = """Box AP of the detectors on the val split, over all 80 classes.
`mmfdta test` scores tracks only. To compute box AP, run MMDetection's own tool with its
own config:
`mmfdta mmdet test MMDETECTION/configs/CONFIG.py $(mmfdta weights NAME)`.
"""
FILES = """## Weights

`mmfdta weights NAME` fetches a file, checks its hash and prints its path.
`--checkpoint`, `load_from` and [all commands that load weights](checkpoints.md)
accept the name too.

- **Hash.** If no hash is published, the column is empty. A complete SHA-256 is that
  of the file that was used here.
- **Licence.** The table gives the licence of the project and links to the page that
  publishes the file. Data sets have their own terms: those of DanceTrack and MOT17 do
  not allow commercial use of their images.
- **Size.** mmfdta prints the size that the server states before it downloads a file.
- **Google Drive.** Files there need a browser. Pass the path of the file instead of
  the name.
- **FDTA.** The addresses of the three FDTA files follow from the file names in FDTA's
  README.
"""
TRAINED = """## What was trained here

All trainings ran on a CPU. The weights of `minidance` come with mmfdta; the others
are not published. Minutes are elapsed time on one core of an AMD EPYC that other jobs
used too; "-" means that they were not recorded. Those of `adapters` are the time of the
process that ended a training: after an interruption only the last part, and in one run
of `all` also an hour in which it was stopped. Scores of `adapters` are those of 50 test
sequences, all others of MiniDance's ten.
The records are in `docs/records`, those of `ablation` in `docs/assets/ablation.csv`.
"""
FOOT = '`python docs/make_model_zoo.py` writes this page.\n'


class Zoo(NamedTuple):
    """What the page is written from.

    Attributes:
        models: Entries of the index, by name.
        configs: The configs, by name.
        sets: The records.
        runs: Those of the adapter study on MiniDance's own data, for the usual number
            of iterations.
    """

    models: dict[str, dict]
    configs: dict[str, Config]
    sets: dict[str, RecordSet]
    runs: list[Run]

    @classmethod
    def read(cls) -> 'Zoo':
        """Read index, configs and records of the checkout."""
        index = yaml.safe_load(INDEX.read_text(encoding='utf-8'))
        models = {model['Name']: model for model in index['Models']}
        configs = {n: Config.fromfile(ROOT / m['Config']) for n, m in models.items()}
        records = ROOT / 'docs' / 'records'
        ablation = ROOT / 'docs' / 'assets' / 'ablation.csv'
        sets = read_records(records, ablation)
        runs = [r for r in read_runs(records / 'adapters.json') if not r.group]
        return cls(models, configs, sets, runs)

    def trains(self, name: str) -> bool:
        """Whether a config trains."""
        return bool(self.configs[name].get('train_dataloader'))

    def measured(self, name: str) -> tuple[RecordSet, str] | None:
        """Find the records of a config: the set, and the name of the tracker."""
        data = data_of(name)
        for of in make_tables.INDEX.get(MEASURED.get(data, ('', ''))[1], ()):
            for tracker in self.sets[of].trackers:
                if self.sets[of].rows(tracker)[0].get('config') == name:
                    return self.sets[of], tracker
        return None


def data_of(config: str) -> str:
    """Title of the data set of a config."""
    return DATA[re.search(f'_({"|".join(DATA)})$', config)[1]]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table, columns of numbers aligned to the right."""
    names = list(head)
    rules = ['---:' if name in NUMBERS else '---' for name in names]
    lines = [names, rules, *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines) + '\n'


def commands_block(commands: Iterable[str]) -> str:
    """Write commands, each once."""
    return '\n'.join(['```shell', *dict.fromkeys(commands), '```\n'])


# --------------------------------------------------------------------------- scores
def published_row(weights: PublishedWeights, figure: PublishedScores) -> list[str]:
    """Write the row of a published figure."""
    scores = [str(figure.scores.get(metric, '')) for metric in METRICS]
    split = f'[{figure.split}]({figure.server})' if figure.server else figure.split
    by = f'[{figure.origin}]({figure.source})'
    if '://' not in figure.source:
        by = 'measured'
    return [f'`{figure.config}`', f'`{weights.name}`', split, *scores, by]


def published_rows(title: str) -> list[list[str]]:
    """Write the rows of what is published for a data set, and of what is not."""
    rows = []
    for weights in PUBLISHED.values():
        rows += [published_row(weights, f) for f in weights.figures if f.data == title]
        for name in not_published(weights):
            if name.startswith(f'{title} '):
                first = f'`{weights.configs[0]}`', f'`{weights.name}`'
                empty = [''] * len(METRICS)
                split = name.removeprefix(f'{title} ')
                rows.append([*first, split, *empty, 'not published'])
    return rows


def measured_rows(title: str, zoo: Zoo) -> list[list[str]]:
    """Write the rows of what was measured on a data set."""
    rows = []
    for name in zoo.models:
        found = zoo.measured(name) if data_of(name) == title else None
        if found:
            of, tracker = found
            figures = [(m, of.figure(tracker, m)) for m in METRICS]
            cells = ['' if f is None else f.text(m) for m, f in figures]
            seeds = of.seeds(tracker)
            trained = len({str(row.get('weights')) for row in of.rows(tracker)}) > 1
            number = f', {seeds} seeds' if trained or seeds > 1 else ''
            by = f'measured{number}'
            rows.append([f'`{name}`', '', MEASURED[title][0], *cells, by])
    return rows


def detector_table() -> str:
    """Write the scores of detectors on COCO."""
    rows = [
        (
            f'`{weights.name}`',
            str(figure.scores['box AP']),
            f'`{figure.config}`' if figure.config else "none: the authors' own code",
            f'[{figure.origin}]({figure.source})',
        )
        for weights in PUBLISHED.values()
        for figure in weights.figures
        if figure.data == 'COCO'
    ]
    return table(('weights', 'box AP', "MMDetection's config", 'stated by'), rows)


# --------------------------------------------------------------------------- models
def loaded_weights(config: str, zoo: Zoo) -> tuple[list[str], list[str]]:
    """Names of the weights that a config tracks with, and that its training needs."""
    ready, start = [], []
    for weights in PUBLISHED.values():
        if config in weights.configs:
            scored = any(figure.config == config for figure in weights.figures)
            to_track = scored or not zoo.trains(config)
            (ready if to_track else start).append(weights.name)
    return ready, start


def train_command(config: str, zoo: Zoo) -> str:
    """The command that trains a config, with the weights that it starts from."""
    command = f'mmfdta train {config}'
    if zoo.configs[config].get('load_from'):
        return command
    stage = FIRST_STAGE.get(config)
    if stage:
        last = f'iter_{zoo.configs[stage].train_cfg.max_iters}.pth'
        return f'{command} --cfg-options load_from=work_dirs/{stage}/{last}'
    start = loaded_weights(config, zoo)[1]
    return f'{command} --cfg-options load_from={start[-1]}' if start else command


def memory_of(config: str, zoo: Zoo) -> str:
    """Write the main memory that tracking needed, in MB; empty if it was not measured.

    The largest one of the seeds.
    """
    found = zoo.measured(config)
    rows = found[0].rows(found[1]) if found else []
    known = [row['peak_memory'] for row in rows if row.get('peak_memory')]
    return f'{max(known) / 2**20:.0f}' if known else ''


def model_table(title: str, zoo: Zoo) -> str:
    """Write the table of the configs of a data set."""
    names = [name for name in zoo.models if data_of(name) == title]
    with_memory = any(memory_of(name, zoo) for name in names)
    rows = []
    for name in names:
        model = zoo.models[name]
        facts = model['Metadata']
        ready, start = loaded_weights(name, zoo)
        row = [
            f'[`{name}`](../{model["Config"]})',
            re.sub(r'\b(fdta_\S+)', r'`\1`', facts['Detector']),
            facts['Training Data'],
            f'{facts["Parameters"] / 1e6:.2f}',
            *([memory_of(name, zoo) or '-'] if with_memory else []),
            ', '.join(f'`{weights}`' for weights in ready) or '-',
            ', '.join(f'`{weights}`' for weights in start) or '-',
        ]
        rows.append(row)
    memory = ['memory MB'] if with_memory else []
    head = ('config', 'detector', 'trained on', 'params M', *memory)
    return table((*head, 'weights', 'training starts from'), rows)


def _without(cells: list[str], number: int) -> list[str]:
    return cells[:number] + cells[number + 1 :]


def data_section(title: str, zoo: Zoo) -> str:
    """Write the section of a data set: scores, models, commands."""
    parts = [f'## {title}\n']
    if title == 'COCO':
        parts += [COCO, detector_table()]
    else:
        rows = [*published_rows(title), *measured_rows(title, zoo)]
        head = ['config', 'weights', 'split', *METRICS, 'stated by']
        if not any(row[1] for row in rows):
            head, rows = _without(head, 1), [_without(row, 1) for row in rows]
        parts.append(table(head, rows))
    parts.append(model_table(title, zoo))
    names = [n for n in zoo.models if data_of(n) == title and zoo.trains(n)]
    if names:
        parts += ['To train:\n', commands_block(train_command(n, zoo) for n in names)]
    return '\n'.join(parts)


# ---------------------------------------------------------------------------- files
def digest_of(weights: PublishedWeights, zoo: Zoo) -> str:
    """SHA-256 of a file: complete if a record has it, otherwise what is published."""
    for found in zoo.sets.values():
        for row in (row for record in found.records for row in record['trackers']):
            digest = (row.get('weights') or {}).get('model', '')
            if not digest:
                continue
            known = weights.sha256_prefix
            only = loaded_weights(row['config'], zoo)[0] == [weights.name]
            if digest.startswith(known) if known else only:
                return digest
    return weights.sha256_prefix


def file_table(zoo: Zoo) -> str:
    """Write the table of files: how to fetch each, licence, size, hash."""
    rows = []
    for weights in PUBLISHED.values():
        if weights.part_of_package:
            where = 'part of mmfdta'
        else:
            text = 'file' if weights.address else 'page for a browser'
            where = f'[{text}]({weights.address or weights.page})'
        licence = weights.licence
        digest = digest_of(weights, zoo)
        fetch = weights.address or weights.part_of_package
        rows.append(
            (
                f'`{weights.name}`',
                weights.family,
                where,
                f'`mmfdta weights {weights.name}`' if fetch else '-',
                licence
                if weights.part_of_package
                else f'[{licence}]({weights.source})',
                '' if weights.size is None else say_bytes(weights.size),
                f'`{digest}`' if digest else '',
            )
        )
    head = ('weights', 'family', 'address', 'fetch', 'licence', 'size', 'SHA-256')
    return table(head, rows)


# ------------------------------------------------------------------------ trainings
def minutes_between(seconds: Sequence[float]) -> str:
    """Write the shortest and the longest time in minutes."""
    low, high = (f'{end / 60:.0f}' for end in (min(seconds), max(seconds)))
    return low if low == high else f'{low} to {high}'


def minutes_of(of: str, tracker: str, config: str, zoo: Zoo) -> str:
    """Write the time of trainings, as far as it is recorded."""
    if of == 'adapters':
        runs = [run for run in zoo.runs if run.label == tracker]
        return minutes_between([run.seconds['fdta'] for run in runs])
    for row in zoo.sets['times'].records[0]['trackers']:
        if (row['name'], row['config']) == (of, config):
            return minutes_between(row['seconds'])
    return '-'


def tracker_rows(found: RecordSet, zoo: Zoo) -> Iterator[list[str]]:
    """Yield a row for each tracker of a set that was trained."""
    variants = found.name.split('-')[0] == 'ablation' or found.name in VARIANTS
    for name in found.trackers:
        known = found.rows(name)
        config = known[0].get('config')
        config = TRAINED_AS.get(config, config)
        if variants:
            config = VARIANTS.get(found.name, VARIANTS['adapters'])
        if config is None or not zoo.trains(config) or (found.name, name) in REPEATED:
            continue
        length = f'{zoo.configs[config].train_cfg.max_iters:,}'
        if found.name.startswith('ablation-'):
            length = f'{int(found.name.partition("-")[2]):,}'
        length = known[0].get('facts', {}).get('iterations', length)
        figure = found.figure(name, 'HOTA')
        # Figures of trackers that learn nothing stand next to them.
        if length == '-' or figure is None:
            continue
        split = MEASURED[data_of(config)][0]
        if found.name in WITHIN_FIRST_HALF:
            split = 'first half'
        yield [
            f'`{config}`' + (f', {name.removesuffix(" (config)")}' if variants else ''),
            length,
            str(figure.seeds),
            minutes_of(found.name, name, config, zoo),
            f'{figure.text("HOTA")} HOTA',
            f'{data_of(config)} {split}',
            ', '.join(
                f'`{row["weights"]["model"][:8]}`' for row in known if 'weights' in row
            ),
            f'`{found.name}`',
        ]


def detector_rows(zoo: Zoo) -> Iterator[list[str]]:
    """Yield a row for each detector that was trained on single frames."""
    for row in zoo.sets['detectors'].records[0]['trackers']:
        stage = FIRST_STAGE[row['config']]
        minutes = '-'
        if row['config'] == VARIANTS['adapters']:
            # The variants of a seed share a detector, but for one with depth.
            by_seed = {
                run.seed: run.seconds['detector']
                for run in zoo.runs
                if run.choices['spatial'] != 'from-start'
            }
            minutes = minutes_between(list(by_seed.values()))
        precision = row['facts']["detector's mAP"]
        yield [
            f'`{stage}`',
            f'{zoo.configs[stage].train_cfg.max_iters:,}',
            str(row['scores']['HOTA'][2]),
            minutes,
            f'{precision} box AP',
            'MiniDance val, seed 0',
            '',
            '`detectors`',
        ]


def training_table(zoo: Zoo) -> str:
    """Write the table of what was trained, in the order of the index."""
    rows = list(detector_rows(zoo))
    seen = set()
    for found in (one for one in zoo.sets.values() if one.name not in TIMES):
        for row in tracker_rows(found, zoo):
            digests = row[-2]
            if digests and digests in seen:  # the same weights with another tracker
                continue
            seen.add(digests)
            rows.append(row)
    order = list(zoo.models)
    rows.sort(key=lambda row: order.index(row[0].split('`')[1]))
    head = ('config', 'iterations', 'seeds', 'minutes', 'score', 'scored on')
    return table((*head, 'SHA-256 begins', 'record'), rows)


# ----------------------------------------------------------------------------- pages
def build_page() -> str:
    """Return the page of the zoo."""
    zoo = Zoo.read()
    sections = [data_section(title, zoo) for title in dict.fromkeys(DATA.values())]
    files = [FILES, file_table(zoo), TRAINED, training_table(zoo), FOOT]
    return '\n'.join([HEAD, *sections, *files])


def reproduction_sections() -> str:
    """Write the commands that score published weights, by data set."""
    parts = []
    titles = [f.data for weights in PUBLISHED.values() for f in weights.figures]
    for title in dict.fromkeys(titles):
        if title == 'COCO':
            continue
        figures = [
            (w, f) for w in PUBLISHED.values() for f in w.figures if f.data == title
        ]
        parts.append(f'### {title}\n')
        parts.append(commands_block(c for w, f in figures for c in commands_of(w, f)))
        remarks: dict[str, list[str]] = {}
        for _, figure in figures:
            if figure.remark:
                where = f'`{figure.config}` on {figure.split}'
                remarks.setdefault(figure.remark, []).append(where)
        parts += [f'{", ".join(w)}: {text}.\n' for text, w in remarks.items()]
    return '\n'.join(parts)


def tolerance_table() -> str:
    """Write the table of tolerances."""
    return table(METRICS, [[f'{TOLERANCE[metric]:g}' for metric in METRICS]])


def build_published_page() -> str:
    """Return the page of published weights with its commands and table made again."""
    text = PUBLISHED_PAGE.read_text(encoding='utf-8')
    parts = dict(commands=reproduction_sections, tolerance=tolerance_table)
    for name, make in parts.items():
        made, count = re.subn(
            rf'(<!-- begin {name}:[^\n]*-->\n).*?(<!-- end {name} -->)',
            lambda found, make=make: f'{found[1]}\n{make()}\n{found[2]}',
            text,
            flags=re.S,
        )
        assert count == 1, f'{PUBLISHED_PAGE}: expected the markers of {name} once'
        text = made
    return text


def count_parameters(config: Config) -> int:
    """Build a model without weights and count its parameters."""
    init_default_scope('mmdet')
    return sum(p.numel() for p in MODELS.build(config.model).parameters())


def write_counts() -> None:
    """Put the number of parameters of every model into the index."""
    head, *models = re.split(r'(?m)^(?=  - Name: )', INDEX.read_text(encoding='utf-8'))
    made = []
    for model in models:
        path = re.search(r'^    Config: (.+)', model, re.M)
        if path:
            count = count_parameters(Config.fromfile(ROOT / path[1]))
            model = re.sub(r'      Parameters: .*\n', '', model)
            line = f'    Metadata:\n      Parameters: {count}\n'
            model = model.replace('    Metadata:\n', line)
        made.append(model)
    INDEX.write_text(head + ''.join(made), encoding='utf-8')


def main() -> int:
    """Write or check; 1 if a page differs from what it is written from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='write nothing')
    parser.add_argument('--count', action='store_true', help='count parameters first')
    options = parser.parse_args()
    if options.count:
        write_counts()
    differ = 0
    for path, build in ((PAGE, build_page), (PUBLISHED_PAGE, build_published_page)):
        made = build()
        if not path.exists() or made != path.read_text(encoding='utf-8'):
            differ += 1
            name = path.relative_to(ROOT).as_posix()
            hint = ': run python docs/make_model_zoo.py' if options.check else ''
            print(f'{name}{hint}')
            if not options.check:
                path.write_text(made, encoding='utf-8')
    return 1 if differ and options.check else 0


if __name__ == '__main__':
    sys.exit(main())
