# Copyright (c) mmfdta authors.
"""Time and memory of exported models in onnxruntime, compared with accelerated PyTorch.

R50 with all levels, queries and the depth branch, random weights, no padding: the
detector on one frame, and the association step from a full history of 29 frames.

Example:
    python benchmarks/bench_export.py --threads 1 --runs 5
"""

import sys

import numpy as np
import onnx
import onnxruntime
import torch
from measuring import (
    Ways,
    peak_growth,
    print_case,
    print_header,
    read_options,
    take_turns,
)
from networks import (
    HISTORY,
    OBJECTS,
    SIZES,
    build_fdta,
    make_frames,
    make_history,
)

from mmfdta.apis.export import AssociationGraph, detector_graph, to_onnx
from mmfdta.apis.export.integers import to_integers

Feed = dict[str, np.ndarray]


class Exported:
    """A graph in float32 and in int8, ready to run.

    Args:
        graph: The network, as the exporter records it.
        kind: What `to_integers` takes.
        feed: Inputs that ranges of int8 are found on.
        threads: Of an operator.
    """

    def __init__(
        self, graph: torch.nn.Module, kind: str, feed: Feed, threads: int
    ) -> None:
        model = to_onnx(graph, graph.example(), graph.dynamic(), graph.outputs)
        whole = to_integers(model, kind, [feed])
        self.models = {'onnxruntime': model, 'onnxruntime, int8': whole}
        self.threads = threads
        self.sessions = {name: self.open(model) for name, model in self.models.items()}

    def open(
        self, model: onnx.ModelProto, arena: bool = True
    ) -> onnxruntime.InferenceSession:
        """Open a session."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = arena
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )

    def ways(self, feed: Feed) -> Ways:
        """The ways of running it on inputs."""
        return {
            name: lambda session=session: session.run(None, feed)
            for name, session in self.sessions.items()
        }

    def memory(self, name: str, feed: Feed) -> float:
        """Peak memory of a run, MiB; onnxruntime keeps what it has once taken."""
        session = self.open(self.models[name], arena=False)
        return peak_growth(lambda: session.run(None, feed))


def compare(case: str, ours: Ways, exported: Exported, feed: Feed, runs: int) -> None:
    """Measure a case and print it."""
    with torch.no_grad():
        results = take_turns(ours | exported.ways(feed), runs)
    for name in exported.models:
        results[name].memory = exported.memory(name, feed)
    print_case(case, results)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = read_options(__doc__, arguments, runs=5)
    model = build_fdta().eval()
    height, width = SIZES[0]
    generator = np.random.default_rng(0)

    def frame(height: int, width: int) -> np.ndarray:
        return generator.integers(0, 256, (1, 3, height, width), dtype=np.uint8)

    def past(objects: int) -> tuple[Feed, Ways]:
        history, embeddings = make_history(HISTORY, objects), torch.randn(objects, 256)
        feed = dict(
            features=history.features.numpy(),
            missing=history.masks.numpy(),
            words=history.id_labels.numpy(),
            embeddings=embeddings.numpy(),
        )
        return feed, {'PyTorch': lambda: model.score_identities(history, embeddings)}

    graph = detector_graph(model)
    exported = Exported(
        graph, 'queries', dict(frames=frame(height, width)), options.threads
    )
    print_header(f'Exported detector, one frame, onnxruntime {onnxruntime.__version__}')
    for height, width in SIZES:
        feed = dict(frames=frame(height, width))
        with torch.no_grad():
            image, _ = graph.normalization(torch.from_numpy(feed['frames']), None)
        samples = make_frames(1, height, width)
        ours: Ways = {
            'PyTorch': lambda image=image, samples=samples: model.detector.detect(
                image, samples
            )
        }
        compare(f'{width}x{height}', ours, exported, feed, options.runs)
    exported = Exported(
        AssociationGraph(model).eval(), 'association', past(30)[0], options.threads
    )
    print()
    print_header(f'Exported association, history of {HISTORY} frames')
    for objects in OBJECTS:
        feed, ours = past(objects)
        compare(f'{objects} objects', ours, exported, feed, options.runs)


if __name__ == '__main__':
    main(sys.argv[1:])
