# Copyright (c) mmfdta authors.
"""The diagnosis as a page to read, a few lines to print, figures, and JSON to keep.

Page, lines and figures are made of what the JSON file holds, so that an earlier
diagnosis can stand next to a new one.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mmfdta.structures.tables import markdown_table
from mmfdta.structures.whole_files import write_text
from mmfdta.version import __version__
from mmfdta.visualization import (
    EffectPanel,
    SimilarityPanel,
    plot_effects,
    plot_scores,
    plot_shares,
    plot_similarity,
    save_figure,
)

from ...evaluation_data import EvaluationData
from ...thresholds import MEANINGS
from .bounds import BOUNDS
from .causes import BIRTHS, MISSES, SWITCHES
from .gradients import ASSOCIATION
from .words import CONTESTS, FATES, THEN, Meaning

#: Of the JSON file; another number is another meaning of its keys.
FORMAT = 1
JSON_NAME, PAGE_NAME = 'diagnosis.json', 'diagnosis.md'
# A gain in HOTA that is worth a line, a fraction of 1.
_WORTH = 0.003
_SHOWN = ('HOTA', 'DetA', 'AssA', 'IDF1')
# Titles of `THEN`.
_THEN_TITLES = ('new identity', 'other identity', 'left out')
# Sequences and frames that the page names; the JSON file has all.
_MOST_SEQUENCES, _MOST_FRAMES = 5, 6


# ---------------------------------------------------------------------- in a few lines
def describe_run(content: Mapping) -> str:
    """Say in a line what was looked at."""
    checkpoint = content['checkpoint']
    weights = 'random weights' if checkpoint is None else Path(checkpoint).name
    return f'{content["config"]} ({weights}) on {content["data"]["text"]}'


def describe_bounds(content: Mapping) -> str:
    """Say what keeps HOTA down: identities, the choice of boxes, or the boxes."""
    scores = content['bounds']['scores']
    own = scores['tracker']['HOTA']
    switches = scores['tracker']['IDSW']
    said = f'HOTA {100 * own:.1f}, {switches} identity switches.'
    right = scores['true_identities']['HOTA']
    said += f' Right identities on the same boxes would give HOTA {100 * right:.1f}'
    if 'true_boxes' not in scores:
        return f'{said}.'
    boxes, left = (scores['true_boxes'][name] for name in ('HOTA', 'IDSW'))
    said += f', ground-truth boxes HOTA {100 * boxes:.1f} with {left} switches: '
    gains = right - own, boxes - own
    if abs(gains[0] - gains[1]) <= 0.1 * max(map(abs, gains)):
        said += 'wrong identities and bad boxes cost about the same'
    elif gains[0] > gains[1]:
        said += 'wrong identities cost more than bad boxes'
    else:
        said += 'bad boxes cost more than wrong identities'
    if switches and left >= 0.8 * switches:
        said += '; better boxes alone do not end the switches'
    return f'{said}.'


def describe_words(content: Mapping) -> str:
    """Say how often association errs, and how often likeness alone would."""
    competition, separability = content['competition'], content['separability']
    if competition is None or separability is None:
        return ''
    due, kept = competition['due'], competition['became']['kept']['count']
    wrong = {
        stage: of['nearest']['wrong']
        for stage, of in separability['stages'].items()
        if of['nearest']['wrong'] is not None
    }
    text = f'Association missed the word of {_share(due - kept, due)} of the detections'
    places = [
        f'{wrong[stage]:.1%} {where}'
        for stage, where in (
            ('detector', "by the detector's embeddings"),
            ('trajectory modelling', 'after trajectory modelling'),
        )
        if stage in wrong
    ]
    if not places:
        return f'{text}.'
    return (
        f'{text}; the most similar object is the wrong one for {" and ".join(places)}.'
    )


def list_causes(content: Mapping, number: int = 3) -> list[str]:
    """Say what causes most identity switches, and what to try, in a line each.

    Causes with the same remedy share a line. Switches that only repair an earlier one
    (`came_back`) are no cause of their own.

    Args:
        content: The diagnosis.
        number: Most lines.
    """
    total = content['switches']['total']
    by_advice: dict[str, dict[str, int]] = {}
    for key, count in content['switches']['causes'].items():
        if key != 'came_back':
            by_advice.setdefault(SWITCHES[key].advice, {})[key] = count
    lines = []
    for advice, causes in sorted(by_advice.items(), key=lambda x: -sum(x[1].values())):
        count = sum(causes.values())
        titles = [SWITCHES[key].title for key in causes]
        if len(causes) > 1:
            parts = zip(titles, causes.values(), strict=True)
            titles = [f'{title} ({part})' for title, part in parts]
        else:
            titles = [': '.join([*titles, SWITCHES[next(iter(causes))].text])]
        lines.append(
            f'{count} of {total} switches ({count / total:.0%}): {", ".join(titles)}. '
            f'Try: {advice}.'
        )
    return lines[:number]


def list_gains(content: Mapping) -> list[str]:
    """List the thresholds whose other values score clearly better here."""
    thresholds = content['thresholds'] or {}
    better = [
        (effect['gain'], name, effect)
        for name, effect in thresholds.items()
        if effect['gain'] >= _WORTH
    ]
    lines = []
    for gain, name, effect in sorted(better, key=lambda entry: -entry[0]):
        options = ' '.join(
            f'{key}={str(value).replace(" ", "")}'
            for key, value in effect['options'].items()
        )
        lines.append(
            f'{name} {effect["value"]:g} -> {effect["best"]:g}: HOTA {100 * gain:+.1f} '
            f'on these data (--cfg-options {options})'
        )
    return lines


# ------------------------------------------------------------------------- the content
def make_content(
    config: str,
    checkpoint: str | None,
    model: nn.Module,
    data: EvaluationData,
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    """Put the parts of a diagnosis together with what was looked at.

    Args:
        config: Name of the config.
        checkpoint: Path, address or name of the weights; None: as initialised, or
            those that the config names.
        model: The tracker.
        data: The data.
        parts: See :meth:`Diagnosis.run`.
    """
    tracker = getattr(model, 'tracker', None)
    return dict(
        format=FORMAT,
        mmfdta=__version__,
        config=config,
        checkpoint=checkpoint,
        model=type(model).__name__,
        tracker=type(tracker).__name__,
        data=dict(
            text=data.describe(),
            benchmark=data.benchmark,
            sequences={s.name: len(s) for s in data.sequences},
            boxes=sum(map(len, data.scored)),
            objects=sum(len(np.unique(truth.identity)) for truth in data.scored),
        ),
        **parts,
    )


def content_path(path: Path) -> Path:
    """Return the JSON file of a diagnosis, which or whose folder is named."""
    return path / JSON_NAME if path.is_dir() else path


def read_content(path: Path) -> dict[str, Any]:
    """Read the JSON file of an earlier diagnosis.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file, or of another version.
    """
    path = content_path(path)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(
            f'{path}: expected the {JSON_NAME} of mmfdta diagnose, found no JSON '
            f'({error})'
        ) from None
    found = content.get('format') if isinstance(content, dict) else None
    if found != FORMAT or 'bounds' not in content:
        raise ValueError(
            f'{path}: expected the {JSON_NAME} of mmfdta diagnose with format '
            f'{FORMAT}, found format {found}; run that diagnosis again'
        )
    return content


def check_comparable(content: Mapping, others: Sequence[Mapping]) -> None:
    """Refuse to compare diagnoses of different data.

    Raises:
        ValueError: If sequences, boxes or rules differ.
    """
    for other in others:
        for key, what in (
            ('benchmark', 'rules of'),
            ('sequences', 'the sequences'),
            ('boxes', 'ground-truth boxes'),
        ):
            mine, theirs = content['data'][key], other['data'][key]
            if mine != theirs:
                if key == 'sequences':
                    mine, theirs = (
                        f'{len(x)} of {sum(x.values())} frames' for x in (mine, theirs)
                    )
                raise ValueError(
                    f'--compare: {describe_run(other)} has {what} {theirs}, expected '
                    f'{mine}, those of this run; diagnose both on the same data'
                )


# ---------------------------------------------------------------------------- the page
def bounds_section(content: Mapping) -> str:
    """What each part of the tracker costs."""
    scores = content['bounds']['scores']
    own = scores['tracker']['HOTA']
    rows = []
    for key, of in scores.items():
        numbers = [f'{100 * of[name]:.1f}' for name in _SHOWN]
        gain = '' if key == 'tracker' else f'{100 * (of["HOTA"] - own):+.1f}'
        rows.append((BOUNDS[key].title, *numbers, of['IDSW'], gain))
    table = markdown_table(('', *_SHOWN, 'IDSW', 'HOTA gained'), rows)
    meanings = [f'- {BOUNDS[k].title}: {BOUNDS[k].text}.' for k in scores]
    left = content['bounds']['without_embedding']
    if left:
        share = left / max(1, content['bounds']['objects'])
        meanings.append(
            f'- No detection overlaps {left} of {content["bounds"]["objects"]} boxes '
            f'({share:.1%}); the last line leaves them out.'
        )
    picture = '![HOTA, DetA and AssA of the tracker and its bounds](bounds.png)'
    return _join('## What each part costs', table, '\n'.join(meanings[1:]), picture)


def switches_section(content: Mapping) -> str:
    """Why identities switch, and in which sequences."""
    switches = content['switches']
    found, total = switches['switches'], switches['total']
    title = '## Why identities switch'
    if not total:
        return _join(title, 'No identity switches.')
    rows = []
    for key, count in switches['causes'].items():
        of = [switch for switch in found if switch['cause'] == key]
        lack = [x['margin'] for x in of if x['margin'] is not None]
        rows.append(
            (
                SWITCHES[key].title,
                count,
                f'{count / total:.0%}',
                f'{np.median([switch["gap"] for switch in of]):g}',
                f'{np.median(lack):.2f}' if lack else '-',
            )
        )
    head = ('cause', 'switches', 'share', 'frames since', 'ID score lacking')
    worst = Counter(switch['sequence'] for switch in found).most_common(_MOST_SEQUENCES)
    places = []
    for name, count in worst:
        here = [switch for switch in found if switch['sequence'] == name]
        (cause, often), *_ = Counter(x['cause'] for x in here).most_common(1)
        first = ', '.join(str(switch['frame']) for switch in here[:_MOST_FRAMES])
        more = ', ...' if count > _MOST_FRAMES else ''
        places.append((name, count, f'{SWITCHES[cause].title} ({often})', first + more))
    return _join(
        title,
        markdown_table(head, rows),
        _explain(SWITCHES, switches['causes']),
        '"Frames since" and "ID score lacking" are medians: frames since the object '
        'was matched last, and what the ID score of its word lacked.',
        '![Identity switches by cause](causes.png)',
        markdown_table(('sequence', 'switches', 'most often', 'frames'), places),
    )


def competition_section(content: Mapping) -> str:
    """Who is due an ID word and does not get it."""
    competition = content['competition']
    title = '## Competition for words'
    if competition is None:
        return _join(title, f'{content["tracker"]} has no ID words.')
    due, kept = competition['due'], competition['became']['kept']['count']
    text = (
        f'Of {due} detections of an object whose word was live, {kept} '
        f'({_share(kept, due)}) were given it. Of those with a score above '
        f'newborn_thr, which would start a new identity, '
        f'{competition["lost_good"]:.2%} lost it.'
    )
    head = (
        'without the word',
        'detections',
        'good score',
        *_THEN_TITLES,
        'lacking',
        'p90',
    )
    lost = {
        key: of
        for key, of in competition['became'].items()
        if key != 'kept' and of['count']
    }
    tables = [markdown_table(head, _tally_rows(FATES, lost))] if lost else []
    contests = {k: of for k, of in competition['contests'].items() if of['count']}
    if contests:
        asked = (
            f'{competition["wanted"]} detections asked for a live word with a '
            'score not below id_thr; those that were not given it lost it to'
        )
        head = ('the word went to', *head[1:])
        tables += [asked, markdown_table(head, _tally_rows(CONTESTS, contests))]
    told = content['switches']['causes']
    new = [key for key in lost if key not in told]
    meanings = _explain(FATES, new), _explain(CONTESTS, contests)
    return _join(title, text, *tables, *meanings)


def _tally_rows(meanings: Mapping[str, Meaning], tallies: Mapping) -> list[tuple]:
    rows = []
    for key, of in sorted(tallies.items(), key=lambda item: -item[1]['count']):
        fates = [of['then'].get(fate, 0) for fate in THEN]
        lacking = [
            '-' if value is None else f'{value:.2f}'
            for value in (of['margin']['median'], of['margin']['p90'])
        ]
        title = meanings[key].title
        rows.append((title, of['count'], of['good'], *fates, *lacking))
    return rows


def births_section(content: Mapping) -> str:
    """What the new identities are."""
    births = content['births']
    known = births['total'] - births['causes']['not_scored']
    false = _false_births(content)
    text = (
        f'{known} identities were started for {content["data"]["objects"]} objects; '
        f'{false} of them ({_share(false, known)}) are false newborns.'
    )
    return _counted_section('## Newborns', text, births, BIRTHS, 'the first box is')


def misses_section(content: Mapping) -> str:
    """What is missed by the detector, and what by association."""
    misses, boxes = content['misses'], content['data']['boxes']
    total = misses['total']
    text = (
        f'{total} of {boxes} boxes ({_share(total, boxes)}) have no track: '
        f'{misses["by_detector"]} are missed by the detector or its threshold, '
        f'{total - misses["by_detector"]} by association.'
    )
    return _counted_section('## Misses', text, misses, MISSES, 'the box has')


def separability_section(content: Mapping) -> str:
    """How well embeddings tell objects apart, by stage."""
    title, separability = '## Separability', content['separability']
    if separability is None:
        return _join(title, 'The detections have no embeddings.')
    rows = []
    for stage, of in separability['stages'].items():
        nearest = of['nearest']
        rows.append(
            (
                stage,
                _percent(of['auc']),
                _percent(nearest['wrong']),
                '-' if nearest['median'] is None else f'{nearest["median"]:.2f}',
                _percent(of['different']['share_above']),
                _percent(of['same']['share_above']),
            )
        )
    above = f'above {separability["threshold"]:g}'
    head = (
        *('stage', 'AUC', 'nearest is wrong', 'margin'),
        *(f'different {above}', f'same {above}'),
    )
    text = (
        f'Cosine similarities of the embeddings of annotated objects, of which '
        f'{separability["found"]:.1%} were found. AUC: chance that two embeddings of '
        'one object are more similar than those of two objects of a frame (50: '
        'chance). Nearest is wrong: the most similar of the last embeddings is that of '
        "another object; margin: median lead of the object's own. Above: share of "
        'the pairs of different objects of a frame, and of the same object in two '
        'frames.'
    )
    picture = '![Similarities of different objects and of the same one](similarity.png)'
    return _join(title, text, markdown_table(head, rows), picture)


def gradients_section(content: Mapping) -> str:
    """How much each loss of association moves the detector; empty if not measured."""
    gradients = content.get('gradients')
    if not gradients:
        return ''
    parts = gradients['parts']
    losses = [key for key in ASSOCIATION if key in parts['detector']]
    head = ['', *(t for key in losses for t in (ASSOCIATION[key], 'cosine'))]
    rows = [
        (
            part,
            *(f'{of[key][name]:.2f}' for key in losses for name in ('share', 'cosine')),
        )
        for part, of in parts.items()
    ]
    text = (
        f'Gradients in {gradients["clips"]} clips of the training data, at all of the '
        "detector and at its parts: norm of the loss's gradient over that of all "
        'detection losses together (1: as much), and cosine between the two (below 0: '
        'against detection). `model.embedding_sharing` and the weights of the losses '
        'change the norm, see docs/any_detector.md.'
    )
    return _join('## Who moves the detector', text, markdown_table(head, rows))


def _percent(share: float | None) -> str:
    return '-' if share is None else f'{100 * share:.1f}'


def _counted_section(
    title: str, text: str, counted: Mapping, meanings: Mapping[str, Meaning], head: str
) -> str:
    """A section on things counted by cause, and why words were not given."""
    causes = {key: count for key, count in counted['causes'].items() if count}
    rows = [
        (meanings[key].title, count, _share(count, counted['total']))
        for key, count in sorted(causes.items(), key=lambda item: -item[1])
    ]
    parts = [markdown_table((head, 'number', 'share'), rows)] if rows else []
    parts.append(_explain(meanings, causes))
    for key, why in counted['why'].items():
        if why:
            listed = ', '.join(
                f'{SWITCHES[cause].title} ({count})' for cause, count in why.items()
            )
            parts.append(f'Of "{meanings[key].title}": {listed}.')
    return _join(title, text, *parts)


def _explain(meanings: Mapping[str, Meaning], keys: Iterable[str]) -> str:
    """List what the lines of a table mean, and what to try."""
    lines = []
    for key in keys:
        meaning = meanings[key]
        tip = f' Try: {meaning.advice}.' if meaning.advice else ''
        lines.append(f'- {meaning.title}: {meaning.text}.{tip}')
    return '\n'.join(lines)


def _share(count: int, total: int) -> str:
    return f'{count / max(1, total):.1%}'


def thresholds_section(content: Mapping) -> str:
    """What each threshold does."""
    thresholds = content['thresholds']
    title = '## Thresholds'
    if not thresholds:
        why = (
            'They take a tracker of known thresholds that detects and associates apart'
        )
        return _join(title, f'Not tried. {why}, and --threshold-steps above 0.')
    rows = []
    for name, effect in thresholds.items():
        tried = effect['trials']
        values = [trial['HOTA'] for trial in tried]
        switches = [trial['IDSW'] for trial in tried]
        rows.append(
            (
                f'`{name}`',
                f'{effect["value"]:g}',
                f'{tried[0]["value"]:g} to {tried[-1]["value"]:g}',
                f'{100 * min(values):.1f} to {100 * max(values):.1f}',
                f'{min(switches)} to {max(switches)}',
                f'{effect["best"]:g}',
                f'{100 * effect["gain"]:+.1f}',
            )
        )
    head = ('threshold', 'now', 'tried', 'HOTA', 'IDSW', 'best', 'gained')
    meanings = [f'- `{name}`: {MEANINGS[name]}.' for name in thresholds]
    text = (
        'One threshold at a time, all others as they are. Take a better value only if '
        'it is one on data that you do not report; `mmfdta tune` searches further.'
    )
    picture = '![HOTA and identity switches over each threshold](thresholds.png)'
    return _join(
        '## Thresholds', markdown_table(head, rows), '\n'.join(meanings), text, picture
    )


def format_page(content: Mapping, others: Sequence[Mapping] = ()) -> str:
    """Write the page, in Markdown.

    Args:
        content: The diagnosis.
        others: Earlier ones on the same data, which stand next to it in a table.
    """
    title = f'# Why identities switch: {content["config"]}'
    made = (
        f'{describe_run(content)}. Made by `mmfdta diagnose` {content["mmfdta"]}; '
        'docs/diagnose.md says how to read it.'
    )
    sections = [
        verdict_section(content),
        compare_section(content, others),
        bounds_section(content),
        switches_section(content),
        competition_section(content),
        births_section(content),
        misses_section(content),
        separability_section(content),
        gradients_section(content),
        thresholds_section(content),
    ]
    return _join(title, made, *sections) + '\n'


def verdict_section(content: Mapping) -> str:
    """The page in short."""
    gains = '\n'.join(f'- {text}' for text in list_gains(content))
    causes = '\n'.join(_numbered(list_causes(content)))
    said = describe_bounds(content), describe_words(content)
    return _join('## In short', *said, causes, gains)


def _numbered(lines: Sequence[str]) -> list[str]:
    return [f'{number}. {text}' for number, text in enumerate(lines, start=1)]


def compare_section(content: Mapping, others: Sequence[Mapping]) -> str:
    """This run and others in one table."""
    if not others:
        return ''
    runs = [content, *others]
    head = ['', *name_runs(runs)]
    rows = [
        (label, *(_cell(run, read) for run in runs)) for label, read in _compared(runs)
    ]
    return _join('## Compared with other runs', markdown_table(head, rows))


def name_runs(runs: Sequence[Mapping]) -> list[str]:
    """Name runs by their weights; with the config where that tells nothing apart."""
    names = [Path(run['checkpoint'] or run['config']).stem for run in runs]
    if len(set(names)) < len(names):
        names = [
            f'{run["config"]}: {name}' for run, name in zip(runs, names, strict=True)
        ]
    if len(set(names)) < len(names):
        names = [f'{number}. {name}' for number, name in enumerate(names, start=1)]
    return names


def _cell(run: Mapping, read: Callable[[Mapping], str]) -> str:
    """What a run has in a row; a dash where it lacks that part."""
    try:
        return read(run)
    except (KeyError, TypeError):
        return '-'


def _compared(runs: Sequence[Mapping]) -> list[tuple[str, Callable[[Mapping], str]]]:
    """Rows of the table of runs: what they are called, and how they are read."""

    def percent(*path: str) -> Callable[[Mapping], str]:
        return lambda run: _percent(_at(run, *path))

    own = [(name, percent('bounds', 'scores', 'tracker', name)) for name in _SHOWN]
    bounds = [
        (f'HOTA, {BOUNDS[key].title}', percent('bounds', 'scores', key, 'HOTA'))
        for key in BOUNDS
        if key != 'tracker'
    ]
    causes = dict.fromkeys(key for run in runs for key in run['switches']['causes'])
    switches = [
        (
            f'switches per 1000 boxes, {SWITCHES[key].title}',
            lambda run, key=key: _per_1000(run, run['switches']['causes'].get(key, 0)),
        )
        for key in causes
    ]
    others = [
        (
            'switches per 1000 boxes',
            lambda run: _per_1000(run, run['switches']['total']),
        ),
        *switches,
        (
            'good scores that lost their word',
            lambda run: f'{_at(run, "competition", "lost_good"):.1%}',
        ),
        (
            'false newborns per 1000 boxes',
            lambda run: _per_1000(run, _false_births(run)),
        ),
        (
            'boxes missed by the detector',
            lambda run: _share(run['misses']['by_detector'], run['data']['boxes']),
        ),
        (
            'boxes missed by association',
            lambda run: _share(
                run['misses']['total'] - run['misses']['by_detector'],
                run['data']['boxes'],
            ),
        ),
    ]
    stages = dict.fromkeys(
        stage
        for run in runs
        for stage in (run['separability'] or {'stages': ()})['stages']
        if not stage.startswith('decoder layer')
    )
    separate = [
        (
            f'nearest embedding is wrong, {stage}',
            lambda run, stage=stage: (
                f'{_at(run, "separability", "stages", stage, "nearest", "wrong"):.1%}'
            ),
        )
        for stage in stages
    ]
    gradients = [
        (
            f'gradient of the {title} relative to detection',
            lambda run, key=key: (
                f'{_at(run, "gradients", "parts", "detector", key, "share"):.2f}'
            ),
        )
        for key, title in ASSOCIATION.items()
        if any(run.get('gradients') for run in runs)
    ]
    return [*own, *bounds, *others, *separate, *gradients]


def _per_1000(run: Mapping, count: int) -> str:
    return f'{1000 * count / max(1, run["data"]["boxes"]):.1f}'


def _false_births(content: Mapping) -> int:
    """Identities that begin with anything but a new object."""
    causes = content['births']['causes']
    return content['births']['total'] - causes['not_scored'] - causes['new_object']


def _at(content: Mapping, *path: str) -> Any:
    for key in path:
        content = content[key]
    return content


def _join(*parts: str) -> str:
    return '\n\n'.join(part.rstrip('\n') for part in parts if part)


# --------------------------------------------------------------------------- the files
def format_verdict(content: Mapping, others: Sequence[Mapping] = ()) -> str:
    """Write what is printed: what was found, in a few lines."""
    lines = [describe_run(content), describe_bounds(content)]
    lines += filter(None, [describe_words(content)])
    lines += _numbered(list_causes(content))
    lines += list_gains(content)
    table = compare_section(content, others)
    return '\n'.join([*lines, *([table.partition('\n\n')[2]] if table else [])])


def write_report(
    content: Mapping, others: Sequence[Mapping], folder: Path
) -> list[Path]:
    """Write the page, its figures and the JSON file.

    Args:
        content: The diagnosis.
        others: Earlier ones on the same data, see :func:`check_comparable`.
        folder: Where the files go.

    Returns:
        The files, the page first.

    Raises:
        OSError: If one cannot be written.
    """
    page, kept = folder / PAGE_NAME, folder / JSON_NAME
    write_text(kept, json.dumps(content, indent=1) + '\n')
    figures = save_figures(content, folder)
    write_text(page, format_page(content, others))
    return [page, kept, *figures]


# ------------------------------------------------------------------------- the figures
def list_panels(separability: Mapping) -> list[SimilarityPanel]:
    """Return what is plotted of the stages; the layers before the last are left out."""
    low, high, bins = separability['bins']
    panels = []
    for stage, of in separability['stages'].items():
        if not stage.startswith('decoder layer'):
            panels.append(
                SimilarityPanel(
                    title=stage,
                    edges=np.linspace(low, high, bins + 1),
                    different=np.array(of['different']['histogram']),
                    same=np.array(of['same']['histogram']),
                    threshold=separability['threshold'],
                    share_different=of['different']['share_above'],
                    share_same=of['same']['share_above'],
                )
            )
    return panels


def save_figures(content: Mapping, folder: Path) -> list[Path]:
    """Draw what the page shows.

    Args:
        content: The diagnosis.
        folder: Where the files go.

    Returns:
        The files.
    """
    scores = content['bounds']['scores']
    by_title = {BOUNDS[key].title: of for key, of in scores.items()}
    files = [save_figure(plot_scores(by_title, _SHOWN[:3]), folder / 'bounds.png')]
    causes = content['switches']['causes']
    if causes:
        counts = {SWITCHES[key].title: count for key, count in causes.items()}
        figure = plot_shares(counts, 'identity switches')
        files.append(save_figure(figure, folder / 'causes.png'))
    if content['separability']:
        panels = list_panels(content['separability'])
        figure = plot_similarity(panels)
        files.append(save_figure(figure, folder / 'similarity.png'))
    if content['thresholds']:
        effects = [
            EffectPanel(
                title=name,
                values=np.array([trial['value'] for trial in effect['trials']]),
                hota=np.array([trial['HOTA'] for trial in effect['trials']]),
                switches=np.array([trial['IDSW'] for trial in effect['trials']]),
                present=effect['value'],
            )
            for name, effect in content['thresholds'].items()
        ]
        files.append(save_figure(plot_effects(effects), folder / 'thresholds.png'))
    return files
